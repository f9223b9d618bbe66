"""The benchmark from end to end at tiny sizes: what it writes, where it stops, what it refuses."""

import csv
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import contents_of, names_of_files, records_of, small_config

import ntk
from experiments import benchmark_empirical
from experiments.benchmarks.empirical_report import better_side, ratio
from experiments.benchmarks.networks import HIDDEN_LAYERS, KINDS, build_workload
from experiments.benchmarks.timing import time_in_turns
from experiments.common import plots

SIDES = ("ours", "neural_tangents_1", "neural_tangents_2")
NETWORKS = {"mlp": {"widths": (8,), "num_inputs": (3,)}, "rnn_scan": {"widths": (4,), "num_inputs": (3,)}}
SMALL = {"networks": NETWORKS, "outputs": (2,), "budget_seconds": 0.1, "max_runs": 3}
OUTPUTS = names_of_files("benchmark") - {"summary.md"} | {"benchmark.md", "benchmark.csv"}
small = functools.partial(small_config, SMALL, "benchmark_empirical")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The work directory of one small run, and what it printed."""
    workdir = tmp_path_factory.mktemp("finished")
    benchmark_empirical.main(small(), workdir)
    return workdir


@pytest.mark.slow
def test_the_table_says_what_was_measured(finished):
    assert set(contents_of(finished)) == OUTPUTS
    records = records_of(finished)
    assert [record["cell"]["kind"] for record in records] == ["mlp", "rnn_scan"]
    for record in records:
        assert all(1 <= len(record[side]["seconds"]) <= 3 for side in SIDES)
        assert record["difference"] <= 1e-4
    assert "gemm_fraction" in records[0]
    assert "gemm_fraction" not in records[1]
    with (finished / "benchmark.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [line.split("|")[1:-1] for line in (finished / "benchmark.md").read_text().splitlines() if line[:1] == "|"][
        2:
    ]
    for record, row, cells in zip(records, rows, lines, strict=True):
        ours, *theirs = (np.median(record[side]["seconds"]) for side in SIDES)
        assert float(row["ours_ms"]) == pytest.approx(1e3 * ours)
        assert float(row["ratio"]) == pytest.approx(min(theirs) / ours)
        # Three digits, or whole numbers from 100 on.
        assert float(cells[1]) == pytest.approx(1e3 * ours, rel=6e-3)
        assert float(cells[4]) == pytest.approx(min(theirs) / ours, rel=6e-3)
        assert int(cells[3]) == 1 + int(np.argmin(theirs))
    assert [cells[0].strip() for cells in lines] == ["MLP, n=8, N=3, O=2", "RNN, scan, n=4, N=3, O=2"]


def test_a_second_run_measures_only_what_is_new(tmp_path, monkeypatch):
    side = {"seconds": [0.1, 0.2, 0.3], "compile_seconds": 1.0, "peak_mib": 5.0}
    measured = []

    def measure(workload, **_):
        measured.append(jax.eval_shape(workload.f, workload.params, workload.x).shape)
        return dict.fromkeys(SIDES, side) | {"difference": 1e-6}

    monkeypatch.setattr(benchmark_empirical, "measure", measure)
    benchmark_empirical.main(small(), tmp_path)
    before = contents_of(tmp_path)
    assert set(before) == OUTPUTS
    assert measured == [(3, 2), (3, 2)]
    benchmark_empirical.main(small(), tmp_path)
    assert contents_of(tmp_path) == before
    assert len(measured) == 2
    monkeypatch.setattr(plots, "save_figure", lambda figure, stem: None)
    benchmark_empirical.main(small(outputs=(2, 3)), tmp_path)
    assert measured[2:] == [(3, 3), (3, 3)]
    lines = [
        line for line in (tmp_path / "benchmark.md").read_text().splitlines() if line.startswith(("| MLP", "| RNN"))
    ]
    assert [line.split("|")[2].strip() for line in lines] == ["200"] * 4


def test_a_kernel_that_does_not_fit_into_memory_is_left_out_and_named(tmp_path, no_figures):
    config = small(networks={"mlp": {"widths": (8,), "num_inputs": (3,)}}, memory_gib=1e-9)
    benchmark_empirical.main(config, tmp_path)
    (record,) = records_of(tmp_path)
    assert [len(record[side]["seconds"]) > 0 for side in SIDES] == [True, False, False]
    assert better_side(record) is ratio(record) is None
    assert 0 < record["difference"] < 1e-4
    table = (tmp_path / "benchmark.md").read_text()
    assert "1 needs " in table
    assert "2 needs " in table


@pytest.mark.parametrize("memory_gib", [1.0, pytest.param(1e-9, marks=pytest.mark.slow)])
def test_kernels_that_differ_end_the_run(memory_gib, tmp_path, monkeypatch):
    right = ntk.empirical_ntk
    monkeypatch.setattr(ntk, "empirical_ntk", lambda *arguments: 1.001 * right(*arguments))
    with pytest.raises(SystemExit, match=r"the kernels differ by 0.001 of their largest entry; expected 0.0001."):
        benchmark_empirical.main(small(memory_gib=memory_gib), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"max_runs": 0}, "max_runs is 0; expected an integer of at least 1"),
        ({"budget_seconds": 0.0}, "budget_seconds is 0.0; expected a positive number"),
        ({"outputs": (0,)}, "outputs is 0; expected an integer of at least 1"),
        (
            {"networks": {"lstm": {"widths": (4,), "num_inputs": (3,)}}},
            "a field of networks is 'lstm'; expected one of",
        ),
        ({"networks": {"mlp": {"widths": (0,), "num_inputs": (3,)}}}, "networks.mlp.widths is 0; expected an integer"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(changes, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        benchmark_empirical.main(small(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_every_network_is_a_float32_function_of_a_batch(kind):
    def evaluated():
        f, params, x, _ = build_workload(kind, width=4, num_inputs=3, outputs=2)
        return f(params, x), params, x

    y, params, x = jax.eval_shape(evaluated)
    assert (len(x), y.shape) == (3, (3, 2))
    assert {leaf.dtype for leaf in jax.tree.leaves((y, params, x))} == {jnp.dtype("float32")}


def test_the_two_forms_of_the_rnn_are_one_function():
    unrolled, scanned = (build_workload(kind, width=5, num_inputs=3, outputs=2) for kind in ("rnn", "rnn_scan"))
    # Eight products of a few float32 numbers of order one.
    np.testing.assert_allclose(unrolled.f(unrolled.params, unrolled.x), scanned.f(scanned.params, scanned.x), atol=1e-5)


def test_the_counted_products_are_those_that_make_the_kernel():
    """The kernel of theory.md 5.1 in NumPy, in float64, with a count of its products."""
    width, num_inputs, outputs = 7, 5, 3
    f, params, x, flops = build_workload("mlp", width=width, num_inputs=num_inputs, outputs=outputs)
    counted = []

    def times(a, b):
        counted.append(2 * a.shape[0] * a.shape[1] * b.shape[1])
        return a @ b

    weights = [np.asarray(layer["w"], float) for layer in params]
    operands = [np.asarray(x, float)]
    for w in weights[:-1]:
        operands.append(np.maximum(times(operands[-1], w), 0))
    times(operands[-1], weights[-1])
    delta = np.broadcast_to(np.eye(outputs), (num_inputs, outputs, outputs))
    theta = np.zeros((num_inputs, num_inputs))
    for layer in reversed(range(HIDDEN_LAYERS + 1)):
        flat = delta.reshape(num_inputs, -1)
        theta += times(flat, flat.T) * (times(operands[layer], operands[layer].T) + 1) / outputs
        if layer:
            back = times(delta.reshape(num_inputs * outputs, -1), weights[layer].T).reshape(num_inputs, outputs, -1)
            delta = back * (operands[layer] > 0)[:, None]
    # Sums of at most 784 products, rounded to float32.
    np.testing.assert_allclose(ntk.empirical_ntk(f, params, x), theta, rtol=1e-4)
    assert flops == sum(counted)


def test_programs_take_turns_until_their_budget_is_spent(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr("experiments.benchmarks.timing.time.perf_counter", lambda: clock[0])

    def program(name, seconds):
        def run():
            clock[0] += seconds
            calls.append(name)

        return run

    programs = {"slow": program("slow", 9.0), "half": program("half", 2.0), "fast": program("fast", 0.5)}
    runs = time_in_turns(programs, budget_seconds=4.0, max_runs=3)
    assert calls == ["slow", "half", "fast", "half", "fast", "fast", "fast"]
    assert runs == {"slow": [9.0], "half": [2.0], "fast": [0.5, 0.5, 0.5]}
