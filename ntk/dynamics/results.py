"""Refusals of predictions beyond the range of their dtype, and warnings of lost digits.

Only concrete predictions can be checked. Under a transformation NaN or inf propagates without a warning.
"""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import PyTree

from ntk.checks import is_concrete
from ntk.dynamics.linear_algebra.spectral import Array, Spectrum
from ntk.linalg import highest_matmul

# Predictions and solves that keep at least this many digits cause no warning and no advice.
ENOUGH_DIGITS = 3
# An eigensolver moves eigenvalues by about 2ε times the largest.
_MOVED_BY_SOLVER = 2.0


def check_in_range(name: str, results: PyTree, t: jax.Array, advice: str) -> None:
    """Refuse concrete results, arrays (T, …) at times t, that hold NaN or inf.

    Raises:
        ValueError: A result holds NaN or inf. The message names the first such time and ends with the advice.
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
def _finite_at(results: PyTree) -> jax.Array:
    leaves = [jnp.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim))) for leaf in jax.tree.leaves(results)]
    return jnp.stack(leaves).all(axis=0)


def warn_of_lost_digits(spectrum: Spectrum, t: jax.Array, rate: Array, error: Array, given_in: DTypeLike) -> None:
    """Warn if concrete predictions at finite times t keep fewer than three digits on the training points.

    At time t, training distinguishes eigenvalues that differ by 1/(ηt) or more. Rounding moves eigenvalues by δ, and
    sets those below N ε of the largest to 0. The error along the i-th eigenvector is therefore wrong by at most
    δ min(ηt, 1/μᵢ) e^{−ημt} of itself, where μ is the smallest eigenvalue: the divided differences of e^{−ημt} are
    bounded by this.

    Args:
        spectrum: The spectrum of the kernel with its ridge.
        t: (T,). t = inf gives no warning; see `condition_report`.
        rate: η, or η/(1 − β) with momentum β.
        error: (N, c), the error at the start.
        given_in: The dtype of the kernel as the caller gave it.
    """
    if not is_concrete(spectrum, t, rate, error):
        return
    eps, n = float(jnp.finfo(given_in).eps), len(spectrum.eigenvalues)
    largest = float(np.max(spectrum.eigenvalues))
    computed_in = spectrum.eigenvalues.dtype
    if computed_in == given_in:
        moved, taken_for_0 = _MOVED_BY_SOLVER * eps * largest, n * eps * largest
    else:  # Rounding of the entries is a random matrix. Its norm is 2√N times their standard deviation.
        moved = taken_for_0 = eps / 4 * n**0.5 * float(np.max(np.abs(np.diagonal(spectrum.matrix))))
    with jax.ensure_compile_time_eval():
        lost, times = jax.device_get((_share_lost(spectrum, t, rate, error, moved, taken_for_0), t))
    if not np.any(lost > 10**-ENOUGH_DIGITS):
        return
    worst = int(np.argmax(lost))
    digits = max(0.0, -math.log10(lost[worst]))
    if jnp.dtype(given_in) == jnp.float64:
        better = ""
    elif computed_in == given_in:
        better = "float64=True with a kernel computed in float64, "
    else:
        better = "a kernel computed in float64, "
    first = 10**-ENOUGH_DIGITS / (float(rate) * max(moved, taken_for_0))
    warnings.warn(
        f"at t = {times[worst]:g} predictions may keep only {digits:.0f} digits on the training points, and fewer"
        f" elsewhere: rounding in {jnp.dtype(given_in).name} moves eigenvalues of k_train_train that training has just"
        f" reached. What helps: {better}a ridge of at least {max(10**ENOUGH_DIGITS * moved, taken_for_0):.1g}, or"
        f" times below {first:.1g}.",
        stacklevel=5,  # the line that calls the method
    )


@jax.jit
def _share_lost(spectrum: Spectrum, t: Array, rate: Array, error: Array, moved: Array, taken_for_0: Array) -> jax.Array:
    """The share of the error that may be wrong at times t, (T,)."""
    mu = spectrum.eigenvalues[None]
    along = jnp.sum(highest_matmul(spectrum.eigenvectors.T, error) ** 2, axis=1)[None]
    reached = jnp.where(jnp.isinf(t), 0, rate * t)[:, None]
    inverse = jnp.where(mu > 0, 1 / jnp.where(mu > 0, mu, 1), jnp.inf)
    wrong = jnp.minimum(1, jnp.where(mu > 0, moved, taken_for_0) * jnp.minimum(reached, inverse))
    left = jnp.exp(-reached[:, 0] * jnp.min(mu))
    total = jnp.sum(along)
    share = left * jnp.sqrt(jnp.sum(wrong**2 * along, axis=1) / jnp.where(total > 0, total, 1))
    return jnp.where(jnp.isinf(t), 0, share)
