"""Margins, spectral complexities computed by hand, and the two margin bounds: their numbers and their promise."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, LAST_DIGITS, REORDERED, SAME_FORMULA

import ntk
from bounds.concentration.union import round_up
from bounds.networks.margin_bounds import golowich_margin_bound, spectral_margin_bound
from bounds.networks.margins import (
    classification_margins,
    golowich_rademacher,
    normalized_margins,
    ramp_risk,
    spectral_complexity,
)
from bounds.networks.weights import ntk_weight_matrices
from bounds.rademacher import FiniteClass, NetworkBall, contracted_rademacher, empirical_rademacher, exact_rademacher

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(size=shape) for shape in ((4, 5), (5, 6), (6, 3))]
REFERENCES = [RNG.normal(size=w.shape) for w in WEIGHTS]


def test_margins_of_classes():
    outputs, labels = RNG.normal(size=(50, 4)), RNG.integers(4, size=50)
    expected = [row[y] - max(row[j] for j in range(4) if j != y) for row, y in zip(outputs, labels, strict=True)]
    np.testing.assert_allclose(classification_margins(outputs, labels), expected, rtol=LAST_DIGITS["float64"])
    # Large outputs keep their digits, since only outputs are subtracted from outputs.
    assert classification_margins(np.array([[1e16, 1.0, 3.0]]), np.array([1]))[0] == 1.0 - 1e16
    np.testing.assert_array_equal(classification_margins(np.array([2.0, -3.0]), np.array([-1, -1])), [-2, 3])


def test_ramp_risk_lies_between_the_shares_of_margins():
    found = np.asarray(classification_margins(RNG.normal(size=(500, 3)), RNG.integers(3, size=500)))
    expected = np.mean([1 if m <= 0 else max(0, 1 - m / 0.7) for m in found])
    np.testing.assert_allclose(ramp_risk(found, 0.7), expected, rtol=REORDERED["float64"])
    assert np.mean(found <= 0) <= ramp_risk(found, 0.7) <= np.mean(found < 0.7)


def test_normalized_margins_do_not_depend_on_scale():
    """A network of three layers and twice the inputs: margins grow by 2, as the complexity times ‖X‖_F does."""
    x, found = RNG.normal(size=(8, 4)), RNG.normal(size=8)
    expected = found / (spectral_complexity(WEIGHTS) * np.linalg.norm(x) / 8)
    np.testing.assert_allclose(
        normalized_margins(found, spectral_complexity(WEIGHTS), x), expected, rtol=REORDERED["float64"]
    )
    scaled = [3 * w for w in WEIGHTS]
    again = normalized_margins(54 * found, spectral_complexity(scaled), 2 * x)
    np.testing.assert_allclose(again, expected, rtol=CLOSED_FORM["float64"])


def complexity_by_definition(weights, references, constants):
    """Bartlett, Foster & Telgarsky 2017, equation 1.2, with A = Wᵀ and one norm per column of Aᵀ = W."""
    spectral = [np.linalg.norm(w, ord=2) for w in weights]
    two_one = [sum(np.linalg.norm(d) for d in (w - m).T) for w, m in zip(weights, references, strict=True)]
    total = sum((b / s) ** (2 / 3) for b, s in zip(two_one, spectral, strict=True))
    return np.prod(constants) * np.prod(spectral) * total**1.5


def test_spectral_complexity_by_hand():
    # diag(3, 4): ‖·‖_σ = 4, one norm per output 3 + 4; (2, 0): 2 and 2. With rows and columns exchanged, (5, 12) tells
    # the norm per output unit, 13, from that per input unit, 17.
    found = spectral_complexity([np.diag([3.0, 4.0]), np.array([[2.0], [0.0]])])
    np.testing.assert_allclose(found, (14 ** (2 / 3) + 8 ** (2 / 3)) ** 1.5, rtol=1e-4)
    np.testing.assert_allclose(spectral_complexity([np.array([[5.0], [12.0]])]), 13, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(spectral_complexity([np.array([[5.0, 12.0]])]), 17, rtol=CLOSED_FORM["float64"])


def test_spectral_complexity_by_its_definition():
    rtol = 2e-4  # half the tolerance of three power iterations
    zeros = [0 * w for w in WEIGHTS]
    np.testing.assert_allclose(spectral_complexity(WEIGHTS), complexity_by_definition(WEIGHTS, zeros, 1.0), rtol=rtol)
    constants = np.array([1.0, 0.25, 2.0])
    expected = complexity_by_definition(WEIGHTS, REFERENCES, constants)
    np.testing.assert_allclose(spectral_complexity(WEIGHTS, REFERENCES, constants), expected, rtol=rtol)
    assert spectral_complexity(WEIGHTS, WEIGHTS) == 0


def test_gradients_are_finite_at_the_references():
    loss = jax.jit(jax.grad(lambda weights: spectral_complexity(weights, [WEIGHTS[0], REFERENCES[1], REFERENCES[2]])))
    found = loss([jnp.asarray(w) for w in WEIGHTS])
    assert all(np.all(np.isfinite(leaf)) for leaf in found)
    assert np.any(found[1] != 0)


def test_grid_shares_add_up_to_one():
    """p_k over k = −1000…1000, and the tails 2/(3·1002) beyond."""
    shares = [math.exp(-round_up(1.5**k, 1.5)[1]) for k in range(-1000, 1001)]
    assert sum(shares) + 2 * 2 / (3 * 1002) == pytest.approx(1)
    for value in (1e-9, 0.999, 1.0, 3.7, 1e9):
        up, _ = round_up(value, 1.1)
        assert value <= up < 1.1 * value * (1 + CLOSED_FORM["float64"])


@pytest.mark.slow
def test_golowich_holds_for_networks_fitted_by_ascent():
    x = RNG.normal(size=(30, 3))
    weights = [RNG.normal(size=(3, 4)), RNG.normal(size=(4, 1))]
    radii = np.array([np.linalg.norm(w) for w in weights])
    expected = np.prod(radii) * (math.sqrt(4 * math.log(2)) + 1) * np.linalg.norm(x) / 30
    np.testing.assert_allclose(golowich_rademacher(weights, x), expected, rtol=REORDERED["float64"])
    estimate = empirical_rademacher(NetworkBall(x, radii, jax.random.key(0)), jax.random.key(1), num_draws=20)
    assert expected / 10 < estimate.estimate < expected


def test_the_loss_class_of_a_network_by_contraction():
    """300 networks of the same norms and their ramp losses of margin ½: a part of the class, by all signs."""
    x, labels = RNG.normal(size=(10, 3)), RNG.choice([-1.0, 1.0], size=10)
    weights = [RNG.normal(size=(3, 4)), RNG.normal(size=(4, 1))]
    bound = contracted_rademacher(golowich_rademacher(weights, x), lipschitz=2.0)
    hidden, outer = (RNG.normal(size=(300, *w.shape)) for w in weights)
    hidden *= np.linalg.norm(weights[0]) / np.linalg.norm(hidden, axis=(1, 2), keepdims=True)
    outer *= np.linalg.norm(weights[1]) / np.linalg.norm(outer, axis=(1, 2), keepdims=True)
    outputs = (np.maximum(x @ hidden, 0) @ outer)[..., 0]
    losses = np.clip(1 - labels * outputs / 0.5, 0, 1)
    assert bound / 100 < exact_rademacher(FiniteClass(losses)) < bound


def golowich_by_hand(values, product, depth, data_norm, gamma, delta):
    """The docstring's formula with k the first integer of 1.1^k ≥ C."""
    m = len(values)
    k = next(k for k in range(-500, 500) if 1.1**k >= product / gamma)
    complexity = 2 * 1.1**k * (math.sqrt(2 * math.log(2) * depth) + 1) * data_norm / m
    confidence = 3 * math.sqrt(math.log(2 * 1.5 * (abs(k) + 1) * (abs(k) + 2) / delta) / (2 * m))
    risk = np.clip(1 - values / gamma, 0, 1).mean()
    return risk + complexity + confidence, risk, complexity, confidence


