"""Bounds against the true gap: a small run from end to end, known errors, resuming, refusals."""

import functools
import json

import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import adam_promotes, contents_of, names_of_files, records_of, small_config
from tolerances import CLOSED_FORM

from experiments import generalization_bounds
from experiments.generalization.binary_tasks import digits_task, make_task, teacher_task
from experiments.generalization.bounds_report import DRAWN
from experiments.generalization.training import train

SMALL = {
    "sizes.teacher": (40,),
    "sizes.digits": (30,),
    "tasks.digits.width": 8,
    "num_seeds": 1,
    "steps": 20,
    "sigmas": (0.1,),
    "num_draws": 5,
}
small = functools.partial(small_config, SMALL, "generalization_bounds")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("bounds")
    with adam_promotes():
        generalization_bounds.main(small(), workdir)
    return workdir


def test_a_run_leaves_its_files(finished):
    assert set(contents_of(finished)) == names_of_files("bounds")
    assert [(record["task"], record["size"]) for record in records_of(finished)] == [
        ("digits", 30),
        ("teacher", 40),
    ]
    for record in records_of(finished):
        assert set(DRAWN[:6]) <= set(record["bounds"])
        assert 0 <= record["train_error"] <= record["error"] + 0.5 <= 1.5
    assert "kernel ridge regression, trace" in records_of(finished)[0]["bounds"]


def test_the_table_shows_the_bounds_less_the_training_error(finished):
    summary = (finished / "summary.md").read_text()
    last = records_of(finished)[-1]
    row = next(line for line in reversed(summary.splitlines()) if line.startswith("| VC, Devroye"))
    assert row.split("|")[2].strip() == f"{last['bounds']['VC, Devroye'] - last['train_error']:#.3g}"


def test_a_finished_run_measures_nothing_again_and_new_sizes_alone(finished, monkeypatch, no_figures):
    before = (finished / "metrics.jsonl").read_bytes()
    known = {
        name: records_of(finished)[-1][name]
        for name in ("train_error", "error", "guessing_error", "bounds", "measures")
    }
    monkeypatch.setattr(generalization_bounds, "measure_gap", lambda task, n, seed, config: known)
    generalization_bounds.main(small(), finished)
    assert (finished / "metrics.jsonl").read_bytes() == before
    generalization_bounds.main(small(**{"sizes.teacher": (20, 40)}), finished)
    added = (finished / "metrics.jsonl").read_bytes().removeprefix(before)
    assert json.loads(added) == {"task": "teacher", "size": 20, "seed": 0} | known


def test_the_teachers_error_is_that_of_many_points():
    task = teacher_task(dim=3, noise=0.2)
    params = {"kernel": jnp.array([[1.0], [-0.5], [2.0]], jnp.float32)}
    sample, _ = task.draw(0, 200_000)
    found = np.mean(np.asarray(task.apply(params, sample.x)) * sample.labels <= 0)
    error = task.error(params, None)
    assert abs(found - error) < 4 * np.sqrt(error * (1 - error) / 200_000)
    assert task.error({"kernel": np.array([[1.0], [0.0], [0.0]])}, None) == pytest.approx(
        0.2, abs=CLOSED_FORM["float64"]
    )


def test_training_and_test_digits_do_not_overlap():
    train_sample, test_sample = digits_task(1, 8, "relu", num_test=797).draw(3, 1000)
    pixels = {image.tobytes() for image in train_sample.x}
    # No two of the 1,797 digits are equal, as sklearn has them.
    assert len(pixels) == 1000
    assert not pixels & {image.tobytes() for image in test_sample.x}
    assert set(train_sample.labels) == {-1, 1}


@pytest.mark.implicit_promotion  # Optax, in Adam
def test_training_reaches_the_minimum_of_a_convex_loss():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((50, 2)), np.where(rng.random(50) < 0.5, -1.0, 1.0)
    w = train(lambda w, x: x @ w, jnp.zeros(2), jnp.asarray(x), jnp.asarray(labels), steps=2000, learning_rate=0.01)
    # The gradient of the logistic loss in NumPy; Adam's steps end far below its rate of 0.01.
    gradient = -np.mean((labels / (1 + np.exp(labels * (x @ np.asarray(w)))))[:, None] * x, axis=0)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sizes.teacher": (80, 40)}, r"sizes.teacher is \(80, 40\); expected at least one size, in increasing order"),
        ({"sizes.digits": (1500,)}, "sizes and num_test are 1500 and 597; expected at most 1797 digits together"),
        ({"tasks.teacher.noise": 0.5}, "noise is 0.5; expected a number from 0 to 1/2, 1/2 excluded"),
        ({"num_seeds": 0}, "num_seeds is 0; expected an integer of at least 1"),
    ],
)
def test_refusals(changes, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        generalization_bounds.main(small(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_task_is_refused():
    config = small()
    config.tasks.teacher.kind = "pupil"
    with pytest.raises(ValueError, match="kind is 'pupil'; expected one of 'teacher', 'digits'"):
        make_task(config.tasks.teacher)
