"""The benchmark of programs with positions: its two sides agree, what it writes, where it stops, what it refuses."""

import functools

import jax
import numpy as np
import pytest
from small_runs import contents_of, names_of_files, records_of, small_config

import ntk
from configs import benchmark_programs_full
from experiments import benchmark_programs
from experiments.benchmarks.programs import KINDS, TOLERANCE, build_workload, cells

SMALL = {"networks": {"cnn_mean": ((2, 2),), "cnn_flatten": ((3, 2),)}, "budget_seconds": 0.01, "max_runs": 2}
OUTPUTS = names_of_files("benchmark") - {"summary.md"} | {"benchmark.md"}
small = functools.partial(small_config, SMALL, "benchmark_programs")


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) for kind in ("graph", "wide_resnet", "cnn_flatten")]
)
def test_both_libraries_have_the_same_network(kind):
    """In float64, in which a wrong weight or padding exceeds rounding."""
    net, x, kernel_fn = build_workload(kind, size=4, num_inputs=2)
    x = x.astype(float)
    # neural-tangents' arccosine loses half of the digits for an input with itself, which is one of many pairs here.
    np.testing.assert_allclose(ntk.infinite_ntk(net, x), jax.jit(kernel_fn)(x), rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_every_workload_is_a_program_with_float32_inputs(kind):
    net, x, kernel_fn = build_workload(kind, size=8, num_inputs=3)
    assert (len(x), x.dtype) == (3, "float32")
    assert net.record(x.shape[1:])
    assert (kernel_fn is None) == (kind in ("transformer", "lstm", "gru"))


def test_the_table_says_what_was_measured(tmp_path, monkeypatch):
    side = {"seconds": [0.1, 0.2, 0.3], "compile_seconds": 1.0, "peak_mib": 5.0}
    measured = []

    def measure(workload, **_):
        measured.append(workload.x.shape)
        peer = {"neural_tangents": side | {"seconds": [0.5, 0.7]}, "difference": 1e-6}
        return {"ours": side} | ({} if workload.kernel_fn is None else peer)

    monkeypatch.setattr(benchmark_programs, "measure", measure)
    config = small(networks={"cnn_mean": ((4, 2),), "transformer": ((3, 2),)})
    benchmark_programs.main(config, tmp_path)
    assert set(contents_of(tmp_path)) == OUTPUTS
    lines = [line for line in (tmp_path / "benchmark.md").read_text().splitlines() if line.startswith(("| CNN", "| t"))]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows == [
        ["CNN, mean, 4 × 4, N=2", "200", "600", "3", "1.0", "1.0", "5", "5", "1e-06"],
        ["transformer, T=3, N=2", "200", "–", "–", "1.0", "–", "5", "–", "–"],
    ]
    # A second run measures only what is new.
    benchmark_programs.main(small(networks={"cnn_mean": ((4, 2), (5, 2)), "transformer": ((3, 2),)}), tmp_path)
    assert measured == [(2, 4, 4, 3), (2, 3, 16), (2, 5, 5, 3)]


def test_full_config_holds_the_targets():
    wanted = {("cnn_mean", 32, 4), ("cnn_mean", 16, 8), ("cnn_flatten", 32, 200), ("wide_resnet", 32, 4)}
    assert wanted | {("transformer", 64, 32), ("graph", 100, 32)} <= set(
        map(tuple, cells(benchmark_programs_full.get_config()))
    )


@pytest.mark.slow
def test_a_small_run(tmp_path):
    benchmark_programs.main(small(), tmp_path)
    assert set(contents_of(tmp_path)) == OUTPUTS
    for record in records_of(tmp_path):
        assert 1 <= len(record["ours"]["seconds"]) <= 2
        assert record["difference"] <= TOLERANCE


def test_kernels_that_differ_end_the_run(tmp_path, monkeypatch):
    right = ntk.infinite_ntk
    monkeypatch.setattr(ntk, "infinite_ntk", lambda net, x, **options: 1.01 * right(net, x, **options))
    with pytest.raises(SystemExit, match=r"the kernels differ by 0.01 of their largest entry; expected 0.001."):
        benchmark_programs.main(small(networks={"cnn_flatten": ((2, 2),)}), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"max_runs": 0}, "max_runs is 0; expected an integer of at least 1"),
        ({"budget_seconds": 0.0}, "budget_seconds is 0.0; expected a positive number"),
        ({"networks": {"rnn": ((4, 3),)}}, "a field of networks is 'rnn'; expected one of"),
        ({"networks": {"graph": ((4, 0),)}}, "networks.graph is 0; expected an integer of at least 1"),
        ({"networks": {"graph": (4, 3)}}, "networks.graph holds 4; expected pairs of a size and a number of inputs"),
    ],
)
def test_refusals_are_one_sentence_and_leave_nothing(changes, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        benchmark_programs.main(small(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
