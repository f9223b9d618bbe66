"""Finite networks against NumPy, the law of their parameters, and the shapes and dtypes of what they return."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_networks import CASES, forward, normal_params, sequences
from tolerances import REORDERED

import ntk


def outputs_by_hand(case, x, lengths, params):
    f = np.array([forward(case.net, params, one)[0] for one in sequences(x, lengths)])
    return f[:, 0] if case.outputs is None else f


# Sums of at most 16 terms, a few layers deep: some tens of roundings.
@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CASES)
def test_forward_pass_is_the_formula(name, dtype):
    case = CASES[name]
    params, (x, _) = case.params(dtype), case.data(dtype)
    lengths = () if case.lengths1 is None else (np.array(case.lengths1),)
    f = jax.jit(case.model().apply)(params, x, *lengths)
    expected = outputs_by_hand(case, x, case.lengths1, params)
    assert f.dtype == dtype
    assert f.shape == expected.shape
    np.testing.assert_allclose(f, expected, rtol=0, atol=REORDERED[dtype] * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("net", [ntk.MLP(depth=2), ntk.RNN(), ntk.RNN(pooling="mean")], ids=["mlp", "last", "mean"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [None, 1, 3])
def test_parameters_take_shapes_and_dtype_from_the_data(net, outputs, dtype):
    x = np.ones((5, 2) if isinstance(net, ntk.MLP) else (5, 4, 2), dtype)
    params = jax.eval_shape(ntk.finite(net, 7, outputs).init, jax.random.key(0), x)
    hidden = {"w1": (2, 7), "b1": (7,), "w2": (7, 7), "b2": (7,)}
    if isinstance(net, ntk.RNN):
        hidden = {"w": (7, 7), "u": (2, 7), "b": (7,)}
    v = (7,) if outputs is None else (7, outputs)
    assert {name: leaf.shape for name, leaf in params["params"].items()} == {**hidden, "v": v}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {dtype}
    f = jax.eval_shape(ntk.finite(net, 7, outputs).apply, params, x)
    assert f.dtype == dtype
    assert f.shape == ((5,) if outputs is None else (5, outputs))


@pytest.mark.parametrize("net", [ntk.MLP(depth=2, activation="erf"), ntk.RNN()], ids=["mlp", "rnn"])
def test_parameters_are_independent_standard_normal(net):
    x = np.ones((1, 300) if isinstance(net, ntk.MLP) else (1, 1, 300))
    params = jax.jit(ntk.finite(net, 300, 300).init)(jax.random.key(1), x)["params"]
    matrices = np.array([leaf for leaf in params.values() if leaf.ndim == 2])
    assert len(matrices) == 3
    for leaf in map(np.asarray, params.values()):
        # Standard errors of the first, second and fourth moment of a normal sample: 1, √2 and √96 over √size. With
        # five moments of five arrays, five of them leave a chance of 2e-5.
        for power, moment, deviation in [(1, 0, 1), (2, 1, 2**0.5), (4, 3, 96**0.5)]:
            assert abs((leaf**power).mean() - moment) < 5 * deviation / leaf.size**0.5
    correlations = np.corrcoef(matrices.reshape(3, -1))[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 5 / 300  # each has standard error 1/√(300²)


@pytest.mark.parametrize("std", [jnp.float32(0.7), pytest.param(np.float64(0.7), marks=pytest.mark.slow)])
def test_standard_deviations_of_another_dtype_change_nothing(std):
    x = np.random.default_rng(0).normal(size=(3, 2))
    for data, tolerance in [(x, 1e-7), (x.astype(np.float32), 1e-6)]:  # float32(0.7) is 2e-8 off 0.7
        models = [ntk.finite(ntk.MLP(depth=2, w_std=s, b_std=s, v_std=s), 8) for s in (std, 0.7)]
        params = normal_params(models[0], data)
        f, expected = jax.jit(lambda params, x, models=models: [m.apply(params, x) for m in models])(params, data)
        assert f.dtype == data.dtype
        np.testing.assert_allclose(f, expected, rtol=tolerance)
        rnn = ntk.finite(ntk.RNN(w_std=std, u_std=std, b_std=std, v_std=std), 8)
        sequence = data[:, None]
        outputs = jax.eval_shape(rnn.apply, jax.eval_shape(rnn.init, jax.random.key(0), sequence), sequence)
        assert outputs.dtype == data.dtype


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_what_lies_past_a_length_does_not_count(pooling):
    model = ntk.finite(ntk.RNN(pooling=pooling), 8, 2)
    x = np.random.default_rng(0).normal(size=(3, 5, 2))
    params, lengths = normal_params(model, x), np.array([1, 3, 5])

    @jax.jit
    def outputs(params, x, changed, lengths):
        alone = [model.apply(params, x[i : i + 1, :length])[0] for i, length in enumerate((1, 3, 5))]
        return model.apply(params, x, lengths), model.apply(params, changed, lengths), model.apply(params, x), alone

    changed = np.where(np.arange(5)[:, None] < lengths[:, None, None], x, 100.0)
    f, f_changed, whole, alone = outputs(params, x, changed, lengths)
    # One entry at a time and together differ by the order of summation.
    np.testing.assert_allclose(f, alone, rtol=1e-13)
    np.testing.assert_allclose(f_changed, f, rtol=REORDERED["float64"])
    assert not np.allclose(whole[:2], f[:2])


def test_the_seed_decides():
    model, x = ntk.finite(ntk.MLP(depth=2), 8), np.ones((1, 3))
    init = jax.jit(model.init)
    first, again, other = (init(jax.random.key(seed), x)["params"] for seed in (0, 0, 1))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.any(first[name] == other[name])
