"""Proximal steps: what comes after a step of gradient descent, so that weights become exactly zero."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from experiments.regularization.singular_values import svd
from ntk.checks import check_nonnegative


def soft_threshold(threshold: ArrayLike) -> optax.GradientTransformation:
    """Moves every parameter toward 0 by the threshold after the step, and to exactly 0 where it is no larger.

    With the threshold ηλ behind a step of gradient descent at the rate η it is the proximal gradient method for
    L + λ Σ|w| (Daubechies, Defrise & De Mol 2004). Gradient steps along the subgradient λ sign(w) never end at 0.

    Args:
        threshold: At least 0. Behind steps that are preconditioned, as Adam's, the threshold ηλ makes L1 decay
            decoupled from the gradient, as AdamW's is for L2; the minimum of L + λ Σ|w| it finds only without that.

    Returns:
        An Optax transformation, the last in a chain; its update takes the parameters. `optax.masked` keeps it from
        biases, and with a schedule of rates `optax.inject_hyperparams(soft_threshold)(lambda count: λ * η(count))`
        makes the threshold follow it.

    Raises:
        ValueError: The threshold is negative.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import optax
        >>> x, y = jnp.array([[1.0, 1.0], [1.0, -1.0]]), jnp.array([1.0, 0.9])
        >>> def loss(w):
        ...     return jnp.sum((x @ w - y) ** 2) / 2
        >>> rate, strength = 0.1, 0.2
        >>> optimizer = optax.chain(optax.sgd(rate), soft_threshold(rate * strength))
        >>> w = jnp.zeros(2)
        >>> state = optimizer.init(w)
        >>> for _ in range(100):
        ...     updates, state = optimizer.update(jax.grad(loss)(w), state, w)
        ...     w = optax.apply_updates(w, updates)
        >>> print(f"{w[0]:.4f} {w[1]}")  # least squares: 0.95 and 0.05, of which λ/2 is taken
        0.8500 0.0
    """
    check_nonnegative("threshold", threshold)

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
        together; the last in a chain, as `soft_threshold` is.

    Raises:
        ValueError: The threshold is negative.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import optax
        >>> target = jnp.diag(jnp.array([3.0, 0.5]))
        >>> def loss(w):
        ...     return jnp.sum((w - target) ** 2) / 2
        >>> rate, strength = 0.5, 1.0
        >>> optimizer = optax.chain(optax.sgd(rate), singular_value_threshold(rate * strength))
        >>> w = jnp.ones((2, 2))
        >>> state = optimizer.init(w)
        >>> for _ in range(50):
        ...     updates, state = optimizer.update(jax.grad(loss)(w), state, w)
        ...     w = optax.apply_updates(w, updates)
        >>> print(w.round(4) + 0.0)  # singular values 3 − λ and max(0.5 − λ, 0)
        [[2. 0.]
         [0. 0.]]
    """
    check_nonnegative("threshold", threshold)

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
