"""Proximal steps: what comes after a step of gradient descent, so that weights become exactly zero."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from experiments.regularization.singular_values import svd


def soft_threshold(threshold: ArrayLike) -> optax.GradientTransformation:
    """Moves every parameter toward 0 by the threshold after the step, and to exactly 0 where it is no larger.

    With the threshold ηλ behind a step of gradient descent at the rate η it is the proximal gradient method for
    L + λ Σ|w| (Daubechies, Defrise & De Mol 2004). Gradient steps along the subgradient λ sign(w) never end at 0.

    Args:
        threshold: At least 0. Behind steps that are preconditioned, as Adam's, the threshold ηλ makes L1 decay
            decoupled from the gradient, as AdamW's is for L2; the minimum of L + λ Σ|w| it finds only without that.

    Returns:
        An Optax transformation, the last in a chain; its update takes the parameters.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> optimizer = optax.chain(optax.sgd(0.1), soft_threshold(0.1 * 2.0))
        >>> w = jnp.array([1.0, -0.15])
        >>> updates, _ = optimizer.update(jnp.zeros(2), optimizer.init(w), w)
        >>> print(optax.apply_updates(w, updates))
        [0.8 0. ]
    """

    def shrink(step: Array, param: Array) -> Array:
        moved = param + step
        # param + (0 − param) is exactly 0, so the zeros survive optax.apply_updates.
        return jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - threshold, 0) - param

    return _after_the_step(shrink)


def singular_value_threshold(threshold: ArrayLike) -> optax.GradientTransformation:
    """Lowers every singular value of every matrix by the threshold after the step, to 0 where it is no larger.

    The proximal step of the nuclear norm (Cai, Candès & Shen 2010): ranks become low, to rounding.

    Args:
        threshold: At least 0: ηλ for L + λ Σ‖W‖_* at the learning rate η, as in `soft_threshold`.

    Returns:
        An Optax transformation for parameters with two axes or more, (…, in, out), of which all but the last are taken
        together.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> optimizer = optax.chain(optax.sgd(0.1), singular_value_threshold(1.0))
        >>> w = jnp.diag(jnp.array([3.0, 0.5]))
        >>> updates, _ = optimizer.update(jnp.zeros((2, 2)), optimizer.init(w), w)
        >>> print(optax.apply_updates(w, updates))
        [[2. 0.]
         [0. 0.]]
    """

    def shrink(step: Array, param: Array) -> Array:
        left, values, right = svd(_as_matrix(param + step))
        lowered = jnp.maximum(values - threshold, 0)
        moved = jnp.matmul(left * lowered, right, precision=lax.Precision.HIGHEST)
        return moved.reshape(param.shape) - param

    return _after_the_step(shrink)


def _after_the_step(shrink: Any) -> optax.GradientTransformation:
    def update(updates: Any, params: Any) -> Any:
        if params is None:
            raise ValueError("params is None; expected the parameters: a proximal step starts from where they are.")
        return jax.tree.map(shrink, updates, params)

    return optax.stateless(update)


def _as_matrix(kernel: Array) -> Float[Array, "in out"]:
    return kernel.reshape(-1, kernel.shape[-1])
