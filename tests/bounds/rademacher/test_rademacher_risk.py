"""Bounds on the risk: their numbers by hand, their promise by simulation, and the steps of their proof."""

import itertools
import math

import jax
import numpy as np
import pytest
from tolerances import CLOSED_FORM, REORDERED, SAME_FORMULA

from bounds.rademacher import (
    FiniteClass,
    KernelBall,
    LinearBall,
    NetworkBall,
    contracted_rademacher,
    empirical_rademacher,
    exact_rademacher,
    rademacher_bound,
    rademacher_monte_carlo_bound,
    rademacher_monte_carlo_epsilon,
)

# 64 classifiers on a domain of 4096 equally likely points; each errs on its own random half.
NUM_SAMPLES, NUM_SETS = 40, 500
TABLE = np.random.default_rng(0).integers(2, size=(64, 4096)).astype(float)
RISKS = TABLE.mean(axis=1)
DELTAS = (0.05, 0.5, 0.9)


@pytest.fixture(scope="module")
def simulation():
    """The losses on 500 samples, (500, 64, 40), and the complexities R̂_S there."""
    points = np.random.default_rng(1).integers(4096, size=(NUM_SETS, NUM_SAMPLES))
    losses = TABLE[:, points].swapaxes(0, 1)
    keys = jax.random.split(jax.random.key(0), NUM_SETS)
    estimate = jax.jit(jax.vmap(lambda u, key: empirical_rademacher(FiniteClass(u), key, num_draws=200)))
    return losses, np.asarray(estimate(losses, keys).estimate)


def violated(losses, complexities, delta, empirical):
    """For each sample, whether the bound fails for any function of the class."""
    bound = np.array([rademacher_bound(0.0, c, NUM_SAMPLES, delta, empirical).bound for c in complexities])
    return (losses.mean(axis=2) + bound[:, None] < RISKS).any(axis=1)


@pytest.mark.parametrize("empirical", [True, False])
@pytest.mark.parametrize("delta", DELTAS)
def test_bounds_hold_with_their_probability(simulation, delta, empirical):
    losses, complexities = simulation
    if not empirical:
        complexities = np.full(NUM_SETS, complexities.mean())
    # Four standard errors of a binomial.
    limit = delta + 4 * math.sqrt(delta * (1 - delta) / NUM_SETS)
    assert violated(losses, complexities, delta, empirical).mean() <= limit


# All functions with values 0 and 1 on a domain of 4,000 equally likely points. A sample of 400 has a tenth of them.
FEW, DOMAIN = 400, 4000


