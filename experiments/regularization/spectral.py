"""The spectral-norm penalty, with one power iteration at every step of training."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from bounds.arrays import euclidean_norm
from ntk.checks import check_count, check_nonnegative


class SpectralPenaltyState(NamedTuple):
    """Where the power iteration is.

    Attributes:
        right: A unit vector (out,) for every matrix (in, out), in the tree of the parameters.
    """

    right: Any


def add_spectral_penalty(strength: ArrayLike, num_iterations: int = 1) -> optax.GradientTransformation:
    """Adds the gradient of λ Σ‖W‖_σ, which is λ u vᵀ for each matrix with its first singular vectors u and v.

    The vectors are found by power iteration (Yoshida & Miyato 2017) and kept between steps: W changes slowly, so that
    one iteration a step follows it. Where the two largest singular values are equal there is no gradient but a set of
    subgradients, of which one is taken.

    Args:
        strength: λ, at least 0.
        num_iterations: Of the power iteration at each step.

    Returns:
        An Optax transformation for parameters with two axes or more, (…, in, out), of which all but the last are taken
        together. Before the optimizer it is a penalty: for L + λ Σ‖W‖_σ.

    Raises:
        ValueError: num_iterations is below 1, or the strength negative.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import optax
        >>> target = jnp.diag(jnp.array([3.0, 1.0]))
        >>> def loss(w):
        ...     return jnp.sum((w - target) ** 2) / 2
        >>> optimizer = optax.chain(add_spectral_penalty(1.5), optax.sgd(0.1))
        >>> w = target
        >>> state = optimizer.init(w)
        >>> for _ in range(100):
        ...     updates, state = optimizer.update(jax.grad(loss)(w), state, w)
        ...     w = optax.apply_updates(w, updates)
        >>> print(w.round(3) + 0.0)  # the largest singular value 3 − λ, the other one as it was
        [[1.5 0. ]
         [0.  1. ]]
    """
    check_count("num_iterations", num_iterations)
    check_nonnegative("strength", strength)

    def init(params: Any) -> SpectralPenaltyState:
        return SpectralPenaltyState(jax.tree.map(_first_guess, params))

    def update(updates: Any, state: SpectralPenaltyState, params: Any = None) -> tuple[Any, SpectralPenaltyState]:
        if params is None:
            raise ValueError("params is None; expected the parameters, whose norms are penalized.")
        pairs = jax.tree.map(lambda w, v: singular_vectors(w, v, num_iterations), params, state.right)
        left, right = jax.tree.transpose(jax.tree.structure(params), None, pairs)

        def add(gradient: Array, u: Array, v: Array) -> Array:
            return gradient + strength * (u[:, None] * v).reshape(gradient.shape)

        return jax.tree.map(add, updates, left, right), SpectralPenaltyState(right)

    return optax.GradientTransformation(init, update)


def singular_vectors(
    weight: Float[Array, "... out"], right: Float[Array, " out"], num_iterations: int = 1
) -> tuple[Float[Array, " in"], Float[Array, " out"]]:
    """The first left and right singular vectors as power iteration from `right` finds them; 0 of a zero matrix.

    Example:
        >>> import jax.numpy as jnp
        >>> u, v = singular_vectors(jnp.diag(jnp.array([1.0, 3.0])), jnp.array([0.6, 0.8]), num_iterations=9)
        >>> print(u.round(4), v.round(4))
        [0. 1.] [0. 1.]
    """
    matrix = weight.reshape(-1, weight.shape[-1])
    for _ in range(num_iterations):
        left = _unit(jnp.matmul(matrix, right, precision=lax.Precision.HIGHEST))
        # left W and not Wᵀ left: XLA would write Wᵀ out at every step, four times the rest of the work on CPU.
        found = jnp.matmul(left, matrix, precision=lax.Precision.HIGHEST)
        # A matrix that is zero for the moment leaves the iteration where it is.
        right = jnp.where(jnp.any(found != 0), _unit(found), right)
    return left, right


def _first_guess(weight: Array) -> Float[Array, " out"]:
    """A fixed Gaussian direction, which no matrix of a network's weights has reason to be orthogonal to."""
    direction = np.random.default_rng(0).standard_normal(weight.shape[-1])
    return jnp.asarray(direction / np.linalg.norm(direction), weight.dtype)


def _unit(vector: Float[Array, " n"]) -> Float[Array, " n"]:
    norm = euclidean_norm(vector)
    return vector / jnp.where(norm > 0, norm, 1)
