"""The PAC-Bayes bound of a network whose parameters carry Gaussian noise, at the best scale of the noise."""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from bounds import batches
from bounds.calls import shapes_returned
from bounds.checks import Reals, as_delta, as_positive, as_risk, as_scalar
from bounds.concentration.averages import chernoff_upper
from bounds.pac_bayes.closed_forms import seeger_bound
from ntk.caches.lifetimes import compiled
from ntk.checks import (
    MOST_STEPS,
    as_floating,
    as_positive_number,
    check_count,
    check_finite,
    check_key,
    is_concrete,
    shown,
)
from ntk.dtypes import common_dtype
from ntk.trees import Params

SomeArray = TypeVar("SomeArray", np.ndarray, jax.Array)


class PACBayesBound(NamedTuple):
    """A PAC-Bayes bound and its parts.

    Attributes:
        bound: The bound on E, the risk averaged over the posterior N(params, σ²).
        sigma: σ, the scale of the posterior.
        prior_sigma: λ, the scale of the prior N(prior, λ²).
        kl: KL of the two in nats.
        risk: The average of the empirical risk over the posterior's draws.
        standard_error: The standard error of that average.
        risk_upper: An upper bound on the average over the posterior itself, at the share of δ for the draws.
    """

    bound: float
    sigma: float
    prior_sigma: float
    kl: float
    risk: float
    standard_error: float
    risk_upper: float


def gaussian_kl(params: Params, prior: Params, sigma: ArrayLike, prior_sigma: ArrayLike) -> Float[Array, ""]:
    """KL of N(params, σ²I) from N(prior, λ²I): ½ (D (r − 1 − ln r) + ‖params − prior‖²/λ²) with r = σ²/λ², in nats.

    Stated in theory.md 13.3.

    Args:
        params: The posterior's mean, a pytree of D floating-point numbers.
        prior: The prior's mean, of the same structure and shapes.
        sigma: σ > 0.
        prior_sigma: λ > 0.

    Raises:
        ValueError: The trees differ in structure or shapes, hold nothing or are not finite, or a scale is not one
            positive number.
        TypeError: A leaf is not of float32 or float64.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.pac_bayes.gaussian_posterior import gaussian_kl
        >>> print(gaussian_kl(jnp.array([1.0, 2.0]), jnp.zeros(2), 0.5, 0.5))
        10.0
    """
    dtype = _check_trees(params, prior)
    scales = (as_positive_number(name, s, dtype) for name, s in (("sigma", sigma), ("prior_sigma", prior_sigma)))
    kl: Float[Array, ""] = _kl(params, prior, *scales)
    return kl


def posterior_risks(
    risk: Callable[[Params, PyTree], Array],
    params: Params,
    data: PyTree,
    sigma: ArrayLike,
    key: Array,
    *,
    num_draws: int = 100,
) -> Float[Array, " draws"]:
    """The empirical risk at draws from N(params, σ²I): the mean of the draws is unbiased for the posterior's average.

    The draws are computed in batches that take a few megabytes. The result is differentiable in
    `params`, `data` and `sigma` where `risk` is: the noise is σ times fixed normal numbers.

    Args:
        risk: Takes (params, data) and returns the empirical risk in [0, 1], a scalar; pure JAX. It is compiled once for
            each function object, and the program lives as long as the object.
        params: The posterior's mean, a pytree of floating-point arrays.
        data: The second argument of `risk`, a pytree.
        sigma: σ > 0.
        key: A PRNG key for the draws.
        num_draws: How many draws.

    Returns:
        (num_draws,), the empirical risks.

    Raises:
        ValueError: `params` holds nothing or is not finite, σ is not one positive number, `num_draws` is not a positive
            integer, or `risk` fails, does not return a scalar, or returns a number outside [0, 1] at some draw (which
            cannot be seen under a transformation).
        TypeError: A leaf is not of float32 or float64, `risk` is not a function, or `key` is not a PRNG key.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from bounds.pac_bayes.gaussian_posterior import posterior_risks
        >>> def risk(w, data):
        ...     return jnp.mean(data @ w < 0)
        >>> posterior_risks(risk, jnp.ones(2), jnp.eye(2), 1.0, jax.random.key(0), num_draws=5).shape
        (5,)
    """
    dtype = _check_trees(params, params)
    check_key(key)
    check_count("num_draws", num_draws, maximum=MOST_STEPS)
    shape = shapes_returned("risk", risk, {"params": params, "data": data})
    if shape != ():
        raise ValueError(f"risk returns {shape}; expected a scalar, of shape ().")
    risks = _risks(risk, num_draws, params, data, as_positive_number("sigma", sigma, dtype), key)
    if is_concrete(risks):
        as_risk("risk", risks)
    return risks


