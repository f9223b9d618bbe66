"""Functions of a kernel matrix. One eigendecomposition serves any number of times.

They are differentiable in the kernel. If eigenvalues coincide, as with equal inputs, the derivative of eigenvectors is
infinite. The rule therefore takes divided differences of the function (Daleckii & Krein 1965). A second derivative in
the kernel is refused.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Float

from ntk.checks import is_concrete
from ntk.duals.rules import Arrays, with_rule
from ntk.dynamics.linear_algebra.filters import FILTERS
from ntk.linalg import highest_matmul

Array: TypeAlias = jax.Array | Any  # of NumPy in a predictor with float64=True


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["matrix", "eigenvalues", "eigenvectors", "ridge"], meta_fields=[]
)
@dataclass(frozen=True, eq=False)
class Spectrum:
    """The kernel with its ridge, A = K + ρI, and its eigendecomposition.

    Attributes:
        matrix: A, (N, N).
        eigenvalues: μ of A, (N,), ascending. An eigenvalue is set to 0 if rounding hides its difference from 0 and the
            ridge is 0.
        eigenvectors: (N, N); each column is an eigenvector.
        ridge: ρ.
    """

    matrix: Array
    eigenvalues: Array
    eigenvectors: Array
    ridge: Array


def decompose(matrix: Float[jax.Array, "N N"], rho: Float[jax.Array, ""], computed_in: DTypeLike) -> Spectrum:
    """The spectrum of a symmetric matrix A = K + ρI. A concrete one must be positive semidefinite.

    `computed_in` is the dtype to which the kernel's entries are accurate.

    Raises:
        ValueError: A has an eigenvalue below −√ε of the largest, more negative than rounding explains.
    """
    spectrum, lowest = _decompose(matrix, rho)
    if is_concrete(lowest):
        largest = float(jnp.max(jnp.abs(spectrum.eigenvalues)))
        check_semidefinite(float(lowest), largest, computed_in)
    return spectrum


def check_semidefinite(lowest: float, largest: float, dtype: DTypeLike) -> None:
    """Refuse a spectrum that is not finite, or whose lowest eigenvalue is more negative than rounding explains."""
    if not math.isfinite(lowest):
        raise ValueError(
            f"k_train_train and its ridge have eigenvalues beyond {float(jnp.finfo(dtype).max):.1e}, the range of"
            f" {jnp.dtype(dtype).name}; expected smaller entries."
        )
    if not lowest >= -(float(jnp.finfo(dtype).eps) ** 0.5) * largest:
        raise ValueError(
            f"k_train_train has an eigenvalue of {lowest:.3g}, and its largest is {largest:.3g}; expected a positive"
            f" semidefinite kernel. What helps: a ridge above {-lowest:.3g}, or a kernel computed more accurately than"
            f" in {jnp.dtype(dtype).name}."
        )


@jax.jit
def _decompose(matrix: jax.Array, rho: jax.Array) -> tuple[Spectrum, jax.Array]:
    mu, vectors = jnp.linalg.eigh(lax.stop_gradient(matrix))
    rounding = len(mu) * jnp.finfo(mu.dtype).eps * jnp.max(jnp.abs(mu))
    # The most negative eigenvalue shows how wrong any eigenvalue may be.
    noise = jnp.maximum(rounding, -(mu[0] - lax.stop_gradient(rho)))
    kept = (mu - lax.stop_gradient(rho) > noise) | (rho > noise)
    return Spectrum(matrix, jnp.where(kept, mu, 0), vectors, rho), mu[0]


def filtered(
    spectrum: Spectrum,
    kind: tuple[str, str],
    t: jax.Array,
    rate: jax.Array,
    momentum: jax.Array,
    columns: jax.Array,
) -> jax.Array:
    """h(A, t) times columns, for every t.

    Args:
        spectrum: The spectrum of A = K + ρI.
        kind: The name of a filter, "flow" or "steps", and of a function h. "coefficients" is h = g. "residual" is
            h = q + ρg = 1 − (A − ρ)g, the share of the error that is left on the training points. Directions of
            eigenvalue 0 are not trained: g = 0, q = 1.
        t: (T,). It may hold inf.
        rate: η, one number.
        momentum: β, one number.
        columns: (N, c).

    Returns:
        (T, N, c).
    """
    numbers = (t, rate, momentum, spectrum.ridge)
    arrays = spectrum.matrix, spectrum.eigenvalues, spectrum.eigenvectors, *numbers, columns
    return with_rule(functools.partial(_filtered, kind), functools.partial(_filtered_slope, kind), *arrays)[0]


def _weights(kind: tuple[str, str], mu: jax.Array, numbers: tuple[jax.Array, ...]) -> jax.Array:
    """h(μ, t), (T, *mu.shape)."""
    t, rate, momentum, ridge = numbers
    mu, t = mu[None], t.reshape(-1, *(1 for _ in mu.shape))
    trained, ended = mu > 0, jnp.isinf(t)
    positive = jnp.where(trained, mu, 1)
    # t = inf is treated separately. Derivatives would be 0 times infinity.
    q, g = FILTERS[kind[0]](positive, jnp.where(ended, 0, t), rate, momentum)
    q, g = jnp.where(ended, 0, q), jnp.where(ended, 1 / positive, g)
    return jnp.where(trained, g, 0) if kind[1] == "coefficients" else jnp.where(trained, q + ridge * g, 1)


def _filtered(kind: tuple[str, str], matrix: jax.Array, mu: jax.Array, vectors: jax.Array, *rest: jax.Array) -> Arrays:
    *numbers, columns = rest
    weights = _weights(kind, mu, tuple(numbers))[..., None]
    return (highest_matmul(vectors[None], weights * highest_matmul(vectors.T, columns)[None]),)


def _filtered_slope(kind: tuple[str, str], primals: Arrays, tangents: Arrays) -> Arrays:
    (matrix, mu, vectors), numbers, columns = primals[:3], primals[3:-1], primals[-1]
    d_matrix, d_numbers, d_columns = tangents[0], tangents[3:-1], tangents[-1]
    mu, vectors = with_rule(lambda matrix, *spectrum: spectrum, _refused_twice, matrix, mu, vectors)
    weights, d_weights = jax.jvp(lambda numbers: _weights(kind, mu, numbers), (numbers,), (d_numbers,))
    along, d_along = highest_matmul(vectors.T, columns)[None], highest_matmul(vectors.T, d_columns)[None]
    in_basis = highest_matmul(vectors.T, highest_matmul(d_matrix, vectors))

    def turned(time: jax.Array) -> jax.Array:
        differences = _divided_differences(kind, mu, (time[None], *numbers[1:]))[0]
        return highest_matmul(differences * in_basis, along[0])

    # One time after another. All at once would need T arrays (N, N).
    change = d_weights[..., None] * along + weights[..., None] * d_along + lax.map(jax.checkpoint(turned), numbers[0])
    return (highest_matmul(vectors[None], change),)


def _refused_twice(primals: Arrays, tangents: Arrays) -> Arrays:
    """Refuse to differentiate eigenvalues and eigenvectors in the matrix. Only a second derivative asks for it."""
    raise ValueError(
        "a second derivative in the kernel is not available; expected a first derivative. What helps: differences of"
        " gradients, or log_marginal_likelihood, which has all derivatives."
    )


def _divided_differences(kind: tuple[str, str], mu: jax.Array, numbers: tuple[jax.Array, ...]) -> jax.Array:
    """(h(μᵢ) − h(μⱼ))/(μᵢ − μⱼ), (T, N, N). For close eigenvalues it is the derivative of h at their middle."""
    gap, middle = mu[:, None] - mu[None], (mu[:, None] + mu[None]) / 2
    # The quotient is wrong by ε/gap, the derivative by gap². They are equal at the cube root of ε.
    close = jnp.abs(gap) <= jnp.finfo(mu.dtype).eps ** (1 / 3) * middle
    weights = _weights(kind, mu, numbers)
    slope = jax.jvp(lambda mu: _weights(kind, mu, numbers), (middle,), (jnp.ones_like(middle),))[1]
    return jnp.where(close[None], slope, (weights[:, :, None] - weights[:, None, :]) / jnp.where(close, 1, gap)[None])
