"""The vectorizable arcsine against mpmath: its error is at most two units in the last place."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from ntk.duals.arcsine import acute_arcsine, right_angle_minus


def arcsine(sine, cosine):
    """The angle of that sine and cosine, in [−π/2, π/2]."""
    steep, acute = acute_arcsine(jnp.abs(sine), cosine, jnp.ones_like(sine))
    return jnp.where(sine < 0, -1.0, 1.0) * jnp.where(steep, right_angle_minus(acute), acute)


def points(dtype, count):
    """Sines and cosines of angles all over [−π/2, π/2], dense near 0, ±π/2 and the change of formula at ±π/4."""
    rng = np.random.default_rng(0)
    small = 10.0 ** rng.uniform(-30 if dtype == np.float32 else -200, 0, count)
    angles = np.concatenate([np.linspace(-np.pi / 2, np.pi / 2, count), np.pi / 4 - small, small - np.pi / 4])
    ends = np.array([[0, 1], [1, 0], [-1, 0], [1, 1e-30], [-1, 1e-30], [1e-30, 1], [-1e-30, 1]])
    sines = np.concatenate([np.sin(angles), small, -small, np.sqrt(1 - small**2), -np.sqrt(1 - small**2), ends[:, 0]])
    cosines = np.concatenate([np.cos(angles), *2 * [np.sqrt(1 - small**2)], small, small, ends[:, 1]])
    return sines.astype(dtype), np.maximum(cosines, 0).astype(dtype)


def exact_angles(sines, cosines, asin, half_pi):
    """From the smaller of the two numbers, which determines the angle best."""
    for sine, cosine in zip(sines, cosines, strict=True):
        size = half_pi - asin(cosine) if abs(sine) > cosine else asin(abs(sine))
        yield -size if sine < 0 else size


def test_float32_is_within_two_ulp():
    """On a dense grid, against float64's arcsine (itself right to 1e-16, a billionth of a float32 ulp)."""
    sines, cosines = points(np.float32, 500_000)
    smaller = np.minimum(np.abs(sines), cosines).astype(np.float64)
    exact = np.where(np.abs(sines) > cosines, np.pi / 2 - np.arcsin(smaller), np.arcsin(smaller))
    found = np.asarray(jax.jit(arcsine)(sines, cosines), np.float64)
    ulp = np.spacing(exact.astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(found - np.where(sines < 0, -exact, exact)) / ulp) <= 2.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_within_two_ulp_of_mpmath(dtype):
    sines, cosines = points(dtype, 500)
    found = np.asarray(jax.jit(arcsine)(sines, cosines)).tolist()
    with mpmath.workdps(60):
        exact = exact_angles(
            *(map(mpmath.mpf, numbers.tolist()) for numbers in (sines, cosines)), mpmath.asin, +mpmath.pi / 2
        )
        for angle, value in zip(found, exact, strict=True):
            assert abs(mpmath.mpf(angle) - value) <= 2.0 * float(np.spacing(np.abs(dtype(value)))), value


def test_nothing_is_known_of_a_vector_of_length_zero():
    assert float(arcsine(jnp.float32(0), jnp.float32(0))) == 0.0
