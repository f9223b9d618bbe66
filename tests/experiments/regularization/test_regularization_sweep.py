"""The sweep from end to end: its files, what they say, resuming also after a kill, divergence, refusals."""

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_runs import contents_of, names_of_files, records_of, small_config

from experiments import regularization_sweep
from experiments.regularization import training
from experiments.regularization.figures.selection import select

ROOT = Path(__file__).parents[3]
FIGURES = ("gap", "sparsity", "spectra", "reliability", "correlation", "geometry")
SMALL = {
    "regularizers": {"none": (0.0,), "l1": (1e-3, 1e-2, 3e-2)},
    "widths": (8,),
    "train_sizes": (40,),
    "num_validation": 30,
    "num_test": 60,
    "num_seeds": 1,
    "batch_size": 16,
    "num_steps": 60,
    "num_evaluations": 3,
    "num_probes": 4,
    "bounds.sigmas": (0.1,),
    "bounds.num_draws": 5,
}
small = functools.partial(small_config, SMALL, name="regularization_sweep")


@pytest.fixture(scope="module", autouse=True)
def _plans_are_kept():
    """Runs of one shape share their compiled program, as they would if they were one run."""
    plans, make_plan = {}, regularization_sweep.make_plan

    def kept(program, members, *rest):
        if (program, len(members)) not in plans:
            plans[program, len(members)] = make_plan(program, members, *rest)
        return plans[program, len(members)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regularization_sweep, "make_plan", kept)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The work directory of one small run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("sweep")
    regularization_sweep.main(small(), workdir)
    return workdir


def test_a_run_leaves_its_files(finished):
    assert set(contents_of(finished)) == names_of_files(*FIGURES)
    found = records_of(finished)
    assert len(found) == 1 + 3
    for record in found:
        assert record["steps"] == [0, 20, 40, 60]
        assert {len(values) for values in record["curves"].values()} == {4}
        assert record["diverged"] is None
        assert record["curves"]["ntk_drift"][0] < 1e-5 < 1e-2 < record["curves"]["ntk_drift"][-1]
        # A fifth of labels are of any of ten classes, so that nine in ten of these are wrong; all of them where every
        # unit is silent and scores are tied.
        error = 0.8 * record["curves"]["test_error"][-1] + 0.2 * 0.9
        assert -1e-5 < record["curves"]["gap"][-1] + record["curves"]["train_error"][-1] - error < 0.2 * 0.1 + 1e-5
        assert {"binomial tail, test data", "PAC-Bayes, Gaussian noise", "spectral norms and margins"} <= set(
            record["bounds"]
        )
        assert {"spectral complexity", "path norm", "NTK complexity"} <= set(record["measures"])
        assert record["bounds"]["Hoeffding, test data"] > error
        assert record["bounds"]["Hoeffding, all parameters"] > record["curves"]["train_error"][-1]


def test_regularizers_have_their_effects(finished):
    found = records_of(finished)
    zeros = [record["curves"]["sparsity"][-1] for record in select(found, regularizer="l1", seed=0)]
    assert zeros == sorted(zeros)
    assert zeros[-1] > 0.3
    assert select(found, regularizer="none")[0]["curves"]["sparsity"][-1] == 0


def test_the_summary_has_a_line_for_each_strength(finished):
    lines = [line.split("|")[1:-1] for line in (finished / "summary.md").read_text().splitlines() if line[:1] == "|"]
    cells = {(line[0].strip(), line[1].strip(" *")): line for line in lines}
    own = select(records_of(finished), regularizer="l1", strength=0.01)
    errors = [record["curves"]["test_error"][-1] for record in own]
    # Printed to a tenth of a percent.
    assert float(cells["l1", "0.01"][3]) == pytest.approx(100 * np.median(errors), abs=0.06)
    assert sum("*" in line[1] for line in lines) == 1


def test_the_summary_compares_bounds_with_errors_they_have_not_seen(finished):
    summary = (finished / "summary.md").read_text()
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in summary.splitlines() if line[:1] == "|"]
    above = {line[0]: line[4] for line in lines if len(line) == 5}
    assert above["Hoeffding, test data"] == above["PAC-Bayes, Gaussian noise"] == "–"
    assert above["Hoeffding, all parameters"] == "0 of 4"
    assert "\n- VC bounds, of 4: they are for one output" in summary


