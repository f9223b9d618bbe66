"""VC dimensions by search against the theorems, and configurations that are exhaustive."""

import itertools

import numpy as np
import pytest

from bounds.counting import dichotomies as d
from bounds.counting import shattering as s


def two_intervals(x):
    """Unions of two intervals on the line."""
    one = d.interval_dichotomies(x)
    return np.unique(np.maximum(one[:, None], one).reshape(-1, len(x)), axis=0)


@pytest.mark.parametrize(
    ("dichotomies", "configurations", "expected"),
    [
        (d.ray_dichotomies, s.line_configurations, 1),
        (lambda x: d.ray_dichotomies(x, both_directions=True), s.line_configurations, 2),
        (d.interval_dichotomies, s.line_configurations, 2),
        (two_intervals, s.line_configurations, 4),
        (d.rectangle_dichotomies, s.plane_configurations, 4),
    ],
)
def test_vc_dimension_of_classes_by_order(dichotomies, configurations, expected):
    assert s.vc_dimension(dichotomies, configurations) == expected
    assert s.vc_dimension(dichotomies, configurations, limit=expected) is None
    found = s.find_shattered_set(dichotomies, configurations(expected))
    assert len(found) == expected
    assert {tuple(signs) for signs in dichotomies(found).tolist()} == set(itertools.product([-1, 1], repeat=expected))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_vc_dimension_of_half_spaces(dim, affine):
    dimension = s.vc_dimension(
        lambda x: d.linear_dichotomies(x, affine), lambda size: s.half_space_configurations(size, dim, affine)
    )
    assert dimension == dim + affine


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_half_space_configurations_have_every_dependency(dim, affine):
    """The number of negative coefficients identifies the dependency of D + 1 points, up to its sign and their order."""
    D = dim + affine
    found = set()
    for x in s.half_space_configurations(D + 1, dim, affine):
        features = np.column_stack([x, np.ones(len(x))]) if affine else x
        assert np.linalg.matrix_rank(features) == D
        dependency = np.linalg.svd(features.T)[2][-1]
        assert np.abs(dependency).min() > 1e-6  # in general position
        positive = int((dependency > 0).sum())
        found.add(min(positive, D + 1 - positive))
    # Affine dependencies sum to zero and so have both signs (Radon).
    assert found == set(range(int(affine), (D + 1) // 2 + 1))


def test_subsets_of_a_finite_domain():
    """On a line of the grid half-planes shatter only pairs. On the whole grid they shatter triples, not four points."""
    grid = np.indices((3, 3)).reshape(2, -1).T
    assert s.find_shattered_set(d.linear_dichotomies, s.subset_configurations(grid[:3], 3)) is None
    assert s.find_shattered_set(d.linear_dichotomies, s.subset_configurations(grid[:3], 2)).tolist() == [[0, 0], [0, 1]]
    assert s.vc_dimension(d.linear_dichotomies, lambda size: s.subset_configurations(grid, size)) == 3
    assert len(list(s.subset_configurations(np.arange(5), 2))) == 10


def test_is_shattered_counts_different_signs():
    assert s.is_shattered(np.array([[1, 1], [1, -1], [-1, 1], [-1, -1], [1, 1]]))
    assert not s.is_shattered(np.array([[1, 1], [1, -1], [-1, 1], [1, 1]]))
