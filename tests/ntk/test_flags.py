"""A flag is True or False: what only counts as one is refused."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import optax
import pytest

K, Y = np.eye(3), np.ones(3)


def calls(ntk, flag):
    d = ntk.dynamics
    pair = SimpleNamespace(ntk=K, nngp=K)
    model = ntk.estimators.NNGPRegressor(ntk.MLP(depth=1)).fit(K, Y)

    def linear(params, x):
        return x @ params

    return {
        "relative_ridge": [
            lambda: d.squared_loss_flow(K, Y, relative_ridge=flag),
            lambda: d.squared_loss_descent(K, Y, learning_rate=0.1, relative_ridge=flag),
            lambda: d.squared_loss_ensemble(pair, Y, relative_ridge=flag),
            lambda: d.gp_posterior(K, Y, relative_ridge=flag),
            lambda: d.log_marginal_likelihood(K, Y, ridge=0.1, relative_ridge=flag),
            lambda: d.condition_report(K, relative_ridge=flag),
            lambda: ntk.estimators.NTKRegressor(ntk.MLP(depth=1), relative_ridge=flag).fit(K, Y),
        ],
        "float64": [
            lambda: d.squared_loss_flow(K, Y, float64=flag),
            lambda: d.squared_loss_descent(K, Y, learning_rate=0.1, float64=flag),
            lambda: d.squared_loss_ensemble(pair, Y, float64=flag),
            lambda: d.gp_posterior(K, Y, float64=flag),
        ],
        "steps": [lambda: d.squared_loss_ensemble(pair, Y, steps=flag)],
        "linearized": [lambda: d.train(linear, jnp.ones(3), K, Y, optax.sgd(0.1), 1, linearized=flag)],
        "centered": [lambda: ntk.alignment(K, K, centered=flag), lambda: ntk.target_alignment(K, Y, centered=flag)],
        "return_std": [lambda: model.predict(K, return_std=flag)],
        "return_cov": [lambda: model.predict(K, return_cov=flag)],
        "per_layer": [lambda: ntk.empirical_ntk(linear, jnp.ones(3), K, per_layer=flag)],
        "batch_dependent": [
            lambda: ntk.empirical_ntk(linear, jnp.ones(3), K, batch_dependent=flag),
            lambda: ntk.explain_empirical(linear, jnp.ones(3), K, batch_dependent=flag),
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


def test_flags_of_numpy_will_do(plain):
    for name, functions in calls(plain, np.bool_(False)).items():
        if name not in ("assume_gia", "linearized"):
            for function in functions:
                function()
