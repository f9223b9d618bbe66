"""Convolutional networks over sequences and images."""

from ntk.checks import MOST_STEPS, check_choice, check_count
from ntk.duals import ActivationLike
from ntk.programs.architectures.blocks import check_axes
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.program import tensor_program
from ntk.programs.language.scalars import Number
from ntk.programs.language.vectors import Vector


@tensor_program
def cnn_1d(
    net: Net,
    x: Input,
    *,
    depth: int = 2,
    kernel_size: int = 3,
    stride: int = 1,
    padding: str = "same",
    pool_size: int = 1,
    pooling: str = "mean",
    activation: ActivationLike = "relu",
    w_std: Number = 1.0,
    b_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """A convolutional network over sequences (Novak et al. 2019, arXiv:1810.05148; Arora et al. 2019, 1904.11955).

        hˡ_p = (σ_w/√(kn)) Σ_o wˡ_o xˡ⁻¹_{sp+o} + σ_b bˡ   over k offsets o,   xˡ_p = φ(hˡ_p),   x⁰ = ξ with d for n
        f = (σ_v/√n) v·(1/P)Σ_p x^L_p   (pooling "mean")   or   f = (σ_v/√(Pn)) Σ_p v_p·x^L_p   ("flatten")

    Inputs are (N, T, d), as for `stax.Conv` of neural-tangents. Everything has a closed form. The limit looks at all
    P² pairs of positions with "mean", and at P pairs with "flatten".

    Args:
        net: What the program is given.
        x: One input.
        depth: L.
        kernel_size: k.
        stride: s: each layer keeps every s-th position along each axis.
        padding: "same" for zeros around the input, "circular" for positions of its other end, "valid" for none.
        pool_size: Average each layer over so many positions at a time; 1 for none.
        pooling: "mean" or "flatten".
        activation: φ.
        w_std: σ_w.
        b_std: σ_b.
        v_std: σ_v.

    Raises:
        ValueError: A count is not a positive integer, a choice is unknown, or no position is left after some layer.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> net = ntk.architectures.cnn_1d(depth=1, padding="valid", b_std=0.0)
        >>> print(f"{ntk.infinite_ntk(net, jnp.ones((1, 3, 2)))[0, 0]:.2f}")
        1.00
    """
    return _cnn(net, x, 1, depth, kernel_size, stride, padding, pool_size, pooling, activation, w_std, b_std, v_std)


@tensor_program
def cnn_2d(
    net: Net,
    x: Input,
    *,
    depth: int = 2,
    kernel_size: int = 3,
    stride: int = 1,
    padding: str = "same",
    pool_size: int = 1,
    pooling: str = "flatten",
    activation: ActivationLike = "relu",
    w_std: Number = 1.0,
    b_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """A convolutional network over images: `cnn_1d` with k×k offsets. Inputs are (N, height, width, channels).

    The default is "flatten", because the limit with "mean" looks at all pairs of positions.

    Args:
        net: What the program is given.
        x: One input.
        depth: L.
        kernel_size: k.
        stride: s: each layer keeps every s-th position along each axis.
        padding: "same" for zeros around the image, "circular" for positions of its other end, "valid" for none.
        pool_size: Average each layer over squares of so many positions a side; 1 for none.
        pooling: "flatten" or "mean".
        activation: φ, as for `ntk.activation`.
        w_std: σ_w.
        b_std: σ_b.
        v_std: σ_v.

    Raises:
        ValueError: A count is not a positive integer, a choice is unknown, or no position is left after some layer.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> net = ntk.architectures.cnn_2d(depth=1, padding="valid", b_std=0.0)
        >>> print(f"{ntk.infinite_ntk(net, jnp.ones((1, 3, 3, 2)))[0, 0]:.2f}")
        1.00
    """
    return _cnn(net, x, 2, depth, kernel_size, stride, padding, pool_size, pooling, activation, w_std, b_std, v_std)


def _cnn(
    net: Net,
    x: Input,
    num_axes: int,
    depth: int,
    kernel_size: int,
    stride: int,
    padding: str,
    pool_size: int,
    pooling: str,
    activation: ActivationLike,
    w_std: Number,
    b_std: Number,
    v_std: Number,
) -> Output:
    counts = {"depth": depth, "kernel_size": kernel_size, "stride": stride, "pool_size": pool_size}
    for name, count in counts.items():
        check_count(name, count, maximum=MOST_STEPS)
    check_choice("padding", padding, ("same", "valid", "circular"))
    check_choice("pooling", pooling, ("mean", "flatten"))
    check_axes(x, *(("positions",), ("height", "width"))[num_axes - 1], "channels")
    phi = net.phi(activation)
    z: Vector | Input = x
    for layer in range(1, depth + 1):
        window, strides = (kernel_size,) * num_axes, (stride,) * num_axes
        w = net.convolution(f"w{layer}", window, w_std, strides=strides, padding=padding)
        h = phi(w @ z + net.bias(f"b{layer}", b_std))
        z = h.pooled(*(pool_size,) * num_axes) if pool_size > 1 else h
    assert isinstance(z, Vector)
    return net.output("v", v_std) @ (z.pooled() if pooling == "mean" else z)
