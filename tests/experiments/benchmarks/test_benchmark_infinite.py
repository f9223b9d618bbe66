"""The benchmark of the infinite-width kernels: its reference against a direct sum, and a small run of the script."""

import re

import numpy as np
import pytest
from small_runs import command_line

import ntk
from experiments.benchmarks.full_rnn_recursion import MAPS, rnn_ntk
from experiments.benchmarks.infinite import Rates, Work


def run(workdir, **fields):
    """The script with some fields of its config changed."""
    changes = (f"--config.{name}={value}" for name, value in fields.items())
    return command_line(
        "benchmark_infinite", f"--workdir={workdir}", "--config=configs/benchmark_infinite.py", *changes
    )


@pytest.mark.parametrize("activation", sorted(MAPS))
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_full_recursion_agrees_with_the_fast_one(activation, pooling):
    """Two independent programs, in NumPy and in JAX, in float64."""
    x = np.random.default_rng(0).normal(size=(5, 6, 3))
    net = ntk.RNN(activation=activation, pooling=pooling, w_std=1.2, u_std=0.8, b_std=0.3, v_std=0.7)
    # On the diagonal the other program has an error √ε, from the dual map of ReLU's derivative.
    np.testing.assert_allclose(rnn_ntk(net, x), ntk.infinite_ntk(net, x), rtol=1e-7)


def test_limit_adds_up():
    rates = Rates(products=2.0, moved=4.0, angles=8.0)
    assert rates.limit(Work(operations=2.0, angles=4.0, result_bytes=8)) == 3.5


@pytest.mark.slow
def test_script_writes_a_table(tmp_path):
    fields = {
        "num_runs": 1,
        "mlp.num_inputs": (20,),
        "mlp.activations": ("relu",),
        "rnn.num_inputs": 5,
        "rnn.activations": ("erf",),
    }
    finished = run(tmp_path, **fields)
    assert finished.status == 0, finished.said
    report = (tmp_path / "benchmark.md").read_text(encoding="utf-8")
    assert report.strip() in finished.printed
    lines = [line.split("|")[1:-1] for line in report.splitlines() if re.match(r"\| (MLP|RNN)", line)]
    assert [line[0].strip() for line in lines] == [
        "MLP, 3 layers, relu",
        "RNN, 28 steps, erf, last",
        "RNN, 28 steps, erf, mean",
    ]
    for line in lines:
        # float32 against the reference; neural-tangents' own diagonal is off by 1e-4.
        assert float(line[8]) < 1e-3
        assert all(float(line[column]) > 0 for column in (2, 4))


def test_bad_field_is_refused(tmp_path):
    finished = run(tmp_path, num_runs=0)
    assert finished.status == 1
    assert "num_runs is 0; expected an integer of at least 1." in finished.said
    assert "Traceback" not in finished.said
