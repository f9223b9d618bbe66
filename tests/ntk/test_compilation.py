"""The kernels under JAX's transformations: one program for many values, derivatives, and unchanged dtypes."""

import functools
import itertools
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, DIFFERENCE, REORDERED

import ntk

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(4, 3))
SEQUENCES = RNG.normal(size=(4, 5, 3))
LENGTHS = np.array([5, 3, 1, 4])
FIELDS = ("ntk", "nngp", "C", "D")

NETWORKS = {
    "mlp": ntk.MLP(depth=3, activation="relu", w_std=1.3, b_std=0.3, v_std=0.8),
    "last": ntk.RNN(activation="erf", w_std=1.3, u_std=0.9, b_std=0.3, v_std=0.8),
    "mean": ntk.RNN(activation="relu", w_std=1.3, u_std=0.9, b_std=0.3, v_std=0.8, pooling="mean"),
}


def data(name, dtype="float64"):
    """Inputs with a duplicate, an opposite and a multiple of the first, and the lengths of sequences."""
    x = (VECTORS if name == "mlp" else SEQUENCES).copy()
    x[1], x[2], x[3] = x[0], -x[0], 3 * x[0]
    return x.astype(dtype), {} if name == "mlp" else {"lengths1": LENGTHS}


def params_for(name, dtype="float64", width=8):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(ntk.finite(NETWORKS[name], width).init, jax.random.key(0), data(name, dtype)[0])
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)


def with_std(name, std):
    return jax.tree.map(lambda value: std * value, NETWORKS[name])


def compiled(caplog, call):
    """The names of the programs compiled during the call."""
    caplog.clear()
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        jax.block_until_ready(call())
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("Compiling ")]


def calls(name):
    """Every kernel as a function of standard deviations (all multiplied by std) and data of the same shapes."""
    x, lengths = data(name)
    params = params_for(name)
    f = ntk.finite(NETWORKS[name], 8).apply
    return {
        "infinite_kernels": lambda std, scale: ntk.infinite_kernels(with_std(name, std), scale * x, **lengths),
        "infinite_ntk": lambda std, scale: ntk.infinite_ntk(with_std(name, std), scale * x, **lengths),
        "empirical_kernels": lambda std, scale: ntk.empirical_kernels(
            with_std(name, std), jax.tree.map(lambda leaf: scale * leaf, params), scale * x, **lengths
        ),
        "empirical_ntk": lambda std, scale: ntk.empirical_ntk(
            f, jax.tree.map(lambda leaf: scale * leaf, params), scale * x
        ),
    }


@pytest.mark.parametrize(
    ("function", "name"),
    [("infinite_kernels", "mlp"), ("infinite_ntk", "last"), ("infinite_ntk", "mean")]
    + [("empirical_kernels", "mlp"), ("empirical_ntk", "last")]
    + [
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            *(("infinite_ntk", "mlp"), ("infinite_kernels", "last"), ("infinite_kernels", "mean")),
            ("empirical_kernels", "mean"),
        )
    ],
)
def test_second_call_compiles_nothing(function, name, caplog):
    call = calls(name)[function]
    call(1.0, 1.0)
    assert compiled(caplog, lambda: call(0.5, 2.0)) == []


def test_compilations_are_seen(caplog):
    """Without this test, the absence of compilations would not prove anything."""
    net = ntk.MLP(depth=2)
    assert any("_ntk" in line for line in compiled(caplog, lambda: ntk.infinite_ntk(net, np.ones((11, 13)))))
    assert any("_ntk" in line for line in compiled(caplog, lambda: ntk.infinite_ntk(net, np.ones((11, 14)))))


@pytest.mark.parametrize("activation", ["gelu", pytest.param(jnp.tanh, marks=pytest.mark.slow)])
def test_a_network_described_twice_is_the_same_program(activation, caplog):
    """Descriptions are compared by value, also those of functions, so that notebooks do not compile again and again."""
    first, second = (
        ntk.MLP(depth=2, activation=given, w_std=std)
        for given, std in ((activation, 1.0), (ntk.activation(activation), 2.0))
    )
    ntk.infinite_ntk(first, VECTORS)
    assert compiled(caplog, lambda: ntk.infinite_ntk(second, VECTORS)) == []


