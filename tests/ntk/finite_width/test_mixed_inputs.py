"""Functions that mix the inputs of a batch are refused, unless `batch_dependent` is set."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from as_written import as_written
from dense_jacobian import assert_equal, dense_ntk
from model_zoo import normal

import ntk

PARAMS = {"w": normal(3, 8), "v": normal(8, 2)}
X1, X2 = normal(6, 3, seed=1), normal(4, 3, seed=2)


def network(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


class BatchNormed(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.Dense(1)(nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x)))[:, 0]


def test_a_function_that_mixes_inputs_is_refused():
    model = BatchNormed()
    variables = jax.jit(as_written(model.init), static_argnames="train")(jax.random.key(0), X1, train=False)

    @as_written
    def training(params, x):
        return model.apply(params, x, train=True, mutable=["batch_stats"])[0]

    @as_written
    def evaluation(params, x):
        return model.apply(params, x, train=False)

    with pytest.raises(ValueError, match=r"f mixes the inputs of a batch .*; expected a function of each input by"):
        ntk.empirical_ntk(training, variables, X1)
    ntk.empirical_ntk(evaluation, variables, X1)

    def attends_to_others(params, x):
        return jax.nn.softmax(x @ x.T) @ x @ params

    with pytest.raises(ValueError, match="f mixes the inputs of a batch"):
        ntk.empirical_ntk(attends_to_others, np.ones(3), X1[:1], X2)


def test_mixed_rows_are_seen_in_every_row():
    """A function that mixes only the last two rows, or only of a batch longer than eight."""

    def last(params, x):
        return network(params, x).at[-1].add(network(params, x)[-2])

    with pytest.raises(ValueError, match="f mixes the inputs of a batch"):
        ntk.empirical_ntk(last, PARAMS, normal(40, 3))
    assert_equal(
        ntk.empirical_ntk(last, PARAMS, X1, batch_dependent=True),
        dense_ntk(last, PARAMS, X1, equation="iap,jap->ij") / 2,
    )


@pytest.mark.parametrize("gate", [0.0, 1.0])
def test_mixing_behind_a_gate(gate):
    """With a gate of zero each row is the same as alone, but its gradient in the gate is not."""

    def gated(params, x):
        h = network(params, x)
        return h + params["gate"] * h.mean(0, keepdims=True)

    with pytest.raises(ValueError, match="f mixes the inputs of a batch"):
        ntk.empirical_ntk(gated, {**PARAMS, "gate": np.float64(gate)}, X1)


def test_weak_mixing_in_float32():
    def weak(params, x):
        h = x @ params
        return h + 0.04 * h.mean(0, keepdims=True)

    with pytest.raises(ValueError, match="f mixes the inputs of a batch"):
        ntk.empirical_ntk(weak, PARAMS["w"].astype("float32"), X1.astype("float32"))


def test_parameters_that_may_not_be_moved():
    """Near these parameters square roots are NaN, so the check cannot decide there."""

    def f(params, x):
        return jnp.sqrt(params["positive"] - 1.0) * (x @ params["w"]).sum(1)

    params = {"positive": np.array(1.05), "w": PARAMS["w"]}
    assert np.all(np.isfinite(ntk.empirical_ntk(f, params, X1)))
