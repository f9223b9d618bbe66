"""PAC-Bayes bounds in closed form against the equation they solve, their constant, and simulation."""

import math

import mpmath
import numpy as np
import pytest
from tolerances import CLOSED_FORM, SAME_FORMULA, SOLVED

from bounds.concentration.relative_entropy import binary_kl
from bounds.pac_bayes.closed_forms import mcallester_bound, seeger_bound

DELTA = 0.1


@pytest.mark.parametrize("risk", [0.0, 0.02, 0.4])
@pytest.mark.parametrize(("kl", "n"), [(0.0, 20), (3.5, 500), (5000.0, 60_000)])
def test_bounds_by_hand(risk, kl, n):
    c = (kl + math.log(2 * math.sqrt(n) / 0.05)) / n
    assert mcallester_bound(risk, kl, n, 0.05) == pytest.approx(risk + math.sqrt(c / 2), rel=SAME_FORMULA["float64"])
    bound = seeger_bound(risk, kl, n, 0.05)
    assert binary_kl(risk, bound) == pytest.approx(c, rel=SOLVED["float64"])
    assert risk < bound <= min(1.0, mcallester_bound(risk, kl, n, 0.05))


def test_an_infinite_divergence_makes_the_bound_vacuous():
    assert seeger_bound(0.1, math.inf, 100, 0.05) == 1.0
    assert mcallester_bound(0.1, math.inf, 100, 0.05) == math.inf


def test_maurers_constant():
    """E exp(N kl(Ê‖p)) ≤ Σ_k C(N,k) (k/N)^k (1−k/N)^{N−k} ≤ 2√N: the proof has N ≥ 8, the numbers all N."""
    for n in [*range(1, 60), 300]:
        k = range(n + 1)
        with mpmath.workdps(30):
            total = sum(
                math.comb(n, i) * mpmath.mpf(i) ** i * mpmath.mpf(n - i) ** (n - i) for i in k
            ) / n ** mpmath.mpf(n)
        assert total <= 2 * math.sqrt(n) * (1 + CLOSED_FORM["float64"])


def test_arrays_broadcast():
    found = seeger_bound([[0.1], [0.2]], [1.0, 2.0, 4.0], 100, 0.05)
    assert found.shape == (2, 3)
    assert found[1, 2] == seeger_bound(0.2, 4.0, 100, 0.05)
    assert np.all(np.diff(found, axis=1) > 0)
    assert np.all(np.diff(found, axis=0) > 0)


@pytest.mark.parametrize("posterior", ["gibbs", "least lucky"])
def test_coverage(posterior):
    """12 hypotheses with independent errors of known rates, N = 60, a uniform prior and posteriors made from the data.

    The worst posterior knows the risks, and picks the hypothesis whose empirical risk is furthest below its risk.
    """
    n, draws = 60, 4000
    truth = np.linspace(0.1, 0.5, 12)
    empirical = np.random.default_rng(0).binomial(n, truth, (draws, 12)) / n
    if posterior == "gibbs":
        weights = np.exp(-n * (empirical - empirical.min(1, keepdims=True)))
        weights /= weights.sum(1, keepdims=True)
    else:
        weights = np.eye(12)[np.argmax(binary_kl(empirical, truth) * (empirical < truth), axis=1)]
    kl = np.sum(weights * np.log(np.maximum(weights, 1e-300) * 12), axis=1)
    risk, out = np.sum(weights * empirical, axis=1), weights @ truth
    largest_rate = DELTA + 3.7 * math.sqrt(DELTA * (1 - DELTA) / draws)  # one in 10,000
    for bound in (seeger_bound, mcallester_bound):
        assert (out > bound(risk, np.maximum(kl, 0.0), n, DELTA)).mean() <= largest_rate
    # The empirical risk itself is not a bound.
    assert (out > risk).mean() > largest_rate