def pac_bayes_gaussian(
    risk: Callable[[Params, PyTree], Array],
    params: Params,
    prior: Params,
    data: PyTree,
    key: Array,
    *,
    num_samples: int,
    delta: float,
    sigmas: Reals,
    num_draws: int = 100,
    monte_carlo_share: float = 0.1,
) -> PACBayesBound:
    """The smallest Seeger bound over the scales σ of a Gaussian posterior and λ of its prior, both from a grid.

    It holds with probability 1−δ over the sample and the draws. The share `monte_carlo_share` of δ goes to the Monte
    Carlo averages, by a Chernoff bound at every σ of the grid at once (Langford & Caruana 2002; theory.md 13.4). The
    rest goes to the priors, one for each λ, by a union bound over theory.md 13.1. The scale of the noise is one number,
    so the grid is searched, and the scale is not trained. The idea is that of Dziugaite & Roy 2017.

    Args:
        risk: Takes (params, data) and returns the empirical risk in [0, 1], a scalar; pure JAX.
        params: Trained parameters w, the posterior's mean.
        prior: The prior's mean: parameters that do not depend on the sample, such as those before training.
        data: The sample, as `risk` takes it.
        key: A PRNG key for the draws, independent of the sample.
        num_samples: N, the size of the sample.
        delta: δ in (0, 1).
        sigmas: The grid, (K,) positive numbers, fixed before the sample was seen.
        num_draws: How many draws of parameters for each σ. The error of their average falls with their number.
        monte_carlo_share: The share of δ for the draws, in (0, 1).

    Returns:
        `PACBayesBound`, on the host.

    Raises:
        ValueError: A number is out of its range, the trees differ, `sigmas` is not (K,), or a risk is outside [0, 1].
        TypeError: A leaf is not of float32 or float64, `risk` is not a function, `key` is not a PRNG key, or an
            argument is traced by JAX.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from bounds.pac_bayes.gaussian_posterior import pac_bayes_gaussian
        >>> x = jax.random.normal(jax.random.key(0), (1000, 2))
        >>> def risk(w, x):  # the label is the sign of the first coordinate
        ...     return jnp.mean((x @ w) * x[:, 0] < 0)
        >>> found = pac_bayes_gaussian(risk, jnp.array([1.0, 0.0]), jnp.zeros(2), x, jax.random.key(1),
        ...                            num_samples=1000, delta=0.05, sigmas=[0.01, 0.1, 1.0])
        >>> found.sigma, found.prior_sigma, found.risk < found.risk_upper < found.bound
        (0.01, 1.0, True)
    """
    grid = as_positive("sigmas", sigmas)
    if grid.ndim != 1 or not grid.size:
        raise ValueError(f"sigmas has shape {grid.shape}; expected (K,), the scales to try.")
    delta, share = (
        as_scalar(as_delta, name, value) for name, value in (("delta", delta), ("monte_carlo_share", monte_carlo_share))
    )
    check_count("num_samples", num_samples)
    check_count("num_draws", num_draws, minimum=2, maximum=MOST_STEPS)
    check_key(key)
    _check_trees(params, prior)
    draws = np.array(
        [
            posterior_risks(risk, params, data, sigma, key, num_draws=num_draws)
            for sigma, key in zip(grid, jax.random.split(key, len(grid)), strict=True)
        ]
    )
    risks = draws.astype(np.float64).mean(axis=1)
    count, distance = _squared_distance(params, prior)
    with np.errstate(over="ignore"):  # an infinite divergence makes a bound of 1
        kl = _divergence(count, (distance**0.5 / grid) ** 2, grid[:, None], grid, np)
    upper = np.asarray(chernoff_upper(risks, num_draws, delta * share, num_hypotheses=len(grid)))
    bounds = np.asarray(seeger_bound(upper[:, None], kl, num_samples, delta * (1 - share) / len(grid)))
    i, j = np.unravel_index(np.argmin(bounds), bounds.shape)
    standard_error = draws[i].std(ddof=1) / num_draws**0.5
    best = (bounds[i, j], grid[i], grid[j], kl[i, j], risks[i], standard_error, upper[i])
    return PACBayesBound(*map(float, best))


