"""Dichotomies of samples against linear programs for every sign vector, growth functions and enumeration of subsets."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from bounds.counting import dichotomies as d
from bounds.counting.growth import cover_count, interval_growth, ray_growth, rectangle_growth

RNG = np.random.default_rng(0)
SAMPLES = {
    "general": RNG.normal(size=(6, 2)),
    "space": RNG.normal(size=(5, 3)),
    "line": RNG.normal(size=(6, 1)),
    "collinear": np.array([[1, 1], [2, 2], [3, 3], [-1, -1], [1, 2]]),
    "grid": np.array([[1, 1], [1, 2], [2, 1], [2, 2], [3, 1], [3, 2]]),
    "repeated": np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 4.0], [-1.0, -2.0], [0.5, 0.1]]),
    "few": RNG.normal(size=(3, 5)),
}


def separable(x, signs, affine):
    """Whether some w (and b) have signs·(xw + b) ≥ 1 at every point."""
    features = np.column_stack([x, np.ones(len(x))]) if affine else x
    program = linprog(
        np.zeros(features.shape[1]), A_ub=-signs[:, None] * features, b_ub=-np.ones(len(x)), bounds=(None, None)
    )
    return program.status == 0


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("name", SAMPLES)
def test_linear_dichotomies_are_the_separable_sign_vectors(name, affine):
    x = SAMPLES[name]
    candidates = np.array(list(itertools.product([-1, 1], repeat=len(x))))
    expected = {tuple(signs) for signs in candidates if separable(x, signs, affine)}
    found = d.linear_dichotomies(x, affine)
    assert d.count_linear_dichotomies(x, affine) == len(found) == len(expected)
    assert {tuple(signs) for signs in found.tolist()} == expected
    separators = d.linear_separators(x, affine)
    features = np.column_stack([x, np.ones(len(x))]) if affine else x
    np.testing.assert_array_equal(np.sign(separators.weights @ features.T), separators.signs)
    np.testing.assert_array_equal(np.abs(separators.weights).max(1), 1.0)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("n", "dim"), [(12, 1), (25, 2), (9, 3), (7, 6)])
def test_general_position_is_cover(n, dim, affine):
    x = np.random.default_rng(n).normal(size=(n, dim))
    assert d.count_linear_dichotomies(x, affine) == cover_count(n, dim, affine)


def test_as_many_points_as_dimensions_have_all_signs():
    """Also if one of them is dependent, and for so many points that a loop over all subsets would take days."""
    x = np.random.default_rng(0).integers(-9, 9, size=(40, 64))
    assert d.count_linear_dichotomies(x) == 2**40
    dependent = np.vstack([x[:12], x[0] + x[1], -x[2], 2 * x[3]])
    # x_0 + x_1 is positive if both are, and has either sign if they differ: 6 of 8 signs. Other points have the sign of
    # one.
    assert d.count_linear_dichotomies(dependent, affine=False) == 2**10 * 6
    whole = np.array([[2**60, 1], [2**60 + 1, 1]])
    assert d.count_linear_dichotomies(whole, affine=False) == 4  # in float64 they would be one point


def test_half_planes_of_learning_from_data():
    x = np.random.default_rng(1).normal(size=(5, 2))
    assert [d.count_linear_dichotomies(x[:n]) for n in range(1, 6)] == [2, 4, 8, 14, 22]
    assert d.count_linear_dichotomies([[0, 0], [1, 2], [2, 4]]) == 6


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**900])
def test_exact_at_any_scale(scale):
    """Products of such coordinates overflow, and a point that is one ulp off a line is not on it."""
    line = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    beside = line + np.array([[0, 0], [np.spacing(2.0), 0], [0, 0]])
    assert d.count_linear_dichotomies(scale * line) == 6
    assert d.count_linear_dichotomies(scale * beside) == 8


def test_classes_on_the_line():
    x = np.array([0.3, -1.0, 2.0, 0.5, 7.0])
    assert len(d.ray_dichotomies(x)) == ray_growth(5)
    assert len(d.ray_dichotomies(x, both_directions=True)) == ray_growth(5, both_directions=True)
    assert len(d.interval_dichotomies(x)) == interval_growth(5)
    assert d.ray_dichotomies(x[:2]).tolist() == [[-1, -1], [1, -1], [1, 1]]
    # Equal points have equal signs.
    repeated = x[[0, 1, 1, 2]]
    for signs, expected in (
        (d.ray_dichotomies(repeated), ray_growth(3)),
        (d.interval_dichotomies(repeated), interval_growth(3)),
    ):
        assert len(signs) == expected
        np.testing.assert_array_equal(signs[:, 1], signs[:, 2])


@pytest.mark.parametrize("x", [RNG.normal(size=(7, 2)), np.indices((3, 3)).reshape(2, -1).T, RNG.normal(size=(6, 3))])
def test_rectangles_are_the_subsets_alone_in_their_bounding_box(x):
    expected = set()
    for subset in itertools.product([False, True], repeat=len(x)):
        held = np.array(subset)
        if held.any():
            inside = ((x >= x[held].min(0)) & (x <= x[held].max(0))).all(1)
            if (inside != held).any():
                continue
        expected.add(tuple(np.where(held, 1, -1).tolist()))
    found = d.rectangle_dichotomies(x)
    assert {tuple(signs) for signs in found.tolist()} == expected
    assert len(found) == len(expected)
    if x.shape[1] == 2:
        assert len(found) <= rectangle_growth(len(x))
