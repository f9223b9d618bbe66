"""Recurrent networks without gates: in one direction, and in both."""

from ntk.checks import check_choice
from ntk.duals import ActivationLike
from ntk.programs.architectures.blocks import affine, check_axes, pooled, read_out
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.program import tensor_program
from ntk.programs.language.scalars import Number
from ntk.programs.language.vectors import Vector


@tensor_program
def rnn(
    net: Net,
    x: Input,
    *,
    activation: ActivationLike = "relu",
    pooling: str = "last",
    w_std: Number = 1.0,
    u_std: Number = 1.0,
    b_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """The simple recurrent network `ntk.RNN` as a program (theory.md 2.1; Yang 2020, arXiv:2006.14548, section 7).

        sᵗ = φ((σ_w/√n) W sᵗ⁻¹ + (σ_u/√d) U ξᵗ + σ_b b),   s⁰ = 0
        f = (σ_v/√n) v·s^T   (pooling "last")   or   f = (σ_v/√n) v·(1/T)Σₜ sᵗ   (pooling "mean")

    Inputs are (N, T, d). Everything has a closed form.

    Args:
        net: What the program is given.
        x: One input.
        activation: φ, as for `ntk.activation`.
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
        >>> net = ntk.architectures.rnn(activation="identity", b_std=0.0)
        >>> print(ntk.infinite_kernels(net, jnp.ones((1, 2, 1))).nngp)
        [[2.]]
    """
    return read_out(net, _states(net, x, "", activation, w_std, u_std, b_std), pooling, v_std)


@tensor_program
def bidirectional_rnn(
    net: Net,
    x: Input,
    *,
    activation: ActivationLike = "relu",
    pooling: str = "mean",
    combination: str = "concatenation",
    w_std: Number = 1.0,
    u_std: Number = 1.0,
    b_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """Two recurrent networks, one from the last step to the first (Schuster & Paliwal 1997).

        s and r are the states of two `rnn`, each with its own parameters; r reads ξ^T, …, ξ¹
        f = (σ_v/√(2n)) (v₁·s + v₂·r)   (combination "concatenation")   or   f = (σ_v/√n) v·(s + r)   ("sum")

    Here s and r are the last states or the means over states. Inputs are (N, T, d). Everything has a closed form.

    Args:
        net: What the program is given.
        x: One input.
        activation: φ, as for `ntk.activation`.
        pooling: "last" for the last state that each direction reaches, "mean" for the mean of its states.
        combination: "concatenation" for an output weight for each direction, "sum" for one that reads the sum.
        w_std: σ_w.
        u_std: σ_u.
        b_std: σ_b.
        v_std: σ_v.

    Raises:
        ValueError: `pooling` is neither "last" nor "mean", or `combination` neither "concatenation" nor "sum".

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> x = jnp.ones((1, 2, 1))  # the same in both directions
        >>> both, one = ntk.architectures.bidirectional_rnn(pooling="last"), ntk.architectures.rnn
        >>> bool(jnp.allclose(ntk.infinite_ntk(both, x), ntk.infinite_ntk(one, x)))
        True
    """
    check_choice("combination", combination, ("concatenation", "sum"))
    s, r = (
        pooled(_states(net, steps, name, activation, w_std, u_std, b_std), pooling)
        for name, steps in (("_forward", x), ("_backward", x[::-1]))
    )
    if combination == "sum":
        return net.output("v", v_std) @ (s + r)
    return (net.output("v_forward", v_std) @ s + net.output("v_backward", v_std) @ r) / 2.0**0.5


def _states(
    net: Net, x: Input, name: str, activation: ActivationLike, w_std: Number, u_std: Number, b_std: Number
) -> Vector:
    """s¹, …, s^T as a field."""
    check_axes(x, "steps", "entries")
    phi = net.phi(activation)

    def step(s: Vector, entries: Input) -> tuple[Vector, Vector]:
        s = phi(affine(net, name, s, entries, w_std, u_std, b_std))
        return s, s

    return net.scan(step, net.zero(), x)[1]
