"""The logistic distribution as a mixture of Gaussians, which gives the dual maps of tanh and others in closed form.

A standard logistic variable is τ·ε, where ε ~ N(0, 1) and τ/2 has the Kolmogorov distribution (Andrews & Mallows 1974,
"Scale mixtures of normal distributions"; Stefanski 1991). Therefore
    sigmoid(u) = E step(u + τε),   tanh(u) = E sign(u + τε/2),   softplus(u) = E relu(u + τε)   (theory.md 4.6).
The expectation of a product of two of them is a double sum of arc-cosine kernels with enlarged variances. The sum is as
accurate at variance 1e8 or at correlation 1 as anywhere else; two-dimensional quadrature is not.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

NoisyMap = Callable[..., jax.Array]

# The Gauss rule reproduces the sigmoid on the whole line, to 8e-12 with 16 nodes and to 1e-8 with 10 nodes.
_NODES = {"float64": 16}
_NODES_BELOW_FLOAT64 = 10
LOGISTIC_ACCURACY = 1e-11


def logistic_mixture(noisy_map: NoisyMap, scale: float = 1.0) -> Callable[..., jax.Array]:
    """The map E over independent τ, τ̄ of `noisy_map(q11, q12, q22, n1=(scale·τ)², n2=(scale·τ̄)²)`."""

    def dual(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
        taus, weights = logistic_nodes(_NODES.get(q12.dtype.name, _NODES_BELOW_FLOAT64))
        noise = jnp.asarray((scale * taus) ** 2, q12.dtype)
        n1, n2 = (grid.ravel() for grid in jnp.meshgrid(noise, noise, indexing="ij"))
        pair_weights = jnp.asarray(np.outer(weights, weights).ravel(), q12.dtype)

        # Reverse differentiation computes each term again instead of keeping it.
        @jax.checkpoint
        def add_term(total: jax.Array, term: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
            n1, n2, weight = term
            return total + weight * noisy_map(q11, q12, q22, n1, n2), None

        zero = jnp.zeros(jnp.broadcast_shapes(q11.shape, q12.shape, q22.shape), q12.dtype)
        return lax.scan(add_term, zero, (n1, n2, pair_weights))[0]

    return dual


@functools.cache
def logistic_nodes(num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes τ and weights of the Gauss rule in log τ for the mixing distribution, each of shape (num_nodes,).

    The nodes are the eigenvalues of a Jacobi matrix (Golub & Welsch 1969). Lanczos iteration finds the matrix from the
    density on a fine grid. The trapezoidal rule is exact to rounding there, because the density decays doubly
    exponentially.
    """
    step = 0.02
    nodes = np.arange(-3.2, 1.8, step)
    weights = step * _kolmogorov_density(np.exp(nodes)) * np.exp(nodes)
    basis = [np.sqrt(weights / weights.sum())]
    diagonal, off_diagonal = [], []
    for _ in range(num_nodes):
        vector = nodes * basis[-1]
        diagonal.append(vector @ basis[-1])
        for _ in range(2):  # twice is enough to stay orthogonal
            for q in basis:
                vector = vector - (vector @ q) * q
        off_diagonal.append(np.linalg.norm(vector))
        basis.append(vector / off_diagonal[-1])
    jacobi = np.diag(diagonal) + np.diag(off_diagonal[:-1], 1) + np.diag(off_diagonal[:-1], -1)
    log_half_tau, eigenvectors = np.linalg.eigh(jacobi)
    return 2.0 * np.exp(log_half_tau), eigenvectors[0] ** 2


def _kolmogorov_density(x: np.ndarray) -> np.ndarray:
    """The density of the Kolmogorov distribution, by the one of its two theta series that converges fast."""
    k = np.arange(1, 12)[:, None]
    with np.errstate(under="ignore"):
        large = 8.0 * x * np.sum((-1.0) ** (k - 1) * k**2 * np.exp(-2.0 * k**2 * x**2), axis=0)
        a = (2 * k - 1) ** 2 * np.pi**2 / 8.0
        small = np.sqrt(2.0 * np.pi) * np.sum(np.exp(-a / x**2) * (2.0 * a / x**4 - 1.0 / x**2), axis=0)
    return np.where(x > 1.0, large, small)
