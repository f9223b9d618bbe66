"""Conjugate gradients and their preconditioner, against direct solves."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from kernel_problems import M, joint_kernel, split, targets
from tolerances import CLOSED_FORM, PEER, SOLVED

import ntk
from ntk import dynamics


def decaying_kernel(size=60, decay=0.7):
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]
    k = (basis * decay ** np.arange(size)) @ basis.T
    return (k + k.T) / 2


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-10)])
def test_solves_all_columns(dtype, rtol):
    ridge = 1e-2
    k, b = decaying_kernel().astype(dtype), np.random.default_rng(1).normal(size=(60, 3)).astype(dtype)
    b[:, 1] = 0
    expected = np.linalg.solve(k.astype(float) + ridge * np.eye(60), b)
    found = dynamics.conjugate_gradients(k, b, ridge=ridge, rtol=rtol)
    assert found.x.dtype == dtype
    assert found.converged.all()
    assert found.steps[1] == 0
    assert not found.indefinite.any()
    np.testing.assert_array_equal(found.x[:, 1], 0)
    # The error is at most the residual times the condition number, 1/ridge + 1, over the norm of K + ρ.
    assert np.linalg.norm(np.asarray(found.x) - expected) <= 2 * rtol / ridge * np.linalg.norm(b)
    left = b - (k @ np.asarray(found.x) + ridge * np.asarray(found.x))
    true = np.linalg.norm(left, axis=0) / np.maximum(np.linalg.norm(b, axis=0), 1e-30)
    # The residual of the recursion is the true one, up to rounding.
    np.testing.assert_allclose(found.residual, true, rtol=0.3, atol=4 * np.finfo(dtype).eps)


def test_agrees_with_the_end_of_training():
    k, k_test, _ = split(joint_kernel())
    y = targets()[0]
    coefficients = dynamics.conjugate_gradients(k, y, ridge=0.1, rtol=1e-12).x
    predict = dynamics.squared_loss_flow(k, y, ridge=0.1)
    np.testing.assert_allclose(coefficients, predict.coefficients(), rtol=0, atol=PEER["float64"])
    np.testing.assert_allclose(
        k_test @ coefficients, predict(None, k_test_train=k_test).test, rtol=0, atol=PEER["float64"]
    )
    assert predict.coefficients(np.zeros(2)).shape == (2, *y.shape)


@pytest.mark.slow
def test_products_without_a_kernel():
    x, y = np.random.default_rng(0).normal(size=(M, 4)), np.ones(M)
    model = ntk.finite(ntk.MLP(depth=2), 8)
    params = model.init(jax.random.key(0), x)

    def product(v):
        return ntk.ntk_vector_product(model.apply, params, x, None, v[:, 0])[:, None]

    found = dynamics.conjugate_gradients(product, y, ridge=0.1, rtol=1e-11)
    theta = ntk.empirical_ntk(model.apply, params, x)
    np.testing.assert_allclose(found.x, np.linalg.solve(theta + 0.1 * np.eye(M), y), rtol=0, atol=SOLVED["float64"])


@pytest.mark.slow
def test_preconditioner_leaves_the_spectrum_near_one():
    """At a rank of 2⌈1.5 d⌉ + 1, d the effective dimension, the condition number is below 28 (their Theorem 1.1)."""
    k, ridge = decaying_kernel(decay=0.5), 1e-4
    rank = 2 * int(np.ceil(1.5 * ntk.effective_dimension(k, ridge))) + 1
    assert rank < 60
    apply = dynamics.nystrom_preconditioner(k, 60, rank=rank, ridge=ridge, key=jax.random.key(0))
    inverse = np.asarray(apply(jnp.eye(60)))
    np.testing.assert_allclose(inverse, inverse.T, rtol=0, atol=CLOSED_FORM["float64"] / ridge)
    spectrum = np.linalg.eigvals(inverse @ (k + ridge * np.eye(60))).real
    assert spectrum.max() / spectrum.min() < 28
    b = np.ones(60)
    plain = dynamics.conjugate_gradients(k, b, ridge=ridge, rtol=1e-8)
    better = dynamics.conjugate_gradients(k, b, ridge=ridge, rtol=1e-8, preconditioner=apply)
    assert better.converged
    assert 2 * better.steps < plain.steps
    # The tolerance, over the ridge.
    np.testing.assert_allclose(better.x, np.linalg.solve(k + ridge * np.eye(60), b), rtol=0, atol=1e-4)


def test_a_solve_that_does_not_converge_says_so():
    k, b = decaying_kernel(), np.ones(60)
    few = dynamics.conjugate_gradients(k, b, ridge=1e-6, rtol=1e-10, max_steps=5)
    assert few.steps == 5
    assert not few.converged
    assert not few.indefinite
    assert few.residual > 1e-10
    indefinite = dynamics.conjugate_gradients(np.diag([1.0, -1.0]), np.array([1.0, 2.0]))
    assert indefinite.indefinite
    assert not indefinite.converged
    assert np.isfinite(indefinite.x).all()


def test_compiled_once_for_all_kernels_of_a_shape():
    """Counted by how often the product is called: for tracing, and for a look at its shapes."""
    b, calls = np.ones(12), itertools.count()

    def product(k, v):
        next(calls)
        return k @ v

    counts = []
    for seed in range(3):
        k = decaying_kernel(12) * (1 + seed)
        prepared = dynamics.nystrom_preconditioner(k, 12, rank=4, ridge=0.1, key=jax.random.key(seed))
        found = dynamics.conjugate_gradients(Partial(product, k), b, ridge=0.1, preconditioner=prepared, rtol=1e-10)
        # The tolerance, over the ridge, times the norm of b.
        np.testing.assert_allclose(found.x, np.linalg.solve(k + 0.1 * np.eye(12), b), rtol=0, atol=1e-8)
        counts.append(next(calls))
    assert counts[0] > 2
    assert np.all(np.diff(counts) <= 2)  # one call for the shapes, and one for tracing


def test_dtypes_are_those_of_b():
    k, b = decaying_kernel(12), np.ones(12, np.float32)
    prepared = dynamics.nystrom_preconditioner(k, 12, rank=4, ridge=0.1, key=jax.random.key(0))
    for matrix, right in ((k, b), (k.astype(np.float32), np.ones(12))):
        found = dynamics.conjugate_gradients(matrix, right, ridge=0.1, preconditioner=prepared)
        assert found.x.dtype == right.dtype
        assert found.converged


def test_derivatives_are_those_of_the_inverse():
    """x = A⁻¹b, A = K + ρ: ∂(c·x) is −(A⁻¹c)(A⁻¹b)ᵀ in K, its trace in ρ, A⁻¹c in b."""
    k, (b, c) = decaying_kernel(12), np.random.default_rng(3).normal(size=(2, 12))

    def score(k, ridge, b):
        return c @ dynamics.conjugate_gradients(k, b, ridge=ridge, rtol=1e-12).x

    in_kernel, in_ridge, in_b = jax.jit(jax.grad(score, argnums=(0, 1, 2)))(k, 0.1, b)
    inverse = np.linalg.inv(k + 0.1 * np.eye(12))
    # The tolerance, times the condition number of 11 and its square.
    np.testing.assert_allclose(in_b, inverse @ c, rtol=0, atol=1e-9)
    # The tolerance, over the ridge, times the norm of b.
    np.testing.assert_allclose(in_kernel, -np.outer(inverse @ c, inverse @ b), rtol=0, atol=1e-8)
    np.testing.assert_allclose(in_ridge, -(inverse @ c) @ (inverse @ b), rtol=SOLVED["float64"])


@pytest.mark.slow
def test_under_transformations():
    k, b = decaying_kernel(20), np.random.default_rng(2).normal(size=(3, 20))

    def solve(b):
        return dynamics.conjugate_gradients(k, b, ridge=0.1, rtol=1e-12).x

    expected = np.linalg.solve(k + 0.1 * np.eye(20), b.T).T
    np.testing.assert_allclose(jax.jit(jax.vmap(solve))(b), expected, rtol=0, atol=SOLVED["float64"])
