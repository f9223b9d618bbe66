"""The results of one matrix drawn one after another, each given those before it.

They are Gaussian with a covariance that may depend on earlier results. With ε_k independent and standard,
y_k = Σ_{j<k} L_kjᵀ ε_j + R_kᵀ ε_k: a Cholesky factor that grows by one block at each use, with a root R_k of what is
left, so that singular covariances (an input twice, a vector of zeros) do no harm.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntk.duals.quadrature import ratio
from ntk.duals.rules import Arrays, with_rule
from ntk.linalg import highest_matmul


class Drawn(NamedTuple):
    """What the draws of a matrix's results so far are made of.

    Attributes:
        noise: Independent standard normal variables, N for each of k results.
        whitening: The matrix that would find these from all draws.
    """

    noise: Float[Array, "S kN"]
    whitening: Float[Array, "kN kN"]


def draw_given(
    earlier: Drawn | None, covariances: Sequence[Float[Array, "N N"]], noise: Float[Array, "S N"]
) -> tuple[Float[Array, "S N"], Drawn]:
    """Draws of one more result.

    Args:
        earlier: What the results before it are made of; None if there are none.
        covariances: Of each result before it with this one, and last of this one with itself.
        noise: Standard normal variables of its own.

    Returns:
        The draws, and what all of them are made of now.
    """
    left = covariances[-1]
    variances = jnp.diagonal(left)
    if earlier is None:
        root, inverse = root_of(left, variances)
        return highest_matmul(noise, root), Drawn(noise, inverse)
    L = highest_matmul(earlier.whitening, jnp.concatenate(covariances[:-1]))
    root, inverse = root_of(left - highest_matmul(L.T, L), variances)
    noise = jnp.concatenate([earlier.noise, noise], axis=1)
    draws = highest_matmul(noise, jnp.concatenate([L, root]))
    below = -highest_matmul(inverse, highest_matmul(L.T, earlier.whitening))
    return draws, Drawn(noise, jnp.block([[earlier.whitening, jnp.zeros_like(L)], [below, inverse]]))


def root_of(
    covariance: Float[Array, "N N"], variances: Float[Array, " N"]
) -> tuple[Float[Array, "N N"], Float[Array, "N N"]]:
    """R with RᵀR = the covariance, and the pseudo-inverse of Rᵀ.

    The covariance is what remains after something was subtracted, and `variances` are the diagonal before that. It is
    scaled by them first, so that a small variance beside large ones is not taken for rounding. Eigenvalues that are
    rounding count as 0 in the inverse, and only there.
    """
    deviations = jnp.sqrt(jnp.where(variances > 0, variances, 1.0))[None]
    scaled = covariance / deviations / deviations.T
    root, inverse = _roots((scaled + scaled.T) / 2.0)
    return root * deviations, inverse / deviations


def _roots(matrix: Float[Array, "N N"]) -> Arrays:
    """A^(1/2) and A^(-1/2) of a symmetric matrix A of scale one. Negative eigenvalues count as 0.

    Differentiable where eigenvalues coincide too, as those of orthogonal inputs do, in directions that keep the rank.
    """
    return with_rule(_roots_of_spectrum, _slopes_of_roots, matrix)


def _roots_of_spectrum(matrix: Float[Array, "N N"]) -> Arrays:
    spectrum = _spectrum(matrix)
    return _turned_back(spectrum, jnp.diag(spectrum.root)), _turned_back(spectrum, jnp.diag(spectrum.inverse))


def _slopes_of_roots(primals: Arrays, tangents: Arrays) -> Arrays:
    """The derivative of f(A) is VᵀdAV times the divided differences of f, turned back (Daleckii & Krein 1965)."""
    (matrix,), (change,) = primals, tangents
    spectrum = _spectrum(matrix)
    values, vectors, root, inverse = spectrum
    turned = highest_matmul(vectors.T, highest_matmul(change, vectors))
    values, root, inverse = values[None], root[None], inverse[None]
    kept = inverse > 0
    either, both = kept.T | kept, kept.T & kept
    sums = ratio(1.0, jnp.where(either, root.T + root, 0.0))
    # (1/r − 1/s)/(r² − s²) = −1/(rs(r + s)); where 1/s counts as 0 it is 1/(r (r² − s²)).
    gaps = jnp.where(either & ~both, values.T - values, 0.0)
    differences = -inverse.T * inverse * sums + ratio(inverse.T - inverse, gaps)
    return _turned_back(spectrum, sums * turned), _turned_back(spectrum, differences * turned)


class _Spectrum(NamedTuple):
    values: Float[Array, " N"]
    vectors: Float[Array, "N N"]
    root: Float[Array, " N"]
    inverse: Float[Array, " N"]


def _spectrum(matrix: Float[Array, "N N"]) -> _Spectrum:
    """Eigenvalues λ, eigenvectors, √λ, and 1/√λ. An eigenvalue that is rounding has 0 for 1/√λ."""
    values, vectors = jnp.linalg.eigh(matrix)
    root = jnp.sqrt(jnp.maximum(values, 0.0))
    kept = values > 10.0 * jnp.finfo(matrix.dtype).eps * jnp.maximum(jnp.max(values), 1.0)
    return _Spectrum(values, vectors, root, jnp.where(kept, ratio(1.0, root), 0.0))


def _turned_back(spectrum: _Spectrum, matrix: Float[Array, "N N"]) -> Float[Array, "N N"]:
    V = spectrum.vectors
    return highest_matmul(V, highest_matmul(matrix, V.T))
