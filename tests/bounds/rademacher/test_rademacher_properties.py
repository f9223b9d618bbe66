"""Rademacher complexities do not depend on the order, signs or unit of points, and are monotone."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import CLOSED_FORM, SAME_FORMULA, SOLVED

from bounds.rademacher import (
    FiniteClass,
    KernelBall,
    LinearBall,
    exact_rademacher,
    local_fixed_point,
    local_rademacher,
    rademacher_bound,
    rademacher_upper_bound,
)

M, D = 5, 3  # one size, so that each program is compiled once
SEED, ORDER = st.integers(0, 2**32 - 1), st.permutations(range(M))
ROUNDING = {"rtol": 1e-12, "atol": 1e-14}
EXAMPLES = settings(max_examples=15, deadline=None, derandomize=True)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("norm", [1, 2, np.inf])
@given(SEED, ORDER, st.lists(st.sampled_from([-1.0, 1.0]), min_size=M, max_size=M), st.floats(1e-3, 1e3))
@EXAMPLES
def test_linear_functions(norm, seed, order, signs, unit):
    x = normal(seed, M, D)
    for of in (exact_rademacher, rademacher_upper_bound):
        found = of(LinearBall(x, norm=norm))
        np.testing.assert_allclose(of(LinearBall(x[order], norm=norm)), found, **ROUNDING)
        np.testing.assert_allclose(of(LinearBall(np.array(signs)[:, None] * x, norm=norm)), found, **ROUNDING)
        for scaled in (LinearBall(unit * x, norm=norm), LinearBall(x, radius=unit, norm=norm)):
            np.testing.assert_allclose(of(scaled), unit * found, **ROUNDING)


@given(SEED)
@EXAMPLES
def test_a_linear_kernel_is_the_euclidean_ball(seed):
    x = normal(seed, M, D)
    # A norm is the root of a sum in which terms of the kernel cancel, down to ε of the largest.
    np.testing.assert_allclose(exact_rademacher(KernelBall(x @ x.T)), exact_rademacher(LinearBall(x)), rtol=1e-7)


@given(SEED, ORDER, st.permutations(range(4)), st.floats(-10, 10))
@EXAMPLES
def test_finite_classes(seed, order, functions, factor):
    """The complexity has no origin: R(F + g) = R(F). With −F it is the same, and a part of F has no more."""
    values, shift = normal(seed, 4, M), normal(seed + 1, M)
    found = exact_rademacher(FiniteClass(values))
    for same in (values[:, order], values[functions], values + shift, -values):
        np.testing.assert_allclose(exact_rademacher(FiniteClass(same)), found, **ROUNDING)
    np.testing.assert_allclose(exact_rademacher(FiniteClass(factor * values)), abs(factor) * found, **ROUNDING)
    assert exact_rademacher(FiniteClass(values[[0, 1, 2, 2]])) <= found + SAME_FORMULA["float64"]
    signs = np.array(list(itertools.product([-1, 1], repeat=M)))
    np.testing.assert_allclose(found, (signs @ values.T).max(axis=1).mean() / M, **ROUNDING)


@given(SEED, ORDER, st.floats(0, 10, allow_subnormal=False), st.floats(0, 10), st.floats(0.1, 3), st.floats(1, 3))
@EXAMPLES
def test_local_complexities(seed, order, r, more, radius, factor):
    """ψ grows with r and with the radius, ψ(r)/√r falls, and factors of K, r and B² compensate each other."""
    gram = (lambda x: x @ x.T)(normal(seed, M, M))
    found = local_rademacher(gram, r, radius)
    np.testing.assert_allclose(
        local_rademacher(gram[np.ix_(order, order)], r, radius),
        found,
        rtol=SOLVED["float64"],
        atol=CLOSED_FORM["float64"],
    )
    assert found <= local_rademacher(gram, r + more, radius) * (1 + CLOSED_FORM["float64"])
    assert found <= local_rademacher(gram, r, factor * radius) * (1 + CLOSED_FORM["float64"])
    assert local_rademacher(gram, r + more, radius) * r**0.5 <= found * (r + more) ** 0.5 * (1 + CLOSED_FORM["float64"])
    scaled = local_rademacher(factor * gram, factor * r, radius)
    np.testing.assert_allclose(scaled, factor**0.5 * found, rtol=CLOSED_FORM["float64"])
    assert local_fixed_point(gram, radius) <= local_fixed_point(gram, factor * radius) * (1 + CLOSED_FORM["float64"])


@given(st.floats(0, 1), st.floats(0, 5), st.floats(0, 5), st.integers(1, 10**6), st.floats(1e-9, 0.9), st.booleans())
@EXAMPLES
def test_the_bound_on_the_risk(risk, complexity, more, n, delta, empirical):
    found = rademacher_bound(risk, complexity, n, delta, empirical=empirical).bound
    assert found <= rademacher_bound(risk, complexity + more, n, delta, empirical=empirical).bound
    assert found <= rademacher_bound(risk, complexity, n, delta / 2, empirical=empirical).bound
    assert rademacher_bound(risk, complexity, 2 * n, delta, empirical=empirical).bound <= found