def test_golowich_margin_bound_by_hand():
    x = RNG.normal(size=(100, 4))
    weights = [*WEIGHTS[:2], RNG.normal(size=(6, 1))]
    values = np.maximum(np.maximum(x @ weights[0], 0) @ weights[1], 0) @ weights[2][:, 0]
    product = math.prod(np.linalg.norm(w) for w in weights)
    for gamma in (0.3, 1000.0):
        found = golowich_margin_bound(values, weights, x, gamma, delta=0.05)
        assert found == pytest.approx(
            golowich_by_hand(values, product, 3, np.linalg.norm(x), gamma, 0.05), rel=CLOSED_FORM["float64"]
        )


def test_golowich_margin_bound_holds_for_trained_classifiers():
    """Half-planes through the origin fitted to points of the circle with a tenth of the labels flipped: E_out known.

    Every sample takes the margin with its own smallest bound. The union bound allows this.
    """
    m, repeats = 4000, 100
    bounds, risks, naive = [], [], []
    for _ in range(repeats):
        angles = RNG.uniform(0, 2 * np.pi, size=m)
        x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        labels = np.sign(x[:, 0]) * RNG.choice([1, -1], size=m, p=[0.9, 0.1])
        w = (labels @ x)[:, None] / m
        w /= np.linalg.norm(w)
        found = [golowich_margin_bound(labels * (x @ w)[:, 0], [w], x, g, delta=0.5) for g in (0.3, 0.5, 0.7)]
        bounds.append(min(part.bound for part in found))
        naive.append(np.mean(labels * (x @ w)[:, 0] <= 0))
        risks.append(0.1 + 0.8 * math.acos(min(1.0, w[0, 0])) / math.pi)
    # Four standard errors of a binomial of probability ½. The rate is far less, and the bound is not vacuous.
    assert np.mean(np.array(risks) > bounds) <= 0.5 + 4 * math.sqrt(0.25 / repeats)
    assert max(bounds) < 0.9
    # The training error alone is not a bound.
    assert np.mean(np.array(risks) > naive) > 0.3


