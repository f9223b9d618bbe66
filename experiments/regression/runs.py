"""Regression with the kernels of one network, and with finite networks of the same architecture."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

import ntk
from experiments.common.networks import build_network, network_inputs
from experiments.convergence.kernel_errors import member_keys
from experiments.data.images import Dataset
from experiments.regression.calibration import (
    class_probabilities,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
)
from experiments.regression.evidence import Logs, maximize_evidence, standard_deviations, with_standard_deviations
from ntk import dynamics

CLASSES = 10


class Split(NamedTuple):
    """Inputs as one network reads them, in float64, and labels.

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
        """One output a class, 1 for its own, less the mean over classes."""
        return np.eye(CLASSES)[self.labels] - 1 / CLASSES


class KernelPair(NamedTuple):
    """Θ and Σ between the same inputs."""

    ntk: Array
    nngp: Array


class Fitted(NamedTuple):
    """A network whose hyperparameters were found, and its kernels.

    Attributes:
        net: The network.
        noise: Variance of the observation noise of targets, for the NNGP and for the NTK.
        ridge: What is added to the NNGP and to the NTK: that noise, over the scale of the NTK as a covariance.
        train: Kernels of the training inputs.
        across: Those between test and training inputs.
        test: Those of the test inputs.
        numbers: The hyperparameters by name.
        history: ln p(y) per target along gradient ascent.
    """

    net: Any
    noise: dict[str, float]
    ridge: dict[str, float]
    train: KernelPair
    across: KernelPair
    test: KernelPair
    numbers: dict[str, float]
    history: Float[np.ndarray, " steps"]


def split_of(kind: str, data: Dataset) -> Split:
    """The data as that kind of network reads it."""
    x, x_test = (
        np.asarray(network_inputs(kind, images), np.float64) for images in (data.train_images, data.test_images)
    )
    return Split(x, data.train_labels, x_test, data.test_labels)


def fit_network(fields: ConfigDict, split: Split, config: ConfigDict) -> Fitted:
    """Find hyperparameters by the marginal likelihood of training targets; float64 is to be enabled.

    These are the noise and all standard deviations of the network, with gradients through the recursion of its kernel,
    or through the samples of its limit. Then the scale and the noise that suit the NTK of this network. Kernels of
    training and test inputs are blocks of one kernel, also where it is sampled; to batch normalization they are one
    batch.

    Raises:
        FloatingPointError: The marginal likelihood is not finite somewhere on the way.
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
    # Training goes by Θ as it is, and its end depends on the ratio alone.
    ridges = {"nngp": noises["nngp"], "ntk": noises["ntk"] / of_ntk["scale"]}
    old, new = slice(len(split.x)), slice(len(split.x), None)
    train, across, test = (
        KernelPair(kernels.ntk[rows, columns], kernels.nngp[rows, columns])
        for rows, columns in ((old, old), (new, old), (new, new))
    )
    return Fitted(fitted, noises, ridges, train, across, test, found.numbers, found.history)


def measure_kernels(fitted: Fitted, split: Split, sizes: tuple[int, ...]) -> dict[str, list[dict[str, Any]]]:
    """Error, negative log likelihood, calibration error and reliability of both kernels, one for each sample size.

    "nngp" is its posterior. "ntk" is the ensemble of networks trained for ever with the ridge that the marginal
    likelihood of a multiple of Θ as a covariance chose. Both have the noise of targets added.
    """
    measured: dict[str, list[dict[str, Any]]] = {"nngp": [], "ntk": []}
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


def measure_finite(fitted: Fitted, split: Split, size: int, config: ConfigDict) -> dict[str, Any]:
    """Finite networks of the same hyperparameters, trained on squared loss by gradient descent from random starts.

    Returns:
        Scores of their average with their spread as its uncertainty, and "errors", of each by itself.
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
    # One variance a point, shared by the outputs, as the kernels have it.
    std = np.sqrt(np.mean(np.var(all_outputs, axis=0, ddof=1), axis=1) + fitted.noise["ntk"])
    errors = np.mean(np.argmax(all_outputs, axis=2) != split.labels_test, axis=1)
    return _scores(all_outputs.mean(axis=0), std, split.labels_test) | {"errors": errors.tolist()}


def _scores(
    mean: Float[np.ndarray, "points classes"], std: Float[np.ndarray, " points"], labels: Int[np.ndarray, " points"]
) -> dict[str, Any]:
    probabilities = class_probabilities(mean, std)
    found = reliability(probabilities, labels, bins=8)
    return {
        "error": float(np.mean(mean.argmax(axis=1) != labels)),
        "nll": negative_log_likelihood(probabilities, labels),
        "ece": expected_calibration_error(found),
        "reliability": [values.tolist() for values in found],
    }
