"""The local Rademacher complexity of a kernel, from its spectrum: of the functions that are small on the sample.

With the eigenvalues λ̂_j of K/m, for ‖f‖ ≤ B and (1/m) Σ f(x_i)² ≤ r (Mendelson 2002; Bartlett, Bousquet & Mendelson
2005, Lemma 6.6),

    ½ ψ(r) ≤ E_σ sup_f (1/m) Σ σ_i f(x_i) ≤ ψ(r) = √((2/m) Σ_j min(r, B² λ̂_j)).
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from bounds.arrays import as_gram, as_nonnegative_scalar, check_spectrum, square_root
from ntk.checks import check_representable


def local_rademacher(gram: ArrayLike, r: ArrayLike, radius: ArrayLike = 1.0) -> jax.Array:
    """ψ(r), at least the empirical complexity of f in a kernel ball with (1/m) Σ f(x_i)² ≤ r and at most twice it.

    Args:
        gram: K, (m, m), symmetric positive semidefinite, float32 or float64.
        r: r ≥ 0.
        radius: B ≥ 0.

    Returns:
        A scalar.

    Raises:
        TypeError: gram is no array of float32 or float64.
        ValueError: gram is not square, not symmetric, not finite or has a negative eigenvalue, or r or radius is no
            number of at least 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import local_rademacher
        >>> print(f"{local_rademacher(jnp.diag(jnp.array([8.0, 2.0])), r=1.0):.4f}")  # λ̂ = 4 and 1: √(1 + 1)
        1.4142
    """
    gram = as_gram("gram", gram)
    r, radius = (as_nonnegative_scalar(name, value, gram.dtype) for name, value in (("r", r), ("radius", radius)))
    result, spectrum = _local(gram, r, radius)
    check_spectrum("gram", spectrum[0], spectrum[-1])
    check_representable(local_rademacher=result)
    return result


def local_fixed_point(gram: ArrayLike, radius: ArrayLike = 1.0) -> jax.Array:
    """The r* > 0 with ψ(r*) = r*, the order of the excess risk of least squares in a kernel ball.

    ψ² is the least of the lines (2/m) (h r + B² Σ_{j>h} λ̂_j), h = 0, …, m, so r* is the least of their fixed points,
    h/m + √(h²/m² + (2/m) B² Σ_{j>h} λ̂_j): a number of directions and the tail of the spectrum beyond them (Bartlett,
    Bousquet & Mendelson 2005, Corollary 6.7). A measure: bounds on the risk multiply it by constants of the loss.

    Args:
        gram: K, (m, m), symmetric positive semidefinite, float32 or float64.
        radius: B ≥ 0.

    Returns:
        A scalar.

    Raises:
        TypeError: gram is no array of float32 or float64.
        ValueError: gram is not square, not symmetric, not finite or has a negative eigenvalue, or radius is no number
            of at least 0.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import local_fixed_point, local_rademacher
        >>> gram = jnp.diag(jnp.array([8.0, 2.0, 1.0, 1.0]))
        >>> r = local_fixed_point(gram)
        >>> print(f"{r:.4f} {local_rademacher(gram, r):.4f}")
        1.0000 1.0000
    """
    gram = as_gram("gram", gram)
    result, spectrum = _fixed_point(gram, as_nonnegative_scalar("radius", radius, gram.dtype))
    check_spectrum("gram", spectrum[0], spectrum[-1])
    check_representable(local_fixed_point=result)
    return result


@jax.jit
def _local(gram: jax.Array, r: jax.Array, radius: jax.Array) -> tuple[jax.Array, jax.Array]:
    """ψ(r), and the eigenvalues of K."""
    spectrum = jnp.linalg.eigvalsh(gram)
    return square_root(2 / len(gram) * jnp.sum(jnp.minimum(r, _scaled(spectrum, radius)))), spectrum


@jax.jit
def _fixed_point(gram: jax.Array, radius: jax.Array) -> tuple[jax.Array, jax.Array]:
    """r*, and the eigenvalues of K."""
    m, spectrum = len(gram), jnp.linalg.eigvalsh(gram)
    # From the smallest on, so that the sum over the tail is not a difference; the sum beyond all m is 0.
    tails = jnp.append(jnp.cumsum(_scaled(spectrum, radius))[::-1], 0)
    share = jnp.arange(m + 1, dtype=gram.dtype) / m
    return jnp.min(share + square_root(share**2 + 2 / m * tails)), spectrum


def _scaled(spectrum: jax.Array, radius: jax.Array) -> jax.Array:
    """B² λ̂_j, ascending."""
    return radius**2 * jnp.maximum(spectrum, 0) / len(spectrum)
