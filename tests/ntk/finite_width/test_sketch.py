"""`sketched_ntk` against the exact kernel of dense Jacobians: without bias, and with the errors that it states."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from as_written import as_written
from dense_jacobian import dense, dense_jacobians
from jax import export
from tolerances import PEER, SAME_FORMULA

from ntk.finite_width import sketch
from ntk.finite_width.sketch import sketched_ntk

pytestmark = pytest.mark.slow

PARAMS = {
    "w": np.random.default_rng(0).normal(size=(3, 6)),
    "v": np.random.default_rng(1).normal(size=(6, 2)),
}
X1, X2 = np.random.default_rng(2).normal(size=(5, 3)), np.random.default_rng(3).normal(size=(4, 3))
KINDS = ("gaussian", "rademacher")
FIELDS = ("ntk", "standard_error", "norm_check")


@as_written
def network(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


def linear(params, x):
    return x @ params


@functools.cache
def jacobians(side):
    """Of every leaf, (N, O, its size)."""
    return dict(zip(sorted(PARAMS), dense_jacobians(network, PARAMS, (X1, X2)[side]), strict=True))


def jacobian(side, leaves=("v", "w")):
    """(N, O, P)"""
    return np.concatenate([jacobians(side)[name] for name in leaves], axis=2)


def exact(leaves=("v", "w")):
    """Θ(X1, X2)"""
    return np.einsum("iop,jop->ij", jacobian(0, leaves), jacobian(1, leaves)) / 2


def deviations(found, expected):
    """The errors of an estimate, in standard errors."""
    return np.abs(np.asarray(found.ntk) - expected) / np.asarray(found.standard_error)


def variance(kind):
    """Of an entry's estimate by one direction: 2‖sym A‖², for signs less 2 Σ A_pp², A the matrix whose trace it is."""
    A = np.einsum("iop,joq->ijpq", jacobian(0), jacobian(1)) / 2
    symmetric = (A + A.swapaxes(2, 3)) / 2
    if kind == "rademacher":
        symmetric = symmetric * (1 - np.eye(A.shape[-1]))
    return 2 * np.sum(symmetric**2, axis=(2, 3))


@functools.cache
def of_many_keys(kind, num_keys=2000, num_projections=100):
    """Independent estimates, stacked."""

    def estimate(key):
        return sketched_ntk(network, PARAMS, X1, X2, num_projections=num_projections, key=key, kind=kind)

    return jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(0), num_keys))


@pytest.mark.parametrize("kind", KINDS)
def test_unbiased(kind):
    estimates = np.asarray(of_many_keys(kind).ntk)
    error = np.sqrt(variance(kind) / 100 / len(estimates))
    deviation = np.abs(estimates.mean(axis=0) - exact()) / error
    # 20 entries, each normal: past 4.5 in one of 7000 draws.
    assert deviation.max() < 4.5


@pytest.mark.parametrize("kind", KINDS)
def test_standard_errors_are_the_spread_over_keys(kind):
    found = of_many_keys(kind)
    spread = np.var(found.ntk, axis=0)
    # A variance of 2000 nearly normal numbers is known to √(2/2000) = 3 %.
    np.testing.assert_allclose(spread, variance(kind) / 100, rtol=0.15)
    np.testing.assert_allclose(np.mean(found.standard_error**2, axis=0), spread, rtol=0.15)


def test_signs_vary_less_in_closed_form():
    """f = w·x at x = (1, 1): A = 11ᵀ, so 2‖A‖² = 8 for Gaussian directions, and 4 less for signs."""
    for kind, expected in (("gaussian", 8.0), ("rademacher", 4.0)):
        estimate = functools.partial(sketched_ntk, linear, np.ones(2), np.ones((1, 2)), num_projections=40_000)
        found = 40_000 * float(estimate(key=jax.random.key(1), kind=kind).standard_error[0, 0]) ** 2
        # The fourth moment of a χ² of one degree is 15 variances²: √(14/40000) = 2 %.
        assert found == pytest.approx(expected, rel=0.1)


