"""Proximal steps (theory.md 15.2, 15.3) of penalties that are not differentiable at their minima.

A step of gradient descent at the rate η, followed by a proximal step with the threshold ηλ, is the proximal gradient
method for L + λR (Daubechies, Defrise & De Mol 2004). It converges to the minimum. After preconditioned steps,
such as those of Adam, the same threshold is a decay that is decoupled from the gradient, as in AdamW for L2. That
converges to another point.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from experiments.regularization.singular_values import svd
from ntk.checks import check_nonnegative
from ntk.linalg import highest_matmul
from ntk.trees import Params


def soft_threshold(threshold: ArrayLike) -> optax.GradientTransformation:
    """After the step, moves every parameter by the threshold toward 0, and smaller ones to exactly 0.

    This is the proximal step of L1 (theory.md 15.2). Gradient steps along the subgradient λ sign(w) never end at 0.

    Args:
        threshold: At least 0: ηλ for L + λ Σ|w| at the learning rate η. After Adam's steps it is decoupled decay.

    Returns:
        An Optax transformation for the end of a chain. Its update takes the parameters. `optax.masked` leaves biases
        out. With a schedule of rates, `optax.inject_hyperparams(soft_threshold)(lambda count: λ * η(count))` makes the
        threshold follow the schedule.

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
        >>> print(f"{w[0]:.4f} {w[1]}")  # least squares has 0.95 and 0.05; L1 takes λ/2 off
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

    The nuclear norm lowers every singular value by its threshold, to 0 where the value is not larger (theory.md 15.2;
    Cai, Candès & Shen 2010). So ranks become low, up to rounding. The spectral norm cuts the largest values at the τ
    with Σ(σ − τ)₊ = threshold, and sets all values to 0 if their sum is at most the threshold (theory.md 15.3; Parikh &
    Boyd 2014, section 6.7). Gradient steps along its subgradient u vᵀ stall once several values are the largest. The
    nuclear step followed by the spectral step is the proximal step of the sum.

    Args:
        nuclear: At least 0: ηλ for L + λ Σ‖W‖_* at the learning rate η. After Adam's steps it is decoupled decay.
        spectral: At least 0: ηλ for L + λ Σ‖W‖_σ. After Adam's steps it is decoupled decay.

    Returns:
        An Optax transformation for parameters with two axes or more, (…, in, out). All axes but the last form the rows
        of one matrix. It is used like `soft_threshold`. It takes an SVD of every matrix at every step, and the result
        has the rounding of this SVD, about 10⁻⁶ ‖W‖_σ in float32.

    Raises:
        ValueError: A threshold is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> w = jnp.diag(jnp.array([3.0, 2.5, 0.5]))
        >>> for step in (singular_value_shrinkage(nuclear=1.0), singular_value_shrinkage(spectral=1.5)):
        ...     updates, _ = step.update(jnp.zeros_like(w), step.init(w), w)  # after a step of 0
        ...     print(jnp.diag(w + updates).round(4) + 0.0)  # max(σ − 1, 0), and min(σ, 2): (3 − 2) + (2.5 − 2) = 1.5
        [2.  1.5 0. ]
        [2.  2.  0.5]
    """
    check_nonnegative("nuclear", nuclear)
    check_nonnegative("spectral", spectral)

    def shrink(step: Array, param: Array) -> Array:
        left, values, right = svd(_as_matrix(param + step))
        # On σ ≥ 0 the nuclear norm is linear and only moves the start of the spectral step, so this order is exact.
        shrunk = _capped(jnp.maximum(values - nuclear, 0), spectral)
        moved = highest_matmul(left * shrunk[None], right)
        return moved.reshape(param.shape) - param

    return _after_the_step(shrink)


def _capped(values: Float[Array, " k"], excess: ArrayLike) -> Float[Array, " k"]:
    """Descending values cut at the τ ≥ 0 with Σ(σ − τ)₊ = excess, or at 0 if their sum is at most the excess.

    For every n, Σ_{i≤n}(σ_i − τ) ≤ excess, with equality if exactly the first n values are cut. So τ is the largest of
    (σ₁ + … + σₙ − excess)/n.
    """
    counts = jnp.arange(1, len(values) + 1, dtype=values.dtype)
    return jnp.minimum(values, jnp.max((jnp.cumsum(values) - excess) / counts, initial=0))


def _after_the_step(shrink: Callable[[Array, Array], Array]) -> optax.GradientTransformation:
    def update(updates: optax.Updates, params: Params) -> optax.Updates:
        if params is None:
            raise ValueError("params is None; expected the parameters, from which a proximal step starts.")
        return jax.tree.map(shrink, updates, params)

    return optax.stateless(update)


def _as_matrix(kernel: Array) -> Float[Array, "in out"]:
    return kernel.reshape(-1, kernel.shape[-1])