def complexities_of_all_functions(counts):
    """R̂_S of all functions with values 0 and 1, by how often each point is met: Σ_x E max(S_x, 0)/m = Σ_x E|S_x|/(2m).

    S_x is the sum of n_x fair signs, and E|S_n| = n C(n−1, ⌊(n−1)/2⌋)/2^{n−1}.
    """
    n = np.arange(1, counts.max() + 1)
    means = [0.0, *(k * math.comb(k - 1, (k - 1) // 2) / 2 ** (k - 1) for k in n.tolist())]
    return np.array(means)[counts].sum(axis=-1) / (2 * counts.sum(axis=-1))


def test_the_complexity_of_all_functions_by_enumeration():
    counts = np.array([1, 2, 4])
    functions = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    exact = exact_rademacher(FiniteClass(np.repeat(functions, counts, axis=1)))
    np.testing.assert_allclose(complexities_of_all_functions(counts), exact, rtol=REORDERED["float64"])


@pytest.mark.parametrize("empirical", [True, False])
@pytest.mark.parametrize("delta", DELTAS)
def test_twice_the_complexity_is_needed(delta, empirical):
    """The worst of all functions is 0 at the points met and 1 elsewhere: its gap is nearly 2 R̂_S, far above R̂_S."""
    counts = np.random.default_rng(6).multinomial(FEW, np.full(DOMAIN, 1 / DOMAIN), size=200)
    gaps = np.maximum(1 / DOMAIN - counts / FEW, 0).sum(axis=1)
    complexities = complexities_of_all_functions(counts)
    if not empirical:
        complexities = np.full(len(counts), complexities.mean())

    def rate(share):
        bound = [rademacher_bound(0.0, share * c, FEW, delta, empirical).bound for c in complexities]
        return np.mean(gaps > bound)

    assert rate(1.0) <= delta + 4 * math.sqrt(delta * (1 - delta) / len(counts))
    assert rate(0.5) == 1


@pytest.mark.parametrize("empirical", [True, False])
@pytest.mark.parametrize("delta", [0.05, 0.2])
def test_the_confidence_is_needed(delta, empirical):
    """One function has no complexity, and its mean over a sample is too low every other time."""
    sums = np.random.default_rng(7).binomial(FEW, 0.5, size=4000)
    complexity = float(exact_rademacher(FiniteClass(np.ones((1, 4)))))
    found = [rademacher_bound(k / FEW, complexity, FEW, delta, empirical) for k in sums.tolist()]
    limit = delta + 4 * math.sqrt(delta * (1 - delta) / len(found))
    assert np.mean([part.bound < 0.5 for part in found]) <= limit
    assert np.mean([part.empirical_risk + part.complexity < 0.5 for part in found]) > limit


def test_the_chain_of_the_proof(simulation):
    """E sup(E g − Ê g) ≤ 2 R_m (Mohri et al. 2018, Theorem 3.3), and R_m ≤ 2 E sup|E g − Ê g| + 1/√m the other way."""
    losses, complexities = simulation
    gaps = RISKS - losses.mean(axis=2)
    one_sided, two_sided = gaps.max(axis=1), np.abs(gaps).max(axis=1)
    error = 2 * math.hypot(two_sided.std(), complexities.std()) / math.sqrt(NUM_SETS)
    assert one_sided.mean() <= 2 * complexities.mean() + 4 * error
    assert complexities.mean() <= 2 * two_sided.mean() + 1 / math.sqrt(NUM_SAMPLES) + 4 * error


def test_parts_by_hand():
    found = rademacher_bound([0.25, 0.75, 0.5, 0.5], 0.1, 4, 0.1)
    assert found == pytest.approx(
        (0.5 + 0.2 + 3 * math.sqrt(math.log(20) / 8), 0.5, 0.2, 3 * math.sqrt(math.log(20) / 8))
    )
    found = rademacher_bound(0.5, 0.1, 4, 0.1, empirical=False)
    assert found == pytest.approx((0.7 + math.sqrt(math.log(10) / 8), 0.5, 0.2, math.sqrt(math.log(10) / 8)))


def test_zero_one_losses_have_half_the_complexity_of_classifiers():
    """Mohri et al. 2018, Lemma 3.4, for 5 classifiers and any labels."""
    rng = np.random.default_rng(2)
    predictions, labels = rng.choice([-1.0, 1.0], size=(5, 8)), rng.choice([-1.0, 1.0], size=8)
    losses = (predictions != labels).astype(float)
    halved = exact_rademacher(FiniteClass(predictions)) / 2
    np.testing.assert_allclose(exact_rademacher(FiniteClass(losses)), halved, rtol=SAME_FORMULA["float64"])


@pytest.mark.parametrize("lipschitz", [0.5, 3.0])
def test_contraction_of_scalar_predictions(lipschitz):
    """By enumeration; nearly tight for the hinge of predictions that stay on its slope."""
    rng = np.random.default_rng(3)
    for scale in (0.2, 5.0):
        predictions, labels = scale * rng.uniform(-1, 1, size=(6, 8)), rng.choice([-1.0, 1.0], size=8)
        losses = lipschitz * np.maximum(0, 1 - labels * predictions)
        bound = contracted_rademacher(float(exact_rademacher(FiniteClass(predictions))), lipschitz)
        found = float(exact_rademacher(FiniteClass(losses)))
        assert found <= bound * (1 + CLOSED_FORM["float64"])
        if scale < 1:
            assert found > 0.99 * bound


def test_contraction_of_vector_predictions():
    """Maurer 2016: E over one sign per output, by enumeration of 2^8 signs of 4 points with two outputs."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        predictions, centres = rng.normal(size=(3, 4, 2)), rng.normal(size=(4, 2))
        losses = 1.5 * np.linalg.norm(predictions - centres, axis=2)
        signs = np.array(list(itertools.product([-1, 1], repeat=8)))
        complexity = (signs @ predictions.reshape(3, 8).T).max(axis=1).mean() / 4
        bound = contracted_rademacher(complexity, 1.5, vector_valued=True)
        assert bound == pytest.approx(1.5 * math.sqrt(2) * complexity)
        assert exact_rademacher(FiniteClass(losses)) <= bound


def test_the_epsilon_of_the_draws_holds_with_its_probability():
    """One function g = 1 beside g = 0: the supremum of a draw is max(0, mean of signs)."""
    m, n, repeats = 9, 4, 20_000
    assert rademacher_monte_carlo_epsilon(n, m, 0.1, 3.0) == pytest.approx(3 * math.sqrt(2 * math.log(10) / (m * n)))
    signs = np.random.default_rng(5).choice([-1, 1], size=(repeats, n, m))
    estimates = np.maximum(signs.mean(axis=2), 0).mean(axis=1)
    exact = float(exact_rademacher(FiniteClass(np.array([np.zeros(m), np.ones(m)]))))
    for delta in (0.05, 0.5, 0.9):
        rate = np.mean(exact > estimates + rademacher_monte_carlo_epsilon(n, m, delta))
        assert rate <= delta + 4 * math.sqrt(delta * (1 - delta) / repeats)
    # A tenth of it is not enough.
    assert np.mean(exact > estimates + rademacher_monte_carlo_epsilon(n, m, 0.05) / 10) > 0.2


def test_the_bound_by_monte_carlo_is_its_parts(simulation):
    """It exceeds the worst gap. With 5 sign vectors the error of the draws exceeds the gain of a better estimate."""
    losses, _ = simulation
    for sample, num_draws in ((losses[0], 5), (losses[1], 400)):
        key = jax.random.key(3)
        found = rademacher_monte_carlo_bound(
            0.25, FiniteClass(sample), key, 0.1, lipschitz=2.0, num_draws=num_draws, monte_carlo_share=0.3
        )
        estimate = float(empirical_rademacher(FiniteClass(sample), key, num_draws).estimate)
        epsilon = math.sqrt(2 * math.log(1 / 0.03) / (NUM_SAMPLES * num_draws))
        assert found == pytest.approx(rademacher_bound(0.25, 2 * (estimate + epsilon), NUM_SAMPLES, 0.07))


def test_the_largest_values():
    """Against functions of each ball: no |g(z_i)| is larger, and one is as large."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(6, 3))
    for norm, vertices in (
        (1, np.eye(3)),
        (2, x / np.linalg.norm(x, axis=1, keepdims=True)),
        (math.inf, np.array(list(itertools.product([-1, 1], repeat=3)))),
    ):
        ball = LinearBall(x, radius=1.5, norm=norm).checked()
        assert float(ball.largest_value()) == pytest.approx(1.5 * np.abs(x @ vertices.T).max())
    kernel = KernelBall(x @ x.T, radius=2.0).checked()
    assert float(kernel.largest_value()) == pytest.approx(2 * np.linalg.norm(x, axis=1).max())
    assert float(FiniteClass(-x).checked().largest_value()) == np.abs(x).max()
    networks = NetworkBall(x, np.array([2.0, 3.0]), jax.random.key(0))
    assert float(networks.checked().largest_value()) == pytest.approx(6 * np.linalg.norm(x, axis=1).max())
