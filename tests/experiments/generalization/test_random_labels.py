"""True against random labels: a small run, what it must show, resuming, refusals."""

import functools
import json

import numpy as np
import pytest
from small_runs import adam_promotes, contents_of, names_of_files, records_of, small_config

from experiments import random_labels

SMALL = {
    "fractions": (0.0, 1.0),
    "widths": (2,),
    "num_seeds": 1,
    "num_train": 100,
    "steps": 150,
    "task.width": 64,
}
small = functools.partial(small_config, SMALL, "random_labels")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("random_labels")
    with adam_promotes():
        random_labels.main(small(), workdir)
    return workdir


def test_complexities_tell_true_from_random_labels(finished):
    assert set(contents_of(finished)) == names_of_files("random_labels")
    true, random, _ = records_of(finished)
    # Both are fitted; only one is learned: 597 coins are right within 4 · √(1/4/597) = 0.082 of half of the time.
    assert true["train_error"] == random["train_error"] == 0
    assert true["test_error"] < 0.3
    assert abs(random["test_error"] - 0.5) < 0.082
    for name in ("ntk_complexity", "spectral complexity", "Frobenius norms and margins"):
        assert true[name] < random[name]
    assert np.median(true["margins"]) > np.median(random["margins"])


def test_the_fit_of_noise_is_a_correlation(finished):
    noise = records_of(finished)[2]
    assert noise["width"] == 2
    assert 0 <= noise["fit"] <= 1


def test_new_widths_alone_are_trained(finished, monkeypatch, no_figures):
    before = (finished / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(random_labels, "measure_mixture", None)
    monkeypatch.setattr(random_labels, "measure_noise", lambda width, seed, config: {"fit": 0.25})
    random_labels.main(small(widths=(2, 4)), finished)
    added = (finished / "metrics.jsonl").read_bytes().removeprefix(before)
    assert json.loads(added) == {"width": 4, "seed": 0, "fit": 0.25}
    assert "0.250 |" in (finished / "summary.md").read_text()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"fractions": (0.5, 0.0)}, r"fractions is \(0.5, 0.0\); expected increasing numbers from 0 to 1"),
        ({"fractions": (0.0, 1.5)}, "expected increasing numbers from 0 to 1"),
        ({"num_train": 1500}, "sizes and num_test are 1500 and 597; expected at most 1797 digits together"),
        ({"steps": 0}, "steps is 0; expected an integer of at least 1"),
        ({"task.kind": "teacher"}, "task.kind is 'teacher'; expected 'digits'"),
    ],
)
def test_refusals(changes, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        random_labels.main(small(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
