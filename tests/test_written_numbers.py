"""A table of numbers of kernels, predictions, bounds and sweeps, to notice unintended changes.

Other tests check whether these numbers are right. Each one is a fixed linear functional of a result, so that a
permutation of its entries changes it too.

    PYTHONPATH=. python tests/test_written_numbers.py > tests/written_numbers.csv    # writes the table anew
"""

import csv
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bounds
import ntk
from configs import regularization_sweep as sweep_config
from experiments import regularization_sweep
from experiments.common.metrics import MetricsFile

TABLE = Path(__file__).with_name("written_numbers.csv")
NUMBERS: dict[str, Callable[[], float]] = {}


def number(function: Callable[[], float]) -> Callable[[], float]:
    """Put a function of no arguments into the table, by its name."""
    NUMBERS[function.__name__] = function
    return function


def functional(array: jax.typing.ArrayLike) -> float:
    """The sum of the entries with weights cos 1, cos 2, …: every entry and its place count."""
    flat = np.asarray(array, np.float64).ravel()
    return float(flat @ np.cos(np.arange(1, flat.size + 1)))


def inputs(*shape: int, seed: int = 0) -> jax.Array:
    """Standard normal numbers in float64."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def of_kernels(net: object, *shape: int, **options: object) -> float:
    """All four parts of the limit of a network on two batches."""
    k = ntk.infinite_kernels(net, inputs(5, *shape), inputs(4, *shape, seed=1), **options)
    return functional(k.ntk) + functional(k.nngp) + functional(k.C) + functional(k.D)


for name in ("relu", "leaky_relu", "abs", "erf", "tanh", "gelu", "silu", "sin", "gaussian", "softplus"):
    NUMBERS[f"mlp_{name}"] = functools.partial(
        of_kernels, ntk.MLP(depth=3, activation=name, w_std=1.3, b_std=0.3, v_std=0.9), 6
    )
for pooling in ("last", "mean"):
    for name in ("erf", "relu"):
        NUMBERS[f"rnn_{name}_{pooling}"] = functools.partial(
            of_kernels, ntk.RNN(activation=name, w_std=1.2, u_std=0.8, b_std=0.2, pooling=pooling), 5, 3
        )
for name, shape in {
    "residual_mlp": (6,),
    "tied_mlp": (6,),
    "cnn_1d": (4, 3),
    "bidirectional_rnn": (3, 2),
}.items():
    NUMBERS[f"program_{name}"] = functools.partial(
        lambda name, shape: functional(ntk.infinite_kernels(getattr(ntk.architectures, name), inputs(4, *shape)).ntk),
        name,
        shape,
    )


@number
def mlp_at_depth_100() -> float:
    return functional(ntk.infinite_ntk(ntk.MLP(depth=100, w_std=2**0.5, b_std=0.0), inputs(5, 6)))


@number
def program_lstm_sampled() -> float:
    kernels = ntk.infinite_kernels(ntk.architectures.lstm, inputs(2, 2, 2), samples=256, seed=3)
    return functional(kernels.ntk)


@number
def empirical_mlp() -> float:
    net, x = ntk.MLP(depth=2, activation="erf"), inputs(5, 6)
    k = ntk.empirical_kernels(net, ntk.finite(net, width=16).init(jax.random.key(0), x), x)
    return functional(k.ntk) + functional(k.C) + functional(k.D)


@number
def empirical_rnn() -> float:
    net, x = ntk.RNN(activation="tanh", pooling="mean"), inputs(4, 5, 3)
    k = ntk.empirical_kernels(net, ntk.finite(net, width=16).init(jax.random.key(0), x), x)
    return functional(k.ntk) + functional(k.C) + functional(k.D)


@number
def empirical_of_a_flax_model() -> float:
    x = inputs(5, 6)
    model = nn.Sequential([nn.Dense(16, param_dtype=jnp.float64), nn.tanh, nn.Dense(3, param_dtype=jnp.float64)])
    params = model.init(jax.random.key(0), x)
    return functional(ntk.empirical_ntk(model.apply, params, x, trace_axes=()))


def _problem() -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    net, x = ntk.MLP(depth=2), inputs(12, 4)
    kernel = ntk.infinite_ntk(net, x)
    return kernel[:8, :8], kernel[8:, :8], inputs(8, 2, seed=2), kernel


@number
def squared_loss_flow() -> float:
    train, test, y, _ = _problem()
    return functional(ntk.dynamics.squared_loss_flow(train, y)(3.0, 0.0, 0.0, test)[1])


@number
def squared_loss_descent() -> float:
    train, test, y, _ = _problem()
    return functional(ntk.dynamics.squared_loss_descent(train, y, learning_rate=0.01)(7, 0.0, 0.0, test)[1])


@number
def effective_rank() -> float:
    return float(ntk.effective_rank(_problem()[3]))


@number
def alignment() -> float:
    kernel = _problem()[3]
    return float(ntk.alignment(kernel, kernel**2))


@number
def hoeffding() -> float:
    return bounds.hoeffding_epsilon(1000, 0.05, num_hypotheses=17)


@number
def vc_polynomial() -> float:
    return bounds.vc_epsilon(50_000, 3, 0.05)


@number
def vc_sauer() -> float:
    return bounds.vc_epsilon(50_000, 3, 0.05, growth="sauer")


@number
def vc_samples() -> float:
    return float(bounds.vc_sample_size(0.1, 3, 0.1))


@number
def seeger() -> float:
    return bounds.seeger_bound(0.03, 5.0, 1000, 0.05)


@number
def rademacher_of_a_ball() -> float:
    return float(bounds.exact_rademacher(bounds.LinearBall(inputs(10, 3), 2.0)))


@number
def spectral_complexity() -> float:
    return float(bounds.spectral_complexity([inputs(4, 6), inputs(6, 2, seed=1)]))


@number
def golowich() -> float:
    return float(bounds.golowich_rademacher([inputs(4, 6), inputs(6, 1, seed=1)], inputs(9, 4)))


@number
def ntk_complexity() -> float:
    return float(bounds.ntk_complexity(_problem()[3], inputs(12, seed=3)))


@number
def path_norm() -> float:
    return float(bounds.path_norm([inputs(4, 6), inputs(6, 2, seed=1)]))


@functools.cache
def _sweep() -> dict[str, float]:
    """The last test losses, norms and spectral norms of a small sweep, by regularizer."""
    config = sweep_config.get_config()
    with config.unlocked():
        del config.regularizers, config.bounds
        config.update(regularizers={"none": (0.0,), "l1": (1e-2,), "l2": (1e-2,)}, bounds={})
        config.update(widths=(8,), train_sizes=(40,), num_validation=30, num_test=60, num_probes=4)
        config.update(num_seeds=1, num_steps=40, num_evaluations=1)
    with tempfile.TemporaryDirectory() as workdir:
        regularization_sweep.main(config, Path(workdir))
        records = MetricsFile(Path(workdir) / "metrics.jsonl").records
    curves = {record["regularizer"]: record["curves"] for record in records}
    names = ("test_loss", "frobenius", "spectral", "ntk_drift")
    return {name: functional(np.concatenate([np.ravel(of[key][-1]) for key in names])) for name, of in curves.items()}


for name in ("none", "l1", "l2"):
    NUMBERS[f"sweep_{name}"] = functools.partial(lambda name: _sweep()[name], name)


def written() -> dict[str, float]:
    """The table as it was written down."""
    with TABLE.open(newline="") as file:
        return {name: float(value) for name, value in csv.reader(file)}


# Float64 results agree to rounding; a sweep trains in float32 and records six digits.
# Programs have formulas of their own in fast tests.
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name.startswith(("sweep", "program")) else ()) for name in NUMBERS],
)
def test_a_written_number_has_not_changed(name: str) -> None:
    tolerance = 1e-4 if name.startswith("sweep") else 1e-9
    assert NUMBERS[name]() == pytest.approx(written()[name], rel=tolerance, abs=tolerance)


def test_the_table_has_every_number() -> None:
    assert list(written()) == list(NUMBERS)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    for name, function in NUMBERS.items():
        print(f"{name},{function()!r}")
