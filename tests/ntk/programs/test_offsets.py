"""Means over all pairs of positions, offset by offset, against arrays over all pairs.

These arrays have their own tests against a vector for each position and against neural-tangents.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM

import ntk
from ntk.programs.limit.arrays import kernels
from ntk.programs.limit.arrays.kernels import plan_of
from ntk.programs.limit.arrays.plan import Averages
from ntk.programs.limit.evaluation import forms_of


def strided(net, x):
    """A residual block of which both branches take every fourth position, and a bias."""
    z = net.convolution("c", (3,)) @ x
    y = net.convolution("d", (3,), strides=(4,)) @ net.phi("relu")(z)
    return net.output("v") @ net.phi("relu")(z[::4] + y + net.bias("b", 0.3)).pooled()


def images(net, x):
    """Strides along one axis alone, zeros around, and two means."""
    z = net.phi("relu")(net.convolution("c", (3, 2), padding="valid") @ x + net.one())
    y = net.phi("erf")(net.convolution("d", (2, 2), strides=(4, 1)) @ z.padded((1, 0), (0, 1)))
    return net.output("v") @ (y.pooled() + net.phi("erf")(net.matrix("m") @ z.pooled()))


def circular(net, x):
    z = net.phi("erf")(net.convolution("c", (3,), padding="circular") @ x)
    return net.output("v") @ net.phi("erf")(net.convolution("d", (3,), strides=(4,), padding="circular") @ z).pooled()


CASES = {"strided": (strided, (9, 2)), "circular": (circular, (8, 2)), "images": (images, (11, 3, 2))}


def is_walked(program, shape):
    return any(isinstance(step.key, Averages) for step in plan_of(forms_of(program.record(shape))).cross)


@pytest.mark.parametrize(
    "name", [name if name == "strided" else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_means_are_those_of_all_pairs(name, monkeypatch):
    fn, shape = CASES[name]
    x = np.random.default_rng(0).normal(size=(2, *shape))
    assert is_walked(ntk.tensor_program(fn), shape)
    found = ntk.infinite_kernels(ntk.tensor_program(fn), x)
    monkeypatch.setattr(kernels, "with_loops_over_offsets", lambda rule, goals: rule)
    program = ntk.tensor_program(lambda net, x: fn(net, x))
    assert not is_walked(program, shape)
    expected = ntk.infinite_kernels(program, x)
    np.testing.assert_allclose(found.ntk, expected.ntk, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(found.nngp, expected.nngp, rtol=CLOSED_FORM["float64"])


def test_without_strides_all_pairs_are_made_at_once():
    """The loop would save nothing."""

    @ntk.tensor_program
    def plain(net, x):
        return net.output("v") @ net.phi("relu")(net.convolution("c", (3,)) @ x).pooled()

    assert not is_walked(plain, (9, 2))


@pytest.mark.slow
def test_derivatives_tiles_and_two_batches():
    program, x = ntk.tensor_program(strided), jnp.asarray(np.random.default_rng(1).normal(size=(3, 9, 2)))
    whole = ntk.infinite_ntk(program, x)
    np.testing.assert_allclose(ntk.infinite_ntk(program, x, tile_size=1), whole, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(ntk.infinite_ntk(program, x[:1], x), whole[:1], rtol=CLOSED_FORM["float64"])

    def total(x):
        return jnp.sum(jnp.sin(ntk.infinite_ntk(program, x)))

    h, direction = 1e-5, jnp.asarray(np.random.default_rng(2).normal(size=x.shape))
    slope = jnp.vdot(jax.jit(jax.grad(total))(x), direction)
    difference = (total(x + h * direction) - total(x - h * direction)) / (2 * h)
    # Steps of 1e-5 leave some 1e-9 of third derivatives and 1e-10 of rounding.
    np.testing.assert_allclose(slope, difference, rtol=1e-6)
