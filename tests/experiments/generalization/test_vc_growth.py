"""Growth functions counted and the chain of symmetrization: a small run, exact values, refusals."""

import functools
import os
import subprocess
import sys
from itertools import product

import jax
import numpy as np
import pytest
from small_runs import ROOT, adam_promotes, contents_of, names_of_files, records_of, small_config

from bounds.counting.dichotomies import linear_separators
from experiments import vc_growth
from experiments.generalization.symmetrization import massart_bound, simulate_chain
from experiments.generalization.vc_report import SQUARE, TRIANGLE, centred_boundary

SMALL = {
    "max_points": (4, 5, 4),
    "network.max_points": 1,
    "network.steps": 20,
    "network.restarts": 1,
    "num_placements": 2,
    "sample_sizes": (4,),
    "num_draws": 200,
}
small = functools.partial(small_config, SMALL, "vc_growth")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("vc")
    with adam_promotes():
        vc_growth.main(small(), workdir)
    return workdir


def test_a_run_leaves_its_files(finished, no_figures):
    assert set(contents_of(finished)) == names_of_files("growth", "shattering", "chain")
    before = (finished / "metrics.jsonl").read_bytes()
    vc_growth.main(small(), finished)
    assert (finished / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_the_command_line_runs_in_a_process_of_its_own(tmp_path):
    fields = {"max_points": "2,2,2", "sample_sizes": "4,"}
    flags = [f"--config.{name}={value}" for name, value in (SMALL | fields).items()]
    command = [sys.executable, "-m", "experiments.vc_growth", "--config=configs/vc_growth.py", f"--workdir={tmp_path}"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    run = subprocess.run([*command, *flags], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout == (tmp_path / "summary.md").read_text()
    assert set(contents_of(tmp_path)) == names_of_files("growth", "shattering", "chain")
    assert "Traceback" not in run.stderr


def test_counts_are_the_published_ones(finished):
    found = {(record["what"], record["n"]): record for record in records_of(finished)}
    # Learning From Data, section 2.1; Cover 1965. Random points are in general position.
    for what, published in {
        "half-spaces in R^1": [2, 4, 6, 8],
        "half-spaces in R^2": [2, 4, 8, 14, 22],
        "half-spaces in R^3": [2, 4, 8, 16],
        "intervals": [2, 4, 7, 11],
    }.items():
        for n, count in enumerate(published, 1):
            assert found[what, n]["counts"] == [count, count]
            assert found[what, n]["growth_function"] == count
    assert all(
        max(record["counts"]) <= record["growth_function"]
        for (what, _), record in found.items()
        if what == "rectangles"
    )
    assert found["network", 1]["counts"] == [2]


def test_the_chain_is_what_its_proof_says():
    num_draws = 4000
    draws = np.asarray(simulate_chain(jax.random.key(0), 16, 0.1, num_draws), float)
    means, errors = draws.mean(axis=1), draws.std(axis=1, ddof=1) / np.sqrt(num_draws)
    assert np.all(np.diff(means) > 4 * np.hypot(errors[1:], errors[:-1]))
    assert means[-1] < massart_bound(16)


def test_two_rademacher_of_two_points_is_known():
    # Without noise, at two points on one side of 1/2 the losses are (0,0), (1,1) and one of (1,0), (0,1); on two sides
    # they are (0,0), (1,0), (0,1); each with probability 1/2. All four sign vectors are tried.
    signs = list(product((-1, 1), repeat=2))
    cases = ([(0, 0), (1, 1), (1, 0)], [(0, 0), (1, 0), (0, 1)])
    expected = 2 * np.mean([max(np.dot(s, u) for u in case) / 2 for case in cases for s in signs])
    draws = np.asarray(simulate_chain(jax.random.key(1), 2, 0.0, 4000), float)[2]
    assert abs(draws.mean() - expected) < 4 * draws.std(ddof=1) / np.sqrt(4000)


def test_the_supremum_over_thresholds_is_that_of_a_fine_grid():
    # One point and no noise: sup over a of |a − ½| − 1[wrong], on a grid of 2,001 thresholds, averaged over x.
    grid, x = np.linspace(0, 1, 2001), (np.arange(1000) + 0.5) / 1000
    wrong = (x[:, None] >= grid) != (x[:, None] > 0.5)
    expected = np.max(np.abs(grid - 0.5) - wrong, axis=1).mean()
    draws = np.asarray(simulate_chain(jax.random.key(2), 1, 0.0, 4000), float)[0]
    assert abs(draws.mean() - expected) < 4 * draws.std(ddof=1) / np.sqrt(4000) + 1e-3  # and the grid's step


@pytest.mark.parametrize("points", [TRIANGLE, SQUARE])
def test_pictured_boundaries_separate(points):
    separators = linear_separators(points)
    for signs, weights in zip(separators.signs, separators.weights, strict=True):
        w = centred_boundary(points, signs, weights)
        assert np.all(signs * (points @ w[:2] + w[2]) > 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_draws": 1}, "num_draws is 1; expected an integer of at least 2"),
        ({"max_points": (4, 0, 4)}, "max_points is 0; expected an integer of at least 1"),
        (
            {"max_points": (4, 4, 4, 4)},
            r"max_points is \(4, 4, 4, 4\); expected a number of points in one to three dim",
        ),
        ({"network.width": 0}, "network.width is 0; expected an integer of at least 1"),
        ({"noise": 0.5}, "noise is 0.5; expected a number from 0 to 1/2"),
        ({"sample_sizes": (0,)}, "sample_sizes is 0; expected an integer of at least 1"),
    ],
)
def test_refusals(changes, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        vc_growth.main(small(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