def test_spectral_margin_bound_holds_in_one_dimension():
    """One weight, inputs that are 1, a fifth of the labels flipped: E_out = ⅕, and the bound is not vacuous."""
    m, repeats = 300_000, 60
    x, bounds, naive = np.ones((m, 1)), [], []
    for wrong in RNG.binomial(m, 0.2, size=repeats).tolist():
        margins = np.repeat([-1.0, 1.0], [wrong, m - wrong])
        found = [spectral_margin_bound(margins, [np.ones((1, 1))], x, g, delta=0.1) for g in (0.5, 1.0)]
        bounds.append(min(part.bound for part in found))
        naive.append(wrong / m)
    limit = 0.1 + 4 * math.sqrt(0.09 / repeats)
    assert np.mean(np.array(bounds) < 0.2) <= limit
    assert max(bounds) < 0.9
    assert np.mean(np.array(naive) < 0.2) > limit


@pytest.mark.parametrize("bound", [golowich_margin_bound, spectral_margin_bound])
def test_margin_bounds_hold_for_labels_that_are_coin_tosses(bound):
    """More features than points: every label is fitted with margin 1, and E_out = ½ for all weights.

    The ramp loss is 0, so only the complexity of the class lifts the bound above ½. Without it the bounds always fail.
    """
    m, d = 800, 2400
    for _ in range(5):
        x, labels = RNG.normal(size=(m, d)) / math.sqrt(d), RNG.choice([-1.0, 1.0], size=m)
        w = x.T @ np.linalg.solve(x @ x.T, labels)
        found = bound(labels * (x @ w), [w[:, None]], x, gamma=0.999, delta=0.05)
        assert found.margin_risk + found.confidence < 0.5 <= found.bound


