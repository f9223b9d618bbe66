"""Results of the report from records: early stopping, the best strength, Kendall's τ, and the figure of two weights."""

import itertools

import numpy as np
import pytest
from ml_collections import ConfigDict
from tolerances import CLOSED_FORM

from experiments.regularization.figures.correlation import correlations, measures_of, without_part
from experiments.regularization.figures.geometry import penalized_minima
from experiments.regularization.figures.selection import best_of_each, best_strength, stopped_early

AXES = {"width": 8, "learning_rate": 0.1, "label_noise": 0.0, "num_train": 40}
CONFIG = ConfigDict(
    {"widths": (8,), "learning_rates": (0.1,), "label_noise": (0.0,), "train_sizes": (40,)}
    | {"regularizers": {"none": (0.0,), "l1": (0.1, 0.2, 0.3)}}
)


def record(regularizer, strength, seed, gap, norm, validation=0.5, diverged=None):
    curves = {"gap": [gap], "train_error": [0.1], "validation_error": [validation], "margins": [[1.0] * 5]}
    curves |= {"lipschitz_estimate": [1.0], "sparsity": [0.0], "ntk_drift": [1.0]}
    curves |= {name: [[2.0]] for name in ("stable_rank", "effective_rank", "spectral", "one")}
    found = {"regularizer": regularizer, "strength": strength, "seed": seed, "curves": curves, "diverged": diverged}
    return found | AXES | {"bounds": {"some": 0.1 + 2 * norm}, "at_ceiling": [], "measures": {"Frobenius norm": norm}}


def brute_force_tau(x, y):
    """Kendall's τ without ties."""
    pairs = itertools.combinations(range(len(x)), 2)
    return np.mean([np.sign((x[i] - x[j]) * (y[i] - y[j])) for i, j in pairs])


def test_kendalls_tau_overall_and_along_strengths():
    rng = np.random.default_rng(0)
    gaps, norms = rng.random((2, 6)), rng.random((2, 6))
    names = ["none", "l2", "l2", "l1", "l1", "l1"]
    found = [
        record(name, 0.1 * place, seed, gaps[seed, place], norms[seed, place])
        for seed in range(2)
        for place, name in enumerate(names)
    ]
    wild = record("l1", 0.1, 5, 1.0, 1e9, diverged=10)
    tau = correlations([*found, wild])["Frobenius norm"]
    assert tau.overall == pytest.approx(brute_force_tau(norms.ravel(), gaps.ravel()), abs=CLOSED_FORM["float64"])
    # Groups of at least three strengths: those of L1.
    within = [brute_force_tau(norms[seed, 3:], gaps[seed, 3:]) for seed in range(2)]
    assert tau.within == pytest.approx(np.mean(within), abs=CLOSED_FORM["float64"])
    assert tau.num_members == 12


def test_bounds_are_compared_less_the_training_error():
    assert measures_of(record("l1", 0.1, 0, 0.2, 3.0))["some"] == pytest.approx(6.0)


def test_bounds_at_their_ceiling_are_left_out_of_correlations():
    def ending(place, at_ceiling):
        one = record("l1", 0.1 * place, 0, 0.1 + 0.01 * place, 1.0 + place)
        # At the ceiling values still differ, by the part for δ and by the training error.
        return one | {"bounds": {"margins": 8.3 + 0.01 * place, "test data": 1.0}, "at_ceiling": at_ceiling}

    ceiling = ["margins", "test data"]
    everyone = [ending(place, ceiling) for place in range(1, 5)]
    assert "margins" not in correlations(everyone)
    assert correlations(everyone)["Frobenius norm"].overall == pytest.approx(1)
    reasons = without_part(everyone)
    assert reasons["margins"] == "at its ceiling"
    assert reasons["L1 norm"] == "the same for all"
    assert not {"Frobenius norm", "test data"} & set(reasons)
    # The others are correlated among themselves.
    some = [ending(place, ceiling if place == 2 else []) for place in range(1, 5)]
    assert correlations(some)["margins"].num_members == 3
    assert "margins" not in without_part(some)
    assert without_part(some[2:])["margins"] == "of fewer than 3 members"


def test_the_best_strength_has_the_least_validation_error_among_what_did_not_diverge():
    found = [
        record("l1", strength, seed, 0.1, 1.0, validation, diverged)
        for strength, validation, diverged in ((0.1, 0.4, None), (0.2, 0.3, None), (0.3, 0.1, 50))
        for seed in range(3)
    ]
    assert best_strength(found, "l1") == 0.2
    assert best_strength(found, "l2") is None
    chosen = best_of_each([*found, record("none", 0.0, 0, 0.1, 1.0)], CONFIG)
    assert {name: [one["strength"] for one in ones] for name, ones in chosen.items()} == {
        "none": [0.0],
        "l1": [0.2] * 3,
    }


def test_early_stopping_is_at_the_least_validation_loss():
    curves = {"validation_loss": [3.0, 1.0, 2.0], "test_error": [0.5, 0.3, 0.2]}
    assert stopped_early({"curves": curves}, "test_error") == 0.3


def test_minima_of_two_weights():
    hessian, minimum = np.array([[1.0, 0.45], [0.45, 0.6]]), np.array([1.0, 0.55])
    strengths = np.array([0.1, 0.35, 2.0], np.float32)
    ridge = [np.linalg.solve(hessian + 2 * s * np.eye(2), hessian @ minimum) for s in strengths.astype(float)]
    np.testing.assert_allclose(penalized_minima("l2", strengths), ridge, atol=CLOSED_FORM["float32"])
    for s, w in zip(strengths, np.asarray(penalized_minima("l1", strengths)), strict=True):
        # 0 is in the subdifferential: −gradient is λ sign(w), or within λ where w is 0.
        gradient = hessian @ (w - minimum)
        np.testing.assert_allclose(
            np.where(w == 0, np.clip(gradient, -s, s), -s * np.sign(w)), gradient, atol=CLOSED_FORM["float32"]
        )
    np.testing.assert_array_equal(np.asarray(penalized_minima("l1", strengths))[2], 0.0)