def test_signs_are_exact_where_all_directions_agree():
    """One parameter; or, on the diagonal, inputs that read one parameter each."""
    x = np.array([[1.0], [-3.0], [0.0]])
    found = sketched_ntk(linear, np.ones(1), x, num_projections=3, key=jax.random.key(0), kind="rademacher")
    np.testing.assert_allclose(found.ntk, x @ x.T, rtol=0, atol=SAME_FORMULA["float64"])
    np.testing.assert_allclose(found.standard_error, 0, atol=SAME_FORMULA["float64"])
    assert (np.abs(found.norm_check) <= 1).all()
    apart = sketched_ntk(linear, np.ones(5), np.eye(5), num_projections=50, key=jax.random.key(0), kind="rademacher")
    np.testing.assert_allclose(np.diag(apart.ntk), 1, rtol=SAME_FORMULA["float64"])
    np.testing.assert_allclose(np.diag(apart.standard_error), 0, atol=SAME_FORMULA["float64"])
    # A mean of 50 signs, known to their spread.
    np.testing.assert_allclose(apart.standard_error[~np.eye(5, dtype=bool)], 1 / 50**0.5, rtol=0.15)


def test_the_norm_check_is_of_order_one():
    for kind in KINDS:
        found = np.asarray(of_many_keys(kind).norm_check)
        assert found.shape == (2000, 3)
        # A normal number has a root mean square of 1, known to 1/√4000 = 2 %; of 100 skewed samples some more.
        np.testing.assert_allclose(np.sqrt(np.mean(found**2, axis=0)), 1, atol=0.15)


def test_the_norm_check_sees_directions_of_the_wrong_size(monkeypatch):
    def too_long(*arguments):
        return 1.1 * jax.random.normal(*arguments)

    def estimate():
        def f(params, x):
            return network(params, x)

        return sketched_ntk(f, PARAMS, X1, num_projections=4000, key=jax.random.key(0)).norm_check

    assert np.abs(estimate()).max() < 4.5
    monkeypatch.setitem(sketch._DRAWS, "gaussian", too_long)
    # 21 % too much, in units of at most √(2/4000) = 2 %.
    assert (estimate() > 5).all()


def test_agrees_with_the_empirical_ntk_of_many_outputs():
    """(2, 3) outputs, all averaged over."""

    def f(params, x):
        return jnp.sin(x @ params).reshape(len(x), 2, 3)

    params = np.random.default_rng(4).normal(size=(3, 6))
    found = sketched_ntk(f, params, X1, X2, num_projections=20_000, key=jax.random.key(5))
    expected = dense(f, params, X1, X2).ntk("iabp,jabp->ij") / 6
    # 20 entries, as above.
    assert deviations(found, expected).max() < 4.5
    assert np.asarray(found.standard_error).max() < 0.02 * np.abs(expected).max()


def test_tiles_change_nothing():
    @jax.jit
    def sketches(params, x1, x2):
        options = {"num_projections": 7, "key": jax.random.key(0)}
        return [sketched_ntk(network, params, x1, x2, batch_size=size, **options) for size in (None, 1, 2, 3, 100)]

    whole, *tiled = sketches(PARAMS, X1, X2)
    for field in FIELDS:
        for found in tiled:
            np.testing.assert_allclose(getattr(found, field), getattr(whole, field), rtol=PEER["float64"])


@pytest.mark.parametrize("kind", KINDS)
def test_one_batch_is_both_sides(kind):
    """Symmetric, positive semidefinite, of a rank that is at most the number of directions times outputs."""

    @jax.jit
    def sketches(params, x, copy):
        options = {"num_projections": 2, "key": jax.random.key(0), "kind": kind}
        return [sketched_ntk(network, params, x, other, **options) for other in (None, copy)]

    x = np.concatenate([X1, X2])
    found, twice = sketches(PARAMS, x, x.copy())
    for field in FIELDS:
        np.testing.assert_allclose(getattr(found, field), getattr(twice, field), rtol=PEER["float64"])
    # Rounding of sums of four products.
    tolerance = SAME_FORMULA["float64"] * np.abs(found.ntk).max()
    np.testing.assert_allclose(found.ntk, found.ntk.T, rtol=0, atol=tolerance)
    spectrum = np.linalg.eigvalsh(found.ntk)
    assert spectrum[0] > -10 * tolerance
    assert (np.abs(spectrum[:-4]) < 10 * tolerance).all()
    assert spectrum[-4] > 1e6 * tolerance


@pytest.mark.parametrize("leaf", ["v", "w"])
def test_only_chosen_parameters_are_trained(leaf):
    found = sketched_ntk(
        network, PARAMS, X1, X2, num_projections=5000, key=jax.random.key(0), param_filter=lambda path: path == leaf
    )
    # 20 entries, as above.
    assert deviations(found, exact((leaf,))).max() < 4.5
    assert np.abs(found.norm_check).max() < 4.5


