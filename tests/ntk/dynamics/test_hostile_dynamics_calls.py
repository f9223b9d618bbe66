"""Dynamics, estimators, files and spectra, with one argument at a time replaced by what it should not be."""

import functools
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from hostile import judge, replaced

K, Y = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 3.0]]), np.array([[1.0, 0.0], [0.5, -1.0], [0.0, 1.0]])
KT, KTT = np.array([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]), np.array([[2.0, 0.5], [0.5, 2.0]])
X = np.random.default_rng(0).normal(size=(3, 2))
KEY = jax.random.key(0)


def linear(params, x):
    return x @ params


@functools.cache
def calls(ntk):
    """By name: a function, and arguments of it that are good."""
    d, mlp = ntk.dynamics, ntk.MLP(depth=1)
    kernels = SimpleNamespace(ntk=K, nngp=K)
    problem = {"k_train_train": K, "y_train": Y}
    ridge = {"ridge": 0.1, "relative_ridge": True}
    at_start = {"fx_train_0": 0.5 * Y, "fx_test_0": Y[:2], "k_test_train": KT}
    flow, descent = d.squared_loss_flow(K, Y), d.squared_loss_descent(K, Y, learning_rate=0.1, momentum=0.5)
    loss_flow = d.loss_flow(K, Y, optax.l2_loss)
    model = d.parameterized_model(mlp, 4, parameterization="standard")
    params = model.init(KEY, X)
    to_train = {"f": linear, "params": np.ones((2, 2)), "x_train": X, "y_train": Y, "optimizer": optax.sgd(0.1)}
    steps = {"num_steps": 2, "every": 1}
    return {
        "squared_loss_flow": (d.squared_loss_flow, {**problem, "learning_rate": 1.0, **ridge, "float64": True}),
        "a flow": (flow, {"t": 1.0, **at_start}),
        "coefficients": (flow.coefficients, {"t": 1.0, "fx_train_0": Y}),
        "squared_loss_descent": (
            d.squared_loss_descent,
            {**problem, "learning_rate": 0.1, "momentum": 0.5, **ridge, "float64": False},
        ),
        "a descent": (descent, {"t": 3, **at_start}),
        "squared_loss_ensemble": (
            d.squared_loss_ensemble,
            {"kernels_train_train": kernels, "y_train": Y, "learning_rate": 0.1, "steps": True}
            | {"momentum": 0.5, "trained": "all", **ridge, "float64": False},
        ),
        "an ensemble": (
            d.squared_loss_ensemble(kernels, Y),
            {"t": 1.0, "kernels_test_train": SimpleNamespace(ntk=KT, nngp=KT), "nngp_test_test": KTT},
        ),
        "gp_posterior": (d.gp_posterior, {**problem, **ridge, "float64": False}),
        "a posterior": (d.gp_posterior(K, Y, ridge=0.1), {"k_test_train": KT, "k_test_test": KTT}),
        "log_marginal_likelihood": (d.log_marginal_likelihood, {**problem, **ridge}),
        "loss_flow": (
            d.loss_flow,
            {**problem, "loss": optax.l2_loss, "learning_rate": 1.0, "rtol": 1e-6, "atol": 1e-8}
            | {"solver": None, "max_steps": 100},
        ),
        "a flow of any loss": (loss_flow, {"t": 1.0, **at_start}),
        "loss_descent": (
            d.loss_descent,
            {**problem, "loss": optax.l2_loss, **steps, "learning_rate": 0.1, "momentum": 0.5, **at_start},
        ),
        "train": (d.train, {**to_train, **steps, "loss": optax.l2_loss, "linearized": True, "x_test": X[:2]}),
        "max_learning_rate": (d.max_learning_rate, {"k_train_train": K, "momentum": 0.5}),
        "condition_report": (d.condition_report, {"k_train_train": K, **ridge}),
        "conjugate_gradients": (
            d.conjugate_gradients,
            {"kernel": K, "b": Y, "ridge": 0.1, "preconditioner": None, "rtol": 1e-3, "max_steps": 5},
        ),
        "nystrom_preconditioner": (
            d.nystrom_preconditioner,
            {"kernel": K, "num_rows": 3, "rank": 2, "ridge": 0.1, "key": KEY},
        ),
        "parameterized_model": (
            d.parameterized_model,
            {"net": mlp, "width": 4, "outputs": 2, "parameterization": "mup"},
        ),
        "init": (model.init, {"key": KEY, "x": X}),
        "apply": (functools.partial(model.apply, x=X), {"params": params, "lengths": None}),
        "kernel_limit": (model.kernel_limit, {"x1": X, "x2": X + 1}),
        **{name: (getattr(ntk, name), {"kernel": K}) for name in ("eigenvalues", "effective_rank", "condition_number")},
        "effective_dimension": (ntk.effective_dimension, {"kernel": K, "ridge": 0.1}),
        "alignment": (ntk.alignment, {"kernel1": K, "kernel2": K + 1, "centered": True}),
        "target_alignment": (ntk.target_alignment, {"kernel": K, "y": Y, "centered": False}),
        "kernel_distance": (ntk.kernel_distance, {"kernel1": K, "kernel2": K + 1}),
    }


