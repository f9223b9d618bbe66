"""What is measured of a network, against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, PEER, SAME_FORMULA, SOLVED

from bounds.networks.weights import weight_matrices
from experiments.regularization import measures
from experiments.regularization.models import MLP, network_ntk

RNG = np.random.default_rng(0)
OUTPUTS, LABELS = RNG.normal(size=(50, 4)), RNG.integers(0, 4, 50)
OWN = np.arange(50) < 37


def test_losses_and_errors_are_of_the_points_that_count():
    logs = OUTPUTS - np.log(np.exp(OUTPUTS).sum(1, keepdims=True))
    squares = ((OUTPUTS - np.eye(4)[LABELS]) ** 2).sum(1) / 2
    for kind, losses in (("cross_entropy", -logs[np.arange(50), LABELS]), ("squared", squares)):
        found = measures.classification(kind, jnp.asarray(OUTPUTS), jnp.asarray(LABELS), jnp.asarray(OWN))
        assert found["loss"] == pytest.approx(losses[:37].mean(), rel=CLOSED_FORM["float64"])
        assert found["error"] == pytest.approx(
            np.mean(OUTPUTS.argmax(1) != LABELS, where=OWN), rel=CLOSED_FORM["float64"]
        )


def test_outputs_that_are_nan_are_errors():
    outputs = jnp.asarray(OUTPUTS).at[:10].set(jnp.nan)
    # Outside of compiled programs, where values can be checked, they are refused.
    found = jax.jit(functools.partial(measures.classification, "squared"))(outputs, jnp.asarray(OUTPUTS.argmax(1)))
    assert found["error"] == pytest.approx(10 / 50)
    assert jnp.isnan(found["loss"])


def test_margin_quantiles():
    right = OUTPUTS[np.arange(50), LABELS]
    others = np.where(np.eye(4, dtype=bool)[LABELS], -np.inf, OUTPUTS).max(1)
    found = measures.margin_quantiles(jnp.asarray(OUTPUTS), jnp.asarray(LABELS), jnp.asarray(OWN))
    np.testing.assert_allclose(
        found, np.quantile((right - others)[:37], measures.QUANTILES), rtol=CLOSED_FORM["float64"]
    )


@pytest.mark.parametrize("kind", ["cross_entropy", "squared"])
def test_the_calibration_error_is_the_sum_over_bins(kind):
    # Several outputs above 1, or none above 0, have one score and not one class.
    scores = np.clip(OUTPUTS, 0, 1) if kind == "squared" else np.exp(OUTPUTS) / np.exp(OUTPUTS).sum(1, keepdims=True)
    confidence, right = scores.max(1), OUTPUTS.argmax(1) == LABELS
    ece = 0.0
    for low in np.arange(measures.NUM_BINS) / measures.NUM_BINS:
        last = low > 1 - 1.5 / measures.NUM_BINS
        held = (confidence >= low) & ((confidence < low + 1 / measures.NUM_BINS) | last)
        if held.any():
            ece += held.mean() * abs(right[held].mean() - confidence[held].mean())
    found = measures.calibration(kind, jnp.asarray(OUTPUTS), jnp.asarray(LABELS))
    assert found["ece"] == pytest.approx(ece, rel=PEER["float64"])
    assert found["shares"].sum() == pytest.approx(1)


def test_weights_against_the_svd():
    w, v = RNG.normal(size=(6, 4)), np.outer([1.0, 2.0, 0.0], [3.0, 0.0])
    found = measures.weight_measures(weight_matrices({"a": w, "b": v}))
    values = np.linalg.svd(w)[1]
    p = values / values.sum()
    np.testing.assert_allclose(found["spectra"]["a"], values, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(found["one"], [np.abs(w).sum(), 9], rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(found["frobenius"], [np.linalg.norm(w), 45**0.5], rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(found["spectral"], [values[0], 45**0.5], rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(
        found["stable_rank"], [(values**2).sum() / values[0] ** 2, 1], rtol=CLOSED_FORM["float64"]
    )
    np.testing.assert_allclose(
        found["effective_rank"], [np.exp(-(p * np.log(p)).sum()), 1], rtol=CLOSED_FORM["float64"]
    )
    np.testing.assert_allclose(found["sparsities"], [0, 4 / 6])
    assert found["sparsity"] == pytest.approx(4 / 30)
    assert found["lipschitz_product"] == pytest.approx(values[0] * 45**0.5, rel=CLOSED_FORM["float64"])


def test_a_zero_matrix_has_no_rank():
    found = measures.weight_measures(weight_matrices({"a": np.zeros((3, 2))}))
    assert (found["stable_rank"][0], found["effective_rank"][0], found["sparsity"]) == (0, 0, 1)


def test_the_function_is_between_its_lipschitz_bounds_and_its_kernel_has_moved():
    model = MLP(outputs=3, width=8, dtype=jnp.dtype("float64"))
    x = jnp.asarray(RNG.normal(size=(40, 5)))
    before, after = (jax.jit(model.init)(jax.random.key(seed), x) for seed in range(2))
    before, after = ({"variables": variables, "gain": 1.0} for variables in (before, after))
    theta0 = network_ntk(model, before, x[:32])
    outputs = jax.jit(lambda params: model.apply({"params": params}, x[:32]))
    jacobian = jax.jacobian(outputs)(before["variables"]["params"])
    flat = np.concatenate([np.asarray(leaf).reshape(32, 3, -1) for leaf in jax.tree.leaves(jacobian)], axis=2)
    np.testing.assert_allclose(
        theta0, np.einsum("nop,mop->nm", flat, flat) / 3, rtol=SOLVED["float64"], atol=SOLVED["float64"]
    )
    measured = jax.jit(lambda whole: measures.function_measures(model, whole, theta0, x[:32]))
    unmoved, moved = measured(before), measured(after)
    assert unmoved["ntk_drift"] < SAME_FORMULA["float64"]
    theta = network_ntk(model, after, x[:32])
    assert moved["ntk_drift"] == pytest.approx(
        np.linalg.norm(theta - theta0) / np.linalg.norm(theta0), rel=CLOSED_FORM["float64"]
    )
    product = np.prod([np.linalg.norm(layer["kernel"], 2) for layer in after["variables"]["params"].values()])
    slopes = jax.jit(jax.vmap(jax.jacobian(lambda x: model.apply(after["variables"], x[None])[0])))(x[:4])
    assert np.linalg.norm(slopes, 2, axis=(1, 2)).max() * (1 - 1e-3) <= moved["lipschitz_estimate"] <= product