@pytest.mark.parametrize("name", ["mlp", pytest.param("mean", marks=pytest.mark.slow)])
def test_vmap_over_standard_deviations_is_a_loop(name):
    x, lengths = data(name)
    stds = np.array([0.0, 0.7, 1.9])
    together = jax.vmap(lambda std: ntk.infinite_kernels(with_std(name, std), x, **lengths))(stds)
    # A description that holds arrays can be mapped over as it is.
    batched = jax.tree.map(lambda value: value * stds, NETWORKS[name])
    ntks = jax.vmap(lambda net: ntk.infinite_ntk(net, x, **lengths))(batched)
    for i, std in enumerate(stds):
        alone = ntk.infinite_kernels(with_std(name, float(std)), x, **lengths)
        for field in FIELDS:
            # The same operations, perhaps fused in another way.
            expected = np.asarray(getattr(alone, field))
            tolerance = 1e-14 * np.abs(expected).max()
            np.testing.assert_allclose(getattr(together, field)[i], expected, rtol=0, atol=tolerance)
        np.testing.assert_allclose(
            ntks[i], alone.ntk, rtol=CLOSED_FORM["float64"], atol=REORDERED["float64"] * np.abs(alone.ntk).max()
        )


@pytest.mark.slow
def test_described_under_jit():
    """Also with an activation that is a function not met before, whose check is not to be traced."""

    @jax.jit
    def kernel(w_std):
        return ntk.infinite_ntk(ntk.MLP(depth=2, activation=lambda x: x / (1 + x**2), w_std=w_std), VECTORS)

    outside = ntk.infinite_ntk(ntk.MLP(depth=2, activation=lambda x: x / (1 + x**2), w_std=1.5), VECTORS)
    np.testing.assert_allclose(kernel(1.5), outside, rtol=REORDERED["float64"])


def readings(name):
    """Scalar functions of the network whose derivatives are taken; random weights, so that no entry is left out."""
    x, lengths = data(name)
    weights = np.random.default_rng(3).normal(size=(4, 4))
    params = params_for(name)
    return {
        "infinite_ntk": lambda net: jnp.sum(weights * ntk.infinite_ntk(net, x, **lengths)),
        "infinite_kernels": lambda net: sum(
            jnp.sum(jnp.sin(getattr(ntk.infinite_kernels(net, x, **lengths), field))) for field in FIELDS
        ),
        "empirical_kernels": lambda net: jnp.sum(weights * ntk.empirical_kernels(net, params, x, **lengths).ntk),
    }


