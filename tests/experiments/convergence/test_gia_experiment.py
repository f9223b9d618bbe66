"""The gradient independence assumption at finite width: a small run, what it must show, resuming, refusals."""

import functools

import numpy as np
import pytest
from small_runs import contents_of, names_of_files, records_of, small_config

from experiments import gia
from experiments.convergence import gia_programs

SMALL = {"num_inputs": 3, "widths": (32, 128), "num_seeds": 16, "samples": 2**12}
small = functools.partial(small_config, SMALL, "gia")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run of one program."""
    workdir = tmp_path_factory.mktemp("gia")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gia, "PROGRAMS", {"averaged squares": gia_programs.averaged_squares})
        gia.main(small(), workdir)
        yield workdir


def records(workdir):
    return {(record["what"], record["width"]): record for record in records_of(workdir)}


def test_the_gradient_is_that_of_the_correction(finished):
    """dx¹ has mean 2 and second moment 8 + 4/n exactly, in expectation over networks."""
    for width in (32, 128):
        record = records(finished)[gia.GRADIENT, width]
        for name, exact in (("mean", 2.0), ("second_moment", 8 + 4 / width)):
            values = np.array(record[name])
            assert abs(values.mean() - exact) < 4 * values.std(ddof=1) / 16**0.5


def assert_kernels_approach_the_corrected_limit_alone(found):
    for name in gia.PROGRAMS:
        near = [np.median(found[name, width]["corrected"]) for width in (32, 128)]
        far = [np.median(found[name, width]["gia"]) for width in (32, 128)]
        # Four times the width halves the first error. The second one does not fall below a limit.
        assert near[1] < 0.75 * near[0]
        assert far[1] > 1.5 * near[1]


def test_kernels_approach_the_corrected_limit_alone(finished):
    assert_kernels_approach_the_corrected_limit_alone(records(finished))


@pytest.mark.slow
def test_kernels_of_every_program(tmp_path):
    gia.main(small(widths=(32, 128), num_seeds=48), tmp_path)
    assert_kernels_approach_the_corrected_limit_alone(records(tmp_path))


def test_a_run_leaves_its_files_and_goes_on(finished, monkeypatch, no_figures):
    assert set(contents_of(finished)) == names_of_files("gia")
    summary = (finished / "summary.md").read_text()
    assert "mean of dx¹" in summary
    assert all(name in summary for name in gia.PROGRAMS)
    before = (finished / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(gia, "measure_place", None)
    gia.main(small(), finished)
    assert (finished / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"widths": (64,)}, r"widths is \(64,\); expected at least two widths in increasing order"),
        ({"num_seeds": 1}, "num_seeds is 1; expected an integer of at least 2"),
        ({"samples": 0}, "samples is 0; expected an integer of at least 1"),
        ({"samples": 256}, "samples is 256; expected at least 512, as a matrix is used 2 times"),
    ],
)
def test_refusals(changes, sentence, tmp_path, monkeypatch):
    # The program that needs most samples.
    monkeypatch.setattr(gia, "PROGRAMS", {"W with its transpose": gia_programs.transposed})
    with pytest.raises(SystemExit, match=sentence):
        gia.main(small(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