def spectral_by_hand(values, weights, references, x, gamma, delta):
    """The docstring's formula, the infimum over α by a fine grid."""
    m, depth = len(values), len(weights)
    inverse, log_share = round_up(1 / gamma, 1.1)
    norms = []
    for w, start in zip(weights, references, strict=True):
        s, log_s = round_up(np.linalg.norm(w, ord=2), 1 + 1 / depth)
        b, log_b = round_up(np.linalg.norm(w - start, axis=0).sum(), 1 + 1 / depth)
        norms.append((s, b))
        log_share += log_s + log_b
    R = math.prod(s for s, _ in norms) * sum((b / s) ** (2 / 3) for s, b in norms) ** 1.5
    r = 2 * np.linalg.norm(x) * math.sqrt(math.log(2 * 6**2)) * R * inverse
    alpha = np.geomspace(1e-9, 1, 200_001) * math.sqrt(m)
    complexity = 2 * (4 * alpha / math.sqrt(m) + 12 / m * r * np.log(math.sqrt(m) / alpha)).min()
    confidence = 3 * math.sqrt((math.log(2 / delta) + log_share) / (2 * m))
    risk = np.clip(1 - values * inverse, 0, 1).mean()
    # Lemma A.8 as published, with the same norms rounded up: α = 1/m, and ln(2W) for √ln(2W²).
    published = 8 / m**1.5 + 72 * np.linalg.norm(x) * math.log(2 * 6) * math.log(m) * R * inverse / m
    return (risk + complexity + confidence, risk, complexity, confidence), published


@pytest.mark.parametrize("num_samples", [50, 2_000_000])
def test_spectral_margin_bound_by_hand(num_samples):
    """At 50 samples the infimum is at its end, at 2,000,000 inside."""
    x = np.broadcast_to(RNG.normal(size=4) / 100, (num_samples, 4))
    values = np.linspace(-1, 5, num_samples)
    found = spectral_margin_bound(values, WEIGHTS, x, 2.0, 0.05, REFERENCES)
    expected, published = spectral_by_hand(values, WEIGHTS, REFERENCES, x, 2.0, 0.05)
    # A step of 1e-4 in ln α beside a minimum.
    assert found == pytest.approx(expected, rel=1e-7)
    assert found.complexity == 8 if num_samples == 50 else found.complexity < 8
    assert found.complexity < published


def test_trained_weights_equal_to_their_references_have_little_complexity():
    x = np.ones((1000, 4))
    near, far = (
        spectral_margin_bound(np.ones(1000), WEIGHTS, x, 1.0, 0.1, references).complexity
        for references in (WEIGHTS, None)
    )
    assert near < far / 100


@pytest.mark.parametrize("bound", [golowich_margin_bound, spectral_margin_bound])
def test_margin_bounds_are_in_float64_whatever_jax_has(bound):
    """Weights that float32 cannot hold, or cannot tell from where they started."""
    x, values = RNG.normal(size=(2_000_000, 1)), np.ones(2_000_000)
    weights, start = [np.full((1, 1), 1 + 2.0**-40)], [np.ones((1, 1))]
    options = {"references": start} if bound is spectral_margin_bound else {}
    expected = bound(values, weights, x, 1.0, 0.1, **options)
    with jax.enable_x64(False):
        assert bound(values, weights, x, 1.0, 0.1, **options) == expected
        large = bound(values, [1e100 * weights[0]], x / 1e100, 1.0, 0.1)
        assert math.isfinite(large.bound)


def test_normalized_margins_divide_one_by_one():
    """The product of the divisors is 1e40, beyond float32. The quotient is not."""
    found = normalized_margins(np.float32([1e30, -1e30]), 1e30, np.full((2, 2), 1e10, "float32"))
    np.testing.assert_allclose(found, [1e-10, -1e-10], rtol=SAME_FORMULA["float32"])
    with pytest.raises(ValueError, match="normalized_margins falls below the range of float32"):
        normalized_margins(np.float32([1.0, -1.0]), 1e30, np.full((2, 2), 1e10, "float32"))


def test_an_mlp_of_this_project():
    """The bounds use its effective matrices. Biases are refused by name."""
    x = RNG.normal(size=(20, 3))
    for b_std in (0.0, 0.5):
        net = ntk.MLP(depth=1, b_std=b_std)
        params = ntk.finite(net, width=4).init(jax.random.key(0), x)
        weights = ntk_weight_matrices(net, params)
        values = np.asarray(ntk.finite(net, width=4).apply(params, x))
        if b_std:
            with pytest.raises(ValueError, match="weights has leaves that are not matrices, b1; expected"):
                golowich_margin_bound(values, weights, x, 1.0, 0.1)
        else:
            assert golowich_margin_bound(values, weights, x, 1.0, 0.1).bound > 0
