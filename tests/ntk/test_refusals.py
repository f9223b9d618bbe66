"""Every bad input is refused by one sentence that names the argument, its value and what is expected.

Each row is a call, the type of its error and a pattern for the sentence. In a call, x is (4, 3), s is (4, 5, 3), both
float32, and k is each of the functions that read a description.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

VECTORS = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
SEQUENCES = np.random.default_rng(1).normal(size=(4, 5, 3)).astype("float32")

# What does not depend on values is refused under jit too, where x and s are tracers.
ALWAYS = [
    ("ntk.MLP(depth=-1)", ValueError, "depth is -1; expected an integer of at least 0"),
    ("ntk.MLP(depth=2.0)", ValueError, "depth is 2.0; expected an integer"),
    ("ntk.MLP(depth='3')", ValueError, "depth is '3'; expected an integer"),
    ("ntk.MLP(depth=True)", ValueError, "depth is True; expected an integer"),
    ("ntk.MLP(depth=2, w_std='big')", TypeError, "w_std is 'big'; expected a real number"),
    ("ntk.MLP(depth=2, b_std=None)", TypeError, "b_std is None; expected a real number"),
    ("ntk.MLP(depth=2, v_std=1j)", TypeError, "v_std is 1j; expected a real number"),
    ("ntk.RNN(u_std=[1.0])", TypeError, r"u_std is \[1.0\]; expected a real number"),
    ("ntk.RNN(pooling='max')", ValueError, "pooling is 'max'; expected one of 'last', 'mean'"),
    ("ntk.MLP(depth=2, activation='rleu')", ValueError, "activation is 'rleu'; expected one of abs, .* tanh"),
    ("ntk.activation(3)", TypeError, "activation is 3; expected a name or a function"),
    ("ntk.RNN(activation=jnp.sum)", ValueError, r"activation sum .*; expected .* \(2, 3\) to \(\)"),
    ("ntk.activation(jax.nn.softmax)", ValueError, "activation softmax is not coordinate-wise; expected a function"),
    ("ntk.activation(jnp.tanh, breakpoints=())", ValueError, r"breakpoints is \(\); expected a tuple"),
    ("ntk.activation(jnp.tanh, breakpoints=1.0)", ValueError, "breakpoints is 1.0; expected a tuple"),
    ("ntk.activation(jnp.tanh, breakpoints=(jnp.nan,))", ValueError, r"breakpoints is \(nan,\); expected a tuple"),
    ("erf.dual(None, 0, 1)", TypeError, "q11 is None; expected"),
    ("erf.dual(1, 1j, 1)", TypeError, "q12 is .*1.*j.*; expected a real number"),
    ("erf.dual_derivative(x, x[:, :2], x)", ValueError, r"q11, q12, q22 have shapes .*\(4, 2\).*; expected shapes"),
    ("ntk.finite('relu', 8)", TypeError, "net is 'relu'; expected an ntk.MLP, an ntk.RNN or an ntk.tensor_program"),
    ("ntk.finite(mlp, 0)", ValueError, "width is 0; expected an integer of at least 1"),
    ("ntk.finite(mlp, 8.5)", ValueError, "width is 8.5; expected an integer"),
    ("ntk.finite(mlp, 8, 0)", ValueError, "outputs is 0; expected an integer of at least 1"),
    ("ntk.MLP(depth=2, w_std=jnp.ones(4))", ValueError, "w_std is .*; expected one real number"),
    ("ntk.finite(mlp, 8).apply({}, x[0])", ValueError, r"x has shape \(3,\); expected \(N, d\)"),
    ("ntk.finite(rnn, 8).apply({}, s, [1] * 3)", ValueError, r"lengths is int64 of .*\(3,\); expected 4 integers"),
    ("ntk.finite(mlp, 8).apply(params(mlp, x.astype(float)), x)", TypeError, "'w1'.* float64; expected float32"),
    ("ntk.finite(rnn, 8).apply(params(rnn, s.astype(float)), s)", TypeError, "'w'.* float64; expected float32"),
    ("ntk.empirical_kernels(mlp, None, x)", ValueError, r"params has no \['params'\]\['v'\]; expected what"),
    ("measured(mlp, x, v=jnp.float32(1))", ValueError, r"params.*'v'.* has shape \(\); expected \(n,\) or \(n, O\)"),
    ("measured(mlp, x, w2=jnp.ones((8, 7)))", ValueError, r"'w2'.* \(8, 7\); expected \(8, 8\) for MLP of width 8"),
    ("measured(mlp, x, w1=3.0)", ValueError, r"params.*'w1'.* has shape \(\); expected \(3, 8\)"),
    ("ntk.empirical_kernels(ntk.MLP(depth=3), params(mlp, x), x)", ValueError, r"'b3'.*; expected \(8,\) for MLP"),
    ("ntk.empirical_kernels(mlp, params(mlp, x), x[:, :2])", ValueError, r"'w1'.* \(3, 8\); expected \(2, 8\)"),
    ("ntk.empirical_kernels(mlp, params(mlp, x), x.astype(float))", TypeError, "'b1'.* float32; expected float64"),
    ("ntk.empirical_ntk(None, w, x)", TypeError, "f is None; expected a .*function"),
    ("ntk.empirical_ntk(Unhashable(), w, x)", TypeError, r"f is Unhashable\(\).*; expected"),
    (
        "ntk.empirical_ntk(linear, {}, x)",
        ValueError,
        "params has no leaves; expected a pytree with at least one floating",
    ),
    (
        "ntk.empirical_ntk(linear, w.astype(int), x)",
        ValueError,
        "params has leaves of int.*; expected a pytree with at",
    ),
    ("ntk.empirical_ntk(linear, w, x, method='fast')", ValueError, "method is 'fast'; expected one of 'auto', 'l"),
    ("ntk.empirical_ntk(linear, w, x, batch_size=0)", ValueError, "batch_size is 0; expected an integer of at least"),
    ("ntk.empirical_ntk(linear, w, x, batch_size='all')", ValueError, "batch_size is 'all'; expected one of 'auto'"),
    ("ntk.empirical_ntk(linear, w, x, param_filter='w')", TypeError, "param_filter is 'w'; expected a function of a"),
    (
        "ntk.empirical_ntk(lambda p, x: x @ p['w'], {'w': w}, x, param_filter=lambda path: False)",
        ValueError,
        "param_filter is false for all of w; expected it to be true for some",
    ),
    (
        "ntk.empirical_ntk(linear, w, x, batch_dependent=True, batch_size=2)",
        ValueError,
        "batch_size is 2 with batch_dependent=True; expected None",
    ),
    (
        "ntk.empirical_ntk(linear, w, x, method='vector_products', per_layer=True)",
        ValueError,
        "method is 'vector_products' with per_layer or batch_dependent; expected another method",
    ),
    (
        "ntk.explain_empirical(linear, w, x, method='vector_products')",
        ValueError,
        "method is 'vector_products'; expected one with a rule for every parameter",
    ),
    (
        "ntk.empirical_ntk(looping, 1.0, x)",
        ValueError,
        "f has a loop of unknown length, .* expected lax.scan",
    ),
    (
        "ntk.empirical_ntk(looping, 1.0, x, method='vector_products')",
        ValueError,
        "f has a loop of unknown length, .* expected lax.scan",
    ),
    (
        "ntk.ntk_vector_product(looping, 1.0, x, None, x[:, 0])",
        ValueError,
        "f has a loop of unknown length, .* expected lax.scan",
    ),
    (
        "ntk.empirical_ntk(lambda p, x: x['a'] @ p, w, {'a': x}, {'a': x, 'b': x})",
        ValueError,
        r"x2 has the structure .*'b'.*; expected .* as x1",
    ),
    (
        "ntk.empirical_ntk(lambda p, x: x @ p[:, :0], w, x)",
        ValueError,
        r"^f\(params, x1\) returns outputs of shape \(0,\); expected at",
    ),
    (
        "ntk.ntk_diagonal(linear, w, x, trace_axes=(1,))",
        ValueError,
        r"trace_axes is \(1,\); expected axes of an output",
    ),
    ("ntk.empirical_ntk(linear, w, x, batch_size=2.5)", ValueError, "batch_size is 2.5; expected an integer"),
    (
        "ntk.empirical_ntk(linear, w, x, trace_axes=(1,))",
        ValueError,
        r"trace_axes is \(1,\); expected .* \(2,\), the b",
    ),
    ("ntk.empirical_ntk(linear, w, x, trace_axes=-1)", ValueError, "trace_axes is -1; expected a tuple"),
    ("ntk.empirical_ntk(linear, w, x, trace_axes=None)", ValueError, "trace_axes is None; expected a tuple"),
    ("ntk.empirical_ntk(linear, w, x, trace_axes=(0.5,))", ValueError, r"trace_axes is \(0.5,\); expected a tuple"),
    # It would be divided by its size twice.
    ("ntk.empirical_ntk(linear, w, x, trace_axes=(0, -1))", ValueError, r"trace_axes is \(0, -1\); expected each axis"),
    ("ntk.empirical_ntk(linear, w, x, diagonal_axes=(0, 0))", ValueError, r"diagonal_axes is \(0, 0\); expected each"),
    ("ntk.empirical_ntk(linear, w[:, 0], x, diagonal_axes=(0,))", ValueError, r"diagonal_axes is \(0,\); expected"),
    ("ntk.empirical_ntk(linear, w, None)", ValueError, r"x1 has shapes \[\]; expected arrays with one leading axis"),
    ("ntk.empirical_ntk(linear, w, 'abc')", TypeError, "x1 is 'abc'; expected an array"),
    ("ntk.empirical_ntk(linear, w, x[:0])", ValueError, r"x1 has shapes \[\(0, 3\)\]; expected arrays with one"),
    (
        "ntk.empirical_ntk(linear, w, x, (x, x[:2]))",
        ValueError,
        r"x2 has shapes .*\(2, 3\)\]; expected arrays with one",
    ),
    (
        "ntk.empirical_ntk(lambda p, x: x.sum() * p, 1.0, x)",
        ValueError,
        r"^f\(params, x1\) returns .* 4 inputs; expected one a",
    ),
    (
        "ntk.empirical_ntk(lambda p, x: (x * p, x), 1.0, x)",
        ValueError,
        r"^f\(params, x1\) returns .* 4 inputs; expected one a",
    ),
    (
        "ntk.empirical_ntk(lambda p, x: x.argmax(1), w, x)",
        TypeError,
        r"f\(params, x1\) has dtype int64; expected a real",
    ),
    (
        "ntk.empirical_ntk(lambda p, s: s.sum(2) * p, 1.0, s, s[:, :3])",
        ValueError,
        r"f returns .*\(3,\) for x2; expected \(5,\)",
    ),
]

KERNELS_ALWAYS = [
    ("k('relu', x)", TypeError, "net is 'relu'; expected an ntk.MLP"),
    ("k(ntk.MLP, x)", TypeError, "net is <class .*MLP.>; expected an ntk.MLP"),
    ("k(mlp, None)", TypeError, "x1 is None; expected an array"),
    ("k(mlp, 'abc')", TypeError, "x1 is 'abc'; expected an array"),
    ("k(mlp, [[1.0], [1.0, 2.0]])", TypeError, r"x1 is \[\[1.0\].*; expected an array"),
    ("k(mlp, x.astype(int))", TypeError, "x1 has dtype int64; expected a real floating-point array"),
    ("k(mlp, x, x + 0j)", TypeError, "x2 has dtype complex.*; expected a real floating-point array"),
    ("k(mlp, x[0])", ValueError, r"x1 has shape \(3,\); expected \(N, d\)"),
    ("k(mlp, s)", ValueError, r"x1 has shape \(4, 5, 3\); expected \(N, d\)"),
    ("k(mlp, x, x[:0])", ValueError, r"x2 has shape \(0, 3\); expected \(N, d\) with no empty axis"),
    ("k(rnn, x)", ValueError, r"x1 has shape \(4, 3\); expected \(N, T, d\)"),
    ("k(rnn, s, s[:, :0])", ValueError, r"x2 has shape \(4, 0, 3\); expected \(N, T, d\) with no empty axis"),
    ("k(mlp, x, x[:, :2])", ValueError, "x2 has 2 features; expected 3 as in x1"),
    ("k(mlp, x, lengths1=[1] * 4)", ValueError, "lengths1 is given; expected none, an MLP reads no sequences"),
    ("k(rnn, s, lengths2=[1] * 4)", ValueError, "lengths2 is given without x2; expected lengths1 alone"),
    ("k(rnn, s, lengths1=[1] * 3)", ValueError, r"lengths1 is int64 of shape \(3,\); expected 4 integers"),
    ("k(rnn, s, s, lengths2=[1.0] * 4)", ValueError, r"lengths2 is float64 of shape \(4,\); expected 4 integers"),
    ("k(rnn, s, lengths1='abc')", TypeError, "lengths1 is 'abc'; expected an array"),
]

# What is refused when it can be looked at.
VALUES = [
    ("ntk.MLP(depth=2, w_std=-1.0)", ValueError, "w_std is -1.0; expected a finite number that is not negative"),
    ("ntk.MLP(depth=2, b_std=jnp.nan)", ValueError, "b_std is nan; expected a finite number that is not negative"),
    ("ntk.RNN(v_std=jnp.inf)", ValueError, "v_std is inf; expected a finite number that is not negative"),
    ("ntk.RNN(u_std=jnp.array(-2.0))", ValueError, r"u_std is .*-2\..*; expected a finite number that is not negative"),
    ("erf.dual(-1.0, 0.0, 1.0)", ValueError, r"q11 is .*-1\..*; expected a finite number that is not negative"),
    ("erf.dual(1.0, 0.0, jnp.nan)", ValueError, "q22 is .*nan.*; expected a finite number that is not negative"),
    ("erf.dual(1.0, jnp.nan, 1.0)", ValueError, "q12 .*NaN.*; expected finite numbers"),
    ("erf.dual_derivative(1.0, 2.0, 1.0)", ValueError, r"q12 is 2.0; expected .* at most sqrt\(q11\*q22\) = 1.0"),
    ("erf.error_estimate(1.0, -2.0, 1.0)", ValueError, "q12 is -2.0; expected a covariance of at most"),
    (
        "ntk.activation('exp').dual(1e3, 1e3, 1e3)",
        ValueError,
        r"dual exceeds 1.8e\+308, the range of float64; expected",
    ),
    ("ntk.finite(mlp, 8).apply({}, x * jnp.nan)", ValueError, "x holds 12 entries that are NaN or infinite; expected"),
    ("ntk.finite(rnn, 8).apply({}, s, [1, 2, 0, 5])", ValueError, "lengths goes from 0 to 5; expected .* 1 to T = 5"),
    (
        "measured(mlp, x, w2=jnp.full((8, 8), jnp.nan, x.dtype))",
        ValueError,
        "params.*'w2'.* holds 64 entries .*; expected fin",
    ),
    ("measured(mlp, x, w2=jnp.full((8, 8), 1e30, x.dtype))", ValueError, r"C exceeds 3.4e\+38, .* float32; expected"),
    ("ntk.infinite_ntk(cubes, 9 * x.astype(float))", ValueError, r"ntk exceeds 1.8e\+308, .* float64; expected"),
    (
        "ntk.empirical_ntk(linear, w, x, x * jnp.inf)",
        ValueError,
        "x2 holds 12 entries that are NaN or infinite; expected",
    ),
    ("ntk.empirical_ntk(linear, w, 1e30 * x)", ValueError, r"exceeds 3.4e\+38, the range of float32; expected"),
    ("ntk.empirical_ntk(lambda p, x: x - p * x[0], 2.0, x)", ValueError, "f mixes the inputs .*; expected a function"),
]
KERNELS_VALUES = [
    (
        "k(jax.tree.map(jnp.negative, mlp), x)",
        ValueError,
        r"w_std is .*-1\..*; expected a finite number that is not negative",
    ),
    ("k(mlp, x * jnp.nan)", ValueError, "x1 holds 12 entries that are NaN or infinite; expected finite numbers"),
    ("k(rnn, s, s + jnp.inf)", ValueError, "x2 holds 60 entries that are NaN or infinite; expected finite numbers"),
    ("k(rnn, s, lengths1=[1, 2, 3, 6])", ValueError, "lengths1 goes from 1 to 6; expected lengths from 1 to T = 5"),
    ("k(rnn, s, s[:, :4], lengths2=[1, 0, 3, 4])", ValueError, "lengths2 goes from 0 to 4; expected .* 1 to T = 4"),
    ("k(ntk.MLP(depth=2, w_std=1e30), x)", ValueError, r"exceeds 3.4e\+38, the range of float32; expected"),
]


class Unhashable:
    __hash__ = None

    def __call__(self, params, x):
        return x @ params

    def __repr__(self):
        return "Unhashable()"


def names(ntk):
    """What the calls of the tables may use."""
    mlp, rnn = ntk.MLP(depth=2), ntk.RNN()

    def params(net, x):
        """Parameters of ones for width 8, in the dtype of x."""
        shapes = jax.eval_shape(ntk.finite(net, 8).init, jax.random.key(0), x)
        return jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)

    def measured(net, x, **changed):
        return ntk.empirical_kernels(net, {"params": params(net, x)["params"] | changed}, x)

    def empirical_kernels(net, x1, x2=None, **lengths):
        """As the limits are called: with parameters that fit the network."""
        fitting = params(mlp, VECTORS) if isinstance(net, ntk.MLP) else params(rnn, SEQUENCES)
        return ntk.empirical_kernels(net, fitting, x1, x2, **lengths)

    def looping(step, x):
        def to_nine(y):
            return jax.lax.while_loop(lambda y: y < 9.0, lambda y: y + jnp.asarray(step, y.dtype), y)

        return jax.lax.map(to_nine, x.sum(1))

    return {
        **{"looping": looping},
        **{"ntk": ntk, "jax": jax, "jnp": jnp, "params": params, "measured": measured, "Unhashable": Unhashable},
        **{"mlp": mlp, "rnn": rnn, "erf": ntk.activation("erf")},
        **{"w": np.ones((3, 2), "float32"), "linear": lambda params, x: x @ params},
        "cubes": ntk.MLP(depth=9, activation="cube"),
        "kernels": {"empirical_kernels": empirical_kernels}
        | {name: getattr(ntk, name) for name in ("infinite_kernels", "infinite_ntk")},
    }


def assert_refused(call, exception, sentence):
    with pytest.raises(exception, match=sentence) as refusal:
        call()
    assert refusal.type is exception
    assert str(refusal.value).endswith(".")
    # The value of an array may take several lines, everything else is one.
    assert "\n" not in str(refusal.value) or "array(" in str(refusal.value)


def run(code, namespace, x=VECTORS, s=SEQUENCES):
    return eval(code, namespace | {"x": x, "s": s})


def rows(table):
    return pytest.mark.parametrize(("code", "exception", "sentence"), table, ids=[row[0] for row in table])


@rows(ALWAYS)
def test_always_refused(plain, code, exception, sentence):
    namespace = names(plain)
    assert_refused(lambda: run(code, namespace), exception, sentence)
    traced = jax.jit(lambda x, s: run(code, namespace, x, s) and None)
    assert_refused(lambda: traced(VECTORS, SEQUENCES), exception, sentence)


@pytest.mark.parametrize("function", ["infinite_kernels", "infinite_ntk", "empirical_kernels"])
@rows(KERNELS_ALWAYS)
def test_always_refused_by_every_kernel(plain, function, code, exception, sentence):
    namespace = names(plain)
    namespace["k"] = namespace["kernels"][function]
    assert_refused(lambda: run(code, namespace), exception, sentence)
    traced = jax.jit(lambda x, s: run(code, namespace, x, s) and None)
    assert_refused(lambda: traced(VECTORS, SEQUENCES), exception, sentence)


@rows(VALUES)
def test_values_refused(plain, code, exception, sentence):
    assert_refused(lambda: run(code, names(plain)), exception, sentence)


@pytest.mark.parametrize("function", ["infinite_kernels", "infinite_ntk", "empirical_kernels"])
@rows(KERNELS_VALUES)
def test_values_refused_by_every_kernel(plain, function, code, exception, sentence):
    namespace = names(plain)
    namespace["k"] = namespace["kernels"][function]
    assert_refused(lambda: run(code, namespace), exception, sentence)


BOUNDED = ("erf", "tanh", "sin", "gaussian", "sign", "step")
GROWING = ("identity", "relu", "gelu", "softplus", "exp", "square")


@pytest.mark.parametrize("function", ["infinite_kernels", "infinite_ntk"])
@pytest.mark.parametrize("activation", [*BOUNDED, *GROWING])
def test_overflow_is_infinite_under_jit(plain, function, activation):
    """σ_w² = 1e60 is beyond float32. Nothing turns to NaN, which would point to the data."""
    net = plain.MLP(depth=3, activation=activation, w_std=1e30)
    kernel = jax.jit(lambda x: getattr(plain, function)(net, x))(VECTORS)
    leaves = {"ntk": kernel} if function == "infinite_ntk" else vars(kernel)
    for field, leaf in leaves.items():
        assert not np.isnan(leaf).any(), field
    if activation in GROWING:
        assert np.isinf(np.diag(leaves["ntk"])).all()


@pytest.mark.parametrize("function", ["infinite_kernels", "infinite_ntk", "empirical_kernels"])
@pytest.mark.parametrize("network", ["mlp", "rnn"])
def test_nan_stays_nan_under_jit(plain, function, network):
    """Also where an activation is bounded; entries of other inputs are not touched."""
    namespace = names(plain)
    x = VECTORS.copy() if network == "mlp" else SEQUENCES.copy()
    x[1, 0] = np.nan
    kernel = jax.jit(lambda x: namespace["kernels"][function](namespace[network], x))(x)
    kernel = np.asarray(kernel if function == "infinite_ntk" else kernel.ntk)
    assert np.isnan(kernel[1]).all()
    assert np.isnan(kernel[:, 1]).all()
    assert np.isfinite(np.delete(np.delete(kernel, 1, 0), 1, 1)).all()


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", "tanh", "sin", "sign", "gaussian", "square", jnp.tanh])
def test_nan_stays_nan_in_the_dual_maps_under_jit(plain, activation):
    chosen = plain.activation(activation)
    for method in (chosen.dual, chosen.dual_derivative):
        for place in range(3):
            covariance = [1.0, 0.5, 1.0]
            covariance[place] = np.nan
            assert np.isnan(jax.jit(method)(*covariance))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint64"])
def test_lengths_of_every_integer_type(plain, dtype):
    """Sequences longer than an int8 counts, and types that JAX promotes to floats beside int64."""
    s = np.tile(SEQUENCES, (1, 30, 1))
    lengths = np.array([5, 1, 100, 3])
    expected = plain.infinite_ntk(plain.RNN(), s, lengths1=lengths)
    np.testing.assert_array_equal(plain.infinite_ntk(plain.RNN(), s, lengths1=lengths.astype(dtype)), expected)
