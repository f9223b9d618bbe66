"""Rademacher complexity by Monte Carlo over signs, exactly for small samples, and by resampling.

R̂_S(G) = E_σ sup_g (1/m) Σ σ_i g(z_i) with independent fair signs σ, and R_m(G) = E_S R̂_S(G) (Bartlett & Mendelson 2002;
Mohri, Rostamizadeh & Talwalkar 2018, Definitions 3.1 and 3.2; theory.md 11.1).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from bounds import batches
from bounds.arrays import square_root
from bounds.calls import shapes_returned
from bounds.rademacher.classes import FunctionClass
from ntk.caches.lifetimes import compiled
from ntk.checks import MOST_STEPS, check_count, check_key, check_representable, shown

_LARGEST_ENUMERATED = 16
_METHODS = ("checked", "supremum", "upper_bound", "largest_value")


class Estimate(NamedTuple):
    """The mean of independent draws.

    Attributes:
        estimate: A scalar.
        standard_error: A scalar, the draws' standard deviation divided by the square root of their number.
    """

    estimate: Float[Array, ""]
    standard_error: Float[Array, ""]


def empirical_rademacher(function_class: FunctionClass, key: jax.Array, num_draws: int = 1000) -> Estimate:
    """R̂_S of a class on its sample, by Monte Carlo over signs (theory.md 11.1).

    Draws are computed in batches, so that memory stays near that of the data. Products have the highest precision.

    Args:
        function_class: `LinearBall`, `KernelBall`, `FiniteClass`, `NetworkBall` or a `FunctionClass` of your own. If
            its supremum is a lower estimate, as for networks, the result is a lower estimate too.
        key: A PRNG key; the same key gives the same draws.
        num_draws: How many sign vectors, at least 2.

    Returns:
        `Estimate`, unbiased for the mean of the class's supremum, with its standard error.

    Raises:
        TypeError: The class's data is not of float32 or float64, or `key` is not a PRNG key.
        ValueError: The class's data has a wrong shape or value, a Gram matrix is not symmetric, a radius is negative,
            num_draws is below 2, or the result leaves the range of the dtype.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import KernelBall, empirical_rademacher
        >>> ball = KernelBall(jnp.eye(100, dtype=jnp.float32))
        >>> estimate, standard_error = empirical_rademacher(ball, jax.random.key(0))  # √m/m, whatever the signs
        >>> print(f"{estimate:.4f} {standard_error:.4f}")
        0.1000 0.0000
    """
    function_class = _checked(function_class)
    check_key(key)
    check_count("num_draws", num_draws, minimum=2, maximum=MOST_STEPS)
    result: Estimate = _empirical(function_class, key, num_draws)
    check_representable(**result._asdict())
    return result


def exact_rademacher(function_class: FunctionClass) -> Float[Array, ""]:
    """R̂_S of a class on at most 16 points: the mean over all 2^m sign vectors (theory.md 11.1).

    Args:
        function_class: `LinearBall`, `KernelBall`, `FiniteClass`, `NetworkBall` or a `FunctionClass` of your own.

    Returns:
        A scalar.

    Raises:
        TypeError: The class's data is not of float32 or float64.
        ValueError: The class's data has a wrong shape or value, or m exceeds 16.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import FiniteClass, exact_rademacher
        >>> print(exact_rademacher(FiniteClass(jnp.array([[1.0, 1.0], [-1.0, -1.0]]))))  # (1 + 0 + 0 + 1)/4
        0.5
    """
    function_class = _checked(function_class)
    if function_class.num_samples > _LARGEST_ENUMERATED:
        raise ValueError(
            f"function_class has {function_class.num_samples} points; expected at most {_LARGEST_ENUMERATED} to"
            " enumerate their signs; for more points there is empirical_rademacher."
        )
    result: Float[Array, ""] = _exact(function_class)
    check_representable(estimate=result)
    return result


def rademacher_complexity(
    draw_class: Callable[[jax.Array], FunctionClass], key: jax.Array, num_resamples: int = 1000, num_draws: int = 1
) -> Estimate:
    """R_m of a class, from independent samples S and signs (theory.md 11.1).

    For a given number of suprema, the error is smallest with many samples and one sign vector for each.

    Args:
        draw_class: Takes a key and returns the class on a fresh sample, such as
            `lambda key: LinearBall(jax.random.normal(key, (m, d)))`. JAX traces and compiles it once for each function
            object, and the program lives as long as the object. Define it once, not anew for each call.
        key: A PRNG key.
        num_resamples: How many samples S, at least 2.
        num_draws: How many sign vectors for each.

    Returns:
        `Estimate`, with the standard error over samples.

    Raises:
        TypeError: draw_class is not a function, its class's data is not of float32 or float64, or `key` is not a PRNG
            key.
        ValueError: The class's data has a wrong shape, a number is too small, or the result is not finite.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import LinearBall, rademacher_complexity
        >>> estimate, standard_error = rademacher_complexity(
        ...     lambda key: LinearBall(jax.random.normal(key, (4, 1), jnp.float32)), jax.random.key(0), 10_000
        ... )
        >>> print(abs(estimate - (2 / jnp.pi) ** 0.5 / 2) < 4 * standard_error)  # E|N(0, 4)|/4
        True
    """
    check_key(key)
    check_count("num_resamples", num_resamples, minimum=2, maximum=MOST_STEPS)
    check_count("num_draws", num_draws, maximum=MOST_STEPS)
    shapes_returned("draw_class", draw_class, {"key": key})
    result = _resampled(draw_class, num_resamples, num_draws, key)
    check_representable(**result._asdict())
    return result


def rademacher_upper_bound(function_class: FunctionClass) -> Float[Array, ""]:
    """A closed form that is at least R̂_S, stated in the docstring of the class (theory.md 11.3 to 11.6).

    Args:
        function_class: `LinearBall`, `KernelBall`, `FiniteClass`, `NetworkBall` or a `FunctionClass` of your own.

    Returns:
        A scalar.

    Raises:
        TypeError: The class's data is not of float32 or float64.
        ValueError: The class's data has a wrong shape or value, or the result leaves the range of the dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import KernelBall, rademacher_upper_bound
        >>> print(f"{rademacher_upper_bound(KernelBall(jnp.eye(4), radius=3.0)):.2f}")  # 3 √4/4
        1.50
    """
    result: Float[Array, ""] = _upper_bound(_checked(function_class))
    check_representable(upper_bound=result)
    return result


def _checked(function_class: FunctionClass) -> FunctionClass:
    # The type is checked, so that a class in place of an instance is refused too.
    if not all(hasattr(type(function_class), method) for method in _METHODS):
        raise TypeError(f"function_class is {shown(function_class)}; expected a class such as KernelBall(gram).")
    return function_class.checked()


@jax.jit(static_argnums=2)
def _empirical(function_class: FunctionClass, key: jax.Array, num_draws: int) -> Estimate:
    return _mean_and_error(_suprema(function_class, key, num_draws))


@jax.jit
def _exact(function_class: FunctionClass) -> jax.Array:
    m = function_class.num_samples

    def supremum(number: jax.Array) -> jax.Array:
        return function_class.supremum(2 * (number >> jnp.arange(m, dtype=jnp.int32) & 1) - 1)

    numbers = jnp.arange(2**m, dtype=jnp.int32)
    return jnp.mean(lax.map(supremum, numbers, batch_size=batches.batch_size(function_class.entries_per_draw, 2**m)))


@compiled(static=2)
def _resampled(
    draw_class: Callable[[jax.Array], FunctionClass], num_resamples: int, num_draws: int, key: jax.Array
) -> Estimate:
    def mean_supremum(key: jax.Array) -> jax.Array:
        sample_key, sign_key = jax.random.split(key)
        return jnp.mean(_suprema(_checked(draw_class(sample_key)), sign_key, num_draws))

    shape = jax.eval_shape(lambda key: _checked(draw_class(key)), key)
    entries = shape.entries_per_draw * num_draws + sum(leaf.size for leaf in jax.tree.leaves(shape))
    keys = jax.random.split(key, num_resamples)
    return _mean_and_error(lax.map(mean_supremum, keys, batch_size=batches.batch_size(entries, num_resamples)))


@jax.jit
def _upper_bound(function_class: FunctionClass) -> jax.Array:
    return function_class.upper_bound()


def _suprema(function_class: FunctionClass, key: jax.Array, num_draws: int) -> Float[Array, " draws"]:
    """The suprema for independent signs, (num_draws,)."""

    def supremum(key: jax.Array) -> jax.Array:
        # jax.random.rademacher draws float64 numbers if x64 is on, for every dtype.
        heads = jax.random.bernoulli(key, jnp.float32(0.5), (function_class.num_samples,))
        return function_class.supremum(2 * heads.astype(jnp.int32) - 1)

    size = batches.batch_size(function_class.entries_per_draw, num_draws)
    suprema: Float[Array, " draws"] = lax.map(supremum, jax.random.split(key, num_draws), batch_size=size)
    return suprema


def _mean_and_error(draws: Float[Array, " draws"]) -> Estimate:
    return Estimate(jnp.mean(draws), square_root(jnp.var(draws, ddof=1) / draws.size))
