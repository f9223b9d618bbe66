"""Regression with the kernels of one network, and with finite networks of the same architecture."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

import ntk
from experiments.common.calibration import expected_calibration_error, reliability
from experiments.common.metrics import Record
from experiments.common.networks import Network, build_network, member_keys, network_inputs
from experiments.data.images import Dataset
from experiments.regression.evidence import Logs, maximize_evidence, standard_deviations, with_standard_deviations
from experiments.regression.probabilities import class_probabilities, negative_log_likelihood
from ntk import dynamics

CLASSES = 10
_NUM_BINS = 8  # of confidence


class Split(NamedTuple):
    """Inputs in float64, as one network reads them, and labels.

    Attributes:
        x: Training inputs.
        labels: (N,).
        x_test: Test inputs.
        labels_test: (M,).
    """

    x: np.ndarray
    labels: Int[np.ndarray, " train"]
    x_test: np.ndarray
    labels_test: Int[np.ndarray, " test"]

    @property
    def targets(self) -> Float[np.ndarray, "train classes"]:
        """One output per class: 1 for the label and 0 otherwise, minus the mean over classes."""
        return np.eye(CLASSES)[self.labels] - 1 / CLASSES


class KernelPair(NamedTuple):
    """Θ and Σ between the same inputs."""

    ntk: Array
    nngp: Array


class Fitted(NamedTuple):
    """A network with the hyperparameters that were found, and its kernels.

    Attributes:
        net: The network.
        noise: The variance of the observation noise of targets, for the NNGP and for the NTK.
        ridge: The ridge of the NNGP, which is its noise, and of the NTK, which is its noise over the scale of Θ.
        train: Kernels of the training inputs.
        across: Kernels between test and training inputs.
        test: Kernels of the test inputs.
        numbers: The hyperparameters by name.
        history: ln p(y) per target along gradient ascent.
    """

    net: Network
    noise: dict[str, float]
    ridge: dict[str, float]
    train: KernelPair
    across: KernelPair
    test: KernelPair
    numbers: dict[str, float]
    history: Float[np.ndarray, " steps"]


def check_labels(data: Dataset) -> None:
    """Refuse labels of more than ten classes.

    Raises:
        ValueError: A label is 10 or more.
    """
    largest = int(max(data.train_labels.max(), data.test_labels.max()))
    if largest >= CLASSES:
        raise ValueError(f"the data set has a label {largest}; expected labels from 0 to {CLASSES - 1}.")


def split_of(kind: str, data: Dataset) -> Split:
    """The data as that kind of network reads it."""
    x, x_test = (
        np.asarray(network_inputs(kind, images), np.float64) for images in (data.train_images, data.test_images)
    )
    return Split(x, data.train_labels, x_test, data.test_labels)


def fit_network(fields: ConfigDict, split: Split, config: ConfigDict) -> Fitted:
    """Find the hyperparameters that maximize the marginal likelihood of training targets. x64 must be on.

    The first ascent finds the noise and all standard deviations of the network, with gradients through the recursion of
    its kernel or through the samples of its limit. The second ascent finds a scale and a noise for the NTK of this
    network. Kernels of training and test inputs are blocks of one kernel, even if it is sampled. Batch normalization
    sees all of these inputs as one batch.

    Raises:
        FloatingPointError: The marginal likelihood is not finite at some step.
    """
    net, size = build_network(fields), config.evidence_size
    x, y = split.x[:size], jnp.asarray(split.targets[:size])
    options = {"samples": config.samples} if isinstance(net, ntk.TensorProgram) else {}
    ascent = {"steps": config.evidence_steps, "learning_rate": config.evidence_rate}
    noise = {"noise": config.noise}

    def nngp(logs: Logs) -> jax.Array:
        numbers = {name: jnp.exp(value) for name, value in logs.items()}
        return ntk.infinite_kernels(with_standard_deviations(net, numbers), x, **options).nngp

    found = maximize_evidence(nngp, standard_deviations(net) | noise, y, **ascent)
    fitted = with_standard_deviations(net, found.numbers)
    kernels = ntk.infinite_kernels(fitted, np.concatenate([split.x, split.x_test]), **options)

    def theta(logs: Logs) -> jax.Array:
        return jnp.exp(logs["scale"]) * kernels.ntk[:size, :size]

    of_ntk = maximize_evidence(theta, {"scale": 1.0} | noise, y, **ascent).numbers
    noises = {"nngp": found.numbers["noise"], "ntk": of_ntk["noise"]}
    # Training uses Θ without the scale, and its end depends only on the ratio of noise and scale.
    ridges = {"nngp": noises["nngp"], "ntk": noises["ntk"] / of_ntk["scale"]}
    old, new = slice(len(split.x)), slice(len(split.x), None)
    train, across, test = (
        KernelPair(kernels.ntk[rows, columns], kernels.nngp[rows, columns])
        for rows, columns in ((old, old), (new, old), (new, new))
    )
    return Fitted(fitted, noises, ridges, train, across, test, found.numbers, found.history)


def measure_kernels(fitted: Fitted, split: Split, sizes: tuple[int, ...]) -> dict[str, list[Record]]:
    """Error, negative log likelihood, calibration error and reliability of both kernels at each sample size.

    "nngp" is the posterior of the NNGP. "ntk" is the ensemble of networks after infinite training with the ridge of
    `fitted`. The noise of targets is added to the variance of both.
    """
    measured: dict[str, list[Record]] = {"nngp": [], "ntk": []}
    for size in sizes:
        y = split.targets[:size]
        train, across = (
            KernelPair(*(part[:rows, :size] for part in k)) for k, rows in ((fitted.train, size), (fitted.across, None))
        )
        posterior = dynamics.gp_posterior(train.nngp, y, ridge=fitted.ridge["nngp"])
        ensemble = dynamics.squared_loss_ensemble(train, y, ridge=fitted.ridge["ntk"])
        predictions = {
            "nngp": posterior(across.nngp, fitted.test.nngp),
            "ntk": ensemble(None, across, fitted.test.nngp),
        }
        for name, found in predictions.items():
            std = np.sqrt(np.asarray(found.std) ** 2 + fitted.noise[name])
            measured[name].append(_scores(np.asarray(found.mean), std, split.labels_test))
    return measured


def measure_finite(fitted: Fitted, split: Split, size: int, config: ConfigDict) -> Record:
    """Finite networks of the same hyperparameters, trained on squared loss by gradient descent from random starts.

    Returns:
        The scores of their average, whose uncertainty is their spread, and "errors", the error of each network.

    Raises:
        FloatingPointError: Training diverges.
    """
    model = ntk.finite(fitted.net, config.finite.width, CLASSES)
    x, x_test, y = (jnp.asarray(part, jnp.float32) for part in (split.x[:size], split.x_test, split.targets[:size]))
    theta = jnp.asarray(np.asarray(fitted.train.ntk)[:size, :size], jnp.float32)
    largest = dynamics.max_learning_rate(theta)
    optimizer, steps = optax.sgd(config.finite.rate * float(largest)), config.finite.steps

    def outputs(key: jax.Array) -> jax.Array:
        found = dynamics.train(model.apply, model.init(key, x), x, y, optimizer, steps, x_test=x_test, every=steps)
        return found.fx_test[-1]

    keys = member_keys(config.seed, size, config.finite.num_seeds)
    all_outputs = np.asarray(jax.jit(lambda keys: jax.lax.map(outputs, keys))(keys), np.float64)
    if not np.isfinite(all_outputs).all():
        raise FloatingPointError(f"finite.rate is {config.finite.rate}; expected a rate at which training is stable.")
    # All outputs of a point share one variance, as they do for the kernels.
    std = np.sqrt(np.mean(np.var(all_outputs, axis=0, ddof=1), axis=1) + fitted.noise["ntk"])
    errors = np.mean(np.argmax(all_outputs, axis=2) != split.labels_test, axis=1)
    return _scores(all_outputs.mean(axis=0), std, split.labels_test) | {"errors": errors.tolist()}


def measure_network(label: str, data: Dataset, config: ConfigDict) -> Record:
    """Everything about one network of the config, as a record.

    Raises:
        FloatingPointError: The marginal likelihood is not finite at some step, or finite networks diverge.
    """
    fields, sizes = config.networks[label], tuple(config.sizes)
    with jax.enable_x64(True):
        split = split_of(fields.kind, data)
        fitted = fit_network(fields, split, config)
        record: Record = {
            "network": label,
            "hyperparameters": fitted.numbers,
            "noise": fitted.noise,
            "ridge": fitted.ridge,
            "evidence": fitted.history.round(6).tolist(),
            **measure_kernels(fitted, split, sizes),
        }
    if label in config.finite.networks:
        record["finite"] = [measure_finite(fitted, split, size, config) for size in sizes]
    return record


def _scores(
    mean: Float[np.ndarray, "points classes"], std: Float[np.ndarray, " points"], labels: Int[np.ndarray, " points"]
) -> Record:
    probabilities = class_probabilities(mean, std)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    with jax.enable_x64(True):
        found = reliability(jnp.asarray(confidence), jnp.asarray(correct), _NUM_BINS)
        ece = float(expected_calibration_error(found))
    counts = np.rint(np.asarray(found.shares) * len(labels)).astype(int)
    kept = counts > 0
    return {
        "error": float(np.mean(mean.argmax(axis=1) != labels)),
        "nll": negative_log_likelihood(probabilities, labels),
        "ece": ece,
        "reliability": [np.asarray(values)[kept].tolist() for values in (found.confidences, found.accuracies, counts)],
    }
