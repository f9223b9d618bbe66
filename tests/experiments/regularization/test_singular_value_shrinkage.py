"""Penalties of singular values against closed forms of NumPy in float64, and against what makes them minima."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export
from scipy.optimize import brentq
from tolerances import CLOSED_FORM, PEER, REORDERED, SAME_FORMULA

from experiments.regularization.optimizers import Strengths, regularized_optimizer
from experiments.regularization.proximal import singular_value_shrinkage

RNG = np.random.default_rng(0)
LOW_RANK = RNG.normal(size=(7, 2)) @ RNG.normal(size=(2, 5))
ROTATION = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
TARGETS = {
    "identity": (3 * np.eye(4), 4.0),
    "ties below the cut": (ROTATION * [4.0, 2.0, 2.0, 2.0, 1.0], 1.0),
    "ties at the cut": (ROTATION * [4.0, 2.0, 2.0, 2.0, 1.0], 2.0),
    "ties above the cut": (ROTATION * [2.0, 2.0, 2.0, 1.0, 0.0], 2.5),
    "square": (RNG.normal(size=(64, 64)) / 8, 3.0),
    "tall": (RNG.normal(size=(20, 6)), 2.0),
    "wide": (RNG.normal(size=(4, 9)), 2.0),
    "one row": (RNG.normal(size=(1, 5)), 0.5),
    "low rank": (LOW_RANK, 1.0),
    "zero": (np.zeros((3, 5)), 1.0),
    "no penalty": (RNG.normal(size=(5, 3)), 0.0),
    "all that there is": (np.diag([3.0, 2.0, 1.0]), 6.0),
    "huge": (RNG.normal(size=(5, 3)), 1e6),
}


def minimum(target, spectral, nuclear=0.0):
    """W of least ½‖W − T‖² + λ‖W‖_σ + μ‖W‖_*: the level τ is found by bisection."""
    left, values, right = np.linalg.svd(target, full_matrices=False)
    values = np.maximum(values - nuclear, 0)
    if values.sum() <= spectral:
        return np.zeros_like(target)
    level = brentq(lambda t: np.maximum(values - t, 0).sum() - spectral, 0, values[0] * (1 + 1e-15), xtol=1e-15)
    return left * np.minimum(values, level) @ right


def objective(weights, target, spectral):
    return np.sum((weights - target) ** 2) / 2 + spectral * np.linalg.norm(weights, 2)


@functools.partial(jax.jit, static_argnames=("steps", "momentum"))
def trained(target, strengths, rate=0.5, steps=60, momentum=0.0):
    """W after `steps` steps on ½‖W − T‖² from T, in the target's dtype."""
    optimizer = regularized_optimizer(strengths, rate, momentum=momentum, singular_values=True)

    def step(_, state):
        weights, moments = state
        updates, moments = optimizer.update(weights - target, moments, weights)
        return optax.apply_updates(weights, updates), moments

    return jax.lax.fori_loop(0, steps, step, (target, optimizer.init(target)))[0]


def shrink(weights, **thresholds):
    step = singular_value_shrinkage(**thresholds)
    return weights + step.update(jnp.zeros_like(weights), step.init(weights), weights)[0]


def test_the_closed_forms():
    assert objective(minimum(3 * np.eye(4), 4.0), 3 * np.eye(4), 4.0) == pytest.approx(10.0, abs=CLOSED_FORM["float64"])
    np.testing.assert_allclose(
        minimum(np.diag([3.0, 2.5, 0.5]), 1.5), np.diag([2.0, 2.0, 0.5]), atol=CLOSED_FORM["float64"]
    )


@pytest.mark.parametrize("name", TARGETS)
def test_training_ends_at_the_minimum(name):
    target, strength = TARGETS[name]
    best = minimum(target, strength)
    size = max(np.linalg.norm(target, 2), 1)
    least = objective(best, target, strength)
    # Gradient descent halves what is left at each step: after 60 there is rounding alone, of an SVD each.
    found = np.asarray(trained(jnp.asarray(target), Strengths(spectral=strength)))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, best, atol=REORDERED["float64"] * size)
    assert objective(found, target, strength) == pytest.approx(
        least, rel=CLOSED_FORM["float64"], abs=CLOSED_FORM["float64"]
    )
    # In float32 10⁻⁶ are 8 of its roundings. The objective is of the target in float32.
    single = np.asarray(trained(jnp.asarray(target, jnp.float32), Strengths(spectral=np.float32(strength))))
    assert single.dtype == np.float32
    rounded = target.astype(np.float32).astype(float)
    least = objective(minimum(rounded, strength), rounded, strength)
    assert objective(single.astype(float), rounded, strength) == pytest.approx(
        least, rel=SAME_FORMULA["float32"], abs=SAME_FORMULA["float32"]
    )
    if name in ("zero", "huge"):
        np.testing.assert_array_equal(found, 0.0)
        np.testing.assert_array_equal(single, 0.0)


