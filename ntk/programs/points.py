"""Randomised quasi-Monte-Carlo points: Sobol sequences under Owen's scrambling, as standard normal variables.

The sequence itself comes from SciPy (Joe & Kuo 2008); it is scrambled in JAX by hashing (Laine & Karras 2011; Burley
2020, "Practical hash-based Owen scrambling"), so that every key gives an independent, unbiased set of points.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32
from scipy.stats import qmc

MAX_DIMENSIONS = qmc.Sobol.MAXDIM


@functools.lru_cache(maxsize=8)
def sobol(log2_points: int, dimensions: int) -> UInt32[np.ndarray, "S D"]:
    """The first 2^m points, unscrambled, in units of 2⁻³²."""
    unit = qmc.Sobol(dimensions, scramble=False, bits=32).random_base2(log2_points)
    return np.asarray(unit * 2.0**32, np.uint32)


def scrambled_normals(points: UInt32[Array, "S D"], key: jax.Array, dtype: jnp.dtype) -> Float[Array, "S D"]:
    """One randomisation: each column standard normal, the points as evenly spread as before."""
    seeds = jax.random.bits(key, (points.shape[1],), jnp.uint32)
    bits = _reversed(_hashed(_reversed(points), seeds))
    # As many leading bits as the dtype keeps, and never 0 or 1.
    kept = 32 if dtype == jnp.float64 else 23
    uniform = ((bits >> jnp.uint32(32 - kept)).astype(dtype) + 0.5) * 2.0**-kept
    return jax.scipy.special.ndtri(uniform)


def _hashed(bits: UInt32[Array, "S D"], seeds: UInt32[Array, " D"]) -> UInt32[Array, "S D"]:
    """A permutation in which each bit depends on lower ones alone."""
    bits = bits + seeds
    for factor in (0x6C50B47C, 0xB82F1E52, 0xC7AFE638, 0x8D22F6E6):
        bits = bits ^ (bits * jnp.uint32(factor))
    return bits


def _reversed(bits: UInt32[Array, "S D"]) -> UInt32[Array, "S D"]:
    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF), (16, 0x0000FFFF)):
        bits = ((bits >> shift) & jnp.uint32(mask)) | ((bits & jnp.uint32(mask)) << shift)
    return bits