def test_leaves_of_several_dtypes():
    params = {"w": PARAMS["w"].astype("float32"), "v": jnp.asarray(PARAMS["v"], "bfloat16")}
    options = {"num_projections": 5000, "key": jax.random.key(0)}
    found = sketched_ntk(network, params, X1.astype("float32"), X2.astype("float32"), **options)
    # 20 entries, as above; directions and parameters rounded to 2^-9 move the kernel by less than its error of 2 %.
    assert deviations(found, exact()).max() < 4.5


def test_keys_of_both_styles_and_directions_of_their_own():
    @jax.jit
    def estimate(key):
        return sketched_ntk(network, PARAMS, X1, num_projections=3, key=key).ntk

    np.testing.assert_array_equal(estimate(jax.random.key(3)), estimate(jax.random.PRNGKey(3)))
    assert np.abs(estimate(jax.random.key(3)) - estimate(jax.random.key(4))).max() > 0.1
    # Leaves of equal shapes have directions of their own: else the estimate below would be ±Θ and more.
    params = {"a": np.ones(3), "b": np.ones(3)}
    found = sketched_ntk(
        lambda params, x: x @ (params["a"] - params["b"]), params, X1, num_projections=2, key=jax.random.key(0)
    )
    assert np.abs(found.ntk).max() > 1e-3


@pytest.mark.slow
def test_gradient():
    """In parameters and data, for given directions, against central differences; finite for a dead input."""

    @jax.jit
    def value(arguments):
        found = sketched_ntk(network, *arguments, num_projections=5, key=jax.random.key(0))
        return sum(jnp.sum(jnp.sin(getattr(found, field))) for field in FIELDS)

    at, rng = (PARAMS, X1), np.random.default_rng(6)
    direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), at)
    gradient = jax.jit(jax.grad(value))(at)
    slope = sum(jax.tree.leaves(jax.tree.map(lambda a, b: float(np.sum(a * b)), gradient, direction)))
    up, down = (value(jax.tree.map(lambda a, b: a + step * b, at, direction)) for step in (1e-6, -1e-6))  # noqa: B023
    # Off by (1e-6)² times a third derivative, and by 1e-16/1e-6 of the value.
    assert slope == pytest.approx(float(up - down) / 2e-6, rel=1e-6)

    def of_dead_input(params):
        found = sketched_ntk(network, params, 0.0 * X1, num_projections=5, key=jax.random.key(0))
        return sum(jnp.sum(getattr(found, field)) for field in FIELDS)

    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.grad(of_dead_input)(PARAMS)))


def test_directions_are_never_all_in_memory():
    """1000 directions of 300 000 parameters would be 1.2 GB; one is 1.2 MB, drawn from random bits."""
    params = jax.ShapeDtypeStruct((3, 100_000), "float32")
    x = jax.ShapeDtypeStruct((2, 3), "float32")

    def f(params, x):
        return jnp.mean(jnp.tanh(x @ params), axis=1)

    estimate = jax.jit(lambda params, x, key: sketched_ntk(f, params, x, num_projections=1000, key=key))
    compiled = estimate.lower(params, x, jax.random.key(0)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 10 * 1.2e6


@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_and_lowers_for_every_platform(kind):
    arguments = jax.tree.map(lambda leaf: leaf.astype("float32"), (PARAMS, X1, X2))

    def estimate(params, x1, x2, key):
        return sketched_ntk(network, params, x1, x2, num_projections=5000, key=key, kind=kind, batch_size=2)

    found = estimate(*arguments, jax.random.key(0))
    assert {getattr(found, field).dtype.name for field in FIELDS} == {"float32"}
    # 20 entries, as above; rounding is far below.
    assert deviations(found, exact()).max() < 4.5
    exported = export.export(jax.jit(lambda *a: vars(estimate(*a))), platforms=("cpu", "cuda", "tpu"))
    text = exported(*arguments, jax.random.key(0)).mlir_module()
    assert "callback" not in text
    assert re.findall(r"tensor<[\dx]+xf64>", text) == []


def test_gram_products_have_highest_precision():
    arguments = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, "float32"), (PARAMS, X1, X2))
    text = (
        jax.jit(lambda *a: sketched_ntk(network, *a, num_projections=7, key=jax.random.key(0)))
        .lower(*arguments)
        .as_text()
    )
    # One row of the kernel: 7 directions, 4 inputs.
    grams = [
        line for line in text.splitlines() if "dot_general" in line and re.search("-> tensor<(7x4|4x7)xf32>", line)
    ]
    assert grams
    assert [line for line in grams if "precision = [HIGHEST, HIGHEST]" not in line] == []
