"""Refusals of predictions that left the range of their dtype, and warnings where predictions lost digits.

Only concrete predictions can be looked at. Under a transformation NaN or inf propagates, and nothing warns.
"""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntk.checks import is_concrete
from ntk.dynamics.linear_algebra.spectral import Array, Spectrum
from ntk.linalg import highest_matmul

# Predictions that keep at least so many digits get no advice.
_ENOUGH_DIGITS = 3
# An eigensolver in floating-point moves eigenvalues by some two ε of the largest.
_MOVED_BY_SOLVER = 2.0


def check_in_range(name: str, results: Any, t: jax.Array, advice: str) -> None:
    """Refuse concrete results, arrays (T, …) at times t, that hold NaN or inf: they have left the range of their dtype.

    Raises:
        ValueError: Some do; the sentence names the first such time, and the advice.
    """
    if not is_concrete(results, t):
        return
    with jax.ensure_compile_time_eval():
        finite, times = jax.device_get((_finite_at(results), t))
    if not finite.all():
        dtype = jax.tree.leaves(results)[0].dtype
        raise ValueError(
            f"{name} at t = {times[~finite].min():g} exceed {float(jnp.finfo(dtype).max):.1e}, the range of {dtype};"
            f" expected {advice}."
        )


@jax.jit
def _finite_at(results: Any) -> jax.Array:
    leaves = [jnp.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim))) for leaf in jax.tree.leaves(results)]
    return jnp.stack(leaves).all(axis=0)


def warn_of_lost_digits(spectrum: Spectrum, t: jax.Array, rate: Array, error: Array, given_in: Any) -> None:
    """Warn where concrete predictions at finite times t keep fewer than three digits on the training points.

    A time t tells eigenvalues from each other that differ by 1/(ηt). Rounding moves them, by δ in norm, and takes those
    below N ε of the largest for 0. An error eᵢ along the i-th eigenvector comes out wrong by as much as
    δ min(ηt, 1/μᵢ) of itself, in directions of which training has left e^{−ημt}: the divided differences of e^{−ημt}
    are no larger.

    Args:
        spectrum: Of the kernel and its ridge.
        t: (T,). No warning concerns t = inf, which `condition_report` judges.
        rate: η; with momentum β, η/(1 − β).
        error: (N, c), what the training is to remove.
        given_in: The dtype that the kernel was given in.
    """
    if not is_concrete(spectrum, t, rate, error):
        return
    eps, n = float(jnp.finfo(given_in).eps), len(spectrum.eigenvalues)
    largest = float(np.max(spectrum.eigenvalues))
    computed_in = spectrum.eigenvalues.dtype
    if computed_in == given_in:
        moved, taken_for_0 = _MOVED_BY_SOLVER * eps * largest, n * eps * largest
    else:  # what rounding has made of the entries: a random matrix, of norm 2√N times their standard deviation
        moved = taken_for_0 = eps / 4 * n**0.5 * float(np.max(np.abs(np.diagonal(spectrum.matrix))))
    with jax.ensure_compile_time_eval():
        lost, times = jax.device_get((_share_lost(spectrum, t, rate, error, moved, taken_for_0), t))
    if not np.any(lost > 10**-_ENOUGH_DIGITS):
        return
    worst = int(np.argmax(lost))
    digits = max(0.0, -math.log10(lost[worst]))
    if jnp.dtype(given_in) == jnp.float64:
        better = ""
    elif computed_in == given_in:
        better = "float64=True with a kernel computed in float64, "
    else:
        better = "a kernel computed in float64, "
    first = 10**-_ENOUGH_DIGITS / (float(rate) * max(moved, taken_for_0))
    warnings.warn(
        f"at t = {times[worst]:g} predictions may keep only {digits:.0f} digits on the training points, and fewer"
        f" elsewhere: rounding in {jnp.dtype(given_in).name} moves eigenvalues of k_train_train that training has just"
        f" reached. What helps: {better}a ridge of at least {max(10**_ENOUGH_DIGITS * moved, taken_for_0):.1g}, or"
        f" times below {first:.1g}.",
        stacklevel=5,  # past the method and what it is wrapped in
    )


@jax.jit
def _share_lost(spectrum: Spectrum, t: Array, rate: Array, error: Array, moved: Array, taken_for_0: Array) -> jax.Array:
    """Which share of the error may be wrong at times t, (T,)."""
    mu = spectrum.eigenvalues[None]
    along = jnp.sum(highest_matmul(spectrum.eigenvectors.T, error) ** 2, axis=1)[None]
    reached = jnp.where(jnp.isinf(t), 0, rate * t)[:, None]
    inverse = jnp.where(mu > 0, 1 / jnp.where(mu > 0, mu, 1), jnp.inf)
    wrong = jnp.minimum(1, jnp.where(mu > 0, moved, taken_for_0) * jnp.minimum(reached, inverse))
    left = jnp.exp(-reached[:, 0] * jnp.min(mu))
    total = jnp.sum(along)
    share = left * jnp.sqrt(jnp.sum(wrong**2 * along, axis=1) / jnp.where(total > 0, total, 1))
    return jnp.where(jnp.isinf(t), 0, share)
