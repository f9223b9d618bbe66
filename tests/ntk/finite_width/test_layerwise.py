"""The layer-wise kernels: against Jacobians, ours and those of neural-tangents, and against differences in NumPy."""

import functools

import jax
import numpy as np
import pytest
from small_networks import CASES, forward, gradients, normal_params, sequences
from tolerances import CLOSED_FORM

import ntk


@functools.cache
def measured(case, dtype):
    x1, x2 = case.data(dtype)
    return ntk.empirical_kernels(case.net, case.params(dtype), x1, x2, **case.lengths())


def as_function(case, dtype):
    """f(params, x) with lengths as a part of x, and both sides' inputs."""
    model, lengths = case.model(), case.lengths()
    x1, x2 = case.data(dtype)
    if isinstance(case.net, ntk.MLP):
        return model.apply, x1, x2

    def with_lengths(x, name):
        return None if x is None else (x, lengths.get(name, np.full(len(x), x.shape[1])))

    def f(params, x):
        return model.apply(params, *x)

    return f, with_lengths(x1, "lengths1"), with_lengths(x2, "lengths2")


def assert_close(found, expected, tolerance):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("rnn-last-ragged", "float64"),
        ("rnn-mean-ragged", "float32"),
        *(slow(name, "float64") for name in ("mlp-smallest", "mlp-outputs", "rnn-mean")),
        slow("mlp-deep", "float32"),
    ],
)
def test_equal_to_jacobians(name, dtype):
    case = CASES[name]
    f, x1, x2 = as_function(case, dtype)
    kernel = measured(case, dtype).ntk
    assert kernel.dtype == dtype
    assert_close(
        kernel, jax.jit(functools.partial(ntk.empirical_ntk, f))(case.params(dtype), x1, x2), CLOSED_FORM[dtype]
    )


@pytest.mark.parametrize(
    ("name", "dtype", "implementation"),
    [
        *((name, "float64", 1) for name in CASES),
        ("mlp-deep", "float32", 1),
        *(slow(name, "float32", 1) for name in CASES if name != "mlp-deep"),
        *(slow(name, "float32", 2) for name in ("mlp-outputs", "rnn-last-ragged")),
    ],
)
def test_equal_to_neural_tangents(name, dtype, implementation):
    case = CASES[name]
    f, x1, x2 = as_function(case, dtype)
    # neural-tangents counts the batch as an axis. f -> (N,) has no axis to trace.
    trace_axes = () if case.outputs is None else (-1,)
    empirical_ntk_fn = ntk.load_neural_tangents().empirical_ntk_fn
    reference = jax.jit(empirical_ntk_fn(f, trace_axes=trace_axes, implementation=implementation))
    expected = np.asarray(reference(x1, x2, case.params(dtype)))
    assert_close(measured(case, dtype).ntk, expected, CLOSED_FORM[dtype])


@pytest.mark.parametrize("name", CASES)
def test_C_and_D_are_the_products_of_activations_and_of_gradients(name):
    case = CASES[name]
    params, (x1, x2) = case.params(), case.data()
    lengths1, lengths2 = case.lengths1, case.lengths2
    if x2 is None:
        x2, lengths2 = x1, lengths1
    kernels, n = measured(case, "float64"), case.width

    def one_side(x, lengths):
        """Activations, ∇_h f and the read-out's input of every input, zero past a sequence's length."""
        ones = sequences(x, lengths)
        layers = case.net.depth if isinstance(case.net, ntk.MLP) else x.shape[1]
        states, slopes = np.zeros((len(x), layers, n)), np.zeros((len(x), case.outputs or 1, layers, n))
        for i, one in enumerate(ones):
            s, g = forward(case.net, params, one)[1], gradients(case.net, params, one)
            states[i, : len(s)], slopes[i, :, : len(s)] = s, g
        return states, slopes, np.array([forward(case.net, params, one)[2] for one in ones])

    (states1, slopes1, read1), (states2, slopes2, read2) = one_side(x1, lengths1), one_side(x2, lengths2)
    if isinstance(case.net, ntk.MLP):
        C = np.einsum("iln,jln->lij", states1, states2) / n
        C = np.concatenate([x1 @ x2.T[None] / x1.shape[-1], C])
        D = np.einsum("ioln,joln->olij", slopes1, slopes2).mean(axis=0)
    else:
        C = np.einsum("itn,jrn->itjr", states1, states2) / n
        D = np.einsum("iotn,jorn->oitjr", slopes1, slopes2).mean(axis=0)
    assert_close(kernels.C, C, 1e-13)
    assert_close(kernels.nngp, case.net.v_std**2 * read1 @ read2.T / n, 1e-13)
    # Differences with step 1e-5 are off by (1e-5)² f''' and by 1e-16/1e-5.
    assert_close(kernels.D, D, 1e-8)


def test_averaged_over_outputs():
    """With O outputs the kernels are the mean over outputs. C and Σ do not depend on the outputs."""
    net, x = ntk.RNN(activation="tanh"), np.random.default_rng(0).normal(size=(3, 4, 2))
    params = normal_params(ntk.finite(net, 16, 3), x)

    @jax.jit
    def kernels(params, x):
        parameters = params["params"]
        alone = [{"params": {**parameters, "v": parameters["v"][:, o]}} for o in range(3)]
        return [ntk.empirical_kernels(net, one, x) for one in (params, *alone)]

    together, *alone = kernels(params, x)
    for name in ("ntk", "nngp", "C", "D"):
        assert_close(getattr(together, name), np.mean([getattr(one, name) for one in alone], axis=0), 1e-13)


def test_one_batch_given_twice():
    for name in ("mlp-deep", "rnn-mean-ragged"):
        case = CASES[name]
        x, lengths = case.data()[0], case.lengths()
        evaluate = functools.partial(ntk.empirical_kernels, case.net, case.params())
        once = evaluate(x, **lengths)
        twice = evaluate(x, x.copy(), **lengths, **({"lengths2": lengths["lengths1"].copy()} if lengths else {}))
        for field in ("ntk", "nngp", "C", "D"):
            assert_close(getattr(once, field), getattr(twice, field), 1e-13)


def test_trained_parameters():
    """Not only for those that `init` returns: one step of gradient descent, then again equal to the Jacobians'."""
    case = CASES["mlp-outputs"]
    f, x1, x2 = as_function(case, "float64")
    params = case.params()
    slope = jax.jit(jax.grad(lambda params: (f(params, x1) ** 2).sum()))(params)
    trained = jax.tree.map(lambda p, g: p - 0.1 * g, params, slope)
    kernel = ntk.empirical_kernels(case.net, trained, x1, x2).ntk
    assert np.abs(kernel - measured(case, "float64").ntk).max() > 0.01
    assert_close(kernel, jax.jit(functools.partial(ntk.empirical_ntk, f))(trained, x1, x2), 1e-12)
