"""E f(u)g(ū) for any pair of scalar functions, by nested quadrature that is graded at their break points.

With u = √q11·x and ū = √q22·(ρx + √(1−ρ²)·y) for independent standard normal x, y (theory.md 4.10), both axes are cut
at the images of the break points (0 unless the user names others), and every panel carries a tanh-sinh rule (Takahasi &
Mori 1974). The nodes of the rule crowd towards the ends of the panel doubly exponentially. They resolve kinks and, at
large variance, the narrow transition of a smooth activation around its break point.
"""

import functools
import math
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ntk.duals.geometry import scaled_pair
from ntk.duals.rules import Arrays, with_rule

ScalarFunction = Callable[[jax.Array], jax.Array]  # it acts on each entry alone
Array = TypeVar("Array", jax.Array, np.ndarray)


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


TRUNCATION = 2e-12  # error from the end of the tanh-sinh rule at its last nodes, relative to the natural scale
_AT_ONCE = 2**16  # points: enough to outweigh the call of an operation, and few enough for the processor's cache
FINER = 1.5  # the refinement of the rule that errors are estimated with


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
    outer_x, outer_weights = outer_rule(rule, sigma1, rho, sigma2)

    def add_outer_node(total: jax.Array, node: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x, weight = node
        second, inner_weights = inner_rule(rule, x, rho, orthogonal, sigma2)
        return total + weight * f(sigma1 * x) * jnp.sum(inner_weights * g(second), axis=0), None

    return (lax.scan(add_outer_node, jnp.zeros(outer_x.shape[1:], q12.dtype), (outer_x, outer_weights))[0],)


def outer_rule(rule: Rule, sigma1: Array, rho: Array, sigma2: Array) -> tuple[Array, Array]:
    """Nodes x and weights, both (nodes, …), for u = σ1·x; the arguments broadcast to …."""
    xp = _namespace(rho)
    shape = np.broadcast_shapes(sigma1.shape, rho.shape, sigma2.shape)
    kinks = [b for b in rule.breakpoints if b != 0.0]
    images: list[Array] = [xp.broadcast_to(ratio(b, scale), shape) for b in kinks for scale in (sigma1, rho * sigma2)]
    return graded_rule(xp.stack([xp.zeros(shape, rho.dtype), *images]), rule)


def inner_rule(rule: Rule, x: Array, rho: Array, orthogonal: Array, sigma2: Array) -> tuple[Array, Array]:
    """Values of ū = σ2·(ρx + √(1−ρ²)·y) and their weights, both (nodes, *x.shape), for each outer node x."""
    xp = _namespace(x)
    # The cut at 0 keeps nodes at the peak of the density when the images of the break points lie far off.
    images: list[Array] = [ratio(ratio(b, sigma2) - rho * x, orthogonal) for b in rule.breakpoints]
    y, weights = graded_rule(xp.stack([*images, xp.zeros_like(x)]), rule)
    return sigma2[None] * ((rho * x)[None] + orthogonal[None] * y), weights


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
    sides = np.array([[b - step, b + step] for b in breakpoints], jnp.result_type(float))
    for order in (0, 1):
        values, slopes = values_and_slopes(fn, sides)
        # A smooth function changes by 2e-4 times its slope across the gap.
        if np.any(np.abs(values[:, 1] - values[:, 0]) > 1e-2 * (1.0 + np.abs(slopes).max(axis=1))):
            return float(order)
        fn = derivative(fn)
    return np.inf


def values_and_slopes(fn: ScalarFunction, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """φ and φ' at concrete points, computed operation by operation. The function as a whole is not compiled.

    The function is called with arrays of one shape only, so that JAX compiles each of its operations once.

    Example:
        >>> import numpy as np
        >>> from ntk.duals.quadrature import values_and_slopes
        >>> values, slopes = values_and_slopes(lambda x: x * x, np.array([1.0, 3.0]))
        >>> print(values, slopes)
        [1. 9.] [2. 6.]
    """
    pieces = np.pad(points.ravel(), (0, -points.size % _AT_ONCE), mode="edge").reshape(-1, _AT_ONCE)
    found = [jax.jvp(fn, (jnp.asarray(piece),), (jnp.ones_like(piece),)) for piece in pieces]
    values, slopes = (
        np.concatenate(arrays)[: points.size].reshape(points.shape).astype(points.dtype)
        for arrays in zip(*found, strict=True)
    )
    return values, slopes


def ratio(numerator: Array | float, denominator: Array) -> Array:
    """The quotient, 0 where the denominator is 0."""
    xp = _namespace(denominator)
    quotient: Array = xp.where(denominator == 0, 0.0, numerator / xp.where(denominator == 0, 1.0, denominator))
    return quotient


def _namespace(array: Array) -> ModuleType:
    """NumPy for NumPy arrays, which need no compiled program, and jax.numpy for all others."""
    return np if isinstance(array, np.ndarray) else jnp


def graded_rule(cuts: Array, rule: Rule) -> tuple[Array, Array]:
    """Nodes and weights, both (panels·order, …), for E over N(0, 1) cut at `cuts` of shape (cuts, …)."""
    xp = _namespace(cuts)
    double = cuts.dtype == jnp.float64
    # Well past the last digit of the Gaussian's mass, because the function may grow.
    radius = rule.refinement * (12.0 if double else 8.0)
    order = round(rule.refinement * (96 if double else 60))
    edges = xp.sort(xp.clip(cuts, -radius, radius), axis=0)
    end = xp.full_like(edges[:1], radius)
    left, right = xp.concatenate([-end, edges]), xp.concatenate([edges, end])

    from_left, weights = (xp.asarray(a, cuts.dtype) for a in _tanh_sinh(order))
    columns = (slice(None),) + (None,) * cuts.ndim
    from_left, from_right, weights = from_left[columns], from_left[::-1][columns], weights[columns]
    # A node is measured from the nearer end, so that it keeps its digits also close to a cut at 0.
    width = (right - left)[None]
    nodes: Array = xp.where(from_left < from_right, left[None] + width * from_left, right[None] - width * from_right)
    masses: Array = weights * width * xp.exp(-(nodes**2) / 2.0) / math.sqrt(2.0 * math.pi)
    shape = (-1, *cuts.shape[1:])
    return nodes.reshape(shape), masses.reshape(shape)


@functools.cache
def _tanh_sinh(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances from the left end and weights of the tanh-sinh rule on [0, 1], each (order,)."""
    t, step = np.linspace(-2.9, 2.9, order, retstep=True)
    from_left = 1.0 / (1.0 + np.exp(-np.pi * np.sinh(t)))
    weights = step * np.pi * np.cosh(t) * from_left * from_left[::-1]
    return from_left, weights / weights.sum()
