"""Signal propagation in wide MLPs: fixed points of variances and correlations over depth, and how fast they are near.

The formulas are theory.md 1.9 and 1.10. Everything here runs on the host, in float64.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from ntk.checks import as_number, shown
from ntk.networks import MLP

LAYERS = 200  # followed one by one
# If the variance still moves then, so many points are searched for the next fixed point on its way: up to LARGEST,
# where it is taken to grow without bound, or down to SMALLEST, which stands for zero because slopes there are those of
# the limit. Two fixed points within 2 % may be missed.
POINTS = 2000
LARGEST, SMALLEST = 1e12, 1e-60
NEAR_ONE = 1e-9  # the smallest distance from 1 at which a stable correlation is looked for


class FixedPoint(NamedTuple):
    """What variances and correlations of pre-activations tend to as the depth grows.

    Attributes:
        q: q*, the variance, a scalar.
        correlation: c*, the correlation of two inputs, a scalar. It is 1 in the ordered phase, χ ≤ 1.
        chi: χ = σ_w² E φ'(√q* z)², a scalar. Gradients grow with depth if it is above 1.
    """

    q: float
    correlation: float
    chi: float


class DepthScales(NamedTuple):
    """The numbers of layers over which differences from the fixed point fall by a factor e.

    Attributes:
        variance: ξ_q, a scalar; inf at a slope of 1.
        correlation: ξ_c, a scalar; inf at the edge of chaos, χ = 1.
    """

    variance: float
    correlation: float


def fixed_point(net: MLP, *, start: float = 1.0) -> FixedPoint:
    """The fixed point of an MLP's variances and correlations (theory.md 1.9; Poole et al. 2016, arXiv:1606.05340).

    Args:
        net: An `ntk.MLP`. Its depth does not matter.
        start: ξ·ξ/d of the inputs, positive. It matters if there are several fixed points, or infinitely many, as for
            ReLU with σ_w² = 2 and without biases.

    Returns:
        A `FixedPoint`.

    Raises:
        TypeError: `net` is not an MLP.
        ValueError: `start` is not a positive number, or the variance grows without bound.

    Example:
        >>> import ntk
        >>> relu = ntk.fixed_point(ntk.MLP(depth=1, activation="relu", w_std=1.0, b_std=0.5))
        >>> round(relu.q, 6), relu.correlation, round(relu.chi, 6)  # q = q/2 + 1/4
        (0.5, 1.0, 0.5)
    """
    if not isinstance(net, MLP):
        raise TypeError(f"net is {shown(net)}; expected an ntk.MLP.")
    first = float(as_number("start", start, float, lambda q: q > 0, "a positive number"))
    with jax.enable_x64(True):
        q = _fixed_variance(net, first)
        chi = _slope(net, q, 1.0)
        return FixedPoint(q, _fixed_correlation(net, q) if chi > 1 else 1.0, chi)


def depth_scales(net: MLP, *, start: float = 1.0) -> DepthScales:
    """The depth scales of an MLP's variances and correlations (theory.md 1.10; Schoenholz et al. 2017).

    Signals pass through some 6 ξ_c layers (arXiv:1611.01232).

    Args:
        net: An `ntk.MLP`. Its depth does not matter.
        start: ξ·ξ/d of the inputs, as for `fixed_point`.

    Returns:
        `DepthScales`.

    Raises:
        TypeError: `net` is not an MLP.
        ValueError: `start` is not a positive number, or the variance grows without bound.

    Example:
        >>> import ntk
        >>> scales = ntk.depth_scales(ntk.MLP(depth=1, activation="relu", w_std=1.0, b_std=0.5))
        >>> round(scales.variance, 4), round(scales.correlation, 4)  # both slopes are 1/2: 1/ln 2
        (1.4427, 1.4427)
    """
    point = fixed_point(net, start=start)
    with jax.enable_x64(True):
        slope_of_variance = abs(float(jax.grad(lambda q: _next_variance(net, q))(point.q)))
        return DepthScales(_scale(slope_of_variance), _scale(abs(_slope(net, point.q, point.correlation))))


def _scale(slope: float) -> float:
    """−1/ln of the slope at a stable fixed point. Rounding may put a slope of 1 beyond 1."""
    if slope == 0:
        return 0.0
    return math.inf if slope > 1 - 1e-12 else -1 / math.log(slope)


def _next_variance(net: MLP, q: jax.Array) -> jax.Array:
    return net.w_std**2 * net.activation.dual_map(q, q, q) + net.b_std**2


def _next_correlation(net: MLP, q: float, c: float) -> float:
    variance, covariance = jnp.asarray(q), jnp.asarray(c * q)
    return float(net.w_std**2 * net.activation.dual_map(variance, covariance, variance) + net.b_std**2) / q


def _slope(net: MLP, q: float, c: float) -> float:
    """σ_w² E φ'(u)φ'(ū) at variance q and correlation c."""
    variance, covariance = jnp.asarray(q), jnp.asarray(c * q)
    return float(net.w_std**2 * net.activation.dual_derivative_map(variance, covariance, variance))


def _fixed_variance(net: MLP, start: float) -> float:
    """The variance of the first layer, followed for some layers, and then the first root on their way."""
    step = jax.jit(lambda q: _next_variance(net, q))
    unbounded = ValueError(
        f"the variance of net grows without bound, with w_std {shown(net.w_std)}; expected a smaller one."
    )
    q = float(net.w_std**2 * start + net.b_std**2)
    for _ in range(LAYERS):
        before, q = q, float(step(q))
        if not q < LARGEST:
            raise unbounded
        if abs(q - before) <= 1e-15 * q:
            return q
    rises = q > before
    ahead = np.geomspace(q, LARGEST if rises else SMALLEST, POINTS)
    growth = np.array([float(step(q)) for q in ahead]) - ahead
    turned = np.flatnonzero(growth <= 0 if rises else growth >= 0)
    if turned.size == 0:
        if rises:
            raise unbounded
        return SMALLEST
    last = turned[0]
    if last == 0:  # by rounding
        return q
    return float(brentq(lambda q: float(step(q)) - q, ahead[last - 1], ahead[last], xtol=1e-300, rtol=1e-15))


def _fixed_correlation(net: MLP, q: float) -> float:
    """In the chaotic phase the map of correlations crosses the diagonal once between 0 and 1."""

    def growth(c: float) -> float:
        return _next_correlation(net, q, c) - c

    if growth(0.0) <= 0:
        return 0.0
    if growth(1 - NEAR_ONE) >= 0:
        return 1.0
    return float(brentq(growth, 0.0, 1 - NEAR_ONE, xtol=1e-15))
