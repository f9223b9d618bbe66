"""Every penalty in one optimizer, with strengths that are arrays: a sweep over them is one program."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from experiments.regularization.proximal import singular_value_threshold, soft_threshold
from experiments.regularization.spectral import add_spectral_penalty
from ntk.checks import check_choice

OPTIMIZERS = ("sgd", "adam")


class Strengths(NamedTuple):
    """λ of each regularizer; 0 is none of it. W are the weights: parameters with two axes or more, biases are free.

    Attributes:
        l1: Of Σ|w|, by a proximal step.
        l2: Of Σ‖W‖_F², its gradient 2λW added to the loss's.
        weight_decay: W shrinks by the factor 1 − ηλ at each step, apart from the gradient (Loshchilov & Hutter 2019).
        spectral: Of Σ‖W‖_σ.
        nuclear: Of Σ‖W‖_*, by a proximal step.
        dropout: The share of hidden units that are dropped.
        gain: What spectral normalization sets every ‖W‖_σ to.
    """

    l1: ArrayLike = 0.0
    l2: ArrayLike = 0.0
    weight_decay: ArrayLike = 0.0
    spectral: ArrayLike = 0.0
    nuclear: ArrayLike = 0.0
    dropout: ArrayLike = 0.0
    gain: ArrayLike = 1.0


def regularized_optimizer(
    strengths: Strengths,
    learning_rate: ArrayLike,
    *,
    kind: str = "sgd",
    momentum: float = 0.9,
    nuclear: bool = False,
) -> optax.GradientTransformation:
    """Gradient descent or Adam on L + λ R with all penalties of `Strengths`.

    Args:
        strengths: Numbers or traced arrays of no axes.
        learning_rate: η, likewise.
        kind: "sgd", whose steps follow the average (1 − β) Σ βⁱ g of past gradients, so that they end where those of
            plain gradient descent end, proximal ones too; or "adam", which rescales L2's gradient with the loss's and
            weight decay not.
        momentum: β of "sgd".
        nuclear: Whether there is a nuclear norm at all: it takes an SVD of every matrix at every step.

    Raises:
        ValueError: `kind` is neither.

    Example:
        >>> import jax.numpy as jnp
        >>> optimizer = regularized_optimizer(Strengths(l1=1.0, l2=0.5), 0.1, momentum=0.0)
        >>> params = {"kernel": jnp.array([[1.0], [0.1]]), "bias": jnp.array([1.0])}
        >>> zero = jax.tree.map(jnp.zeros_like, params)
        >>> updates, _ = optimizer.update(zero, optimizer.init(params), params)
        >>> after = optax.apply_updates(params, updates)["kernel"][:, 0]
        >>> print(f"{after[0]:.4f} {after[1]}")  # 1 − 0.1·2·0.5 − 0.1
        0.8000 0.0
    """
    check_choice("optimizer", kind, OPTIMIZERS)
    direction = optax.scale_by_adam() if kind == "adam" else optax.ema(momentum, debias=False)
    proximal = [soft_threshold(learning_rate * strengths.l1)]
    if nuclear:
        proximal.append(singular_value_threshold(learning_rate * strengths.nuclear))
    return optax.chain(
        optax.add_decayed_weights(2 * strengths.l2, mask=weight_mask),
        optax.masked(add_spectral_penalty(strengths.spectral), weight_mask),
        direction,
        optax.add_decayed_weights(strengths.weight_decay, mask=weight_mask),
        optax.scale_by_learning_rate(learning_rate),
        *(optax.masked(step, weight_mask) for step in proximal),
    )


def weight_mask(params: Any) -> Any:
    """Which leaves are weights and not biases or scales: those with two axes or more, as in `bounds.weight_matrices`.

    Example:
        >>> import numpy as np
        >>> weight_mask({"kernel": np.ones((3, 2)), "bias": np.ones(2)})
        {'bias': False, 'kernel': True}
    """
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) >= 2, params)
