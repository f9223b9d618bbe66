"""Measurements of a network in training, inside the compiled program."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from bounds.networks.lipschitz import lipschitz_lower_estimate
from bounds.networks.margins import classification_margins
from bounds.networks.weights import WeightMatrices
from experiments.common.calibration import expected_calibration_error, reliability
from experiments.regularization.models import CNN, Classifier, model_function, network_ntk
from experiments.regularization.singular_values import singular_values
from ntk.trees import Params

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NUM_BINS = 10
# Ascents of the Lipschitz estimate, and their steps.
_NUM_STARTS, _NUM_ASCENTS = 4, 5


def pointwise_loss(kind: str, outputs: Float[Array, "N C"], labels: Int[Array, " N"]) -> Float[Array, " N"]:
    """Cross-entropy −log softmax(f)_y, or "squared": ½‖f − e_y‖².

    Example:
        >>> pointwise_loss("squared", jnp.array([[1.0, 2.0]]), jnp.array([0])).tolist()
        [2.0]
    """
    if kind == "squared":
        return jnp.sum((outputs - jax.nn.one_hot(labels, outputs.shape[1], dtype=outputs.dtype)) ** 2, axis=1) / 2
    return -jnp.take_along_axis(jax.nn.log_softmax(outputs), labels[:, None], axis=1)[:, 0]


def classification(
    kind: str, outputs: Float[Array, "N C"], labels: Int[Array, " N"], own: Bool[Array, " N"] | None = None
) -> dict[str, Array]:
    """The mean loss and the share of errors over the points where `own` is true, by default all points.

    Ties count as errors, and so do outputs that are NaN.
    """
    losses, wrong = pointwise_loss(kind, outputs, labels), ~(classification_margins(outputs, labels) > 0)
    return {"loss": jnp.mean(losses, where=own), "error": jnp.mean(wrong, where=own, dtype=losses.dtype)}


def margin_quantiles(
    outputs: Float[Array, "N C"], labels: Int[Array, " N"], own: Bool[Array, " N"] | None = None
) -> Float[Array, " quantiles"]:
    """`QUANTILES` of the margins f_y − max_{j≠y} f_j (theory.md 12.5) over the points where `own` is true."""
    margins = classification_margins(outputs, labels)
    if own is not None:
        margins = jnp.where(own, margins, jnp.nan)
    return jnp.nanquantile(margins, jnp.asarray(QUANTILES, margins.dtype))


def calibration(kind: str, outputs: Float[Array, "N C"], labels: Int[Array, " N"]) -> dict[str, Array]:
    """The expected calibration error and the reliability diagram behind it (`experiments.common.calibration`).

    The confidence of a prediction is its softmax probability. The minimum of the squared loss is the probability
    itself, so there the confidence is the largest output, cut to [0, 1].

    Returns:
        "ece", and "shares", "confidences" and "accuracies" of `NUM_BINS` equal bins of confidence.

    Example:
        >>> found = calibration("squared", jnp.array([[0.75, 0.0], [0.75, 0.0]]), jnp.array([0, 1]))
        >>> print(found["ece"], found["shares"])
        0.25 [0. 0. 0. 0. 0. 0. 0. 1. 0. 0.]
    """
    scores = jnp.clip(outputs, 0, 1) if kind == "squared" else jax.nn.softmax(outputs)
    # The class has the largest output, not the largest score: several outputs may be cut to one score.
    confidence, right = jnp.max(scores, axis=1), jnp.argmax(outputs, axis=1).astype(labels.dtype) == labels
    found = reliability(confidence, right, NUM_BINS)
    return {"ece": expected_calibration_error(found), **found._asdict()}


def weight_measures(weights: WeightMatrices) -> dict[str, Any]:
    """Singular values, exact zeros, norms and ranks (theory.md 12.1) of every weight matrix.

    Returns:
        "sparsity": The share of exact zeros among all weights. "spectra": Descending singular values, a dictionary by
        name. By layer, (L,): "sparsities", "one" Σ|w|, "frobenius", "spectral", "stable_rank" ‖W‖_F²/‖W‖_σ², and
        "effective_rank" exp H(σ/Σσ) (Roy & Vetterli 2007); a zero matrix has ranks 0. "lipschitz_product":
        Π‖W‖_σ·√(positions of its kernel), a bound on the Lipschitz constant (theory.md 12.2) of an MLP or CNN without
        batch normalization and with an activation of slope at most 1.
    """
    spectra = {name: singular_values(w) for name, w in zip(weights.names, weights.matrices, strict=True)}

    def effective_rank(values: Array) -> Array:
        p = values / jnp.maximum(jnp.sum(values), jnp.finfo(values.dtype).tiny)
        return jnp.where(values[0] > 0, jnp.exp(jnp.sum(jax.scipy.special.entr(p))), 0)

    def stable_rank(values: Array) -> Array:
        return jnp.sum((values / jnp.where(values[0] > 0, values[0], 1)) ** 2)

    zeros, sizes = [jnp.sum(w == 0) for w in weights.matrices], [w.size for w in weights.matrices]
    dtype = weights.matrices[0].dtype
    spectral = jnp.stack([values[0] for values in spectra.values()])
    return {
        "sparsity": sum(zeros).astype(dtype) / sum(sizes),  # type: ignore[union-attr]
        "sparsities": jnp.stack([zero.astype(dtype) / size for zero, size in zip(zeros, sizes, strict=True)]),
        "one": jnp.stack([jnp.sum(jnp.abs(w)) for w in weights.matrices]),
        "frobenius": jnp.stack([jnp.sqrt(jnp.sum(values**2)) for values in spectra.values()]),
        "spectral": spectral,
        "lipschitz_product": jnp.prod(spectral * jnp.sqrt(jnp.asarray(weights.patch_sizes, dtype))),
        "stable_rank": jnp.stack([stable_rank(values) for values in spectra.values()]),
        "effective_rank": jnp.stack([effective_rank(values) for values in spectra.values()]),
        "spectra": spectra,
    }


def function_measures(
    model: Classifier, whole: Params, theta0: Float[Array, "probes probes"], x: Float[Array, "probes ..."]
) -> dict[str, Array]:
    """Measurements that need derivatives of the function.

    Args:
        model: The model.
        whole: Its variables and gain, as `model_function` takes them.
        theta0: Its NTK before training.
        x: The probes.

    Returns:
        "ntk_drift": ‖Θ_t − Θ_0‖_F/‖Θ_0‖_F on the probes. "lipschitz_estimate": a lower estimate of the Lipschitz
        constant, by ascents from the first probes.
    """

    def measured(whole: Params, theta0: Array, x: Array) -> dict[str, Array]:
        drift = jnp.linalg.norm(network_ntk(model, whole, x) - theta0) / jnp.linalg.norm(theta0)
        estimate = lipschitz_lower_estimate(model_function(model), whole, x[:_NUM_STARTS], num_steps=_NUM_ASCENTS)
        return {"ntk_drift": drift, "lipschitz_estimate": estimate}

    # JAX cannot batch the convolutions that appear when a convolution is differentiated in batches.
    return (jax.custom_batching.sequential_vmap(measured) if isinstance(model, CNN) else measured)(whole, theta0, x)
