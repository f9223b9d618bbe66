"""The gradient independence assumption at finite width: a small run, what it must show, resuming, refusals."""

import importlib
import json

import numpy as np
import pytest

from experiments import gia

OUTPUTS = {"config.json", "metrics.jsonl", "summary.md", "gia.png", "gia.pdf", "environment.json", ".lock"}
SMALL = {"num_inputs": 3, "widths": (32, 128), "num_seeds": 16, "samples": 2**12}


def small_config(**changes):
    config = importlib.import_module("configs.gia").get_config()
    with config.unlocked():
        config.update_from_flattened_dict(SMALL | changes)
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run of one program."""
    workdir = tmp_path_factory.mktemp("gia")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gia, "PROGRAMS", {"averaged ReLU network": gia.averaged_relu})
        gia.main(small_config(), workdir)
        yield workdir


def records(workdir):
    found = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {(record["what"], record["width"]): record for record in found}


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
        # Four times the width halves the one; the other has a floor.
        assert near[1] < 0.75 * near[0]
        assert far[1] > 1.5 * near[1]


def test_kernels_approach_the_corrected_limit_alone(finished):
    assert_kernels_approach_the_corrected_limit_alone(records(finished))


@pytest.mark.slow
def test_kernels_of_every_program(tmp_path):
    gia.main(small_config(widths=(32, 128), num_seeds=48), tmp_path)
    assert_kernels_approach_the_corrected_limit_alone(records(tmp_path))


def test_a_run_leaves_its_files_and_goes_on(finished, monkeypatch):
    assert {file.name for file in finished.iterdir()} == OUTPUTS
    summary = (finished / "summary.md").read_text()
    assert "mean of dx¹" in summary
    assert all(name in summary for name in gia.PROGRAMS)
    before = (finished / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(gia, "gradient_moments", None)
    monkeypatch.setattr(gia, "kernel_errors", None)
    gia.main(small_config(), finished)
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
def test_refusals(changes, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        gia.main(small_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
