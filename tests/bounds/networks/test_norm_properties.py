"""Norms and margins do not depend on the order of units, classes and points, and scale as they should."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import CLOSED_FORM, LAST_DIGITS

from bounds.networks.lipschitz import lipschitz_upper_bound
from bounds.networks.margin_bounds import golowich_margin_bound, spectral_margin_bound
from bounds.networks.margins import classification_margins, golowich_rademacher, ramp_risk, spectral_complexity
from bounds.networks.norms import layer_norms, path_norm

WIDTH, CLASSES = 4, 3  # one size, so that each program is compiled once
SEED, FACTOR = st.integers(0, 2**32 - 1), st.floats(1e-2, 1e2)
EXAMPLES = settings(max_examples=10, deadline=None, derandomize=True)
# Sums of a few numbers.
ROUNDING = {"rtol": 1e-12, "atol": 1e-13}
# Half of the tolerance of the power iteration, for each of two matrices and of two numbers that are compared.
SPECTRAL = {"rtol": 2e-4}


def network(seed, outputs):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(WIDTH, WIDTH)), rng.normal(size=(WIDTH, outputs)), rng.normal(size=(5, WIDTH))


@given(SEED, st.permutations(range(WIDTH)))
@EXAMPLES
def test_hidden_units_have_no_order(seed, order):
    first, last, x = network(seed, 1)
    weights, permuted = [first, last], [first[:, order], last[order]]
    np.testing.assert_allclose(path_norm(permuted), path_norm(weights), **ROUNDING)
    np.testing.assert_allclose(path_norm(permuted, p=1), path_norm(weights, p=1), **ROUNDING)
    np.testing.assert_allclose(lipschitz_upper_bound(permuted), lipschitz_upper_bound(weights), **ROUNDING)
    np.testing.assert_allclose(golowich_rademacher(permuted, x), golowich_rademacher(weights, x), **ROUNDING)
    np.testing.assert_allclose(spectral_complexity(permuted), spectral_complexity(weights), **SPECTRAL)


@given(SEED, FACTOR)
@EXAMPLES
def test_complexities_are_homogeneous_in_each_layer(seed, factor):
    first, last, x = network(seed, 1)
    for scaled in ([factor * first, last], [first, factor * last]):
        for complexity, tolerance in (
            (path_norm, ROUNDING),
            (lipschitz_upper_bound, ROUNDING),
            (lambda weights: golowich_rademacher(weights, x), ROUNDING),
            (spectral_complexity, SPECTRAL),
        ):
            np.testing.assert_allclose(complexity(scaled), factor * complexity([first, last]), **tolerance)
    # A factor on the weights into a unit, divided out of the weights that leave it, changes no path.
    units = np.array([factor, 1.0, 2.0, 1 / factor])
    np.testing.assert_allclose(path_norm([first * units, last / units[:, None]]), path_norm([first, last]), **ROUNDING)


@given(SEED, st.permutations(range(WIDTH)), FACTOR)
@EXAMPLES
def test_norms_of_one_matrix(seed, order, factor):
    w, *_ = network(seed, 1)
    norms = {name: getattr(layer_norms([w]), name) for name in ("frobenius", "l1", "l21", "spectral", "stable_rank")}
    for same in (w[order], w[:, order], -w):
        for name, value in norms.items():
            np.testing.assert_allclose(getattr(layer_norms([same]), name), value, **SPECTRAL)
    for name, value in norms.items():
        grown = value if name == "stable_rank" else factor * value
        np.testing.assert_allclose(getattr(layer_norms([factor * w]), name), grown, **SPECTRAL)
    frobenius, l1, l21, spectral, stable_rank = norms.values()
    slack = 1 + 1e-4
    assert spectral <= frobenius * slack <= l21 * slack**2 <= l1 * slack**3
    assert 1 - 1e-4 <= stable_rank <= WIDTH * slack


@given(SEED, st.permutations(range(CLASSES)), st.permutations(range(5)), st.floats(-100, 100), FACTOR)
@EXAMPLES
def test_margins(seed, classes, points, shift, factor):
    rng = np.random.default_rng(seed)
    outputs, labels = rng.normal(size=(5, CLASSES)), rng.integers(CLASSES, size=5)
    found = np.asarray(classification_margins(outputs, labels))
    renamed = classification_margins(outputs[:, classes], np.argsort(classes)[labels])
    np.testing.assert_array_equal(renamed, found)
    np.testing.assert_array_equal(classification_margins(outputs[points], labels[points]), found[points])
    np.testing.assert_allclose(
        classification_margins(outputs + shift, labels), found, rtol=0, atol=CLOSED_FORM["float64"]
    )
    np.testing.assert_allclose(
        classification_margins(factor * outputs, labels),
        factor * found,
        rtol=CLOSED_FORM["float64"],
        atol=CLOSED_FORM["float64"],
    )
    # The risk depends on margins in units of γ, and a larger margin is harder to have.
    risk = ramp_risk(found, 1.0)
    np.testing.assert_allclose(
        ramp_risk(factor * found, factor), risk, rtol=CLOSED_FORM["float64"], atol=LAST_DIGITS["float64"]
    )
    assert risk <= ramp_risk(found, 1.0 + factor) + LAST_DIGITS["float64"]


@given(SEED, st.permutations(range(5)), st.floats(1e-6, 0.5), st.floats(1e-6, 0.5))
@EXAMPLES
def test_margin_bounds(seed, points, one, other):
    first, last, x = network(seed, 1)
    margins = np.random.default_rng(seed).normal(size=5)
    delta, less = max(one, other), min(one, other)
    for bound in (golowich_margin_bound, spectral_margin_bound):
        found = bound(margins, [first, last], x, 0.5, delta)
        np.testing.assert_allclose(bound(margins[points], [first, last], x[points], 0.5, delta), found, **ROUNDING)
        assert found.bound <= bound(margins, [first, last], x, 0.5, less).bound
