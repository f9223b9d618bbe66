"""A linear recurrence with fixed eigenvalues between functions of each position: a deep state-space network."""

import numpy as np

from ntk.checks import MOST_STEPS, check_count, shown
from ntk.duals import ActivationLike
from ntk.programs.architectures.blocks import check_axes, read_out
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.program import tensor_program
from ntk.programs.language.scalars import Number
from ntk.programs.language.vectors import Vector

Eigenvalues = tuple[float | complex, ...]


@tensor_program
def state_space(
    net: Net,
    x: Input,
    *,
    depth: int = 1,
    eigenvalues: Eigenvalues = (0.9, 0.7 + 0.5j),
    activation: ActivationLike = "gelu",
    pooling: str = "mean",
    u_std: Number = 1.0,
    b_std: Number = 1.0,
    c_std: Number = 1.0,
    w_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """A deep linear recurrent unit (Orvieto et al. 2023, arXiv:2303.06349), a state-space network like S4D.

        h_kᵗ = λ_k h_kᵗ⁻¹ + √(1 − |λ_k|²) (σ_b/√(2n)) B_k xᵗ,   h_k⁰ = 0,   k = 1, …, S
        yᵗ = (σ_c/√(Sn)) Re Σ_k C_k h_kᵗ,   xᵗ ← xᵗ + (σ_w/√n) W φ(yᵗ)   in each of L blocks,   xᵗ = (σ_u/√d) Uξᵗ before
        f = (σ_v/√n) v·(1/T)Σₜ xᵗ   (pooling "mean")   or   f = (σ_v/√n) v·x^T   ("last")

    The matrix of the recurrence is diagonal and fixed. It has S eigenvalues λ_k, n times each, of modulus less than 1.
    B_k and C_k are complex, and entries of their real and imaginary parts are N(0, 1). The unit of the source has a
    layer norm and a gate too. Inputs are (N, T, d). Everything has a closed form.

    Args:
        net: What the program is given.
        x: One input.
        depth: L.
        eigenvalues: λ_k.
        activation: φ, as for `ntk.activation`.
        pooling: "mean" over steps, or "last".
        u_std: σ_u.
        b_std: σ_b.
        c_std: σ_c.
        w_std: σ_w.
        v_std: σ_v.

    Raises:
        ValueError: `depth` is not a positive integer, `pooling` is unknown, or `eigenvalues` is not a tuple of numbers
            of modulus less than 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> net = ntk.architectures.state_space(eigenvalues=(0.0,), activation="identity", pooling="last")
        >>> print(f"{ntk.infinite_kernels(net, jnp.array([[[5.0], [1.0]]])).nngp[0, 0]:.2f}")  # no memory: xᵗ and W y
        2.00
    """
    check_axes(x, "steps", "entries")
    check_count("depth", depth, maximum=MOST_STEPS)
    _check_eigenvalues(eigenvalues)
    phi, z = net.phi(activation), net.input_matrix("u", u_std) @ x
    for layer in range(1, depth + 1):
        block = net.scope(str(layer))
        parts = [
            _unit(block.scope(str(k)), complex(each), z, b_std, c_std) for k, each in enumerate(eigenvalues, start=1)
        ]
        y = sum(parts[1:], parts[0]) / len(parts) ** 0.5
        z = z + block.matrix("w", w_std) @ phi(y)
    return read_out(net, z, pooling, v_std)


def _unit(net: Net, eigenvalue: complex, z: Vector, b_std: Number, c_std: Number) -> Vector:
    """(σ_c/√n) Re C hᵗ of one eigenvalue. The recurrence is solved: hᵗ = Σ_{s≤t} λ^{t−s} √(1 − |λ|²) B xˢ."""
    lags = np.subtract.outer(range(len(z)), range(len(z)))
    powers = np.where(lags < 0, 0, eigenvalue ** np.maximum(lags, 0)) * np.sqrt((1 - abs(eigenvalue) ** 2) / 2)
    B, B_imaginary = net.matrix("b", b_std) @ z, net.matrix("b_imaginary", b_std) @ z
    real, imaginary = powers.real, powers.imag
    h = net.table(real) @ B - net.table(imaginary) @ B_imaginary
    h_imaginary = net.table(imaginary) @ B + net.table(real) @ B_imaginary
    return net.matrix("c", c_std) @ h - net.matrix("c_imaginary", c_std) @ h_imaginary


def _check_eigenvalues(eigenvalues: Eigenvalues) -> None:
    expected = "expected a tuple of numbers of modulus less than 1"
    if not isinstance(eigenvalues, tuple) or not eigenvalues:
        raise ValueError(f"eigenvalues is {shown(eigenvalues)}; {expected}.")
    for each in eigenvalues:
        if isinstance(each, bool) or not isinstance(each, int | float | complex) or not abs(each) < 1:
            raise ValueError(f"eigenvalues holds {shown(each)}; {expected}.")
