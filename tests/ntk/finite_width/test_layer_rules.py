"""Every rule of `empirical_ntk`, on every kind of layer, against dense Jacobians in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from dense_jacobian import assert_equal, dense_jacobians, dense_ntk
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from model_zoo import ZOO, normal

import ntk

# What each model is there for: some parameter must get each of these rules when Gram matrices are preferred, and the
# number of parameters whose uses have no rule.
EXPECTED = {
    "dense": 0,
    "attention": 4,  # scales of two layer norms in two blocks; their shifts are sums
    "convolutions": 4,  # scale and statistics of the batch norm, the flipped kernel of the transposed convolution
    "gru": 0,
    "lstm": 0,
    "tied": 1,  # looked up and multiplied by
    "embedded": 0,
    "nnx": 4,
    "stacked_layers": 0,
    "nested_scans": 0,
    "branches": 0,
    "wrapped": 1,  # inside a function with its own derivative
    "views": 3,
    "escapes": 3,
    "einsums": 0,
    "ensemble": 0,
    "row_lookups": 0,
    "other_ranks": 0,
}


@pytest.fixture(scope="module")
def models():
    made = {}
    return lambda name: made.setdefault(name, ZOO[name]())


@pytest.mark.parametrize("name", ZOO)
def test_all_outputs_of_two_batches(models, name):
    model = models(name)
    expected = dense_ntk(*model, equation="iap,jbp->ijab")
    assert_equal(ntk.empirical_ntk(*model, trace_axes=()), expected)


@pytest.mark.parametrize("name", ZOO)
def test_one_batch_by_gram_matrices(models, name):
    f, params, x, _ = models(name)
    expected = dense_ntk(f, params, x, equation="iap,jap->ij")
    outputs = jax.eval_shape(f, params, x).shape[1]
    assert_equal(ntk.empirical_ntk(f, params, x, method="layerwise"), expected / outputs)


@pytest.mark.parametrize("name", ZOO)
def test_which_parameters_have_no_rule(models, name):
    f, params, x, _ = models(name)
    rows = ntk.explain_empirical(f, params, x, method="layerwise").rows
    assert {row.rule for row in rows} <= {"gram", "jacobian"}
    assert sum(row.rule == "jacobian" for row in rows) == EXPECTED[name]