def test_momentum_ends_there_too():
    for target, strength in (TARGETS["identity"], TARGETS["square"]):
        found = trained(jnp.asarray(target), Strengths(spectral=strength), 0.1, steps=800, momentum=0.9)
        np.testing.assert_allclose(found, minimum(target, strength), atol=CLOSED_FORM["float64"])


def test_members_with_their_own_strengths_are_the_same_as_alone():
    target = jnp.asarray(TARGETS["tall"][0])
    strengths = np.array([0.0, 0.3, 2.0, 100.0])
    together = jax.vmap(lambda strength: trained(target, Strengths(spectral=strength)))(strengths)
    for found, strength in zip(together, strengths, strict=True):
        np.testing.assert_allclose(found, trained(target, Strengths(spectral=strength)), atol=SAME_FORMULA["float64"])
        np.testing.assert_allclose(found, minimum(np.asarray(target), strength), atol=CLOSED_FORM["float64"])
    # So too with a nuclear norm in one of them, and matrices of their own.
    targets = jnp.stack([target, 2 * target])
    pairs = np.array([2.0, 0.0]), np.array([0.0, 2.0])
    spectral, nuclear = jax.vmap(lambda t, s, n: trained(t, Strengths(spectral=s, nuclear=n)))(targets, *pairs)
    np.testing.assert_allclose(spectral, minimum(np.asarray(targets[0]), 2.0), atol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(nuclear, minimum(np.asarray(targets[1]), 0.0, 2.0), atol=CLOSED_FORM["float64"])


def test_both_penalties_end_at_the_minimum_of_their_sum():
    target, spectral, nuclear = RNG.normal(size=(6, 4)), 1.0, 0.7
    start = np.asarray(trained(jnp.asarray(target), Strengths(spectral=spectral, nuclear=nuclear)))
    np.testing.assert_allclose(start, minimum(target, spectral, nuclear), atol=CLOSED_FORM["float64"])
    # At the minimum of a convex function, the objective grows in every direction.
    directions = RNG.normal(size=(200, 6, 4))

    def value(weights):
        return objective(weights, target, spectral) + nuclear * np.linalg.norm(weights, "nuc")

    assert min(value(start + 1e-4 * d) for d in directions) > value(start)
    assert min(value(start + s * (start - target)) for s in (1e-4, -1e-4)) > value(start)


@pytest.mark.parametrize("thresholds", [{"nuclear": 1.5}, {"spectral": 1.5}])
def test_the_step_is_the_proximal_point(thresholds):
    start = RNG.normal(size=(6, 4))
    found = np.asarray(shrink(jnp.asarray(start), **thresholds))
    # W minimizes ½‖W − Z‖² + t‖W‖ exactly if the dual norm of Z − W is at most t and ⟨Z − W, W⟩ = t‖W‖.
    (name, threshold), rest = thresholds.popitem(), start - found
    norm, dual = ("nuc", 2) if name == "nuclear" else (2, "nuc")
    assert np.linalg.norm(rest, dual) <= threshold * (1 + CLOSED_FORM["float64"])
    assert np.sum(rest * found) == pytest.approx(threshold * np.linalg.norm(found, norm), rel=PEER["float64"])
    values = np.linalg.svd(start)[1]
    if name == "nuclear":
        assert np.linalg.matrix_rank(found, tol=1e-10) == np.sum(values > threshold) < 4
    else:
        shrunk = np.linalg.svd(found)[1]
        assert 1 < np.sum(shrunk > shrunk[0] - 1e-10) < 4


def test_convolutions_are_matrices_of_all_axes_but_the_last():
    kernel = RNG.normal(size=(2, 2, 3, 4))
    found = shrink(jnp.asarray(kernel), spectral=2.0)
    np.testing.assert_allclose(found.reshape(12, 4), minimum(kernel.reshape(12, 4), 2.0), atol=CLOSED_FORM["float64"])


def test_zeros_of_l1_are_exact_beside_penalties_of_singular_values():
    target = jnp.asarray(RNG.normal(size=(8, 6)), jnp.float32)
    found = trained(target, Strengths(l1=np.float32(0.5), spectral=np.float32(1.0), nuclear=np.float32(0.1)))
    assert 0.1 < np.mean(np.asarray(found) == 0) < 0.9


def test_nan_stays_nan():
    shrunk = jax.jit(lambda weights, threshold: shrink(weights, spectral=threshold))
    assert np.isnan(shrunk(jnp.eye(3), jnp.nan)).all()
    assert np.isnan(shrunk(jnp.eye(3).at[1, 1].set(jnp.nan), 1.0)).all()


def test_members_lower_for_every_platform():
    def one(target, strength):
        return trained(target, Strengths(spectral=strength), jnp.float32(0.5), steps=3)

    arguments = jax.ShapeDtypeStruct((4, 8, 6), "float32"), jax.ShapeDtypeStruct((4,), "float32")
    lowered = export.export(jax.jit(jax.vmap(one)), platforms=("cpu", "cuda", "tpu"))(*arguments)
    assert lowered.out_avals[0].dtype == jnp.float32
    assert "callback" not in lowered.mlir_module()