# Each compiles anew for every shape that is right.
SLOW = (
    *("squared_loss_flow", "a flow", "coefficients", "a descent", "an ensemble", "a flow of any loss", "train"),
    *("squared_loss_descent", "conjugate_gradients", "nystrom_preconditioner", "init", "kernel_limit"),
)
NAMES = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
    for name in (
        *("squared_loss_flow", "a flow", "coefficients", "squared_loss_descent", "a descent", "squared_loss_ensemble"),
        *("an ensemble", "gp_posterior", "a posterior", "log_marginal_likelihood", "loss_flow", "a flow of any loss"),
        *("loss_descent", "train", "max_learning_rate", "condition_report", "conjugate_gradients"),
        *("nystrom_preconditioner", "parameterized_model", "init", "apply", "kernel_limit", "eigenvalues"),
        *("effective_rank", "condition_number", "effective_dimension", "alignment", "target_alignment"),
        *("kernel_distance",),
    )
]


def faults(function, arguments, **options):
    """Wrong answers of a function, with each argument replaced in turn."""
    function(**arguments)
    judged = {
        f"{argument} = {bad}": judge(lambda given=given: function(**given), argument, bad, **options)
        for argument, bad, given in replaced(arguments)
    }
    return {case: fault for case, fault in judged.items() if fault}


@pytest.mark.parametrize("name", NAMES)
def test_every_argument(plain, name):
    assert faults(*calls(plain)[name]) == {}


def test_every_function_is_called(plain):
    made = {"GaussianProcess", "LossFlowPredictor", "ParameterizedModel", "SquaredLossEnsemble", "SquaredLossPredictor"}
    results = {"ConditionReport", "Gaussian", "Prediction", "Solution", "Trajectory"}
    assert set(plain.dynamics.__all__) - made - results <= set(calls(plain))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["NTKClassifier", "NTKRegressor", "NNGPRegressor"])
def test_estimators(plain, name):
    """scikit-learn refuses the arguments that it checks itself."""
    labels = np.array([0, 1, 1])
    y = labels if name == "NTKClassifier" else Y[:, 0]
    kind = getattr(plain.estimators, name)

    def fitted(X=X, y=y, **parameters):
        return kind(plain.MLP(depth=1)).set_params(**parameters).fit(X, y).predict(X)

    predict = kind(plain.MLP(depth=1)).fit(X, y).predict
    parameters = {"net": plain.MLP(depth=1), "ridge": 0.1, "relative_ridge": False}
    if name != "NNGPRegressor":
        parameters["t"] = 1.0
    asked = {"return_std": True, "return_cov": False} if name == "NNGPRegressor" else {}
    for call, arguments in ((fitted, {"X": X, "y": y, **parameters}), (predict, {"X": X, **asked})):
        assert faults(call, arguments, doors=("sklearn",)) == {}


def test_files(plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "value.npz"
    assert faults(plain.save, {"path": path, "value": K}) == {}
    assert faults(plain.load, {"path": path}) == {}
