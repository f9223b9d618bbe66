"""An MLP of depth 0 is the linear model f = (σ_v/√d) v·ξ: its kernels are σ_v² ξ·ξ̄/d at every width."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from ml_collections import ConfigDict
from tolerances import CLOSED_FORM, REORDERED, SAME_FORMULA, SOLVED

import ntk
from experiments.common.networks import build_network
from experiments.convergence.kernel_errors import kernel_blocks

pytestmark = pytest.mark.slow

V_STD, D = 1.7, 5
NET = ntk.MLP(depth=0, w_std=3.0, b_std=2.0, v_std=V_STD)  # it has no w and b
X1, X2 = (np.random.default_rng(seed).normal(size=(n, D)) for seed, n in ((0, 4), (1, 3)))


def linear_kernel(a, b):
    return V_STD**2 * a @ b.T / D


# A product of five numbers is right to a few roundings.
@pytest.mark.parametrize("dtype", SAME_FORMULA)
@pytest.mark.parametrize("other", [None, X2], ids=["one batch", "two batches"])
def test_limits(dtype, other):
    x1, x2 = X1.astype(dtype), None if other is None else other.astype(dtype)
    expected = linear_kernel(X1, X1 if other is None else other)
    found = ntk.infinite_kernels(NET, x1, x2)
    assert found.ntk.dtype == dtype
    np.testing.assert_allclose(found.ntk, expected, rtol=0, atol=SAME_FORMULA[dtype] * 10)
    np.testing.assert_array_equal(found.nngp, found.ntk)
    np.testing.assert_allclose(found.C, expected[None] / V_STD**2, rtol=0, atol=SAME_FORMULA[dtype] * 10)
    assert found.D.shape == (0, *expected.shape)
    np.testing.assert_array_equal(ntk.infinite_ntk(NET, x1, x2), found.ntk)


@pytest.mark.parametrize(
    ("width", "outputs"),
    [(1, 2), (7, None), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((1, None), (7, 2)))],
)
def test_finite_networks_have_the_kernel_of_the_limit(width, outputs):
    """Θ is the same at every width and for all parameters, and f is v·ξ at every width."""
    model = ntk.finite(NET, width, outputs)
    params = model.init(jax.random.key(0), X1)
    v = params["params"]["v"]
    assert params["params"].keys() == {"v"}
    assert v.shape == ((D,) if outputs is None else (D, outputs))
    np.testing.assert_allclose(model.apply(params, X1), V_STD / D**0.5 * X1 @ v, rtol=CLOSED_FORM["float64"])
    measured, expected = ntk.empirical_kernels(NET, params, X1, X2), ntk.infinite_kernels(NET, X1, X2)
    for name in ("ntk", "nngp", "C", "D"):
        np.testing.assert_allclose(getattr(measured, name), getattr(expected, name), rtol=0, atol=REORDERED["float64"])
    np.testing.assert_allclose(
        ntk.empirical_ntk(model.apply, params, X1, X2), expected.ntk, rtol=0, atol=REORDERED["float64"]
    )
    sketch = ntk.sketched_ntk(model.apply, params, X1, num_projections=64, key=jax.random.key(1))
    assert np.all(np.abs(sketch.ntk - linear_kernel(X1, X1)) < 6 * sketch.standard_error)


def test_outputs_are_drawn_with_the_nngp():
    """10,000 networks: the mean of f f̄ is Σ within five standard errors, √((Σ_11 Σ_22 + Σ_12²)/10,000)."""
    f = ntk.finite(NET, 3, 10_000)
    outputs = f.apply(f.init(jax.random.key(2), X1), X1)
    expected = linear_kernel(X1, X1)
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / 10_000)
    assert np.all(np.abs(outputs @ outputs.T / 10_000 - expected) < 5 * error)


def test_derivatives():
    """Of Σ Θ in σ_v and in x, first and second order, eager and jitted."""
    net, x = ntk.MLP(depth=0, v_std=1.3), jnp.asarray(X1)

    def total(v_std, x):
        return ntk.infinite_ntk(jax.tree.map(lambda _: v_std, net), x).sum()

    s = X1.sum(0)
    for transform in (lambda f: f, jax.jit):
        np.testing.assert_allclose(transform(jax.grad(total))(1.3, x), 2.6 * s @ s / D, rtol=CLOSED_FORM["float64"])
        np.testing.assert_allclose(transform(jax.hessian(total))(1.3, x), 2 * s @ s / D, rtol=CLOSED_FORM["float64"])
        gradient = transform(jax.grad(total, argnums=1))(1.3, x)
        np.testing.assert_allclose(gradient, np.tile(2 * 1.69 * s / D, (4, 1)), rtol=CLOSED_FORM["float64"])


def test_parameterizations():
    """All start as the same function, µP divided by √n. The standard one does not train input weights in the limit."""
    x = X1
    models = {
        name: ntk.dynamics.parameterized_model(NET, 16, parameterization=name) for name in ("ntk", "standard", "mup")
    }
    f = {name: model.apply(model.init(jax.random.key(0), x), x) for name, model in models.items()}
    np.testing.assert_allclose(f["standard"], f["ntk"], rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(f["mup"], f["ntk"] / 4, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(models["ntk"].kernel_limit(x), linear_kernel(x, x), rtol=CLOSED_FORM["float64"])
    standard = models["standard"]
    at_width = ntk.empirical_ntk(standard.apply, standard.init(jax.random.key(0), x), x)
    np.testing.assert_allclose(standard.learning_rate_scale * at_width, x @ x.T / 16, rtol=1e-12)  # falls like 1/n
    np.testing.assert_array_equal(standard.kernel_limit(x), np.zeros((4, 4)))


def test_training_is_linear_regression():
    """After infinite time the predictor is the one of least norm, which the pseudo-inverse gives."""
    y = np.random.default_rng(3).normal(size=4)
    flow = ntk.dynamics.squared_loss_flow(ntk.infinite_ntk(NET, X1), y, ridge=0.0)
    prediction = ntk.infinite_ntk(NET, X2, X1) @ flow.coefficients()
    np.testing.assert_allclose(prediction, X2 @ np.linalg.pinv(X1) @ y, rtol=SOLVED["float64"])
    model = ntk.finite(NET, 1)
    params = model.init(jax.random.key(4), X1)
    start = jax.tree.map(jnp.zeros_like, params)
    linear = ntk.linearize(model.apply, start)
    np.testing.assert_allclose(linear(params, X1), model.apply(params, X1), rtol=CLOSED_FORM["float64"])


def test_other_functions_of_a_network(tmp_path):
    ntk.save(tmp_path / "net", NET)
    assert ntk.load(tmp_path / "net") == NET
    net = build_network(ConfigDict({"kind": "MLP", "depth": 0, "v_std": V_STD}))
    assert list(kernel_blocks(net, ntk.infinite_kernels(net, X1))) == ["ntk", "nngp"]
    estimators = pytest.importorskip("ntk.estimators")
    y = X1 @ np.arange(D)
    model = estimators.NTKRegressor(NET, ridge=0.0).fit(X1, y)
    np.testing.assert_allclose(model.predict(X1), y, rtol=SOLVED["float64"])


def test_lowers_for_every_platform():
    x = jax.ShapeDtypeStruct((7, D), jnp.float32)
    for f in (ntk.infinite_kernels, ntk.infinite_ntk):
        text = export.export(jax.jit(functools.partial(f, NET)), platforms=("cpu", "cuda", "tpu"))(x).mlir_module()
        assert "callback" not in text
        assert "xf64>" not in text
