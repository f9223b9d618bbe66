"""Randomised quasi-Monte-Carlo points: Sobol sequences under Owen's scrambling, as standard normal variables.

The sequence itself comes from SciPy (Joe & Kuo 2008); it is scrambled in JAX by hashing (Laine & Karras 2011; Burley
2020, "Practical hash-based Owen scrambling"), so that every key gives an independent, unbiased set of points.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32
from scipy.stats import qmc

from ntk.checks import shown
from ntk.dtypes import common_dtype

REPLICATES = 16  # independent randomisations, whose spread gives the standard error
_MOST_NUMBERS = 2**29  # points times variables of one replicate, 4 GiB in float64


class Points(NamedTuple):
    """Points for a number of independent replicates.

    Attributes:
        directions: (m, D), of which all 2^m points are sums modulo 2, in units of 2⁻³².
        keys: One for each replicate.
    """

    directions: UInt32[Array, "m D"]
    keys: Array

    @property
    def samples(self) -> int:
        """How many points there are in all replicates together."""
        return len(self.keys) * 2 ** len(self.directions)


def check_seed(seed: object) -> None:
    """Refuse what is not an integer that JAX makes a key of."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not -(2**63) <= seed < 2**63:
        raise ValueError(f"seed is {shown(seed)}; expected an integer of at most 64 bits.")


def points_for(samples: int, variables: int, seed: int) -> Points:
    """At least so many points of that many variables.

    Raises:
        ValueError: There are more variables than the sequence has, or more numbers than fit into memory.
    """
    log2_points = max(4, (int(samples) - 1).bit_length() - (REPLICATES - 1).bit_length())
    if variables > qmc.Sobol.MAXDIM:
        raise ValueError(f"{variables} variables are to be drawn; expected at most {qmc.Sobol.MAXDIM}.")
    if variables * 2**log2_points > _MOST_NUMBERS:
        raise ValueError(
            f"{shown(samples)} samples of {variables} variables are to be drawn; expected at most"
            f" {REPLICATES * _MOST_NUMBERS // variables}: fewer samples, or fewer inputs at a time."
        )
    keys = jax.random.split(jax.random.key(seed), REPLICATES)
    return Points(jnp.asarray(_directions(log2_points, variables)), keys)


@functools.lru_cache(maxsize=8)
def _directions(log2_points: int, dimensions: int) -> UInt32[np.ndarray, "m D"]:
    """The points whose Gray code is a power of two: all others are sums of these."""
    sequence = qmc.Sobol(dimensions, scramble=False, bits=32)
    rows, drawn = [], 0
    for power in range(log2_points):
        wanted = 2 ** (power + 1) - 1
        sequence.fast_forward(wanted - drawn)
        rows.append(sequence.random(1)[0])
        drawn = wanted + 1
    return np.asarray(np.stack(rows) * 2.0**32, np.uint32)


def scrambled_normals(directions: UInt32[Array, "m D"], key: jax.Array, dtype: jnp.dtype) -> Float[Array, "S D"]:
    """One randomisation of the 2^m points: each column standard normal, the points as evenly spread as before."""
    points = jnp.zeros((1, directions.shape[1]), jnp.uint32)
    for direction in directions:
        points = jnp.concatenate([points, points ^ direction[None]])
    seeds = jax.random.bits(key, (points.shape[1],), jnp.uint32)
    bits = _reversed(_hashed(_reversed(points), seeds))
    # As many leading bits as the dtype keeps, and never 0 or 1.
    wide = common_dtype(dtype, jnp.float32)
    kept = 32 if wide == jnp.float64 else 23
    uniform = ((bits >> jnp.uint32(32 - kept)).astype(wide) + 0.5) * 2.0**-kept
    return jax.scipy.special.ndtri(uniform).astype(dtype)


def _hashed(bits: UInt32[Array, "S D"], seeds: UInt32[Array, " D"]) -> UInt32[Array, "S D"]:
    """A permutation in which each bit depends on lower ones alone."""
    bits = bits + seeds[None]
    for factor in (0x6C50B47C, 0xB82F1E52, 0xC7AFE638, 0x8D22F6E6):
        bits = bits ^ (bits * jnp.uint32(factor))
    return bits


def _reversed(bits: UInt32[Array, "S D"]) -> UInt32[Array, "S D"]:
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        bits = ((bits >> shift) & jnp.uint32(mask)) | ((bits & jnp.uint32(mask)) << shift)
    return bits
