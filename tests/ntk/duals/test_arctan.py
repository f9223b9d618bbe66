"""The vectorizable angle against mpmath: at most three units in the last place, everywhere."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from ntk.duals.arctan import half_plane_angle


def points(dtype, count):
    """Points all around the right half-plane, dense near both axes and the diagonals, of unequal lengths."""
    rng = np.random.default_rng(0)
    small = 10.0 ** rng.uniform(-30 if dtype == np.float32 else -200, 0, count)
    angles = np.concatenate([np.linspace(-np.pi / 2, np.pi / 2, count), small, np.pi / 2 - small, np.pi / 4 + small])
    lengths = 10.0 ** rng.uniform(-3, 3, angles.size)
    y, x = (lengths * np.sin(angles)).astype(dtype), np.abs(lengths * np.cos(angles)).astype(dtype)
    corners = np.array([[0, 1], [1, 0], [-1, 0], [1, 1], [-1, 1], [1e-30, 1], [1, 1e-30]], dtype)
    return np.concatenate([y, corners[:, 0]]), np.concatenate([x, corners[:, 1]])


def half_plane_angles(y, x):
    """With the radius as a dual map has it: rounded, from elsewhere."""
    return jax.jit(half_plane_angle)(y, x, np.hypot(y.astype(np.float64), x.astype(np.float64)).astype(y.dtype))


def test_float32_is_within_three_ulp():
    """On a dense grid, against float64's atan2 (itself right to 1e-16, a billionth of a float32 ulp)."""
    y, x = points(np.float32, 500_000)
    exact = np.arctan2(y.astype(np.float64), x.astype(np.float64))
    ulp = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    found = np.asarray(half_plane_angles(y, x), np.float64)
    assert np.max(np.abs(found - exact) / ulp) <= 3.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_within_three_ulp_of_mpmath(dtype):
    y, x = points(dtype, 1000)
    found = np.asarray(half_plane_angles(y, x))
    with mpmath.workdps(60):
        for a, b, angle in zip(y.tolist(), x.tolist(), found.tolist(), strict=True):
            exact = mpmath.atan2(mpmath.mpf(a), mpmath.mpf(b))
            assert abs(mpmath.mpf(angle) - exact) <= 3.0 * float(np.spacing(np.abs(dtype(exact)))), (a, b)


def test_derivatives():
    """Those of atan2; the radius, which x and y determine, has none of its own."""
    slopes = jax.grad(half_plane_angle, argnums=(0, 1, 2))(jnp.float64(0.3), jnp.float64(0.4), jnp.float64(0.5))
    np.testing.assert_allclose(slopes, (1.6, -1.2, 0.0), rtol=1e-14)
