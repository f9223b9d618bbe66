"""The chain of the proof of the Rademacher bound, simulated: E sup(E g − Ê g) ≤ E sup(Ê' g − Ê g) ≤ 2 R_m ≤ Massart.

The class holds the thresholds x ↦ sign(x − a) on [0, 1] for all a; g are their 0-1 losses. Points are uniform. Labels
are sign(x − ½), and a share p of them is flipped. So E g = p + (1 − 2p)|a − ½| is known (theory.md 11.2, 11.3; Mohri,
Rostamizadeh & Talwalkar 2018, theorem 3.3).
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

STEPS = ("E sup(E − Ê)", "E sup(Ê' − Ê)", "2 R_m", "Massart")


@functools.partial(jax.jit, static_argnames=("m", "num_draws"))
def simulate_chain(key: Array, m: int, noise: float, num_draws: int) -> Float[Array, "3 draws"]:
    """Independent draws whose means are the first three `STEPS`.

    Args:
        key: A PRNG key.
        m: The number of points of a sample.
        noise: p.
        num_draws: The number of samples.

    Example:
        >>> draws = simulate_chain(jax.random.key(0), m=1, noise=0.0, num_draws=1000)
        >>> bool(jnp.all(draws[2] == 2 * jnp.round(draws[2] / 2)))  # one loss: 2 max(σ, 0)
        True
    """

    def draw(key: Array) -> Float[Array, " 3"]:
        keys = jax.random.split(key, 3)
        (x, y), (ghost_x, ghost_y) = _sample(keys[0], m, noise), _sample(keys[1], m, noise)
        signs = jax.random.rademacher(keys[2], (m,), jnp.float32)
        both = jnp.append(x, ghost_x)
        return jnp.stack(
            [
                jnp.max(_expected_less_empirical(x, y, noise)),
                # Thresholds at the points of both samples give every dichotomy that the class makes there.
                jnp.max(_risks(both, ghost_x, ghost_y) - _risks(both, x, y)),
                2 * jnp.max(_risks(x, x, y, signs)),
            ]
        )

    return jax.lax.map(draw, jax.random.split(key, num_draws), batch_size=50).T


def massart_bound(m: int) -> float:
    """2 √(2 ln(m + 1)/m), at least 2 R_m: m + 1 vectors of losses, each at most √m long (theory.md 11.3).

    Example:
        >>> round(massart_bound(100), 4)
        0.6076
    """
    return 2 * math.sqrt(2 * math.log(m + 1) / m)


def _sample(key: Array, m: int, noise: float) -> tuple[Array, Array]:
    keys = jax.random.split(key)
    x = jax.random.uniform(keys[0], (m,), jnp.float32)
    flipped = jax.random.uniform(keys[1], (m,), jnp.float32) < noise
    return x, jnp.where((x > 0.5) ^ flipped, 1, -1).astype(jnp.float32)


def _risks(thresholds: Array, x: Array, y: Array, weights: Array | float = 1.0) -> Array:
    """The weighted means of the losses on (x, y), for every threshold and for ∞. Points at or above it are positive."""
    a = jnp.append(thresholds, jnp.inf)[:, None]
    wrong = jnp.where(x[None] >= a, y[None] < 0, y[None] > 0)
    return jnp.mean(jnp.where(wrong, jnp.atleast_2d(weights), 0), axis=1, dtype=jnp.float32)


def _expected_less_empirical(x: Array, y: Array, noise: float) -> Array:
    """The largest E g − Ê g in each interval between points: Ê is constant there, and |a − ½| is largest at an end."""
    above = jnp.append(x, 1)
    below = jnp.max(jnp.where(x[None] < above[:, None], x[None], 0), axis=1)
    ends = jnp.maximum(jnp.abs(below - 0.5), jnp.abs(above - 0.5))
    return noise + (1 - 2 * noise) * ends - _risks(x, x, y)
