"""Kernels of programs at finite width, against those of the same networks written otherwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from program_zoo import mlp
from refusals import assert_refused, rows
from tolerances import CLOSED_FORM, PEER, SOLVED

import ntk
from ntk.programs import finite, measured, tensor_program

X1, X2 = (np.random.default_rng(seed).normal(size=(n, 3)) for seed, n in ((0, 4), (1, 2)))


@pytest.mark.parametrize("other", [pytest.param(None, marks=pytest.mark.slow), X2])
def test_against_the_layers_of_an_mlp(other):
    net = ntk.MLP(depth=3, activation="relu", w_std=1.3, b_std=0.3, v_std=0.7)
    params = ntk.finite(net, 7).init(jax.random.key(0), X1)
    expected = ntk.empirical_kernels(net, params, X1, other)
    found = ntk.empirical_kernels(mlp, params["params"], X1, other)
    # float64, sums of tens of numbers of order one.
    close = dict.fromkeys(("rtol", "atol"), CLOSED_FORM["float64"])
    np.testing.assert_allclose(found.ntk, expected.ntk, **close)
    np.testing.assert_allclose(found.nngp, expected.nngp, **close)
    for layer in range(3):
        np.testing.assert_allclose(found.D[f"h{layer + 1}"], expected.D[layer], **close)
    h = 1.3 / 3**0.5 * X1 @ np.asarray(params["params"]["w1"]) + 0.3 * np.asarray(params["params"]["b1"])
    if other is None:
        np.testing.assert_allclose(found.C["h1"], h @ h.T / 7, **close)
    assert not np.any(found.standard_error.ntk)


def test_ntk_is_that_of_the_jacobian():
    x = np.random.default_rng(2).normal(size=(3, 2))
    model = finite(ntk.architectures.tied_mlp, 5)
    params = model.init(jax.random.key(0), x)
    jacobian = jax.jit(jax.jacrev(model.apply))(params, x)
    parts = {name: np.tensordot(j.reshape(3, -1), j.reshape(3, -1), (1, 1)) for name, j in jacobian.items()}
    found = measured(ntk.architectures.tied_mlp, params, x)
    np.testing.assert_allclose(found.ntk, sum(parts.values()), rtol=PEER["float64"])
    np.testing.assert_allclose(found.nngp, parts["v"], rtol=PEER["float64"])


@pytest.mark.slow
def test_batch_norm_keeps_its_batches():
    program = ntk.architectures.batch_norm_mlp
    model = ntk.finite(program, 6)
    params = model.init(jax.random.key(0), X1)
    J1, J2 = (
        np.concatenate([j.reshape(len(x), -1) for j in jax.jacobian(model.apply)(params, x).values()], axis=1)
        for x in (X1, X2)
    )
    np.testing.assert_allclose(
        measured(program, params, X1, X2).ntk, J1 @ J2.T, rtol=SOLVED["float64"], atol=CLOSED_FORM["float64"]
    )


@tensor_program
def averaged(net, x):
    return (net.input_matrix("u") @ x).mean()


# Of a linear layer and an output weight, for inputs of three entries.
PARAMS = {"w1": jnp.ones((3, 5)), "b1": jnp.ones(5), "v": jnp.ones(5)}


@rows(
    [
        (
            "a parameter is missing",
            lambda: measured(mlp(depth=1), {"v": PARAMS["v"]}, X1),
            ValueError,
            "params has no 'b1'; expected those of finite",
        ),
        (
            "no output weight",
            lambda: measured(averaged, {"u": jnp.ones((3, 4))}, X1),
            ValueError,
            "params has no 'output weight'; expected those of finite",
        ),
        (
            "another shape",
            lambda: measured(mlp(depth=1), PARAMS | {"w1": jnp.ones((2, 5))}, X1),
            ValueError,
            r"params has 'w1' of float64 of shape \(2, 5\); expected float64 of shape \(3, 5\)",
        ),
        (
            "another dtype",
            lambda: measured(mlp(depth=1), PARAMS | {"b1": jnp.ones(5, "float32")}, X1),
            ValueError,
            "params has 'b1' of float32 .*; expected float64",
        ),
    ]
)
def test_refusals(call, exception, sentence):
    assert_refused(call, exception, sentence)