@pytest.mark.parametrize(
    ("name", "function"),
    [("last", "empirical_kernels"), ("mean", "infinite_ntk")]
    + [
        pytest.param(*case, marks=pytest.mark.slow)
        for case in itertools.product(("mlp", "mean", "last"), ("infinite_kernels", "infinite_ntk"))
        if case != ("mean", "infinite_ntk")
    ],
)
def test_derivatives_in_the_standard_deviations(name, function):
    """Reverse mode against central differences, over inputs among which are duplicates, opposites and multiples."""
    f, net = jax.jit(readings(name)[function]), NETWORKS[name]
    gradient = jax.jit(jax.grad(f))(net)
    leaves, rebuild = jax.tree.flatten(net)
    for i, found in enumerate(jax.tree.leaves(gradient)):
        up, down = (
            f(jax.tree.unflatten(rebuild, [*leaves[:i], leaves[i] + step, *leaves[i + 1 :]])) for step in (1e-5, -1e-5)
        )
        # Off by (1e-5)² times a third derivative, and by 1e-16/1e-5 of the value.
        assert found == pytest.approx(float(up - down) / 2e-5, rel=1e-7, abs=1e-8 * abs(float(f(net))))


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_gradients_in_the_data_are_finite_at_correlation_one(dtype):
    """Inputs equal, opposite, proportional and zero, without bias: correlations are exactly ±1, variances 0."""
    net = ntk.MLP(depth=2, activation="relu", b_std=0.0)
    x = np.array([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0], [3.0, 6.0], [0.0, 0.0]], dtype)

    def f(x):
        return jnp.sum(ntk.infinite_ntk(net, x)) + jnp.sum(ntk.infinite_ntk(net, x, x[:2]))

    value, gradient = jax.jit(jax.value_and_grad(f))(x)
    assert value.dtype == gradient.dtype == dtype
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.slow
def test_gradients_in_the_data():
    """Away from correlation ±1 the reverse mode is the central difference, also through the diagonal of x2=None."""
    x = np.random.default_rng(4).normal(size=(3, 4))
    direction = np.random.default_rng(5).normal(size=(3, 4))

    @jax.jit
    def f(x):
        both = ntk.infinite_ntk(NETWORKS["mlp"], x), ntk.infinite_ntk(NETWORKS["mlp"], x, x[:, ::-1])
        return sum(jnp.sum(jnp.sin(kernel)) for kernel in (*both, ntk.infinite_ntk(NETWORKS["last"], x[:, :, None])))

    slope = jnp.sum(jax.jit(jax.grad(f))(x) * direction)
    difference = (f(x + 1e-5 * direction) - f(x - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(slope, difference, rtol=DIFFERENCE["float64"])


def every_kernel(net, params, lengths, x):
    kernels = [ntk.infinite_kernels(net, x, **lengths), ntk.empirical_kernels(net, params, x, **lengths)]
    return jax.tree.leaves([*kernels, ntk.infinite_ntk(net, x, **lengths)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_dtype_is_that_of_the_data(name, dtype):
    """With x64 on, and standard deviations that are Python's, NumPy's float64 or JAX's."""
    x, lengths = data(name, dtype)
    params = params_for(name, dtype)
    for wrap in (float, np.float64, jnp.asarray) if dtype == "float32" else (float,):
        net = jax.tree.map(wrap, NETWORKS[name])
        leaves = jax.eval_shape(functools.partial(every_kernel, net, params, lengths), x)
        assert {leaf.dtype.name for leaf in leaves} == {dtype}
    widened = ntk.infinite_kernels(NETWORKS[name], x, x.astype("float64"), **lengths)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(widened)} == {"float64"}


def program_lines(f, *arguments):
    return len(jax.jit(f).lower(*arguments).as_text().splitlines())


@pytest.mark.parametrize("function", [ntk.infinite_kernels, ntk.infinite_ntk])
def test_program_does_not_grow_with_depth(function):
    """A loop over layers, not a copy for each."""
    shallow, deep = (program_lines(functools.partial(function, ntk.MLP(depth=d)), VECTORS) for d in (3, 200))
    assert shallow == deep


@pytest.mark.parametrize("function", [ntk.infinite_kernels, ntk.infinite_ntk, "empirical_kernels"])
@pytest.mark.parametrize("name", ["last", "mean"])
def test_program_does_not_grow_with_time(name, function):
    if function == "empirical_kernels":
        function = functools.partial(ntk.empirical_kernels, params=params_for(name))
    sequences = [jax.ShapeDtypeStruct((2, T, 3), "float64") for T in (7, 500)]
    short, long = (program_lines(lambda x: function(NETWORKS[name], x1=x), x) for x in sequences)
    assert short == long


def test_deep_networks():
    """With identity and σ_w = 1, σ_b = 0 the recursion is C^l = x·x̄/d and Θ = (L + 1) x·x̄/d."""
    depth = 200
    net = ntk.MLP(depth=depth, activation="identity", b_std=0.0)
    gram = VECTORS @ VECTORS.T / 3
    # Each of the 200 layers adds a rounding.
    np.testing.assert_allclose(ntk.infinite_ntk(net, VECTORS), (depth + 1) * gram, rtol=0, atol=1e-13 * depth)
    np.testing.assert_allclose(
        ntk.infinite_kernels(net, VECTORS).ntk, (depth + 1) * gram, rtol=0, atol=REORDERED["float64"] * depth
    )
