"""A flag is True or False. Other values are refused, even if they are equal to one of these."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

K, Y = np.array([[2.0, 0.5, 0.0], [0.5, 3.0, 0.2], [0.0, 0.2, 1.0]]), np.array([1.0, -2.0, 0.5])
SINGLE, Y32 = K.astype("float32"), Y.astype("float32")


def calls(ntk, flag):
    """By the flag's name: calls whose results are arrays, or trees of arrays."""
    d = ntk.dynamics
    pair, single_pair = SimpleNamespace(ntk=K, nngp=K), SimpleNamespace(ntk=SINGLE, nngp=SINGLE)
    model = ntk.estimators.NNGPRegressor(ntk.MLP(depth=1)).fit(K, Y)

    def linear(params, x):
        return x @ params

    return {
        "relative_ridge": [
            lambda: d.squared_loss_flow(K, Y, ridge=0.1, relative_ridge=flag)(1.0),
            lambda: d.squared_loss_descent(K, Y, learning_rate=0.1, ridge=0.1, relative_ridge=flag)(3),
            lambda: d.squared_loss_ensemble(pair, Y, ridge=0.1, relative_ridge=flag)(1.0),
            lambda: d.gp_posterior(K, Y, ridge=0.1, relative_ridge=flag)(),
            lambda: d.log_marginal_likelihood(K, Y, ridge=0.1, relative_ridge=flag),
            lambda: dataclasses.asdict(d.condition_report(K, ridge=0.1, relative_ridge=flag)),
            lambda: ntk.estimators.NTKRegressor(ntk.MLP(depth=1), relative_ridge=flag).fit(K, Y).dual_coef_,
        ],
        "float64": [
            lambda: d.squared_loss_flow(SINGLE, Y32, float64=flag)(1.0),
            lambda: d.squared_loss_descent(SINGLE, Y32, learning_rate=0.1, float64=flag)(3),
            lambda: d.squared_loss_ensemble(single_pair, Y32, float64=flag)(1.0),
            lambda: d.gp_posterior(SINGLE, Y32, float64=flag)(),
        ],
        "steps": [lambda: d.squared_loss_ensemble(pair, Y, learning_rate=0.1, steps=flag)(3)],
        "linearized": [lambda: d.train(linear, jnp.ones(3), K, Y, optax.sgd(0.1), 1, linearized=flag)],
        "centered": [lambda: ntk.alignment(K, K, centered=flag), lambda: ntk.target_alignment(K, Y, centered=flag)],
        "return_std": [lambda: model.predict(K, return_std=flag)],
        "return_cov": [lambda: model.predict(K, return_cov=flag)],
        "per_layer": [lambda: ntk.empirical_ntk(linear, jnp.ones(3), K, per_layer=flag)],
        "batch_dependent": [
            lambda: ntk.empirical_ntk(linear, jnp.ones(3), K, batch_dependent=flag),
            lambda: str(ntk.explain_empirical(linear, jnp.ones(3), K, batch_dependent=flag)),
        ],
        "assume_gia": [
            lambda: ntk.corrected_kernels(ntk.architectures.mlp, np.ones((1, 2)), samples=64, assume_gia=flag)
        ],
    }


@pytest.mark.parametrize("flag", ["no", 1, None])
def test_a_flag_is_true_or_false(plain, flag):
    for name, functions in calls(plain, flag).items():
        for function in functions:
            with pytest.raises(TypeError, match=rf"^{name} is {flag!r}; expected True or False\.$"):
                function()


@pytest.mark.parametrize("flag", [pytest.param(False, marks=pytest.mark.slow), True])
def test_flags_of_numpy_are_those_of_python(plain, flag):
    """Equal in every number; `assume_gia` apart, whose limits are sampled for a minute."""
    expected, found = calls(plain, flag), calls(plain, np.bool_(flag))
    for name in expected.keys() - {"assume_gia"}:
        for one, other in zip(expected[name], found[name], strict=True):
            for a, b in zip(*map(jax.tree.leaves, (one(), other())), strict=True):
                np.testing.assert_array_equal(a, b)
