"""Local complexities against the exact supremum over an intersection of two ellipsoids, by convex duality in NumPy."""

import itertools

import jax
import numpy as np
import pytest
from tolerances import CLOSED_FORM

from bounds.rademacher import local_fixed_point, local_rademacher

M, RADIUS = 8, 1.7
GRAM = (lambda x: x * 0.5 ** np.arange(M) @ x.T)(np.random.default_rng(0).normal(size=(M, M)))
SPECTRUM = np.linalg.eigvalsh(GRAM)[::-1] / M


def supremum(signs, r):
    """sup a·c with ‖c‖² ≤ B² and Σ λ̂_j c_j² ≤ r is the least of √Σ a_j²/(t/B² + (1 − t) λ̂_j/r) over t in [0, 1]."""
    values, vectors = np.linalg.eigh(GRAM / M)
    a2 = np.maximum(values, 0) / M * (vectors.T @ signs) ** 2
    t = np.linspace(0, 1, 2001)[1:, None]
    return np.sqrt((a2 / (t / RADIUS**2 + (1 - t) * values / r)).sum(axis=1)).min()


@pytest.mark.parametrize("r", [1e-3, 0.1, 1.0, 100.0])
def test_bounds_the_complexity_from_both_sides(r):
    signs = np.array([(1, *rest) for rest in itertools.product([-1, 1], repeat=M - 1)])
    exact = np.mean([supremum(s, r) for s in signs])
    found = local_rademacher(GRAM, r, RADIUS)
    np.testing.assert_allclose(
        found, np.sqrt(2 / M * np.minimum(r, RADIUS**2 * SPECTRUM).sum()), rtol=CLOSED_FORM["float64"]
    )
    assert found / 2 <= exact <= found


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_fixed_point_is_the_only_one(scale):
    gram = scale * GRAM
    r = local_fixed_point(gram, RADIUS)
    # ψ² is a sum of m numbers of a few ε each.
    np.testing.assert_allclose(local_rademacher(gram, r, RADIUS), r, rtol=1e-12)
    assert local_rademacher(gram, 1.1 * r, RADIUS) < 1.1 * r
    assert local_rademacher(gram, 0.9 * r, RADIUS) > 0.9 * r


def test_gradients_of_singular_kernels_are_finite():
    for gram in (np.ones((3, 3)), np.zeros((3, 3))):
        for function in (lambda gram: local_rademacher(gram, 0.1), local_fixed_point):
            assert np.all(np.isfinite(jax.grad(lambda B, f=function, K=gram: f(B * K))(1.0)))
