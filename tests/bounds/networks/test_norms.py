"""Norms against NumPy's, and path norms against the sum over all paths."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import REORDERED, SAME_FORMULA

from bounds.networks import norms
from bounds.networks.norms import layer_norms, path_norm, spectral_norm
from bounds.networks.weights import weight_matrices

pytestmark = pytest.mark.slow


def matrix(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def of_spectrum(values):
    q, _ = np.linalg.qr(matrix(len(values), len(values)))
    return q * np.asarray(values) @ np.linalg.qr(matrix(len(values), len(values), seed=1))[0]


MATRICES = {
    "square": matrix(60, 60),
    "wide": matrix(3, 50),
    "tall": matrix(50, 3),
    "column": matrix(9, 1),
    "no gap": of_spectrum(np.ones(20)),
    "small gap": of_spectrum([1.0, 0.999, *np.full(18, 0.998)]),
    "rank one": np.outer(matrix(7), matrix(5)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_spectral_norm_is_numpys(name):
    w = MATRICES[name]
    found = spectral_norm(w)
    assert found.converged
    expected = np.linalg.norm(w, ord=2)
    # The promise: the square is within the residual of that of a singular value; all of "small gap" are within 0.002.
    np.testing.assert_allclose(found.norm, expected, rtol=2e-3 if name == "small gap" else 5e-5)
    assert found.norm <= expected * (1 + SAME_FORMULA["float64"])


@pytest.mark.parametrize("excess", [1e-4, 3e-4])
def test_one_among_many_close_singular_values_is_found_to_the_tolerance(excess):
    """Singular values 1 + ε and 399 times 1: the result is near one of them, which need not be the largest."""
    found = spectral_norm(of_spectrum([1.0 + excess, *np.ones(399)]))
    assert found.converged
    assert min(abs(found.norm - value) for value in (1.0, 1.0 + excess)) < 5e-5
    assert found.norm <= 1.0 + excess


def test_a_smaller_tolerance_gives_all_digits():
    w = MATRICES["square"]
    np.testing.assert_allclose(
        spectral_norm(w, tolerance=1e-9).norm, np.linalg.norm(w, ord=2), rtol=SAME_FORMULA["float64"]
    )


def test_too_few_steps_are_noticed():
    found = spectral_norm(MATRICES["square"], max_steps=2)
    assert not found.converged
    assert found.residual > 1e-4
    assert found.norm < 0.999 * np.linalg.norm(MATRICES["square"], ord=2)


def test_layers_that_have_not_converged_are_named(monkeypatch):
    monkeypatch.setattr(norms, "MAX_STEPS", 1)
    with pytest.warns(UserWarning, match="The spectral norm of b has not converged in 1 steps") as warned:
        layer_norms({"a": matrix(2, 2), "b": matrix(2, 41)})
    assert len(warned) == 1


def test_the_gradient_is_that_of_the_singular_vectors():
    w = matrix(8, 6)
    u, _, v = np.linalg.svd(w)
    found = jax.grad(lambda w: spectral_norm(w, tolerance=1e-9).norm)(jnp.asarray(w))
    # The tolerance, over the gap between singular values.
    np.testing.assert_allclose(found, np.outer(u[:, 0], v[0]), rtol=0, atol=1e-8)


def test_a_stack_is_vmapped_each_to_its_own_end():
    stack = np.stack([of_spectrum([1.0, *np.full(19, 0.9)]), of_spectrum(np.ones(20)), np.zeros((20, 20))])
    found = jax.vmap(spectral_norm)(stack)
    # Half the tolerance of the iteration.
    np.testing.assert_allclose(found.norm, [1, 1, 0], rtol=5e-5)
    assert np.all(found.converged)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_all_norms_of_float32_layers(scale):
    weights = {"a": matrix(5, 4), "b": np.zeros((4, 4)), "c": matrix(4, 7, seed=1)}
    scaled = jax.tree.map(lambda w: jnp.asarray(scale * w, jnp.float32), weights)
    found = layer_norms(scaled)
    assert found.names == ("a", "b", "c")
    exact = list(weights.values())
    frobenius = np.array([np.linalg.norm(w) for w in exact])
    spectral = np.array([np.linalg.norm(w, ord=2) for w in exact])
    two_one = [sum(np.linalg.norm(w[:, j]) for j in range(w.shape[1])) for w in exact]
    # A few ε, and for the spectral norm half the tolerance of its iteration.
    np.testing.assert_allclose(found.frobenius, scale * frobenius, rtol=1e-6)
    np.testing.assert_allclose(found.l1, scale * np.array([np.abs(w).sum() for w in exact]), rtol=1e-6)
    np.testing.assert_allclose(found.l21, scale * np.array(two_one), rtol=1e-6)
    np.testing.assert_allclose(found.spectral, scale * spectral, rtol=5e-5)
    np.testing.assert_allclose(
        found.stable_rank, [*(frobenius[[0]] / spectral[[0]]) ** 2, 0, *(frobenius[2:] / spectral[2:]) ** 2], rtol=1e-4
    )
    assert all(leaf.dtype in (jnp.float32, bool) for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("p", [1, 2])
def test_path_norm_sums_over_all_paths(p):
    weights = [matrix(2, 3), matrix(3, 4, seed=1), matrix(4, 2, seed=2)]
    paths = itertools.product(range(2), range(3), range(4), range(2))
    total = sum(abs(weights[0][i, j] * weights[1][j, k] * weights[2][k, o]) ** p for i, j, k, o in paths)
    np.testing.assert_allclose(path_norm(weights, p), total ** (1 / p), rtol=REORDERED["float64"])


def test_numbers_or_shapes_give_the_order_of_layers_or_it_is_refused():
    square = [matrix(3, 3, seed=seed) for seed in range(3)]
    numbered = {f"Dense_{i}": {"kernel": w} for i, w in zip((2, 9, 10), square, strict=True)}
    assert path_norm(numbered) == path_norm(square) == path_norm({"w1": square[0], "w2": square[1], "v": square[2]})
    with pytest.raises(ValueError, match=r"params has hidden .*in .*out .*; expected matrices .* in one order only"):
        path_norm(dict(zip(("in", "hidden", "out"), square, strict=True)))
    chain = [matrix(2, 3), matrix(3, 4), matrix(4, 1)]
    assert path_norm(dict(zip(("in", "hidden", "out"), chain, strict=True))) == path_norm(chain)
    assert path_norm(weight_matrices(numbered)) == path_norm(square)


def test_path_norm_is_invariant_to_rescaling_and_safe_in_float32():
    weights = [jnp.asarray(matrix(2, 3), jnp.float32), jnp.asarray(matrix(3, 1, seed=1), jnp.float32)]
    expected = path_norm(weights)
    # Squares of 1e25 and 1e-25 are beyond float32.
    np.testing.assert_allclose(path_norm([1e25 * weights[0], 1e-25 * weights[1]]), expected, rtol=1e-5)
    gradient = jax.grad(path_norm)([jnp.zeros((2, 2)), jnp.ones((2, 1))])
    assert all(np.all(np.isfinite(leaf)) for leaf in gradient)