def stopped_after_two_checkpoints(workdir, monkeypatch):
    """Interrupt a run behind its second checkpoint; the list returned gets the numbers of all checkpoints."""
    saved, save = [], training.Checkpoints.save

    def stop_after_the_second(self, number, tree):
        save(self, number, tree)
        saved.append(number)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.Checkpoints, "save", stop_after_the_second)
    with pytest.raises(KeyboardInterrupt):
        regularization_sweep.main(small(), workdir)
    return saved


@pytest.mark.slow
def test_an_interrupted_run_ends_with_the_same_metrics(finished, tmp_path, monkeypatch):
    saved = stopped_after_two_checkpoints(tmp_path, monkeypatch)
    assert not (tmp_path / "metrics.jsonl").exists()
    regularization_sweep.main(small(), tmp_path)
    assert saved == [0, 1, 2, 3]
    assert (tmp_path / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_a_damaged_checkpoint_changes_no_metrics(finished, tmp_path, monkeypatch, caplog):
    saved = stopped_after_two_checkpoints(tmp_path, monkeypatch)
    (last,) = (tmp_path / "checkpoints").glob("*/*/1")
    largest = max((path for path in last.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    regularization_sweep.main(small(), tmp_path)
    assert f"checkpoint {last} does not agree with its checksum" in caplog.text
    assert saved == [0, 1, 1, 2, 3]
    assert (tmp_path / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_a_run_interrupted_among_records_writes_the_others(finished, tmp_path, monkeypatch):
    written, write = [], regularization_sweep.member_record

    def stop_at_the_third(*arguments):
        written.append(arguments[1])
        if len(written) == 3:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(regularization_sweep, "member_record", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        regularization_sweep.main(small(), tmp_path)
    assert len(records_of(tmp_path)) == 2
    regularization_sweep.main(small(), tmp_path)
    assert len(written) == 3 + 6
    assert (tmp_path / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_a_run_goes_on_where_other_numbers_of_members_are_trained_together(finished, tmp_path, monkeypatch):
    stopped_after_two_checkpoints(tmp_path, monkeypatch)
    # Three blocks of three are nine places for the eight members, as on another number of devices.
    monkeypatch.setattr(training, "choose_block", lambda *_: 3)
    monkeypatch.setattr(regularization_sweep, "make_plan", training.make_plan)
    regularization_sweep.main(small(), tmp_path)
    for found, expected in zip(records_of(tmp_path), records_of(finished), strict=True):
        # Roundings of float32, which training makes some thousand times as large.
        np.testing.assert_allclose(found["curves"]["test_loss"], expected["curves"]["test_loss"], rtol=1e-3)


def test_a_finished_run_trains_nothing_again(finished, monkeypatch, no_figures):
    before = (finished / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(regularization_sweep, "make_plan", None)
    regularization_sweep.main(small(), finished)
    assert (finished / "metrics.jsonl").read_bytes() == before


def test_a_member_that_diverges_is_reported_and_left_out(tmp_path, capsys):
    changes = {"regularizers": {"none": (0.0,), "l2": (1e-3, 1e3, 1e-2)}, "bounds": {}}
    regularization_sweep.main(small(**changes), tmp_path)
    wild = [record for record in records_of(tmp_path) if record["diverged"] is not None]
    assert [(record["regularizer"], record["strength"]) for record in wild] == [("l2", 1e3)]
    assert wild[0]["diverged"] in (20, 40, 60)
    assert wild[0]["curves"]["train_loss"][0] > 0
    assert wild[0]["curves"]["train_loss"][-1] is None
    assert wild[0]["curves"]["train_error"][-1] == 1
    assert "1 of 1" in capsys.readouterr().out


def start_a_run(workdir):
    """The script in a process of its own."""
    changes = [
        f"--config.{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in SMALL.items()
        if name != "regularizers"
    ]
    config = "--config=configs/regularization_sweep.py:l1"
    command = [sys.executable, "-m", "experiments.regularization_sweep", config, f"--workdir={workdir}", *changes]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, **quiet)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_metrics(tmp_path):
    assert start_a_run(tmp_path / "whole").wait() == 0
    whole = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    # In training, and when it writes records.
    for number in (1, 3):
        killed = tmp_path / f"killed_after_{number}"
        process = start_a_run(killed)
        # Checkpoints are folders that get their numbers as names when they are whole.
        while process.poll() is None and not list((killed / "checkpoints").glob(f"*/*/{number}")):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (killed / "summary.md").exists()
        assert start_a_run(killed).wait() == 0
        assert (killed / "metrics.jsonl").read_bytes() == whole


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["RNN", "CNN"])
def test_other_networks(kind, tmp_path):
    changes = {
        "network.kind": kind,
        "regularizers": {"l2": (1e-3,), "batch_norm": (0.0,)},
        "num_steps": 4,
        "num_evaluations": 1,
        "num_seeds": 1,
        "widths": (4,),
        "bounds": {},
    }
    regularization_sweep.main(small(**changes), tmp_path)
    assert [record["regularizer"] for record in records_of(tmp_path)] == ["batch_norm", "l2"]
    assert all(np.isfinite(record["curves"]["test_loss"][-1]) for record in records_of(tmp_path))


@pytest.mark.slow
def test_a_data_set_of_its_own_with_colours(tmp_path):
    rng = np.random.default_rng(0)
    sizes = {"train": 60, "test": 30}
    parts = {f"x_{part}": rng.integers(0, 256, (size, 8, 8, 3), np.uint8) for part, size in sizes.items()}
    labels = {f"y_{part}": rng.integers(0, 4, size) for part, size in sizes.items()}
    np.savez(tmp_path / "dots.npz", **parts, **labels)
    changes = {"dataset": "dots", "data_dir": str(tmp_path), "network.kind": "CNN", "network.parameterization": "ntk"}
    changes |= {"regularizers": {"l1": (1e-3,)}, "num_test": 20, "num_validation": 10, "num_seeds": 1, "widths": (4,)}
    regularization_sweep.main(small(**changes, loss="squared", optimizer="adam", num_steps=4), tmp_path / "run")
    (found,) = records_of(tmp_path / "run")
    assert found["diverged"] is None
    assert found["bounds"]["Hoeffding, test data"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["regularization_double_descent", "regularization_data"])
def test_the_other_axes_have_a_figure(name, tmp_path):
    changes = {"regularizers": {"none": (0.0,)}, "widths": (2, 4), "num_steps": 4, "num_evaluations": 1, "num_seeds": 1}
    if name == "regularization_data":
        changes |= {"widths": (4,), "label_noise": (0.2, 0.0), "train_sizes": (40, 20)}
    regularization_sweep.main(small(name=name, **(changes | {"bounds": {}})), tmp_path)
    assert (tmp_path / "axes.png").exists()
    assert len(records_of(tmp_path)) == (4 if name == "regularization_data" else 2)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"loss": "hinge"}, "loss is 'hinge'; expected one of 'cross_entropy', 'squared'"),
        ({"network.kind": "GRU"}, "network.kind is 'GRU'; expected one of 'MLP', 'RNN', 'CNN'"),
        ({"num_evaluations": 90}, "num_evaluations is 90; expected at most 60 steps"),
        ({"batch_size": None, "train_sizes": (20, 40)}, r"batch_size is None; expected a number for train_sizes \(20"),
        ({"regularizers": {"l3": (0.1,)}}, "regularizers is 'l3'; expected one of 'none', 'l1'"),
        ({"bounds.delta": 2.0}, "bounds.delta is 2.0; expected a number between 0 and 1"),
        ({"noise_levels": (-0.5,)}, "noise_levels is -0.5; expected a finite number that is not negative"),
        ({"train_sizes": (1500,), "num_test": 400}, "come to 1930; expected at most 1797"),
        ({"memory_gib": 0.0}, "memory_gib is 0.0; expected a positive number"),
        ({"momentum": 1.0}, r"momentum is 1.0; expected a number in \[0, 1\)"),
    ],
)
def test_refusals(changes, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        regularization_sweep.main(small(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
