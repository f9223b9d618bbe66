"""A test whether the quadrature of the dual maps resolves a function. No program is compiled for the function.

The nodes are computed on the host. φ and φ' are evaluated at them operation by operation.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ntk.checks import check_representable
from ntk.duals.quadrature import FINER, TRUNCATION, Rule, ScalarFunction, inner_rule, outer_rule, values_and_slopes

# The pairs at which the rule is tried: variances of order one and several correlations.
_VARIANCE = (0.1, 1.0, 1.0, 10.0)
_CORRELATION = (0.5, 0.0, 0.9, 0.5)


class _Expectations(NamedTuple):
    """E φφ̄ and E φ'φ̄' at the pairs, and E φ² and E φ'² at their variances, each (2, pairs)."""

    products: np.ndarray
    squares: np.ndarray


def relative_error(fn: ScalarFunction, breakpoints: tuple[float, ...]) -> float:
    """The largest estimated error of the two maps, relative to their natural scale, at variances from 0.1 to 10.

    Raises:
        ValueError: A map exceeds the range of the dtype.
    """
    coarse, finer = (_expectations(fn, Rule(breakpoints, np.inf, refinement)) for refinement in (1.0, FINER))
    for name, squares in zip(("dual", "dual_derivative"), coarse.squares, strict=True):
        check_representable(**{name: jnp.asarray(squares)})
    rounding = 8.0 * float(np.finfo(coarse.squares.dtype).eps)
    with np.errstate(all="ignore"):  # the result is then NaN
        difference = np.abs(coarse.products - finer.products)
        errors = ((TRUNCATION + rounding) * coarse.squares + difference) / (coarse.squares + 1e-30)
    return float(np.max(errors))


def _expectations(fn: ScalarFunction, rule: Rule) -> _Expectations:
    q, rho = (np.array(numbers, jnp.result_type(float)) for numbers in (_VARIANCE, _CORRELATION))
    sigma, orthogonal = np.sqrt(q), np.sqrt(1.0 - rho * rho)
    nodes, masses = outer_rule(rule, sigma, rho, sigma)
    products = np.zeros((2, *q.shape), q.dtype)
    for x, mass in zip(_in_panels(nodes, rule), _in_panels(masses, rule), strict=True):
        second, inner = inner_rule(rule, x, rho, orthogonal, sigma)
        first, second = np.stack(values_and_slopes(fn, sigma * x)), np.stack(values_and_slopes(fn, second))
        with np.errstate(all="ignore"):  # a function that grows fast may overflow at the outer nodes
            products += np.sum(mass * first * np.sum(inner * second, axis=1), axis=1)
    x, mass = outer_rule(rule, sigma, np.ones_like(rho), sigma)
    first = np.stack(values_and_slopes(fn, sigma * x))
    with np.errstate(all="ignore"):
        return _Expectations(products, np.sum(mass * first * first, axis=1))


def _in_panels(nodes: np.ndarray, rule: Rule) -> list[np.ndarray]:
    """The outer rule in parts. They bound the memory of the inner rule, which has its own nodes for each outer node."""
    return np.array_split(nodes, 2 * len(rule.breakpoints))
