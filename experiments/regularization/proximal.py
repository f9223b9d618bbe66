"""Proximal steps of penalties that have no gradient at their minima: weights become zero, singular values equal.

With the threshold ηλ behind a step of gradient descent at the rate η it is the proximal gradient method for L + λR
(Daubechies, Defrise & De Mol 2004), which ends at the minimum. Behind steps that are preconditioned, as Adam's, the
same threshold makes the penalty a decay that is decoupled from the gradient, as AdamW's is for L2. That ends elsewhere.
"""

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

    The proximal step of L1. Gradient steps along the subgradient λ sign(w) never end at 0.

    Args:
        threshold: At least 0: ηλ for L + λ Σ|w| at the learning rate η. Behind Adam's steps it is decoupled decay.

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
        return jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - jnp.asarray(threshold, moved.dtype), 0) - param

    return _after_the_step(shrink)


def singular_value_shrinkage(*, nuclear: ArrayLike = 0.0, spectral: ArrayLike = 0.0) -> optax.GradientTransformation:
    """Shrinks the singular values of every matrix after the step: the proximal step of penalties on them.

    The nuclear norm lowers all of them by its threshold, to 0 where they are no larger: ranks become low, to rounding
    (Cai, Candès & Shen 2010). The spectral norm cuts the largest at the τ with Σ(σ − τ)₊ = its threshold, and all at 0
    where their sum is no larger (Parikh & Boyd 2014, section 6.7). Gradient steps along its subgradient u vᵀ stall once
    several of them are the largest. One after the other they are the proximal step of the sum.

    Args:
        nuclear: At least 0: ηλ for L + λ Σ‖W‖_* at the learning rate η. Behind Adam's steps it is decoupled decay.
        spectral: Likewise for L + λ Σ‖W‖_σ.

    Returns:
        An Optax transformation for parameters with two axes or more, (…, in, out), of which all but the last are taken
        together; it is used as `soft_threshold` is. It takes an SVD of every matrix at every step, whose rounding is
        that of the result: about 10⁻⁶ ‖W‖_σ in float32.

    Raises:
        ValueError: A threshold is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> w = jnp.diag(jnp.array([3.0, 2.5, 0.5]))
        >>> for step in (singular_value_shrinkage(nuclear=1.0), singular_value_shrinkage(spectral=1.5)):
        ...     updates, _ = step.update(jnp.zeros_like(w), step.init(w), w)  # behind a step of 0
        ...     print(jnp.diag(w + updates).round(4) + 0.0)  # max(σ − 1, 0), and min(σ, 2): (3 − 2) + (2.5 − 2) = 1.5
        [2.  1.5 0. ]
        [2.  2.  0.5]
    """
    check_nonnegative("nuclear", nuclear)
    check_nonnegative("spectral", spectral)

    def shrink(step: Array, param: Array) -> Array:
        left, values, right = svd(_as_matrix(param + step))
        # On σ ≥ 0 the nuclear norm is linear: it moves where the other one starts from, so that this order is exact.
        shrunk = _capped(jnp.maximum(values - nuclear, 0), spectral)
        moved = jnp.matmul(left * shrunk[None], right, precision=lax.Precision.HIGHEST)
        return moved.reshape(param.shape) - param

    return _after_the_step(shrink)


def _capped(values: Float[Array, " k"], excess: ArrayLike) -> Float[Array, " k"]:
    """Descending values cut at the τ above which they have this excess in all, at 0 if they have not as much.

    What the n largest have above τ is at most the excess, and equal to it for those that are cut, so that τ is the
    largest of (σ₁ + … + σₙ − excess)/n.
    """
    counts = jnp.arange(1, len(values) + 1, dtype=values.dtype)
    return jnp.minimum(values, jnp.max((jnp.cumsum(values) - excess) / counts, initial=0))


def _after_the_step(shrink: Any) -> optax.GradientTransformation:
    def update(updates: Any, params: Any) -> Any:
        if params is None:
            raise ValueError("params is None; expected the parameters: a proximal step starts from where they are.")
        return jax.tree.map(shrink, updates, params)

    return optax.stateless(update)


def _as_matrix(kernel: Array) -> Float[Array, "in out"]:
    return kernel.reshape(-1, kernel.shape[-1])
