"""The models: the same functions under both parameterizations, and what each kind of layer does in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from tolerances import CLOSED_FORM, PEER

from experiments.regularization.models import CNN, MLP, RNN, chain_apply, effective_weights, make_model

pytestmark = pytest.mark.slow

X = jax.random.normal(jax.random.key(0), (20, 9))
INPUTS = {"MLP": X, "RNN": X.reshape(20, 3, 3), "CNN": jax.random.normal(jax.random.key(1), (20, 4, 4, 1))}
KINDS = ["MLP", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("RNN", "CNN"))]
MODELS = {"MLP": MLP, "RNN": RNN, "CNN": CNN}


def trained_statistics(model, variables, x, **options):
    """Variables after some passes in training mode, in which only the statistics change."""

    def once(_, variables):
        return variables | model.apply(variables, x, train=True, mutable=["batch_stats"], **options)[1]

    variables = jax.tree.map(lambda leaf: leaf.astype(x.dtype), variables)
    return jax.jit(lambda variables: jax.lax.fori_loop(0, 60, once, variables))(variables)


@pytest.mark.parametrize("layers", ["plain", "spectral_norm"])
@pytest.mark.parametrize("parameterization", ["standard", "ntk"])
def test_effective_weights_are_those_of_the_function(layers, parameterization):
    model = MLP(outputs=3, width=8, activation="tanh", parameterization=parameterization, layers=layers, dtype=X.dtype)

    @jax.jit
    def both():
        variables = model.init(jax.random.key(2), X)
        weights = effective_weights(model, variables, X, gain=1.5)
        return chain_apply("tanh")(weights, X), model.apply(variables, X, gain=1.5)

    np.testing.assert_allclose(*both(), rtol=PEER["float64"], atol=CLOSED_FORM["float64"])


def test_parameterizations_start_from_one_distribution_of_functions():
    kernels = {}
    for parameterization in ("standard", "ntk"):
        model = MLP(outputs=3, width=200, parameterization=parameterization, w_std=1.3)
        variables = jax.jit(model.init)(jax.random.key(3), X)
        kernels[parameterization] = variables["params"]["Dense_1"]["kernel"]
        effective = effective_weights(model, variables, X).matrices[1]
        # The variance of 40,000 Gaussians of variance 1.3²/200, within 5 standard errors √(2/40000).
        assert np.var(effective) * 200 / 1.3**2 == pytest.approx(1, abs=5 * (2 / 40_000) ** 0.5)
    # Five standard errors of 40,000 draws, 1/√80000 each.
    assert np.std(kernels["ntk"]) == pytest.approx(1, abs=0.02)
    assert np.std(kernels["standard"]) == pytest.approx(1.3 / 200**0.5, rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_normalized_layers_have_the_spectral_norm_they_are_given(kind):
    x = INPUTS[kind]
    model = MODELS[kind](outputs=3, width=8, layers="spectral_norm", dtype=x.dtype)
    variables = trained_statistics(model, jax.jit(model.init)(jax.random.key(4), x), x, gain=2.0)
    for matrix in jax.jit(lambda variables: effective_weights(model, variables, x, gain=2.0).matrices)(variables):
        # The error of the power iteration.
        assert np.linalg.norm(matrix, 2) == pytest.approx(2.0, rel=1e-3)


@pytest.mark.implicit_promotion  # Flax, whose running averages start in float32
@pytest.mark.parametrize("kind", KINDS)
def test_batch_normalization_has_running_statistics(kind):
    x = INPUTS[kind]
    model = MODELS[kind](outputs=3, width=8, layers="batch_norm", dtype=x.dtype)
    variables = trained_statistics(model, jax.jit(model.init)(jax.random.key(5), x), x)
    # With statistics of these very inputs both modes agree: a running mean after 60 steps of 0.9 is off by 0.9⁶⁰.
    trained, _ = model.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(model.apply(variables, x), trained, rtol=0.05, atol=0.02)
    assert np.abs(model.apply(variables, x[:5]) - model.apply(variables, x)[:5]).max() < CLOSED_FORM["float64"]


def test_dropout_keeps_the_mean_and_is_off_in_evaluation():
    model = MLP(outputs=1, width=100, depth=1, layers="dropout", dtype=X.dtype)
    variables = jax.jit(model.init)(jax.random.key(6), X)
    plain = model.apply(variables, X, dropout=0.5)

    def noisy(key):
        return model.apply(variables, X, train=True, dropout=0.5, rngs={"dropout": key})

    draws = jax.jit(jax.vmap(noisy))(jax.random.split(jax.random.key(7), 2000))
    standard_error = jnp.std(draws, axis=0) / 2000**0.5
    assert np.all(np.abs(jnp.mean(draws, axis=0) - plain) < 5 * standard_error)
    assert np.all(standard_error > 1e-4)
    np.testing.assert_array_equal(
        model.apply(variables, X, train=True, dropout=0.0, rngs={"dropout": jax.random.key(0)}), plain
    )


def test_the_recurrent_network_is_its_formula():
    model = RNN(outputs=2, width=4, activation="tanh", bias=True, dtype=X.dtype)
    x = INPUTS["RNN"]
    variables = jax.jit(model.init)(jax.random.key(8), x)
    variables = jax.tree.map(lambda leaf: np.asarray(leaf) + 0.1, variables)
    (u, b), (w, c), (v, d) = [(layer["kernel"], layer["bias"]) for _, layer in sorted(variables["params"].items())]
    state = np.zeros((20, 4))
    for time in range(3):
        state = np.tanh(np.asarray(x)[:, time] @ u + b + state @ w + c)
    np.testing.assert_allclose(model.apply(variables, x), state @ v + d, rtol=CLOSED_FORM["float64"])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "GRU"}, "network.kind is 'GRU'; expected one of 'MLP', 'RNN', 'CNN'"),
        ({"kind": "MLP", "heads": 2}, "a field of network is 'heads'; expected one of"),
        ({"kind": "MLP", "parent": 2}, "a field of network is 'parent'"),
        ({"kind": "MLP", "width": 0}, "network.width is 0; expected an integer of at least 1"),
        ({"kind": "MLP", "parameterization": "mup"}, "network.parameterization is 'mup'; expected one of"),
        ({"kind": "MLP", "w_std": 0.0}, "network.w_std is 0.0; expected a positive number"),
    ],
)
def test_refusals(fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_model(ConfigDict(fields), outputs=2)
