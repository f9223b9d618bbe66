"""E f(u)g(ū) for any pair of scalar functions, by nested quadrature that is graded at their break points.

With u = √q11·x and ū = √q22·(ρx + √(1−ρ²)·y) for independent standard normal x, y (theory.md 4.10), both axes are cut
at the images of the break points (0 unless the user names others), and every panel carries a tanh-sinh rule (Takahasi &
Mori 1974). The nodes of the rule crowd towards the ends of the panel doubly exponentially. They resolve kinks and, at
large variance, the narrow transition of a smooth activation around its break point.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntk.duals.geometry import scaled_pair
from ntk.duals.rules import Arrays, with_rule

ScalarFunction = Callable[[jax.Array], jax.Array]


class Rule(NamedTuple):
    """How an expectation is evaluated.

    Attributes:
        breakpoints: Where the functions bend, jump or change quickly.
        smoothness: How often the functions can be differentiated at the break points before they jump.
        refinement: Factor on the usual number of nodes of a panel, and on the reach into the Gaussian's tail.
    """

    breakpoints: tuple[float, ...]
    smoothness: float
    refinement: float


TRUNCATION = 2e-12  # what the tanh-sinh rule leaves beyond its last nodes, relative to the natural scale


def derivative(fn: ScalarFunction) -> ScalarFunction:
    """φ' of a coordinate-wise φ, as JAX differentiates it."""

    def slope(x: jax.Array) -> jax.Array:
        return jax.jvp(fn, (x,), (jnp.ones_like(x),))[1]

    return slope


def gaussian_expectation(
    f: ScalarFunction,
    g: ScalarFunction,
    rule: Rule,
    q11: jax.Array,
    q12: jax.Array,
    q22: jax.Array,
) -> jax.Array:
    """E f(u)g(ū).

    For smooth functions of scale one, the error in float64 relative to √(E f²·E g²) is near 1e-11 up to variance 10,
    and 1e-8 up to variance 1e4. Functions that grow exponentially need the tail of the Gaussian: exp is right up to
    variance 4, and beyond it the error estimate is large.

    The result is differentiable in the variances and the covariance where f and g are absolutely continuous. The
    derivatives are expectations too (Price's theorem), and not derivatives of the rule.
    """
    return with_rule(
        functools.partial(_expectation, f, g, rule), functools.partial(_expectation_slope, f, g, rule), q11, q12, q22
    )[0]


