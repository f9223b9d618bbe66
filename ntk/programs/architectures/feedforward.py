"""Perceptrons: plain, with residual branches, and with one matrix for all layers."""

from ntk.checks import MOST_STEPS, check_choice, check_count
from ntk.duals import ActivationLike
from ntk.programs.architectures.blocks import check_axes, product, read_out
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.program import tensor_program
from ntk.programs.language.scalars import Number
from ntk.programs.language.vectors import Vector


@tensor_program
def mlp(
    net: Net,
    x: Input,
    *,
    depth: int = 2,
    activation: ActivationLike = "relu",
    w_std: Number = 1.0,
    b_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """The multilayer perceptron `ntk.MLP` as a program (theory.md 1.1; Jacot et al. 2018, arXiv:1806.07572).

        h¹ = (σ_w/√d) w¹ξ + σ_b b¹,   hˡ = (σ_w/√n) wˡxˡ⁻¹ + σ_b bˡ,   xˡ = φ(hˡ),   f = (σ_v/√n) v·x^L

    L = 0 gives the linear model f = (σ_v/√d) v·ξ. Inputs are (N, d). Parameters are called w1, b1, …, v.
    Everything has a closed form.

    Args:
        net: What the program is given.
        x: One input.
        depth: L.
        activation: φ, as for `ntk.activation`.
        w_std: σ_w.
        b_std: σ_b.
        v_std: σ_v.

    Raises:
        ValueError: `depth` is not an integer of at least 0.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> net = ntk.architectures.mlp(depth=1, b_std=0.0)
        >>> print(f"{ntk.infinite_ntk(net, jnp.array([[1.0, 1.0]]))[0, 0]:.2f}")
        1.00
    """
    check_axes(x, "entries")
    check_count("depth", depth, minimum=0, maximum=MOST_STEPS)
    phi = net.phi(activation)
    z: Vector | Input = x
    for layer in range(1, depth + 1):
        z = phi(product(net, f"w{layer}", z, w_std) + net.bias(f"b{layer}", b_std))
    return net.output("v", v_std) @ z


@tensor_program
def residual_mlp(
    net: Net,
    x: Input,
    *,
    depth: int = 2,
    activation: ActivationLike = "relu",
    u_std: Number = 1.0,
    w_std: Number = 1.0,
    b_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """A perceptron with residual branches (He et al. 2016, arXiv:1603.05027; identity mappings, φ before each matrix).

        x⁰ = (σ_u/√d) Uξ,   xˡ = xˡ⁻¹ + (σ_w/√n) wˡφ(xˡ⁻¹) + σ_b bˡ,   f = (σ_v/√n) v·φ(x^L)

    Inputs are (N, d). Everything has a closed form.

    Args:
        net: What the program is given.
        x: One input.
        depth: L.
        activation: φ, as for `ntk.activation`.
        u_std: σ_u.
        w_std: σ_w.
        b_std: σ_b.
        v_std: σ_v.

    Raises:
        ValueError: `depth` is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> net = ntk.architectures.residual_mlp(depth=1, b_std=0.0)
        >>> print(f"{ntk.infinite_kernels(net, jnp.array([[1.0, 1.0]])).nngp[0, 0]:.2f}")
        0.75
    """
    check_axes(x, "entries")
    check_count("depth", depth, maximum=MOST_STEPS)
    phi, z = net.phi(activation), net.input_matrix("u", u_std) @ x
    for layer in range(1, depth + 1):
        z = z + net.matrix(f"w{layer}", w_std) @ phi(z) + net.bias(f"b{layer}", b_std)
    return net.output("v", v_std) @ phi(z)


@tensor_program
def tied_mlp(
    net: Net,
    x: Input,
    *,
    depth: int = 3,
    activation: ActivationLike = "relu",
    pooling: str = "last",
    w_std: Number = 1.0,
    b_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """A perceptron whose hidden layers share one matrix, w² = … = w^L = w (Yang 2020, arXiv:2006.14548, section 5).

        h¹ = (σ_w/√d) w¹ξ + σ_b b¹,   hˡ = (σ_w/√n) w xˡ⁻¹ + σ_b bˡ,   xˡ = φ(hˡ)
        f = (σ_v/√n) v·x^L   (pooling "last")   or   f = (σ_v/√n) v·(1/L)Σ xˡ   (pooling "mean")

    The gradient in w is a sum over the uses of w. So its part of the NTK is the double sum
    Σ_{l,m} σ_w² D(hˡ⁺¹, h̄ᵐ⁺¹) C(xˡ, x̄ᵐ). With "last" the terms of two different layers vanish in the limit, and the
    kernel is that of `mlp`. With "mean" they do not vanish. Inputs are (N, d). Everything has a closed form.

    Args:
        net: What the program is given.
        x: One input.
        depth: L.
        activation: φ, as for `ntk.activation`.
        pooling: "last" to read the last layer, "mean" to read the mean of all layers.
        w_std: σ_w.
        b_std: σ_b.
        v_std: σ_v.

    Raises:
        ValueError: `depth` is not an integer of at least 2, or `pooling` is neither "last" nor "mean".

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> x = jnp.array([[1.0, 2.0], [0.5, -1.0]])
        >>> tied, untied = ntk.architectures.tied_mlp(depth=3), ntk.architectures.mlp(depth=3)
        >>> bool(jnp.allclose(ntk.infinite_ntk(tied, x), ntk.infinite_ntk(untied, x)))
        True
    """
    check_axes(x, "entries")
    check_count("depth", depth, minimum=2, maximum=MOST_STEPS)
    check_choice("pooling", pooling, ("last", "mean"))
    phi, w = net.phi(activation), net.matrix("w", w_std)
    states = [phi(net.input_matrix("w1", w_std) @ x + net.bias("b1", b_std))]
    for layer in range(2, depth + 1):
        states.append(phi(w @ states[-1] + net.bias(f"b{layer}", b_std)))
    return read_out(net, states, pooling, v_std)


@tensor_program
def deep_equilibrium(
    net: Net,
    x: Input,
    *,
    steps: int = 8,
    activation: ActivationLike = "relu",
    w_std: Number = 0.5,
    u_std: Number = 1.0,
    b_std: Number = 0.0,
    v_std: Number = 1.0,
) -> Output:
    """A deep equilibrium network (Bai et al. 2019, arXiv:1909.01377; its NTK: Feng & Kolter 2023, arXiv:2310.14062).

        zˡ = φ((σ_w/√n) W zˡ⁻¹ + (σ_u/√d) Uξ + σ_b b),   z⁰ = 0,   f = (σ_v/√n) v·z^L

    All layers have the same W, U and b. The network is at equilibrium as L → ∞. Each step brings the limit nearer to
    its fixed point, by the factor σ_w²/2 or less if φ is ReLU. Inputs are (N, d). Everything has a closed form, and
    compiling costs the same for all L.

    Args:
        net: What the program is given.
        x: One input.
        steps: L.
        activation: φ, as for `ntk.activation`.
        w_std: σ_w.
        u_std: σ_u.
        b_std: σ_b.
        v_std: σ_v.

    Raises:
        ValueError: `steps` is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> net = ntk.architectures.deep_equilibrium(steps=30)
        >>> print(f"{ntk.infinite_kernels(net, jnp.array([[1.0]])).nngp[0, 0]:.4f}")  # K = (σ_w² K + 1)/2
        0.5714
    """
    check_axes(x, "entries")
    check_count("steps", steps, maximum=MOST_STEPS)
    phi, w = net.phi(activation), net.matrix("w", w_std)
    read = net.input_matrix("u", u_std) @ x + net.bias("b", b_std)

    def step(z: Vector, _: None) -> tuple[Vector, None]:
        return phi(w @ z + read), None

    return net.output("v", v_std) @ net.scan(step, net.zero(), length=steps)[0]
