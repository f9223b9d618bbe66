"""Lipschitz constants where they are known: linear networks, one dimension, ReLU by its linear regions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, PEER, REORDERED, SOLVED

from bounds import batches
from bounds.networks.lipschitz import lipschitz_lower_estimate, lipschitz_upper_bound

RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(size=shape) for shape in ((2, 6), (6, 3))]
X = RNG.normal(size=(20, 2))


def linear(weights, x):
    return x @ weights[0] @ weights[1]


def relu(weights, x):
    return jnp.maximum(x @ weights[0], 0) @ weights[1]


def test_upper_bound_is_the_product_of_spectral_norms():
    expected = np.linalg.norm(WEIGHTS[0], ord=2) * np.linalg.norm(WEIGHTS[1], ord=2)
    np.testing.assert_allclose(lipschitz_upper_bound(WEIGHTS), expected, rtol=REORDERED["float64"])
    np.testing.assert_allclose(lipschitz_upper_bound(WEIGHTS, 0.25), expected / 4, rtol=REORDERED["float64"])


def test_upper_bound_is_exact_for_close_singular_values():
    """A power iteration would stop at 1, which is too small by 3e-4."""
    q, _ = np.linalg.qr(RNG.normal(size=(400, 400)))
    found = lipschitz_upper_bound([q * np.array([1.0003, *np.ones(399)]) @ q.T])
    assert found == pytest.approx(1.0003, rel=CLOSED_FORM["float64"])


@pytest.mark.parametrize("strides", [1, 2])
def test_convolutions_stay_below_theirs(strides):
    """The convolution on 12 positions as a matrix, for random kernels and for one that attains √k."""
    layer = nn.Conv(3, (4,), strides=strides, use_bias=False, param_dtype=jnp.float64, padding="SAME")
    inputs = np.eye(24).reshape(24, 12, 2)
    for kernel in (RNG.normal(size=(4, 2, 3)), np.ones((4, 2, 3))):
        operator = np.reshape(layer.apply({"params": {"kernel": kernel}}, inputs), (24, -1))
        bound = float(lipschitz_upper_bound({"kernel": kernel}))
        assert np.linalg.norm(operator, ord=2) <= bound * (1 + CLOSED_FORM["float64"])
    # The last one, of stride 1, is an average over neighbours: constant inputs, but for the borders, attain √k.
    assert strides == 2 or np.linalg.norm(operator, ord=2) > 0.9 * bound


def test_linear_networks_attain_their_constant():
    expected = np.linalg.norm(WEIGHTS[0] @ WEIGHTS[1], ord=2)
    found = lipschitz_lower_estimate(linear, WEIGHTS, X)
    np.testing.assert_allclose(found, expected, rtol=SOLVED["float64"])


def test_starts_in_batches_give_the_same(monkeypatch):
    expected = lipschitz_lower_estimate(relu, WEIGHTS, X)
    monkeypatch.setattr(batches, "NUMBERS_AT_ONCE", 7 * 60)
    jax.clear_caches()
    np.testing.assert_allclose(lipschitz_lower_estimate(relu, WEIGHTS, X), expected, rtol=REORDERED["float64"])


def test_ascent_finds_the_steepest_point():
    """sin(3x)/x-like in one dimension: steepest far from where the ascent starts."""

    def f(scale, x):
        return scale * jnp.exp(-(x[:, 0] ** 2))

    # |f'| = 2|x| exp(−x²) is largest at x = √½.
    found = lipschitz_lower_estimate(f, 2.0, np.array([[0.1]]), num_steps=60)
    np.testing.assert_allclose(found, 2 * np.sqrt(2) * np.exp(-0.5), rtol=1e-3)
    gradient = jax.grad(lambda scale: lipschitz_lower_estimate(f, scale, np.array([[0.1]]), num_steps=60))(2.0)
    np.testing.assert_allclose(gradient, found / 2, rtol=PEER["float64"])


def test_relu_networks_between_their_regions():
    """The largest of the Jacobians on a circle: without biases the regions are cones."""
    angles = np.linspace(0, 2 * np.pi, 5000)
    active = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ WEIGHTS[0] > 0
    jacobians = np.einsum("ij,nj,jk->nik", WEIGHTS[0], active, WEIGHTS[1])
    exact = np.linalg.norm(jacobians, ord=2, axis=(1, 2)).max()
    found = lipschitz_lower_estimate(relu, WEIGHTS, X)
    assert 0.9 * exact < found <= exact * (1 + CLOSED_FORM["float64"])
    assert exact < lipschitz_upper_bound(WEIGHTS)