def _expectation(
    f: ScalarFunction, g: ScalarFunction, rule: Rule, q11: jax.Array, q12: jax.Array, q22: jax.Array
) -> Arrays:
    pair = scaled_pair(q11, q12, q22)
    product = jnp.sqrt(jnp.where(pair.constant, 1.0, pair.v1 * pair.v2))
    rho = jnp.where(pair.constant, 0.0, jnp.clip(pair.c / product, -1.0, 1.0))
    # With a constant u or ū the pair is independent and ρ is arbitrary.
    orthogonal = jnp.where(pair.constant, 1.0, pair.root / product)
    sigma1, sigma2 = jnp.sqrt(q11), jnp.sqrt(q22)
    shape = jnp.broadcast_shapes(sigma1.shape, rho.shape, sigma2.shape)

    kinks = [b for b in rule.breakpoints if b != 0.0]
    cuts = jnp.stack(
        [jnp.zeros(shape, q12.dtype)]
        + [jnp.broadcast_to(ratio(b, scale), shape) for b in kinks for scale in (sigma1, rho * sigma2)]
    )
    outer_x, outer_weights = graded_rule(cuts, rule)

    def add_outer_node(total: jax.Array, node: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x, weight = node
        # The cut at 0 keeps nodes at the peak of the density when the images of the break points lie far off.
        inner_cuts = jnp.stack(
            [ratio(ratio(b, sigma2) - rho * x, orthogonal) for b in rule.breakpoints] + [jnp.zeros(shape, x.dtype)]
        )
        y, inner_weights = graded_rule(inner_cuts, rule)
        inner = jnp.sum(inner_weights * g(sigma2[None] * ((rho * x)[None] + orthogonal[None] * y)), axis=0)
        return total + weight * f(sigma1 * x) * inner, None

    return (lax.scan(add_outer_node, jnp.zeros(shape, q12.dtype), (outer_x, outer_weights))[0],)


def _expectation_slope(f: ScalarFunction, g: ScalarFunction, rule: Rule, primals: Arrays, tangents: Arrays) -> Arrays:
    """Price: ∂F/∂q12 = E f'ḡ', ∂F/∂q11 = E f''ḡ/2, ∂F/∂q22 = E f ḡ''/2.

    If f' jumps, f'' has a delta function that no node sees; then 2·q11·∂F/∂q11 = E u f'(u)g(ū) − q12·E f'ḡ' is used. If
    f itself jumps, nodes give no derivative, and the result is NaN.
    """
    (q11, q12, q22), (d11, d12, d22) = primals, tangents

    def expect(f: ScalarFunction, g: ScalarFunction) -> jax.Array:
        return gaussian_expectation(f, g, rule._replace(smoothness=rule.smoothness - 1), *primals)

    def scaling(fn: ScalarFunction) -> ScalarFunction:
        return lambda x: x * derivative(fn)(x)

    if rule.smoothness <= 0:
        return (jnp.nan * (d11 + d12 + d22),)
    slope = expect(derivative(f), derivative(g))
    if rule.smoothness == 1:
        slope11 = ratio(expect(scaling(f), g) - q12 * slope, 2.0 * q11)
        slope22 = ratio(expect(f, scaling(g)) - q12 * slope, 2.0 * q22)
    else:
        slope11 = expect(derivative(derivative(f)), g) / 2.0
        slope22 = expect(f, derivative(derivative(g))) / 2.0
    return (slope11 * d11 + slope * d12 + slope22 * d22,)


def smoothness(fn: ScalarFunction, breakpoints: tuple[float, ...]) -> float:
    """How often fn can be differentiated at all break points before it jumps: 0, 1 (a kink) or infinitely often."""
    step = 1e-4
    sides = jnp.array([[b - step, b + step] for b in breakpoints])
    for order in (0, 1):
        below, above = fn(sides).T
        # A smooth function changes by 2e-4 times its slope across the gap.
        if jnp.any(jnp.abs(above - below) > 1e-2 * (1.0 + jnp.abs(derivative(fn)(sides)).max(axis=1))):
            return float(order)
        fn = derivative(fn)
    return np.inf


def ratio(numerator: jax.Array | float, denominator: jax.Array) -> jax.Array:
    """The quotient, 0 where the denominator is 0."""
    return jnp.where(denominator == 0, 0.0, numerator / jnp.where(denominator == 0, 1.0, denominator))


def graded_rule(cuts: jax.Array, rule: Rule) -> tuple[jax.Array, jax.Array]:
    """Nodes and weights, both (panels·order, …), for E over N(0, 1) cut at `cuts` of shape (cuts, …)."""
    double = cuts.dtype == jnp.float64
    # Well past the last digit of the mass, for functions that grow.
    radius = rule.refinement * (12.0 if double else 8.0)
    order = round(rule.refinement * (96 if double else 60))
    edges = jnp.sort(jnp.clip(cuts, -radius, radius), axis=0)
    end = jnp.full_like(edges[:1], radius)
    left, right = jnp.concatenate([-end, edges]), jnp.concatenate([edges, end])

    from_left, weights = (jnp.asarray(a, cuts.dtype) for a in _tanh_sinh(order))
    columns = (slice(None),) + (None,) * cuts.ndim
    from_left, from_right, weights = from_left[columns], from_left[::-1][columns], weights[columns]
    # Measured from the nearer end, a node keeps its digits however close it lies to a cut at 0.
    width = (right - left)[None]
    nodes = jnp.where(from_left < from_right, left[None] + width * from_left, right[None] - width * from_right)
    weights = weights * width * jnp.exp(-(nodes**2) / 2.0) / math.sqrt(2.0 * math.pi)
    shape = (-1, *cuts.shape[1:])
    return nodes.reshape(shape), weights.reshape(shape)


@functools.cache
def _tanh_sinh(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances from the left end and weights of the tanh-sinh rule on [0, 1], each (order,)."""
    t, step = np.linspace(-2.9, 2.9, order, retstep=True)
    from_left = 1.0 / (1.0 + np.exp(-np.pi * np.sinh(t)))
    weights = step * np.pi * np.cosh(t) * from_left * from_left[::-1]
    return from_left, weights / weights.sum()
