"""Convolutional networks over images with residual blocks, and with dense blocks."""

from typing import TypeVar

from ntk.checks import MOST_STEPS, check_count
from ntk.duals import ActivationLike
from ntk.programs.architectures.blocks import check_axes
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.program import tensor_program
from ntk.programs.language.scalars import Number
from ntk.programs.language.vectors import Vector


@tensor_program
def wide_resnet(
    net: Net,
    x: Input,
    *,
    blocks: int = 1,
    activation: ActivationLike = "relu",
    w_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """A wide residual network (Zagoruyko & Komodakis 2016, arXiv:1605.07146), without batch norm and biases.

        z ← S * z + W² * φ(W¹ * φ(z))   in the first block of a group,   z ← z + W² * φ(W¹ * φ(z))   in all others
        f = (σ_v/√n) v·(1/P)Σ_p z_p

    Convolutions are 3×3 of standard deviation σ_w with zeros around the image. The first one reads the image, and then
    there are three groups of blocks. In the first block of the second and of the third group S and W¹ have stride 2,
    so that they halve the image. Inputs are (N, height, width, channels). Everything has a closed form. The limit
    looks at all pairs of positions.

    Args:
        net: What the program is given.
        x: One input.
        blocks: The number of blocks of a group.
        activation: φ, as for `ntk.activation`.
        w_std: σ_w.
        v_std: σ_v.

    Raises:
        ValueError: `blocks` is not a positive integer.

    Example:
        >>> import ntk
        >>> bool(ntk.check_gia(ntk.architectures.wide_resnet(blocks=4), (32, 32, 3)))
        True
    """
    check_axes(x, "height", "width", "channels")
    check_count("blocks", blocks, maximum=MOST_STEPS)
    phi, z = net.phi(activation), net.convolution("stem", (3, 3), w_std) @ x
    for group, stride in enumerate((1, 2, 2), start=1):
        for number in range(1, blocks + 1):
            block = net.scope(f"{group}/{number}")
            strides = (stride, stride) if number == 1 else (1, 1)
            h = block.convolution("w1", (3, 3), w_std, strides=strides) @ phi(z)
            h = block.convolution("w2", (3, 3), w_std) @ phi(h)
            z = h + (block.convolution("skip", (3, 3), w_std, strides=strides) @ z if number == 1 else z)
    return net.output("v", v_std) @ z.pooled()


@tensor_program
def densenet(
    net: Net,
    x: Input,
    *,
    blocks: int = 2,
    depth: int = 2,
    activation: ActivationLike = "relu",
    w_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """A densely connected network (Huang et al. 2017, arXiv:1608.06993), without batch norm and biases.

        zˡ = (σ_w/√(9ln)) Σ_{j<l} Σ_o Wˡʲ_o φ(zʲ)_{p+o}   for l = 1, …, L in each block
        z⁰ = the mean over 2×2 positions of (σ_w/√((L+1)n)) Σ_j Wʲ φ(zʲ)   in the next block
        f = (σ_v/√((L+1)n)) Σ_j vʲ·(1/P)Σ_p φ(zʲ_p)   after the last one

    A layer reads the channels of all layers of its block before it, and z⁰ of the first block is a convolution of the
    image. Convolutions are 3×3 with zeros around the image; all layers have n channels. Inputs are (N, height, width,
    channels). Everything has a closed form. The limit looks at all pairs of positions.

    Args:
        net: What the program is given.
        x: One input.
        blocks: The number of blocks.
        depth: L.
        activation: φ, as for `ntk.activation`.
        w_std: σ_w.
        v_std: σ_v.

    Raises:
        ValueError: `blocks` or `depth` is not a positive integer, or the image is too small to be halved so often.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> net = ntk.architectures.densenet(blocks=1, depth=1, activation="identity")
        >>> print(f"{ntk.infinite_kernels(net, jnp.ones((1, 1, 1, 3))).nngp[0, 0]:.4f}")  # (1/9 + 1/81)/2
        0.0617
    """
    check_axes(x, "height", "width", "channels")
    check_count("blocks", blocks, maximum=MOST_STEPS)
    check_count("depth", depth, maximum=MOST_STEPS)
    phi, z = net.phi(activation), net.convolution("stem", (3, 3), w_std) @ x
    for number in range(1, blocks + 1):
        block = net.scope(str(number))
        features = [phi(z)]
        for layer in range(1, depth + 1):
            parts = [block.convolution(f"w{layer}_{j}", (3, 3), w_std) @ z for j, z in enumerate(features)]
            features.append(phi(_concatenated(parts)))
        if number < blocks:
            z = _concatenated([block.matrix(f"transition{j}", w_std) @ z for j, z in enumerate(features)]).pooled(2, 2)
    return _concatenated([net.output(f"v{j}", v_std) @ z.pooled() for j, z in enumerate(features)])


Product = TypeVar("Product", Vector, Output)


def _concatenated(parts: list[Product]) -> Product:
    """What a weight reads of the channels of k features side by side: (1/√k) Σ_j Wʲ zʲ, from the products Wʲ zʲ."""
    return sum(parts[1:], parts[0]) / len(parts) ** 0.5