@jax.jit
def _kl(params: Params, prior: Params, sigma: Array, prior_sigma: Array) -> Array:
    # Divided before it is squared: the square of a scale may leave the range of the dtype.
    moved = jax.tree.map(lambda mean, center: jnp.sum(((mean - center) / prior_sigma) ** 2), params, prior)
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    return _divergence(count, jnp.asarray(sum(jax.tree.leaves(moved))), sigma, prior_sigma, jnp)


@compiled(static=1)
def _risks(
    risk: Callable[[Params, PyTree], Array],
    num_draws: int,
    params: Params,
    data: PyTree,
    sigma: Array,
    key: Array,
) -> Array:
    leaves, structure = jax.tree.flatten(params)

    def draw(key: Array) -> Array:
        keys = jax.random.split(key, len(leaves))
        noisy = [
            leaf + sigma.astype(leaf.dtype) * jax.random.normal(own, leaf.shape, leaf.dtype)
            for leaf, own in zip(leaves, keys, strict=True)
        ]
        return risk(jax.tree.unflatten(structure, noisy), data)

    keys = jax.random.split(key, num_draws)
    size = batches.batch_size(batches.numbers_made(draw, keys[0]), num_draws)
    risks: Float[Array, " draws"] = jax.lax.map(draw, keys, batch_size=size)
    return risks


def _squared_distance(params: Params, prior: Params) -> tuple[int, float]:
    """D and ‖params − prior‖², in float64 on the host."""
    pairs = list(zip(jax.tree.leaves(params), jax.tree.leaves(prior), strict=True))
    moved = (np.asarray(mean, np.float64) - np.asarray(center, np.float64) for mean, center in pairs)
    return sum(np.size(mean) for mean, _ in pairs), float(sum(np.sum(np.square(step)) for step in moved))


def _divergence(count: int, moved: SomeArray, sigma: SomeArray, prior_sigma: SomeArray, numpy: ModuleType) -> SomeArray:
    """½ (D (r − 1 − ln r) + ‖w − v‖²/λ²), from D and ‖w − v‖²/λ²; `numpy` is numpy or jax.numpy."""
    # For nearly equal scales, ln r and r − 1 − ln r are computed from the difference of the scales, to keep digits.
    near = numpy.abs(sigma - prior_sigma) < prior_sigma / 2
    difference = numpy.where(near, (sigma - prior_sigma) / prior_sigma, 0)
    log_ratio = 2 * numpy.where(near, numpy.log1p(difference), numpy.log(sigma) - numpy.log(prior_sigma))
    small = numpy.abs(log_ratio) < 0.1
    series = 1.0
    for k in range(10, 2, -1):  # e^x − 1 − x = x²/2 (1 + x/3 (1 + x/4 (…)))
        series = 1.0 + numpy.where(small, log_ratio, 0) / k * series
    excess = numpy.where(small, log_ratio**2 / 2 * series, numpy.expm1(log_ratio) - log_ratio)
    divergence: SomeArray = (count * excess + moved) / 2
    return divergence


def _check_trees(params: Params, prior: Params) -> jnp.dtype:
    """The dtype of the parameters; refused unless the prior has their structure and shapes."""
    arrays = []
    for name, tree in (("params", params), ("prior", prior)):
        for leaf in jax.tree.leaves(tree):
            array = as_floating(name, leaf)
            if array.dtype not in (jnp.float32, jnp.float64):
                raise TypeError(f"{name} has dtype {array.dtype}; expected float32 or float64.")
            check_finite(name, array)
            arrays.append(array)
    if not jax.tree.leaves(params):
        raise ValueError(f"params is {shown(params)}; expected a pytree of floating-point arrays.")
    shapes, prior_shapes = (jax.tree.map(jnp.shape, tree) for tree in (params, prior))
    if shapes != prior_shapes:
        raise ValueError(f"prior has shapes {shown(prior_shapes)}; expected those of params, {shown(shapes)}.")
    return common_dtype(*arrays)
