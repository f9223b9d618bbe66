"""Norms of weight matrices, layer by layer and along all paths."""

import functools
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Shaped

from bounds.arrays import as_data, euclidean_norm, scale_of, square_root
from bounds.checks import as_positive, as_scalar
from bounds.networks.weights import dense_matrices, layer_matrices
from ntk.checks import MOST_STEPS, check_choice, check_count, check_representable, is_concrete
from ntk.linalg import highest_matmul
from ntk.trees import Params

# The number of vectors that are iterated together. With eight vectors the ninth singular value sets the rate of
# convergence, and not the second.
_BLOCK = 8
_TOLERANCE = 1e-4
MAX_STEPS = 10_000
Progress = tuple[
    Array, Array, Array, Array
]  # the number of steps; the best vector, its residual, and WᵀW times the block


class SpectralNorm(NamedTuple):
    """The largest singular value, as power iteration finds it.

    Attributes:
        norm: A scalar, ‖W v‖ for the unit vector v that was found. It is never more than ‖W‖_σ, up to rounding.
        residual: A scalar, ‖WᵀW v − ‖Wv‖² v‖/‖Wv‖². Some singular value s has |s²/‖Wv‖² − 1| at most this.
        converged: A scalar, whether the residual fell below the tolerance.
    """

    norm: Float[Array, ""]
    residual: Float[Array, ""]
    converged: Bool[Array, ""]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["frobenius", "l1", "l21", "spectral", "stable_rank", "converged"],
    meta_fields=["names"],
)
@dataclass(frozen=True)
class LayerNorms:
    """Norms of each of L weight matrices W (in, out) (theory.md 12.1); it prints as a table.

    Attributes:
        names: The paths of the matrices in the parameter tree.
        frobenius: (L,), ‖W‖_F.
        l1: (L,), ‖W‖₁ = Σ|w_ij|.
        l21: (L,), ‖W‖_{2,1}: the sum over output units of Euclidean norms, ‖Aᵀ‖_{2,1} for A = Wᵀ (Bartlett et al.
            2017).
        spectral: (L,), ‖W‖_σ.
        stable_rank: (L,), ‖W‖_F²/‖W‖_σ², 0 for a zero matrix.
        converged: (L,), whether the power iteration of the spectral norm converged.
    """

    names: tuple[str, ...]
    frobenius: Float[Array, "*stack L"]
    l1: Float[Array, "*stack L"]
    l21: Float[Array, "*stack L"]
    spectral: Float[Array, "*stack L"]
    stable_rank: Float[Array, "*stack L"]
    converged: Bool[Array, "*stack L"]

    def __str__(self) -> str:
        columns = {name: getattr(self, name) for name in ("frobenius", "l1", "l21", "spectral", "stable_rank")}
        width = max(len("layer"), *map(len, self.names))
        lines = [f"{'layer':<{width}}" + "".join(f"{name:>12}" for name in columns)]
        for i, name in enumerate(self.names):
            lines.append(f"{name:<{width}}" + "".join(f"{float(column[i]):>12.4g}" for column in columns.values()))
        return "\n".join(lines)


def spectral_norm(
    matrix: Shaped[ArrayLike, "in out"], tolerance: float = _TOLERANCE, max_steps: int = MAX_STEPS
) -> SpectralNorm:
    """‖W‖_σ, the largest singular value, by block power iteration from fixed pseudo-random vectors (theory.md 12.1).

    Its gradient is u vᵀ with u and v held fixed. First derivatives are right, and higher ones are not.

    Args:
        matrix: W, (in, out), float32 or float64.
        tolerance: The iteration stops when the residual is at most this. Some singular value then has a relative
            distance of at most half of it; this is the largest one, unless many others are about as large. In float32
            the residual stays above 1e-6.
        max_steps: The largest number of steps.

    Returns:
        `SpectralNorm`: the norm, the residual, whether it converged.

    Raises:
        TypeError: matrix is not an array of float32 or float64.
        ValueError: matrix is not (in, out) or is not finite, the tolerance is not positive, or max_steps is below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.networks.norms import spectral_norm
        >>> norm, residual, converged = spectral_norm(jnp.diag(jnp.array([1.0, 3.0, 2.0])))
        >>> print(f"{norm:.4f} {converged}")
        3.0000 True
    """
    matrix = as_data("matrix", matrix, "(in, out)")
    tolerance = as_scalar(as_positive, "tolerance", tolerance)
    check_count("max_steps", max_steps, maximum=MOST_STEPS)
    found: SpectralNorm = _spectral_norm(matrix, tolerance, max_steps)
    return found


