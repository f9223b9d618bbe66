"""The local Rademacher complexity of a kernel, from its spectrum: only functions that are small on the sample count.

Let λ̂_j be the eigenvalues of K/m. For ‖f‖ ≤ B and (1/m) Σ f(x_i)² ≤ r (Mendelson 2002; Bartlett, Bousquet & Mendelson
2005, Lemma 6.6; theory.md 11.9),

    ½ ψ(r) ≤ E_σ sup_f (1/m) Σ σ_i f(x_i) ≤ ψ(r) = √((2/m) Σ_j min(r, B² λ̂_j)).
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from bounds.arrays import as_gram, check_spectrum, square_root
from ntk.checks import as_nonnegative_number, check_representable


def local_rademacher(gram: Shaped[ArrayLike, "m m"], r: ArrayLike, radius: ArrayLike = 1.0) -> Float[Array, ""]:
    """ψ(r), which bounds the empirical complexity of a kernel ball's f with (1/m) Σ f(x_i)² ≤ r up to a factor of 2.

    It is at least that complexity and at most twice it (theory.md 11.9).

    Args:
        gram: K, (m, m), symmetric positive semidefinite, float32 or float64.
        r: r ≥ 0.
        radius: B ≥ 0.

    Returns:
        A scalar.

    Raises:
        TypeError: gram is not an array of float32 or float64.
        ValueError: gram is not square, not symmetric, not finite or has a negative eigenvalue, or r or radius is not
            a number of at least 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import local_rademacher
        >>> print(f"{local_rademacher(jnp.diag(jnp.array([8.0, 2.0])), r=1.0):.4f}")  # λ̂ = 4 and 1: √(1 + 1)
        1.4142
    """
    gram = as_gram("gram", gram)
    r, radius = (as_nonnegative_number(name, value, gram.dtype) for name, value in (("r", r), ("radius", radius)))
    result: Float[Array, ""]
    result, spectrum = _local(gram, r, radius)
    check_spectrum("gram", spectrum[0], spectrum[-1])
    check_representable(local_rademacher=result)
    return result


def local_fixed_point(gram: Shaped[ArrayLike, "m m"], radius: ArrayLike = 1.0) -> Float[Array, ""]:
    """The r* > 0 with ψ(r*) = r*, the order of the excess risk of least squares in a kernel ball (theory.md 11.9).

    ψ² is the least of the lines (2/m) (h r + B² Σ_{j>h} λ̂_j), h = 0, …, m. So r* is the least of their fixed points
    h/m + √(h²/m² + (2/m) B² Σ_{j>h} λ̂_j), each with h directions and the tail of the spectrum beyond them
    (Bartlett, Bousquet & Mendelson 2005, Corollary 6.7). It is a measure: bounds on the risk multiply it by constants
    of the loss.

    Args:
        gram: K, (m, m), symmetric positive semidefinite, float32 or float64.
        radius: B ≥ 0.

    Returns:
        A scalar.

    Raises:
        TypeError: gram is not an array of float32 or float64.
        ValueError: gram is not square, not symmetric, not finite or has a negative eigenvalue, or radius is not a
            number of at least 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import local_fixed_point, local_rademacher
        >>> gram = jnp.diag(jnp.array([8.0, 2.0, 1.0, 1.0]))
        >>> r = local_fixed_point(gram)
        >>> print(f"{r:.4f} {local_rademacher(gram, r):.4f}")
        1.0000 1.0000
    """
    gram = as_gram("gram", gram)
    result: Float[Array, ""]
    result, spectrum = _fixed_point(gram, as_nonnegative_number("radius", radius, gram.dtype))
    check_spectrum("gram", spectrum[0], spectrum[-1])
    check_representable(local_fixed_point=result)
    return result


@jax.jit
def _local(
    gram: Float[Array, "m m"], r: Float[Array, ""], radius: Float[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, " m"]]:
    """ψ(r), and the eigenvalues of K."""
    spectrum = jnp.linalg.eigvalsh(gram)
    return square_root(2 / len(gram) * jnp.sum(jnp.minimum(r, _scaled(spectrum, radius)))), spectrum


@jax.jit
def _fixed_point(gram: Float[Array, "m m"], radius: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, " m"]]:
    """r*, and the eigenvalues of K."""
    m, spectrum = len(gram), jnp.linalg.eigvalsh(gram)
    # The sums start from the smallest eigenvalue, so that no tail is a difference of sums. The tail beyond all m is 0.
    tails = jnp.append(jnp.cumsum(_scaled(spectrum, radius))[::-1], 0)
    share = jnp.arange(m + 1, dtype=gram.dtype) / m
    return jnp.min(share + square_root(share**2 + 2 / m * tails)), spectrum


def _scaled(spectrum: Float[Array, " m"], radius: Float[Array, ""]) -> Float[Array, " m"]:
    """B² λ̂_j, ascending."""
    return radius**2 * jnp.maximum(spectrum, 0) / len(spectrum)
