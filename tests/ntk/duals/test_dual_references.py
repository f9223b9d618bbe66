"""The references themselves: the stored file against its script, and the quadratures against a plain rule."""

import random

import jax
import numpy as np
import pytest
from dual_quadrature import QUADRATURES
from dual_reference import CLOSED_FORMS, FUNCTIONS, KINKED, exact, stored, trapezoid
from mpmath import mp, mpf
from tolerances import CLOSED_FORM


@pytest.mark.parametrize("name", QUADRATURES)
def test_stored_rows_are_what_the_quadrature_gives(name):
    rows = {key: row for key, row in stored().items() if key[0] == name}
    for (_, _, *inputs), row in random.Random(name).sample(sorted(rows.items()), 1):
        for value, kept in zip(QUADRATURES[name](*exact(*inputs)), row[:2], strict=True):
            # 30 digits are kept.
            assert abs(value - kept) <= mpf("1e-29") * abs(kept)


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("erf", "gelu") else pytest.param(name, marks=pytest.mark.slow)
        for name in sorted({*CLOSED_FORMS, *QUADRATURES} - set(KINKED))
    ],
)
def test_references_agree_with_a_plain_quadrature(name):
    """This rule shares only the definition of φ with the formulas and quadratures above."""
    derivative = jax.jit(jax.numpy.vectorize(jax.grad(FUNCTIONS[name])))
    for q11, q12, q22 in ((1.0, 0.5, 1.0), (0.3, -0.9, 3.0), (3.0, 2.99999, 3.0), (2.0, -4.0, 8.0)):
        if name == "exp" and q22 > 3:  # E exp(2u) lies outside the range of the rule
            continue
        reference = (CLOSED_FORMS.get(name) or QUADRATURES[name])(*exact(q11, q12, q22))
        for f, value in zip((FUNCTIONS[name], derivative), reference, strict=True):
            scale = np.sqrt(trapezoid(f, f, q11, q11, q11) * trapezoid(f, f, q22, q22, q22))
            assert trapezoid(f, f, q11, q12, q22) == pytest.approx(float(value), abs=CLOSED_FORM["float64"] * scale)


def test_kinked_references_agree_with_monte_carlo():
    count = 400_000
    z = np.random.default_rng(0).standard_normal((2, count))
    q11, q12, q22 = 0.3, -0.8, 5.0
    u = np.sqrt(q11) * z[0]
    other = q12 / np.sqrt(q11) * z[0] + np.sqrt(q22 - q12**2 / q11) * z[1]
    for name in KINKED:
        derivative = jax.vmap(jax.grad(FUNCTIONS[name]))
        for f, value in zip((FUNCTIONS[name], derivative), CLOSED_FORMS[name](*exact(q11, q12, q22)), strict=True):
            samples = np.asarray(f(u) * f(other))
            # Five standard errors; the seed is fixed.
            assert abs(samples.mean() - float(value)) <= 5 * samples.std() / np.sqrt(count)


def test_logistic_references_at_large_variance_approach_a_step():
    """tanh(√q·z) → sign(z): the C-map differs by O(1/q), and the D-map becomes the density of (u, ū) at 0."""
    q, rho = mpf("1e8"), mpf(1) / 2
    value, derivative = QUADRATURES["tanh"](q, rho * q, q)
    assert abs(value - 2 / mp.pi * mp.asin(rho)) < 10 / q
    # Times ∫sech² = 2 for each of the variables.
    assert abs(derivative / (4 / (2 * mp.pi * q * mp.sqrt(1 - rho**2))) - 1) < 10 / q
