"""Expectations of functions of one Gaussian variable each: means, products of two, and those of their derivatives.

One activation paired with itself has its dual maps; two different ones are integrated in two dimensions.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ntk.duals import Activation, activation
from ntk.duals.quadrature import (
    Rule,
    ScalarFunction,
    derivative,
    gaussian_expectation,
    graded_rule,
    ratio,
    smoothness,
)
from ntk.duals.rules import Arrays, with_rule
from ntk.infinite_width.moments import OwnMoments, nonlinearity
from ntk.programs.language.vectors import Function


@dataclass(frozen=True)
class Unary:
    """u ↦ φ(u + shift) of a Gaussian u of mean zero.

    Attributes:
        function: φ.
        shift: The mean of its argument.
    """

    function: Function
    shift: float

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Where it bends or jumps."""
        return tuple(point - self.shift for point in self.function.breakpoints)

    @functools.cached_property
    def activation(self) -> Activation:
        """Itself with its dual maps."""
        function, shift = self.function, self.shift
        if shift == 0.0:
            return function.activation or activation(function.fn, breakpoints=function.breakpoints)
        return activation(lambda u: function.fn(u + shift), breakpoints=self.breakpoints)


def _rule(*functions: Unary) -> Rule:
    """A rule that resolves all of them."""
    breakpoints = tuple(sorted({point for function in functions for point in function.breakpoints}))
    with jax.ensure_compile_time_eval():
        smooth = min(smoothness(function.activation.fn, breakpoints) for function in functions)
    return Rule(breakpoints, smooth, 1.0)


def mean_of(unary: Unary) -> Callable[[jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
    """The function q ↦ (E φ(u), E φ'(u), E u φ(u)/q) for u ~ N(0, q).

    By Stein's identity the last two are one number, unless φ jumps: its derivative φ', JAX's, knows nothing of that.
    """
    fn, rule = unary.activation.fn, _rule(unary)

    def times_argument(u: jax.Array) -> jax.Array:
        return u * (fn(u) - fn(jnp.zeros_like(u)))  # E u φ(0) = 0, which rounding would not know

    def mean(q: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        slope = gaussian_mean(derivative(fn), _one_less_smooth(rule), q)
        return gaussian_mean(fn, rule, q), slope, ratio(gaussian_mean(times_argument, rule, q), q)

    return mean


def product_of(first: Unary, second: Unary) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """The function of (q11, q12, q22) that gives (E φ(u)ψ(ū), E φ'(u)ψ'(ū)), all broadcasting."""
    if first == second:
        dual, dual_derivative = first.activation.dual_map, first.activation.dual_derivative_map
    else:
        f, g, rule = first.activation.fn, second.activation.fn, _rule(first, second)
        dual = functools.partial(gaussian_expectation, f, g, rule)
        dual_derivative = functools.partial(gaussian_expectation, derivative(f), derivative(g), _one_less_smooth(rule))

    def product(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> tuple[jax.Array, jax.Array]:
        return dual(q11, q12, q22), dual_derivative(q11, q12, q22)

    return product


def product_with_itself(unary: Unary) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """As `product_of`, from the moments of each input alone, where `same` marks pairs that are one input twice."""

    def product(own1: OwnMoments, q12: jax.Array, own2: OwnMoments, same: jax.Array) -> tuple[jax.Array, jax.Array]:
        return nonlinearity(unary.activation, own1, q12, own2, same)

    return product


def gaussian_mean(fn: ScalarFunction, rule: Rule, q: jax.Array) -> jax.Array:
    """E fn(u) for u ~ N(0, q), by the rule of `gaussian_expectation` in one dimension.

    Differentiable in q where fn is absolutely continuous, or jumps at 0 alone, by dE/dq = E u fn'(u)/(2q); the
    derivative at q = 0 is 0.
    """
    return with_rule(functools.partial(_mean, fn, rule), functools.partial(_mean_slope, fn, rule), q)[0]


def _mean(fn: ScalarFunction, rule: Rule, q: jax.Array) -> Arrays:
    sigma = jnp.sqrt(q)
    cuts = jnp.stack([ratio(point, sigma) for point in rule.breakpoints] + [jnp.zeros_like(sigma)])
    nodes, weights = graded_rule(cuts, rule)
    return (jnp.sum(weights * fn(sigma[None] * nodes), axis=0),)


def _mean_slope(fn: ScalarFunction, rule: Rule, primals: Arrays, tangents: Arrays) -> Arrays:
    (q,), (dq,) = primals, tangents
    if rule.smoothness <= 0 and any(rule.breakpoints):
        return (jnp.nan * dq,)
    scaling = gaussian_mean(lambda u: u * derivative(fn)(u), _one_less_smooth(rule), q)
    return (ratio(scaling, 2.0 * q) * dq,)


def _one_less_smooth(rule: Rule) -> Rule:
    return rule._replace(smoothness=rule.smoothness - 1)
