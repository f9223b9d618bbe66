"""Recurrent networks with gates; their products of vectors are sampled in the limit."""

from ntk.programs.architectures.blocks import affine, check_axes, layer_norm, read_out
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.program import tensor_program
from ntk.programs.language.scalars import Number
from ntk.programs.language.vectors import Vector


@tensor_program
def lstm(
    net: Net,
    x: Input,
    *,
    pooling: str = "last",
    w_std: Number = 1.0,
    u_std: Number = 1.0,
    b_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """Long short-term memory (Hochreiter & Schmidhuber 1997; with forget gates, Gers et al. 2000).

        iᵗ, fᵗ, oᵗ = sigmoid(aᵗ),   gᵗ = tanh(aᵗ),   aᵗ = (σ_w/√n) W hᵗ⁻¹ + (σ_u/√d) U ξᵗ + σ_b b   each with W, U, b
        cᵗ = fᵗcᵗ⁻¹ + iᵗgᵗ,   hᵗ = oᵗ tanh(cᵗ),   h⁰ = c⁰ = 0
        f = (σ_v/√n) v·h^T   (pooling "last")   or   f = (σ_v/√n) v·(1/T)Σₜ hᵗ   (pooling "mean")

    Inputs are (N, T, d). The limit is sampled.

    Args:
        net: What the program is given.
        x: One input.
        pooling: "last" for the state after the last step, "mean" for the mean over steps.
        w_std: σ_w.
        u_std: σ_u.
        b_std: σ_b.
        v_std: σ_v.

    Raises:
        ValueError: `pooling` is neither "last" nor "mean".

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> bool(ntk.check_gia(ntk.architectures.lstm, (5, 3)))
        True
        >>> k = ntk.infinite_kernels(ntk.architectures.lstm, jnp.ones((2, 1, 3)), samples=256)
        >>> k.ntk.shape, k.standard_error.ntk.shape
        ((2, 2), (2, 2))
    """
    sigmoid, tanh = net.phi("sigmoid"), net.phi("tanh")
    check_axes(x, "steps", "entries")

    def step(states: tuple[Vector, Vector], entries: Input) -> tuple[tuple[Vector, Vector], Vector]:
        h, c = states
        i, f, g, o = (affine(net, f"_{gate}", h, entries, w_std, u_std, b_std) for gate in "ifgo")
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        return (h, c), h

    return read_out(net, net.scan(step, (net.zero(), net.zero()), x)[1], pooling, v_std)


@tensor_program
def gru(
    net: Net,
    x: Input,
    *,
    pooling: str = "last",
    w_std: Number = 1.0,
    u_std: Number = 1.0,
    b_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078).

        zᵗ = sigmoid(a_z(hᵗ⁻¹)),   rᵗ = sigmoid(a_r(hᵗ⁻¹)),   gᵗ = tanh(a_g(rᵗhᵗ⁻¹))
        hᵗ = zᵗhᵗ⁻¹ + (1 − zᵗ)gᵗ,   h⁰ = 0

    with aᵗ(s) = (σ_w/√n) W s + (σ_u/√d) U ξᵗ + σ_b b, where each gate has its own W, U and b. The output is that of
    `lstm`. Inputs are (N, T, d). The limit is sampled.

    Args:
        net: What the program is given.
        x: One input.
        pooling: "last" for the state after the last step, "mean" for the mean over steps.
        w_std: σ_w.
        u_std: σ_u.
        b_std: σ_b.
        v_std: σ_v.

    Raises:
        ValueError: `pooling` is neither "last" nor "mean".

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> k = ntk.infinite_kernels(ntk.architectures.gru, jnp.zeros((1, 1, 3)), samples=256)
        >>> bool(0 < k.nngp[0, 0] < 1)  # |h¹| < 1
        True
    """
    sigmoid, tanh = net.phi("sigmoid"), net.phi("tanh")
    stds = w_std, u_std, b_std
    check_axes(x, "steps", "entries")

    def step(h: Vector, entries: Input) -> tuple[Vector, Vector]:
        z, r = (sigmoid(affine(net, f"_{gate}", h, entries, *stds)) for gate in "zr")
        h = z * h + (1.0 - z) * tanh(affine(net, "_g", r * h, entries, *stds))
        return h, h

    return read_out(net, net.scan(step, net.zero(), x)[1], pooling, v_std)


@tensor_program
def layer_norm_gated_rnn(
    net: Net,
    x: Input,
    *,
    pooling: str = "last",
    w_std: Number = 1.0,
    u_std: Number = 1.0,
    b_std: Number = 1.0,
    v_std: Number = 1.0,
    epsilon: Number = 1e-5,
) -> Output:
    """A recurrent network with one gate and layer norm (Zhou et al. 2016, arXiv:1603.09420; Ba et al. 2016).

        zᵗ = sigmoid(LN(a_z(hᵗ⁻¹))),   hᵗ = zᵗhᵗ⁻¹ + (1 − zᵗ)tanh(LN(a_g(hᵗ⁻¹))),   h⁰ = 0

    with aᵗ(s) = (σ_w/√n) W s + (σ_u/√d) U ξᵗ + σ_b b, where each gate has its own W, U and b. In
    LN(a) = (a − μ)/√(s² + ε) the mean μ and the variance s² are over coordinates. The output is that of `lstm`. Inputs
    are (N, T, d). The limit is sampled.

    Args:
        net: What the program is given.
        x: One input.
        pooling: "last" for the state after the last step, "mean" for the mean over steps.
        w_std: σ_w.
        u_std: σ_u.
        b_std: σ_b.
        v_std: σ_v.
        epsilon: ε.

    Raises:
        ValueError: `pooling` is neither "last" nor "mean".

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> net, x = ntk.architectures.layer_norm_gated_rnn(b_std=0.0), jnp.ones((1, 1, 3))
        >>> small, large = (ntk.infinite_kernels(net, scale * x, samples=256).nngp for scale in (1.0, 10.0))
        >>> bool(jnp.allclose(small, large, rtol=1e-4))
        True
    """
    sigmoid, tanh = net.phi("sigmoid"), net.phi("tanh")

    check_axes(x, "steps", "entries")

    def normalized(name: str, state: Vector, entries: Input) -> Vector:
        return layer_norm(net, affine(net, name, state, entries, w_std, u_std, b_std), epsilon)

    def step(h: Vector, entries: Input) -> tuple[Vector, Vector]:
        z = sigmoid(normalized("_z", h, entries))
        h = z * h + (1.0 - z) * tanh(normalized("_g", h, entries))
        return h, h

    return read_out(net, net.scan(step, net.zero(), x)[1], pooling, v_std)
