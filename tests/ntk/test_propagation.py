"""Fixed points over depth against closed forms at high precision, published numbers, and deep recursions."""

import math

import mpmath
import numpy as np
import pytest
from refusals import assert_refused, rows
from scipy import special
from tolerances import PEER, SOLVED

import ntk


def erf_second_moment(c, q):
    return 2 / mpmath.pi * mpmath.asin(2 * c * q / (1 + 2 * q))


def erf_slope(c, q):
    return 4 / mpmath.pi / mpmath.sqrt((1 + 2 * q) ** 2 - (2 * c * q) ** 2)


@pytest.mark.parametrize("w", [0.7, 2.0])
def test_erf_in_both_phases(w):
    b = mpmath.mpf(0.1)
    q = mpmath.findroot(lambda q: w**2 * erf_second_moment(1, q) + b**2 - q, 1.0)
    c = 1
    if w > 1:
        c = mpmath.findroot(lambda c: (w**2 * erf_second_moment(c, q) + b**2) / q - c, 0.3)
    net = ntk.MLP(depth=1, activation="erf", w_std=w, b_std=0.1)
    found = ntk.fixed_point(net)
    expected = [float(number) for number in (q, c, w**2 * erf_slope(1, q))]
    np.testing.assert_allclose(found, expected, rtol=SOLVED["float64"])
    assert (found.chi > 1) == (w > 1)
    slope_of_variance = mpmath.diff(lambda q: w**2 * erf_second_moment(1, q), q)
    scales = [-1 / mpmath.log(slope) for slope in (slope_of_variance, w**2 * erf_slope(c, q))]
    np.testing.assert_allclose(ntk.depth_scales(net), [float(scale) for scale in scales], rtol=SOLVED["float64"])


@pytest.mark.slow
def test_relu():
    """q* = σ_b²/(1 − σ_w²/2). With σ_w² = 2 and no biases every variance stays."""
    found = ntk.fixed_point(ntk.MLP(depth=1, activation="relu", w_std=1.2, b_std=0.3))
    np.testing.assert_allclose(found, [0.09 / (1 - 0.72), 1, 0.72], rtol=SOLVED["float64"])
    vanishing = ntk.fixed_point(ntk.MLP(depth=1, activation="relu", w_std=1.2, b_std=0.0))
    assert vanishing.q < 1e-50
    np.testing.assert_allclose(vanishing[1:], [1, 0.72], rtol=SOLVED["float64"])
    edge = ntk.MLP(depth=1, activation="relu", w_std=2**0.5, b_std=0.0)
    np.testing.assert_allclose(ntk.fixed_point(edge, start=0.3), [0.6, 1, 1], rtol=PEER["float64"])
    assert ntk.depth_scales(edge) == (math.inf, math.inf)


def test_gelu_has_two_fixed_points_and_layers_go_to_the_stable_one():
    """With σ_w = 1.5 and σ_b = 0.2 variances of 0.12 stay. Those above the second fixed point, below 1.2, grow."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)  # exact to 1e-12 at these variances
    q = 0.4
    for _ in range(2000):
        x = q**0.5 * nodes
        q = 1.5**2 * weights @ (x * special.ndtr(x)) ** 2 / weights.sum() + 0.2**2
    net = ntk.MLP(depth=1, activation="gelu", w_std=1.5, b_std=0.2)
    np.testing.assert_allclose(ntk.fixed_point(net, start=0.1).q, q, rtol=SOLVED["float64"])
    with pytest.raises(ValueError, match="grows without bound"):
        ntk.fixed_point(net)


@pytest.mark.slow
def test_the_edge_of_chaos_of_tanh():
    """Pennington et al. 2017 (arXiv:1711.04735): tanh with (σ_w², σ_b²) = (1.05, 2.01e-5) has χ = 1.

    Three digits of σ_b² leave 0.25 % of it open. That is σ_b²/q*/(1 − V') of 1/60 as much in q*, 4e-5, and 2q* of this
    in χ.
    """
    found = ntk.fixed_point(ntk.MLP(depth=1, activation="tanh", w_std=1.05**0.5, b_std=2.01e-5**0.5))
    assert abs(found.chi - 1) < 4e-6


def test_no_biases_and_small_weights_leave_nothing():
    found = ntk.fixed_point(ntk.MLP(depth=1, activation="tanh", w_std=0.5, b_std=0.0))
    assert found.q < 1e-50  # it falls by a factor 4 a layer
    np.testing.assert_allclose(found[1:], [1, 0.25], rtol=SOLVED["float64"])


@pytest.mark.slow
def test_deep_networks_are_near_their_fixed_point():
    """The correlation's distance from c* falls as ξ_c says, from one depth to the next."""
    w, b = 1.5, 0.3
    x = np.array([[1.0, 0.0], [0.5, 3**0.5 / 2]]) * 2**0.5
    C = np.asarray(ntk.infinite_kernels(ntk.MLP(depth=200, activation="tanh", w_std=w, b_std=b), x).C)
    K = w**2 * C + b**2
    point, scales = (
        f(ntk.MLP(depth=1, activation="tanh", w_std=w, b_std=b)) for f in (ntk.fixed_point, ntk.depth_scales)
    )
    correlations = K[:, 0, 1] / np.sqrt(K[:, 0, 0] * K[:, 1, 1])
    # Layer 150 is 7 scales deep. What is not linear there is of the order of e^{−7}.
    far, near = np.abs(correlations[[150, 160]] - point.correlation)
    np.testing.assert_allclose(math.log(far / near) / 10, 1 / scales.correlation, rtol=2e-3)
    np.testing.assert_allclose(K[-1, 0, 0], point.q, rtol=PEER["float64"])


@rows(
    [
        ("an RNN", lambda ntk: ntk.fixed_point(ntk.RNN()), TypeError, "net is"),
        ("a start", lambda ntk: ntk.fixed_point(ntk.MLP(depth=1), start=0.0), ValueError, "start is 0"),
        ("slow growth", lambda ntk: ntk.fixed_point(ntk.MLP(depth=1, w_std=1.42)), ValueError, "grows without bound"),
        ("growth", lambda ntk: ntk.depth_scales(ntk.MLP(depth=1, w_std=2.0)), ValueError, "grows without bound"),
    ]
)
def test_refusals(plain, call, exception, sentence):
    assert_refused(lambda: call(plain), exception, sentence)
