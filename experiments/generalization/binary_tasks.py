"""Classification with labels −1 and 1: samples, a classifier for them, and its error on new points."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from ml_collections import ConfigDict

import ntk
from experiments.data.images import as_vectors, load_data
from ntk.checks import check_choice, check_count
from ntk.trees import Params


class Sample(NamedTuple):
    """Inputs and labels −1 or 1, in float32."""

    x: Float[np.ndarray, "N d"]
    labels: Float[np.ndarray, " N"]


class Task(NamedTuple):
    """A distribution of labelled points and a classifier for it.

    Attributes:
        draw: Takes a seed and N; returns a training sample of N points and an independent test sample.
        error: Takes trained parameters and a test sample; returns the probability of error on new points if it is
            known, and otherwise the share of errors on the test sample.
        init: Takes a seed; returns parameters.
        apply: f(params, x), (N,).
        network: The network as `bounds.report` takes it.
        data: The fingerprint of the data set of the points; None if points are drawn from a distribution.
    """

    draw: Callable[[int, int], tuple[Sample, Sample]]
    error: Callable[[Params, Sample], float]
    init: Callable[[int], Params]
    apply: Callable[[Params, Array], Array]
    network: Any  # an `ntk.MLP` for digits, or the name of an activation for the teacher
    data: str | None = None


def make_task(fields: ConfigDict) -> Task:
    """The task that a config describes, "teacher" or "digits", with the other fields as arguments.

    Raises:
        ValueError: The kind is unknown, or a field is out of its range.
    """
    arguments = dict(fields)
    kind = arguments.pop("kind")
    check_choice("kind", kind, _TASKS)
    return _TASKS[kind](**arguments)


def teacher_task(dim: int, noise: float) -> Task:
    """Gaussian inputs, the sign of the first coordinate as label, some labels flipped, and a linear classifier.

    The error is known exactly: p + (1 − 2p) θ/π for weights at the angle θ to the first axis.

    Args:
        dim: The dimension of the inputs.
        noise: p, the probability that a label is flipped, below 1/2.

    Example:
        >>> task = teacher_task(dim=2, noise=0.1)
        >>> round(task.error({"kernel": np.array([[1.0], [1.0]])}, None), 12)  # 0.1 + 0.8/4
        0.3
    """
    check_count("dim", dim)
    if not 0 <= noise < 0.5:
        raise ValueError(f"noise is {noise!r}; expected a number from 0 to 1/2, 1/2 excluded.")

    def sample(rng: np.random.Generator, n: int) -> Sample:
        x = rng.standard_normal((n, dim)).astype(np.float32)
        flipped = rng.random(n) < noise
        return Sample(x, np.where((x[:, 0] > 0) ^ flipped, 1, -1).astype(np.float32))

    def draw(seed: int, n: int) -> tuple[Sample, Sample]:
        rng = np.random.default_rng([seed, n])
        return sample(rng, n), sample(rng, n)

    def error(params: Params, test: Sample) -> float:
        w = np.asarray(params["kernel"], float)[:, 0]
        angle = np.arctan2(np.linalg.norm(w[1:]), w[0])
        return float(noise + (1 - 2 * noise) * angle / np.pi)

    def init(seed: int) -> Params:
        return {"kernel": jnp.zeros((dim, 1), jnp.float32)}

    return Task(draw, error, init, _linear, "identity")


def digits_task(depth: int, width: int, activation: str, num_test: int) -> Task:
    """Odd against even digits, and an `ntk.MLP` without biases.

    Training and test images are drawn from all 1,797 together: the usual split is by writers, so its two halves
    have different distributions.

    Args:
        depth: The number of hidden layers.
        width: The width of every hidden layer.
        activation: The name of the activation.
        num_test: The number of test images, which are never trained on.

    Example:
        >>> train, test = digits_task(1, 8, "relu", num_test=500).draw(0, 100)
        >>> train.x.shape, test.x.shape
        ((100, 64), (500, 64))
    """
    check_count("num_test", num_test)
    net = ntk.MLP(depth=depth, activation=activation, w_std=2**0.5, b_std=0.0)
    model = ntk.finite(net, width)
    data = load_data("digits")
    x = as_vectors(np.concatenate([data.train_images, data.test_images]))
    labels = np.concatenate([data.train_labels, data.test_labels]) % 2 * 2.0 - 1

    def draw(seed: int, n: int) -> tuple[Sample, Sample]:
        if n + num_test > len(x):
            raise ValueError(f"sizes and num_test are {n} and {num_test}; expected at most {len(x)} digits together.")
        order = np.random.default_rng(seed).permutation(len(x))
        parts = order[num_test : num_test + n], order[:num_test]
        train, test = (Sample(x[part], labels[part].astype(np.float32)) for part in parts)
        return train, test

    def error(params: Params, test: Sample) -> float:
        return error_rate(model.apply(params, test.x), test.labels)

    def init(seed: int) -> Params:
        return model.init(jax.random.key(seed), jnp.asarray(x[:1]))

    return Task(draw, error, init, model.apply, net, data.fingerprint)


def error_rate(outputs: ArrayLike, labels: ArrayLike) -> float:
    """The share of outputs of the wrong sign; 0 is wrong.

    Example:
        >>> error_rate(np.array([2.0, -1.0, 0.0, 1.0]), np.array([1, 1, 1, 1]))
        0.5
    """
    return float(np.mean(np.asarray(outputs) * np.asarray(labels) <= 0))


def _linear(params: Params, x: Array) -> Array:
    return (x @ params["kernel"])[:, 0]


_TASKS: dict[str, Callable[..., Task]] = {"teacher": teacher_task, "digits": digits_task}
