"""All penalties in one optimizer. Strengths may be arrays, so that a sweep over them is one program."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import PyTree

from experiments.regularization.proximal import singular_value_shrinkage, soft_threshold
from ntk.checks import check_choice, check_nonnegative, is_concrete
from ntk.trees import Params

OPTIMIZERS = ("sgd", "adam")


class Strengths(NamedTuple):
    """λ of each penalty (theory.md 15.1); 0 leaves it out.

    W are the weights, which are parameters with two axes or more. Biases have no penalty.

    Attributes:
        l1: λ of Σ|w|, by a proximal step (theory.md 15.2).
        l2: λ of Σ‖W‖_F², by its gradient 2λW.
        weight_decay: W shrinks by the factor 1 − ηλ at each step, apart from the gradient (Loshchilov & Hutter 2019).
        spectral: λ of Σ‖W‖_σ, by a proximal step (theory.md 15.3).
        nuclear: λ of Σ‖W‖_*, by a proximal step (theory.md 15.2).
    """

    l1: ArrayLike = 0.0
    l2: ArrayLike = 0.0
    weight_decay: ArrayLike = 0.0
    spectral: ArrayLike = 0.0
    nuclear: ArrayLike = 0.0


def regularized_optimizer(
    strengths: Strengths,
    learning_rate: ArrayLike,
    *,
    kind: str = "sgd",
    momentum: float = 0.9,
    singular_values: bool = False,
) -> optax.GradientTransformation:
    """Gradient descent or Adam on L + Σ λ R over the penalties R of `Strengths`.

    The spectral and the nuclear norm take one proximal step together. L1 takes its own step after it, so that its zeros
    are exact. With both steps training ends near the minimum of the sum, but not at it.

    Args:
        strengths: Numbers, or traced arrays without axes.
        learning_rate: η, a number or a traced array without axes. A schedule goes through `optax.inject_hyperparams`,
            as below; proximal steps follow it too.
        kind: "sgd" or "adam". Steps of "sgd" follow the average (1 − β) Σ βⁱ g of past gradients, so that they end
            where plain (proximal) gradient descent ends. "adam" rescales the gradients of the loss and of L2, but not
            weight decay and proximal steps.
        momentum: β of "sgd".
        singular_values: Whether the spectral or the nuclear norm takes part. Both need an SVD of every matrix at every
            step.

    Raises:
        ValueError: `kind` is unknown, a strength or the rate is negative, or the spectral or nuclear norm has a
            strength although `singular_values` is False.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> x = jax.random.normal(jax.random.key(0), (100, 5), jnp.float32)
        >>> y = 2 * x[:, :1] - x[:, 1:2]  # two of five inputs matter
        >>> def loss(params):
        ...     return jnp.mean((x @ params["kernel"] + params["bias"] - y) ** 2) / 2
        >>> scheduled = optax.inject_hyperparams(
        ...     regularized_optimizer, static_args=("kind", "momentum", "singular_values"))
        >>> optimizer = scheduled(Strengths(l1=0.1, l2=0.01), learning_rate=optax.cosine_decay_schedule(0.5, 100))
        >>> @jax.jit
        ... def step(params, state):
        ...     updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        ...     return optax.apply_updates(params, updates), state
        >>> params = {"kernel": jnp.zeros((5, 1), jnp.float32), "bias": jnp.zeros(1, jnp.float32)}
        >>> state = optimizer.init(params)
        >>> for _ in range(100):
        ...     params, state = step(params, state)
        >>> print(*(f"{w:.1f}" for w in params["kernel"][:, 0]), sum(params["kernel"][:, 0] == 0))  # 2 and −1 shrink
        1.8 -0.9 0.0 0.0 0.0 3
    """
    check_choice("optimizer", kind, OPTIMIZERS)
    for name, value in (*strengths._asdict().items(), ("learning_rate", learning_rate)):
        check_nonnegative(name, value)
    for name in ("spectral", "nuclear"):
        strength = getattr(strengths, name)
        if not singular_values and is_concrete(strength) and np.any(strength):
            raise ValueError(f"singular_values is False, with a {name} strength of {strength!r}; expected True.")
    direction = optax.scale_by_adam() if kind == "adam" else optax.ema(momentum, debias=False)
    proximal = []
    if singular_values:
        nuclear, spectral = learning_rate * strengths.nuclear, learning_rate * strengths.spectral
        proximal.append(singular_value_shrinkage(nuclear=nuclear, spectral=spectral))
    proximal.append(soft_threshold(learning_rate * strengths.l1))
    return optax.chain(
        optax.add_decayed_weights(2 * strengths.l2, mask=weight_mask),
        direction,
        optax.add_decayed_weights(strengths.weight_decay, mask=weight_mask),
        optax.scale_by_learning_rate(learning_rate),
        *(optax.masked(step, weight_mask) for step in proximal),
    )


def weight_mask(params: Params) -> PyTree:
    """Which leaves are weights: those with two axes or more, as in `bounds.weight_matrices`. Biases and scales are not.

    Example:
        >>> import numpy as np
        >>> weight_mask({"kernel": np.ones((3, 2)), "bias": np.ones(2)})
        {'bias': False, 'kernel': True}
    """
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) >= 2, params)
