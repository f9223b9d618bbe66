"""Random networks of one width trained by gradient descent, and the predictions of kernels."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

import ntk
from experiments.common.networks import build_network, member_keys, network_inputs
from experiments.data.images import load_data
from ntk import dynamics
from ntk.trees import Params

Start = TypeVar("Start")  # from which training starts or goes on
Outputs = tuple[Array, Array]  # on training and on test points

# By name: a loss of Optax, and the targets that it takes, as a function of labels −1 and 1.
LOSSES: dict[str, tuple[Callable[[Array, Array], Array], Callable[[Array], Array]]] = {
    "squared": (optax.l2_loss, lambda labels: labels),
    "cross_entropy": (optax.sigmoid_binary_cross_entropy, lambda labels: (labels + 1) / 2),
}


class Problem(NamedTuple):
    """A network and data: odd digits have label 1, and even digits have label −1.

    Attributes:
        net: The description of the network.
        x: Training inputs, as the network reads them.
        labels: (N,), −1 or 1.
        x_test: Test inputs.
        labels_test: (M,), −1 or 1.
        data: The fingerprint of the data set.
    """

    net: ntk.MLP | ntk.RNN
    x: Array
    labels: Array
    x_test: Array
    labels_test: Array
    data: str


def make_problem(config: ConfigDict) -> Problem:
    """The network and the data that a config describes.

    Raises:
        ValueError: A field of the network or of the data is out of range.
    """
    net = build_network(config.network)
    data = load_data(config.dataset, config.num_train, config.num_test, data_dir=config.data_dir, seed=config.seed)
    images = (data.train_images, data.test_images)
    x, x_test = (jnp.asarray(network_inputs(config.network.kind, part)) for part in images)
    labels, labels_test = (jnp.asarray(part % 2 * 2.0 - 1, x.dtype) for part in (data.train_labels, data.test_labels))
    # `dynamics.parameterized_model` refuses other networks.
    return Problem(cast(ntk.MLP | ntk.RNN, net), x, labels, x_test, labels_test, data.fingerprint)


def limit_kernels(problem: Problem, parameterization: str) -> tuple[Array, Array]:
    """The limit of the kernel of training, on training points and between test and training points.

    Training in maximal update does not have a kernel limit. For it this is the limit of the kernel before training,
    which is that of "ntk".
    """
    name = "ntk" if parameterization == "mup" else parameterization
    model = dynamics.parameterized_model(problem.net, 1, parameterization=name)
    return model.kernel_limit(problem.x), model.kernel_limit(problem.x_test, problem.x)


def learning_rate(problem: Problem, parameterization: str, config: ConfigDict) -> float:
    """`rate` times the largest stable learning rate (theory.md 6.5) of the limit, the same at every width."""
    largest = dynamics.max_learning_rate(limit_kernels(problem, parameterization)[0])
    return config.rate * float(largest)


def recorded_steps(config: ConfigDict) -> Int[np.ndarray, " steps"]:
    """Every step up to `every`, and then every multiple of `every`.

    Example:
        >>> print(recorded_steps(ConfigDict({"steps": 12, "every": 4})))
        [ 0  1  2  3  4  8 12]
    """
    return np.concatenate([np.arange(config.every), np.arange(config.every, config.steps + 1, config.every)])


def train_networks(
    problem: Problem, parameterization: str, width: int, config: ConfigDict
) -> dict[str, Float[np.ndarray, "seeds ..."]]:
    """Train one random network per seed, all in one compiled program, and measure each network.

    Returns:
        By name, one row per seed:
        "loss", "loss_test", "error_test": (S,) at the recorded steps, losses as means over points;
        "loss_predicted": (S,), "loss" by the kernel's limit from the same f_0;
        "outputs", "linearized", "predicted": (S, P) on the first P test points: the outputs of the network, of its
            linearization, and of the kernel's limit from the same f_0;
        "left", "left_linear": (S, K), the share of the error f − y that is left along chosen eigenvectors of the
            network's own Θ_0, and its prediction (1 − ηλ)^t (theory.md 6.3); for the squared loss only;
        "drift": ‖Θ_T − Θ_0‖/‖Θ_0‖, "movement": ‖w_T − w_0‖/‖w_0‖ of the weights between hidden layers;
        "to_linearized", "to_limit": the largest root mean square distance on the test points over recorded steps;
        "alignment", "alignment_before": the alignment of Θ_T and of Θ_0 with the labels; "spectrum": eigenvalues of
            Θ_0.
    """
    loss, targets_of = LOSSES[config.loss]
    y, y_test = targets_of(problem.labels), targets_of(problem.labels_test)
    model = dynamics.parameterized_model(problem.net, width, parameterization=parameterization)
    rate = learning_rate(problem, parameterization, config)
    limit, limit_test = limit_kernels(problem, parameterization)
    inputs = jnp.concatenate([problem.x, problem.x_test])
    num_train, scale = len(problem.x), model.learning_rate_scale

    def measure(key: Array) -> dict[str, Array]:
        params = model.init(key, problem.x)
        optimizer = optax.sgd(rate * scale)

        def train(params: Params, steps: int, every: int) -> tuple[dynamics.Trajectory, Params]:
            options: dict[str, Any] = {"loss": loss, "every": every, "x_test": problem.x_test}
            found = dynamics.train(model.apply, params, problem.x, y, optimizer, steps, **options)
            return found, found.params

        found = _recorded(train, params, config)
        before = scale * ntk.empirical_ntk(model.apply, params, inputs, problem.x)
        after = scale * ntk.empirical_ntk(model.apply, found.params, problem.x)
        theta = (before[:num_train] + before[:num_train].T) / 2  # symmetric despite rounding

        def predicted(kernel: Array, kernel_test: Array) -> dynamics.Trajectory:
            def descend(start: Outputs, steps: int, every: int) -> tuple[dynamics.Trajectory, Outputs]:
                options: dict[str, Any] = {"fx_train_0": start[0], "fx_test_0": start[1], "k_test_train": kernel_test}
                found = dynamics.loss_descent(kernel, y, loss, steps, learning_rate=rate, every=every, **options)
                return found, (found.fx_train[-1], found.fx_test[-1])

            return _recorded(descend, (found.fx_train[0], found.fx_test[0]), config)

        own, ideal = predicted(theta, before[num_train:]), predicted(limit, limit_test)

        def distance(other: Array) -> Array:
            return jnp.max(jnp.sqrt(jnp.mean((found.fx_test - other) ** 2, axis=1)))

        eigenvalues, vectors = (part[..., ::-1] for part in jnp.linalg.eigh(theta))
        chosen = jnp.asarray(config.directions)
        shown = slice(config.num_shown)
        return {
            "loss": found.loss / num_train,
            "loss_predicted": ideal.loss / num_train,
            "loss_test": jax.vmap(lambda f: jnp.mean(loss(f, y_test)))(found.fx_test),
            "error_test": jnp.mean(found.fx_test * problem.labels_test <= 0, axis=1),
            "outputs": found.fx_test[:, shown],
            "linearized": own.fx_test[:, shown],
            "predicted": ideal.fx_test[:, shown],
            **_decay(found, y, vectors[:, chosen], 1 - rate * eigenvalues[chosen], config),
            "drift": jnp.linalg.norm(after - theta) / jnp.linalg.norm(theta),
            "movement": _movement(params, found.params),
            "to_linearized": distance(own.fx_test),
            "to_limit": distance(ideal.fx_test),
            "alignment_before": ntk.target_alignment(theta, problem.labels),
            "alignment": ntk.target_alignment((after + after.T) / 2, problem.labels),
            "spectrum": eigenvalues,
        }

    keys = member_keys(config.seed, width, config.num_seeds)
    measured = jax.jit(lambda keys: jax.lax.map(measure, keys, batch_size=config.batch_size))(keys)
    return {name: np.asarray(values) for name, values in measured.items()}


def _recorded(
    run: Callable[[Start, int, int], tuple[dynamics.Trajectory, Start]], start: Start, config: ConfigDict
) -> dynamics.Trajectory:
    """Training recorded at `recorded_steps`, in two parts. Plain gradient descent has no memory, so it can be resumed.

    `run(start, steps, every)` returns a trajectory and its end, from which the second part starts.
    """
    first, reached = run(start, config.every, 1)
    rest, _ = run(reached, config.steps - config.every, config.every)
    records = (
        jnp.concatenate([before, after[1:]])
        for before, after in ((getattr(first, name), getattr(rest, name)) for name in ("loss", "fx_train", "fx_test"))
    )
    return dynamics.Trajectory(rest.params, jnp.asarray(recorded_steps(config)), *records)


def _decay(
    found: dynamics.Trajectory, y: Array, directions: Array, factors: Array, config: ConfigDict
) -> dict[str, Array]:
    if config.loss != "squared":
        return {}
    error = jnp.abs((found.fx_train - y) @ directions)
    return {"left": error / error[0], "left_linear": jnp.abs(factors) ** found.steps[:, None]}


def _movement(before: Params, after: Params) -> Array:
    """The movement of the last weight matrix before the read-out, between hidden layers or times, over its norm."""
    name = max((name for name in before["params"] if name.startswith("w")), key=lambda name: (len(name), name))
    start, end = before["params"][name], after["params"][name]
    return jnp.linalg.norm(end - start) / jnp.linalg.norm(start)


def ensemble_loss(problem: Problem, config: ConfigDict) -> Float[np.ndarray, " steps"]:
    """The mean squared loss of the ensemble of infinitely wide networks (theory.md 6.7) on the training points.

    ½ E (f − y)² is the sum of half the squared error of the mean and half the variance.
    """
    with jax.enable_x64(True):
        kernels = ntk.infinite_kernels(problem.net, jnp.asarray(problem.x, jnp.float64))
        y = jnp.asarray(problem.labels, jnp.float64)
        rate = learning_rate(problem, "ntk", config)
        predict = dynamics.squared_loss_ensemble(kernels, y, learning_rate=rate, steps=True)
        mean, covariance = predict(recorded_steps(config))
        squares = jnp.mean((mean - y[None]) ** 2, axis=1)
        return np.asarray(squares + jnp.trace(covariance, axis1=1, axis2=2) / len(y)) / 2
