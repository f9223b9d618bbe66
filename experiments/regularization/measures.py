"""What is measured of a network in training, inside the compiled program."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from bounds.networks.lipschitz import lipschitz_lower_estimate
from bounds.networks.margins import classification_margins
from bounds.networks.weights import WeightMatrices
from experiments.regularization.models import CNN, Classifier, model_function, network_ntk
from experiments.regularization.singular_values import singular_values

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
    """The mean loss and the share of errors over the points that are `own`, all unless told otherwise.

    Ties are errors, and so are outputs that are NaN.
    """
    losses, wrong = pointwise_loss(kind, outputs, labels), ~(classification_margins(outputs, labels) > 0)
    return {"loss": jnp.mean(losses, where=own), "error": jnp.mean(wrong, where=own, dtype=losses.dtype)}


def margin_quantiles(
    outputs: Float[Array, "N C"], labels: Int[Array, " N"], own: Bool[Array, " N"] | None = None
) -> Float[Array, " quantiles"]:
    """`QUANTILES` of f_y − max_{j≠y} f_j over the points that are `own`."""
    margins = classification_margins(outputs, labels)
    if own is not None:
        margins = jnp.where(own, margins, jnp.nan)
    return jnp.nanquantile(margins, jnp.asarray(QUANTILES, margins.dtype))


def calibration(kind: str, outputs: Float[Array, "N C"], labels: Int[Array, " N"]) -> dict[str, Array]:
    """The expected calibration error and the reliability diagram behind it (Guo, Pleiss, Sun & Weinberger 2017).

    A prediction's confidence is its softmax probability, or under the squared loss, whose minimum is the probability
    itself, the largest output cut to [0, 1].

    Returns:
        "ece": Σ_bins (share of points)·|accuracy − confidence|; "shares", "confidences" and "accuracies" of `NUM_BINS`
        equal bins of confidence, 0 where a bin is empty.

    Example:
        >>> found = calibration("squared", jnp.array([[0.75, 0.0], [0.75, 0.0]]), jnp.array([0, 1]))
        >>> print(found["ece"], found["shares"])
        0.25 [0. 0. 0. 0. 0. 0. 0. 1. 0. 0.]
    """
    scores = jnp.clip(outputs, 0, 1) if kind == "squared" else jax.nn.softmax(outputs)
    # The class is that of the largest output: several may be cut to one score.
    confidence, right = jnp.max(scores, axis=1), jnp.argmax(outputs, axis=1).astype(labels.dtype) == labels
    bins = jnp.clip((confidence * NUM_BINS).astype(jnp.int32), 0, NUM_BINS - 1)
    members = jax.nn.one_hot(bins, NUM_BINS, dtype=outputs.dtype)
    sizes = jnp.maximum(jnp.sum(members, axis=0), 1)
    shares, confidences = jnp.mean(members, axis=0), confidence @ members / sizes
    accuracies = right.astype(outputs.dtype) @ members / sizes
    ece = jnp.sum(shares * jnp.abs(accuracies - confidences))
    return {"ece": ece, "shares": shares, "confidences": confidences, "accuracies": accuracies}


def weight_measures(weights: WeightMatrices) -> dict[str, Any]:
    """Of every weight matrix: singular values, exact zeros, norms and ranks.

    Returns:
        "sparsity": The share of weights that are exactly zero, of all together. "spectra": Descending singular values,
        a dictionary by name. By layer, (L,): "sparsities", "one" Σ|w|, "frobenius", "spectral", "stable_rank"
        ‖W‖_F²/‖W‖_σ², and "effective_rank" exp H(σ/Σσ) (Roy & Vetterli 2007); ranks are 0 of a zero matrix.
        "lipschitz_product": Π‖W‖_σ·√(positions of its kernel), at least the Lipschitz constant of an MLP or CNN
        without batch normalization, with an activation of slope at most 1.
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
    model: Classifier, whole: Any, theta0: Float[Array, "probes probes"], x: Float[Array, "probes ..."]
) -> dict[str, Array]:
    """What takes derivatives of the function.

    Args:
        model: The model.
        whole: As `model_function` takes it.
        theta0: Its first NTK.
        x: The probes.

    Returns:
        "ntk_drift": ‖Θ_t − Θ_0‖_F/‖Θ_0‖_F on the probes. "lipschitz_estimate": a lower one of the Lipschitz constant,
        from the first of them.
    """

    def measured(whole: Any, theta0: Array, x: Array) -> dict[str, Array]:
        drift = jnp.linalg.norm(network_ntk(model, whole, x) - theta0) / jnp.linalg.norm(theta0)
        estimate = lipschitz_lower_estimate(model_function(model), whole, x[:_NUM_STARTS], num_steps=_NUM_ASCENTS)
        return {"ntk_drift": drift, "lipschitz_estimate": estimate}

    # JAX has no rule for batches of the convolutions by which a convolution is differentiated in batches.
    return (jax.custom_batching.sequential_vmap(measured) if isinstance(model, CNN) else measured)(whole, theta0, x)
