"""Programs at finite width against forward passes written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import program_zoo as zoo
import pytest
from tolerances import CLOSED_FORM, PEER

import ntk
from ntk.programs import finite, tensor_program
from ntk.programs.architectures import batch_norm_mlp, lstm, transformer


def inputs(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def test_lstm_by_hand():
    x, n = inputs(3, 4, 2), 16
    model = finite(lstm(w_std=1.3, u_std=1.1, b_std=0.5), n)
    params = model.init(jax.random.key(0), x)
    p = jax.tree.map(np.asarray, params)
    expected = []
    for sequence in np.asarray(x):
        h = c = np.zeros(n)
        for step in sequence:
            i, f, g, o = (
                1.3 * h @ p[f"w_{gate}"] / 4.0 + 1.1 * step @ p[f"u_{gate}"] / 2**0.5 + 0.5 * p[f"b_{gate}"]
                for gate in "ifgo"
            )
            i, f, o = (1.0 / (1.0 + np.exp(-gate)) for gate in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
        expected.append(h @ p["v"] / 4.0)
    np.testing.assert_allclose(jax.jit(model.apply)(params, x), expected, rtol=CLOSED_FORM["float64"])


def test_batch_norm_and_transformer_by_hand():
    x, n = inputs(5, 3), 9
    model = finite(batch_norm_mlp(w_std=1.2, v_std=0.9), n)
    params = model.init(jax.random.key(1), x)
    h = 1.2 * np.asarray(x) @ np.asarray(params["w1"]) / 3**0.5
    z = np.maximum(h - h.mean(0), 0.0) / h.std(0)
    np.testing.assert_allclose(
        jax.jit(model.apply)(params, x), 0.9 * z @ np.asarray(params["v"]) / 3.0, rtol=CLOSED_FORM["float64"]
    )

    def norm(z):
        return (z - z.mean(-1, keepdims=True)) / z.std(-1, keepdims=True)

    x = inputs(2, 4, 3)
    model = finite(transformer(u_std=1.1, w_std=1.4, b_std=0.3, v_std=1.2), n)
    params = model.init(jax.random.key(2), x)
    p = jax.tree.map(np.asarray, params)
    for sequence, output in zip(np.asarray(x), jax.jit(model.apply)(params, x), strict=True):
        k = 1.1 * sequence @ p["u1"] / 3**0.5
        weights = np.exp(k @ k.T / n)
        z = norm(k + weights / weights.sum(1, keepdims=True) @ k)
        hidden = np.maximum(1.4 * z @ p["w1_1"] / 3.0 + 0.3 * p["b1_1"], 0.0)
        states = norm(z + 1.4 * hidden @ p["w2_1"] / 3.0 + 0.3 * p["b2_1"])
        np.testing.assert_allclose(output, 1.2 * states.mean(0) @ p["v"] / 3.0, rtol=CLOSED_FORM["float64"])


def test_parameters_and_outputs():
    x = inputs(4, 5).astype(jnp.float32)
    model = finite(zoo.mlp(depth=2), 7, outputs=3)
    params = model.init(jax.random.key(0), x)
    shapes = {"w1": (5, 7), "b1": (7,), "w2": (7, 7), "b2": (7,), "v": (7, 3)}
    assert jax.tree.map(jnp.shape, params) == shapes
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    outputs = jax.jit(model.apply)(params, x)
    assert outputs.shape == (4, 3)
    assert outputs.dtype == jnp.float32
    alone = finite(zoo.mlp(depth=2), 7)
    np.testing.assert_allclose(
        jax.jit(alone.apply)(params | {"v": params["v"][:, 1]}, x), outputs[:, 1], rtol=CLOSED_FORM["float32"]
    )
    with pytest.raises(
        ValueError, match=r"params has 'v' of float32 of shape \(7, 3\); expected float32 of shape \(7,"
    ):
        alone.apply(params, x)


def test_the_same_network_as_a_flax_model():
    """The program's MLP with the Flax model's parameters is the Flax model."""
    x = inputs(4, 3)
    flax = ntk.finite(ntk.MLP(depth=3, w_std=1.3, b_std=0.3, v_std=0.7), 32)
    params = flax.init(jax.random.key(0), x)
    model = finite(zoo.mlp, 32)
    np.testing.assert_allclose(
        jax.jit(model.apply)(params["params"], x), flax.apply(params, x), rtol=CLOSED_FORM["float64"]
    )


def test_taps_and_watched_vectors():
    """The gradient in a tap is that in the watched vector: v·φ'(h) σ_v/√n at the last layer."""
    x, n = inputs(4, 3), 16
    model = finite(zoo.mlp(depth=1, activation="tanh"), n)
    params = model.init(jax.random.key(0), x)
    output, watched = jax.jit(model.trace)(params, x, {})
    h = 1.3 * np.asarray(x @ params["w1"]) / 3**0.5 + 0.3 * np.asarray(params["b1"])
    np.testing.assert_allclose(watched["h1"], h, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(output, 0.7 * np.tanh(h) @ np.asarray(params["v"]) / 4.0, rtol=CLOSED_FORM["float64"])
    gradient = jax.jit(jax.grad(lambda tap: model.trace(params, x, {"h1": tap})[0].sum()))(jnp.zeros((4, n)))
    np.testing.assert_allclose(
        gradient, 0.7 / 4.0 * np.asarray(params["v"]) * (1.0 - np.tanh(h) ** 2), rtol=PEER["float64"]
    )


def test_transposes_and_widths():
    """The width may also be part of a standard deviation."""

    @tensor_program
    def program(net, x):
        W, z = net.matrix("W", net.width / 5.0), net.input_matrix("U") @ x
        return net.output("v") @ (W.T @ (W @ z) / net.width)

    x, n = inputs(2, 3), 5
    model = finite(program, n)
    params = model.init(jax.random.key(0), x)
    W, U, v = (np.asarray(params[name]) for name in ("W", "U", "v"))
    expected = np.asarray(x) @ U / 3**0.5 @ W @ W.T / 5.0 / 5.0 @ v / 5**0.5
    np.testing.assert_allclose(jax.jit(model.apply)(params, x), expected, rtol=CLOSED_FORM["float64"])


@pytest.mark.parametrize("program", [transformer, ntk.architectures.cnn_1d])
def test_positions_add_no_operations(program):
    """What is done at several positions is done once, on all of them."""
    model = finite(program, 8)

    def operations(length):
        x = inputs(2, length, 3)
        program = jax.make_jaxpr(model.apply)(model.init(jax.random.key(0), x), x)
        return [str(equation.primitive) for equation in program.jaxpr.eqns]

    few, many = operations(4), operations(6)
    for name in ("dot_general", "rsqrt", "custom_jvp_call"):  # layer norm, ReLU
        assert few.count(name) == many.count(name), name
    assert few.count("dot_general") > 0
