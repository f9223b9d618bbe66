"""PAC-Bayes bounds: monotone in every argument, and a divergence that depends neither on units nor on the origin."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import CLOSED_FORM, REORDERED

from bounds.pac_bayes.closed_forms import mcallester_bound, seeger_bound
from bounds.pac_bayes.gaussian_posterior import gaussian_kl

RISK, KL = st.floats(0, 1), st.floats(0, 1e6)
SIZE, DELTA = st.integers(1, 10**9), st.floats(1e-12, 0.9)
ROUNDING = 1e-12
EXAMPLES = settings(max_examples=30, deadline=None, derandomize=True)


@pytest.mark.parametrize("bound", [seeger_bound, mcallester_bound])
@given(RISK, RISK, KL, KL, SIZE, SIZE, DELTA, DELTA)
@EXAMPLES
def test_bounds_are_monotone(bound, one, other, kl, further, n, more, some, less):
    risk, higher, delta, smaller = min(one, other), max(one, other), max(some, less), min(some, less)
    found = bound(risk, kl, n, delta)
    assert risk <= found
    assert found <= bound(higher, kl, n, delta) + ROUNDING
    assert found <= bound(risk, kl + further, n, delta) + ROUNDING
    assert found <= bound(risk, kl, n, smaller) + ROUNDING
    assert bound(risk, kl, n + more, delta) <= found + ROUNDING


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 3), st.floats(0.1, 3), st.floats(0.01, 100), st.permutations(range(6)))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_the_divergence_has_no_unit_and_no_origin(seed, sigma, prior_sigma, unit, order):
    w, v, shift = np.random.default_rng(seed).normal(size=(3, 6))
    found = float(gaussian_kl(w, v, sigma, prior_sigma))
    assert found >= 0
    order = jnp.array(order)
    for other in (
        gaussian_kl(w[order], v[order], sigma, prior_sigma),
        gaussian_kl(w + shift, v + shift, sigma, prior_sigma),
        gaussian_kl(-w, -v, sigma, prior_sigma),
        gaussian_kl(unit * w, unit * v, unit * sigma, unit * prior_sigma),
    ):
        np.testing.assert_allclose(other, found, rtol=CLOSED_FORM["float64"], atol=REORDERED["float64"])
