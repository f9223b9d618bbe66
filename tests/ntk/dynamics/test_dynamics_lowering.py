"""Every function of ntk.dynamics from arrays to arrays lowers for CPU, CUDA and TPU, without callbacks to the host."""

import functools
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import optax
import pytest
from jax import export

import ntk
from ntk import dynamics

PLATFORMS = ("cpu", "cuda", "tpu")
# The rest of dynamics.__all__ is lowered below.
ON_THE_HOST = {
    "ConditionReport": "a container of results",
    "Gaussian": "a container of results",
    "GaussianProcess": "lowered as gp_posterior",
    "LossFlowPredictor": "lowered as loss_flow",
    "ParameterizedModel": "lowered as parameterized_model",
    "Prediction": "a container of results",
    "Solution": "a container of results",
    "SquaredLossEnsemble": "lowered as squared_loss_ensemble",
    "SquaredLossPredictor": "lowered as squared_loss_flow",
    "Trajectory": "a container of results",
    "condition_report": "numbers and sentences for a reader",
}
N, M, OUT, D = 7, 5, 3, 2


def model(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


def functions(dtype):
    """Name, function and abstract arguments."""

    def array(*shape):
        return jax.ShapeDtypeStruct(shape, dtype)

    k, across, test, y, t = array(N, N), array(M, N), array(M, M), array(N, OUT), array(4)

    def flow(k, y, t, across):
        predict = dynamics.squared_loss_flow(k, y, ridge=0.1)
        return predict(t, 0.0, 0.0, across), predict.coefficients(t)

    yield "squared_loss_flow", flow, (k, y, t, across)

    def descent(k, y, t, across):
        return dynamics.squared_loss_descent(k, y, learning_rate=0.1, momentum=0.5)(t, 0.0, 0.0, across)

    yield "squared_loss_descent", descent, (k, y, t, across)
    full, full_across = array(N, N, OUT, OUT), array(M, N, OUT, OUT)
    yield "squared_loss_flow-full", flow, (full, y, t, full_across)

    def ensemble(k, y, t, across, test):
        kernels, across = (SimpleNamespace(ntk=part, nngp=part) for part in (k, across))
        predict = dynamics.squared_loss_ensemble(kernels, y)
        return predict(t, across, test), predict(t)

    yield "squared_loss_ensemble", ensemble, (k, y, t, across, test)

    def posterior(k, y, across, test):
        process = dynamics.gp_posterior(k, y, ridge=0.1)
        return process(across, test), process(), process(across, test).std

    yield "gp_posterior", posterior, (k, y, across, test)
    yield "log_marginal_likelihood", functools.partial(dynamics.log_marginal_likelihood, ridge=0.1), (k, y)
    yield "max_learning_rate", dynamics.max_learning_rate, (k,)

    def cross_entropy(k, y, t, start, across):
        return dynamics.loss_flow(k, y, optax.softmax_cross_entropy)(t, start, 0.0, across)

    yield "loss_flow", cross_entropy, (k, y, t, y, across)

    def descend(k, y, start, across):
        options = {"learning_rate": 0.1, "fx_train_0": start, "k_test_train": across}
        return dynamics.loss_descent(k, y, optax.softmax_cross_entropy, 3, **options)

    yield "loss_descent", descend, (k, y, y, across)
    params = {"w": array(D, 4), "v": array(4, OUT)}
    for linearized in (False, True):
        train = functools.partial(dynamics.train, model, linearized=linearized)
        name = "train-linearized" if linearized else "train"
        yield name, lambda p, x, y, train=train: train(p, x, y, optax.adam(0.1), 3), (params, array(N, D), y)

    yield "conjugate_gradients", functools.partial(dynamics.conjugate_gradients, ridge=0.1), (k, y)

    def precondition(k, b, key):
        return dynamics.nystrom_preconditioner(k, N, rank=3, ridge=0.1, key=key)(b)

    yield "nystrom_preconditioner", precondition, (k, y, jax.eval_shape(jax.random.key, 0))
    for name in ("standard", "mup"):
        network = dynamics.parameterized_model(ntk.MLP(depth=2), 8, parameterization=name)
        key, x = jax.eval_shape(jax.random.key, 0), array(N, D)
        yield f"parameterized_model-{name}", lambda key, x, m=network: m.apply(m.init(key, x), x), (key, x)


@functools.cache
def table(dtype):
    return {name: call for name, *call in functions(dtype)}


LOWERED = table("float32")


def test_every_public_name_is_lowered_or_listed_with_its_reason():
    lowered = {name.partition("-")[0] for name in LOWERED}
    assert not lowered & ON_THE_HOST.keys()
    assert lowered | ON_THE_HOST.keys() == set(dynamics.__all__)


# Matrix products of a network keep its own precision.
OF_NETWORKS = {"train", "train-linearized", "parameterized_model-standard", "parameterized_model-mup"}


# The bias correction of optax.adam promotes a count to a number.
OF_OPTAX = {"train", "train-linearized"}
NAMES = [pytest.param(name, marks=pytest.mark.implicit_promotion) if name in OF_OPTAX else name for name in LOWERED]


@pytest.mark.parametrize("name", NAMES)
def test_lowers_for_every_platform_without_callbacks(name):
    f, arguments = LOWERED[name]
    text = export.export(jax.jit(f), platforms=PLATFORMS)(*arguments).mlir_module()
    assert re.findall(r"custom_call @\w*callback", text) == []
    if name != "nystrom_preconditioner":  # JAX's own SVD has constants that it rounds to float32
        assert re.findall(r"tensor<[\dx]+xf64>", text) == []
    if name not in OF_NETWORKS:
        products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
        assert [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_keeps_float64(name):
    f, arguments = table("float64")[name]
    text = jax.jit(f).lower(*arguments).as_text()
    assert re.findall(r"stablehlo.convert.*f64>\) -> tensor<.*f32>", text) == []