def layer_norms(params: Params) -> LayerNorms:
    """All norms of every weight matrix (theory.md 12.1).

    Args:
        params: The weights of dense layers, (in, out), and of convolutions, (…, in, out): a tree of Flax Linen or NNX,
            a list, or `WeightMatrices`.

    Returns:
        `LayerNorms`. There is a warning where a spectral norm has not converged.

    Raises:
        TypeError: A matrix is not of float32 or float64.
        ValueError: No leaf is a matrix, a matrix is not finite, no order makes them layers of a network, or a norm
            leaves the range of the dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.networks.norms import layer_norms
        >>> print(layer_norms({"w": jnp.array([[3.0, 0.0], [4.0, 1.0]])}))
        layer   frobenius          l1         l21    spectral stable_rank
        w           5.099           8           6       5.064       1.014
    """
    weights = layer_matrices("params", params)
    found = [_norms(w, MAX_STEPS) for w in weights.matrices]
    norms = LayerNorms(weights.names, **{name: jnp.stack([of_one[name] for of_one in found]) for name in found[0]})
    check_representable(frobenius=norms.frobenius, l1=norms.l1, l21=norms.l21, spectral=norms.spectral)
    if is_concrete(norms) and not norms.converged.all():
        late = ", ".join(name for name, done in zip(norms.names, norms.converged.tolist(), strict=True) if not done)
        warnings.warn(f"The spectral norm of {late} has not converged in {MAX_STEPS} steps.", stacklevel=2)
    return norms


def path_norm(params: Params, p: int = 2) -> Float[Array, ""]:
    """(Σ over paths from an input to an output Π|w|^p)^{1/p} of a network of dense layers (Neyshabur et al. 2015).

    It is computed as (1ᵀ |W_1|^p … |W_L|^p 1)^{1/p} (theory.md 12.3). Unlike products of norms it does not change when
    the weights into a unit are multiplied by a number and those out of it are divided by it. Biases do not count.

    Args:
        params: The weights of a chain of dense layers, (in, out): a tree of Flax Linen or NNX, a list, or
            `WeightMatrices`. Their names are numbered, or their shapes fit in one order only.
        p: 1 or 2.

    Returns:
        A scalar.

    Raises:
        TypeError: A matrix is not of float32 or float64.
        ValueError: No leaf is a matrix, a matrix is a convolution, no order of them fits or several do, or p is neither
            1 nor 2.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.networks.norms import path_norm
        >>> weights = [jnp.array([[1.0, -2.0]]), jnp.array([[3.0], [1.0]])]
        >>> print(f"{path_norm(weights, p=1):.4f} {path_norm(weights):.4f}")  # 3 + 2 and √(9 + 4)
        5.0000 3.6056
    """
    check_choice("p", p, (1, 2))
    result: Float[Array, ""] = _path_norm(dense_matrices("params", params).matrices, p)
    check_representable(path_norm=result)
    return result


@jax.jit
def _spectral_norm(matrix: Float[Array, "in out"], tolerance: ArrayLike, max_steps: ArrayLike) -> SpectralNorm:
    fixed = lax.stop_gradient(matrix / scale_of(matrix))
    num_vectors = min(_BLOCK, *matrix.shape)

    def ritz(block: Float[Array, "out k"]) -> tuple[Float[Array, " out"], Float[Array, ""], Float[Array, "out k"]]:
        """The best right singular vector in the span of the block, its residual, and WᵀW times the block."""
        image = highest_matmul(fixed, block)
        product = highest_matmul(fixed.T, image)
        values, vectors = jnp.linalg.eigh(highest_matmul(image.T, image))
        best, squared = vectors[:, -1], values[-1]
        residual = euclidean_norm(highest_matmul(product, best) - squared * highest_matmul(block, best))
        return highest_matmul(block, best), residual / jnp.where(squared > 0, squared, 1), product

    def unfinished(state: Progress) -> Bool[Array, ""]:
        step, _, residual, _ = state
        return jnp.logical_and(residual > tolerance, step < max_steps)

    def advanced(step: ArrayLike, block: Float[Array, "out k"]) -> Progress:
        return jnp.asarray(step) + 1, *ritz(jnp.linalg.qr(block)[0])

    start = jax.random.normal(jax.random.key(0), (matrix.shape[1], num_vectors), matrix.dtype)
    _, right, residual, _ = lax.while_loop(unfinished, lambda state: advanced(state[0], state[3]), advanced(0, start))
    right = right / euclidean_norm(right)
    left = highest_matmul(fixed, right)
    length = euclidean_norm(left)
    left = left / jnp.where(length > 0, length, 1)
    return SpectralNorm(highest_matmul(left, highest_matmul(matrix, right)), residual, residual <= tolerance)


@jax.jit
def _norms(w: Float[Array, "in out"], max_steps: ArrayLike) -> dict[str, Array]:
    """The norms of one matrix; layers of one shape share this program."""
    spectral, _, converged = _spectral_norm(w, _TOLERANCE, max_steps)
    frobenius = euclidean_norm(w)
    return {
        "frobenius": frobenius,
        "l1": jnp.sum(jnp.abs(w)),
        "l21": jnp.sum(euclidean_norm(w, axis=0)),
        "spectral": spectral,
        "stable_rank": (frobenius / jnp.where(spectral > 0, spectral, 1)) ** 2,
        "converged": converged,
    }


@jax.jit(static_argnums=1)
def _path_norm(matrices: tuple[Float[Array, "_ _"], ...], p: int) -> Float[Array, ""]:
    total = jnp.ones((), matrices[0].dtype)
    shares = jnp.ones(len(matrices[0]), total.dtype)
    for w in matrices:
        # Each layer is divided by its scale, so that no intermediate number is larger than the result.
        scale = scale_of(w)
        shares = highest_matmul(shares, jnp.abs(w / scale) ** p)
        mass = jnp.sum(shares)
        total = total * jnp.squeeze(scale) * (mass if p == 1 else square_root(mass))
        shares = shares / jnp.where(mass > 0, mass, 1)
    return total
