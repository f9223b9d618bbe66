"""Fields: kernels on arrays of positions are those of the same program with a vector for each position."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, DERIVATIVE, DIFFERENCE, SAME_FORMULA

import ntk
from ntk.programs.at_width.model import forward
from ntk.programs.limit.arrays import kernels
from ntk.programs.limit.arrays.kernels import is_on_arrays
from ntk.programs.limit.evaluation import exact_limits, forms_of
from ntk.programs.limit.unrolling import name_at, unrolled
from ntk.programs.options import numbers_as


@ntk.tensor_program
def residual(net, x, *, w_std=1.3, b_std=0.2):
    """Strides, a skip connection at every other position, reversal, overlapping pools, padding, two read-outs."""
    relu, erf, b = net.phi("relu"), net.phi("erf"), net.bias("b", b_std)
    z = net.convolution("first", (2, 3), w_std) @ x
    z = z + net.convolution("branch", (3, 2), w_std, dilation=(1, 2), padding="circular") @ relu(z) + b
    y = net.matrix("skip") @ z[::2] + net.convolution("down", (3, 3), w_std, strides=(2, 1)) @ erf(z)
    y = y[:, ::-1] + 0.5 * y.pooled(1, 2, strides=(1, 1)).padded((0, 0), (1, 0)) + net.bias("c", b_std)
    return net.output("v") @ relu(y).pooled() + net.output("u") @ relu(net.matrix("last") @ y[1] - 0.3)


@ntk.tensor_program
def shared(net, x):
    """One matrix at every position and twice; a function of sums of positions; products with a vector without any."""
    W, phi = net.matrix("w", 1.2), net.phi("relu")
    z = phi(net.input_matrix("u") @ x)
    z = phi(W @ z + W @ z[::-1] + net.bias("b"))
    return net.output("v") @ (phi(W @ z.pooled()) + net.phi("tanh")(W @ z.pooled() + 1.0) + W @ z.pooled())


def inputs(shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    x[1] = x[0]  # a duplicate
    x[0, 1] = x[0, 0]  # and, in one input, equal positions
    return x


def unrolled_kernels(program, x1, x2, only_ntk=True):
    flat = [None if x is None else jnp.asarray(x).reshape(len(x), -1) for x in (x1, x2)]
    return exact_limits(
        forms_of(unrolled(program.record(x1.shape[1:]))), only_ntk, 4, numbers_as(program, jnp.dtype("float64")), *flat
    )


@ntk.tensor_program
def graph(net, x):
    """Two layers over a graph, and read-outs whose coefficients depend on the input."""
    adjacency, z, phi = net.table(np.random.default_rng(0).random((3, 3))), x, net.phi("relu")
    z = phi(adjacency @ (net.input_matrix("u") @ z) + net.bias("b"))
    z = phi(net.table([0.5, 1.0, 2.0]) * (adjacency @ (net.matrix("w") @ z)) + net.bias("c"))
    return net.output("v") @ z + net.output("q") @ z.pooled() + z[0].mean() * (net.output("r") @ z)


@ntk.tensor_program
def causal(net, x, *, epsilon=1e-5):
    """Masked attention over embedded positions, and layer norm over entries and over positions."""
    phi, count = net.phi("erf"), len(x)
    keys = net.input_matrix("u") @ x + net.bias("places", 0.5, axes=(count,))
    scores = (keys[:, None] * keys[None]).mean()
    z = keys + net.softmax(scores, np.tril(np.ones((count, count), bool))) @ keys
    z = ntk.architectures.layer_norm(net, z, epsilon)
    z = z + net.matrix("w") @ phi(z + net.bias("b", 0.3))
    size = net.scalar(lambda squares: jnp.mean(squares) ** -0.5, over=1)((z * z).mean())
    return net.output("v") @ (size * z).pooled()


@ntk.tensor_program
def local(net, x):
    """Convolutions with a matrix at each position, of an image and of a row of it; zeros between positions."""
    phi = net.phi("relu")
    z = (net.convolution("first", (2, 2), 1.3, shared=False) @ x)[:, 1] + net.bias("b", 0.2)
    y = phi(net.convolution("second", (3,), 1.2, strides=(2,), padding="circular", shared=False) @ phi(z))
    y = net.convolution("up", (2,), 1.1) @ y.padded((0, 1, 1)) + z[::-1].padded((0, 1))
    return net.output("v") @ phi(y).pooled() + net.output("u") @ y


@ntk.tensor_program
def read_twice(net, x):
    """One field is read position by position, and enters a mean over positions, which looks at all pairs."""
    z = net.input_matrix("u") @ x
    return net.output("v") @ net.phi("relu")(z).pooled() + net.output("w") @ z


@ntk.tensor_program
def crossed(net, x):
    """Rows beside columns, with a matrix for each position of both."""
    w = net.convolution("w", (1, 2), 1.3, shared=False)
    return net.output("v") @ net.phi("relu")(w @ x + (w @ x[::-1])[:, 0][None])


@ntk.tensor_program
def transposed(net, x):
    """A square beside its transpose, sums over its first axis, and a mean that depends on the order of the axes."""
    phi, z = net.phi("relu"), net.input_matrix("u") @ x + net.bias("b", 0.4, axes=(2, 2))
    z = phi(z + 0.5 * z.transposed())
    z = (net.table([[0.3, 0.7], [1.0, -0.5]]) @ z.transposed()).transposed() + net.table([[1.0, 2.0]]) * z
    y = phi(net.matrix("w", 1.2) @ z.transposed(1, 0))
    return net.output("v") @ y + z.transposed()[0, 1].mean() * (net.output("q") @ y.transposed().pooled())


CASES = {
    "transposed": (transposed, (2, 2, 2, 1)),
    "crossed": (crossed, (2, 2, 2, 1)),
    "read twice": (read_twice, (2, 3, 2)),
    "local": (local, (2, 3, 2, 1)),
    "graph": (graph, (2, 3, 2)),
    "causal": (causal, (2, 3, 2)),
    "residual": (residual, (2, 3, 2, 1)),
    "shared": (shared, (2, 2, 2)),
    "transformer": (ntk.architectures.transformer(depth=2), (2, 3, 2)),
    "pooled": (ntk.architectures.cnn_1d(depth=2, pool_size=2), (3, 7, 2)),
    "flatten": (ntk.architectures.cnn_2d(activation="gelu"), (3, 3, 2, 1)),
}
SLOW = "causal", "shared", "local", "crossed", "residual", "transposed", "transformer", "pooled", "flatten"
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CASES]
# Attention on arrays has formulas of its own in test_field_edges.py, and layer norm below.
KERNELS = [pytest.param(name, marks=pytest.mark.slow) if name in (*SLOW, "graph") else name for name in CASES]


@pytest.mark.parametrize("name", KERNELS)
def test_arrays_of_positions_agree_with_a_vector_for_each(name):
    program, shape = CASES[name]
    x1, x2 = inputs(shape), inputs(shape, seed=1)[:1]
    assert is_on_arrays(forms_of(program.record(shape[1:])))
    expected = unrolled_kernels(program, x1, x2)
    found = ntk.infinite_kernels(program, x1, x2)
    np.testing.assert_allclose(found.ntk, expected.ntk, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(found.nngp, expected.nngp, rtol=CLOSED_FORM["float64"])


@ntk.tensor_program
def watched(net, x):
    """Two convolutions, both watched, and read-outs of each position and of the mean."""
    phi = net.phi("relu")
    h = net.watch("h", net.convolution("u", (3,), padding="same") @ x + net.bias("b", 0.3))
    z = net.watch("z", phi(net.convolution("w", (2,), padding="valid") @ phi(h)))
    return net.output("v") @ z + net.output("q") @ z.pooled()


@pytest.mark.slow
def test_moments_of_a_watched_field_are_those_of_each_position():
    """Two inputs to a tile, against the reading with a vector for each position."""
    x = inputs((3, 4, 2))
    found, expected = ntk.infinite_kernels(watched, x, tile_size=2), unrolled_kernels(watched, x, None, only_ntk=False)
    for name, count in (("h", 4), ("z", 3)):
        for of, part in ((found.C, expected.C), (found.D, expected.D)):
            each = np.stack([part[f"{name}[{place}]"] for place in range(count)], axis=-1)
            np.testing.assert_allclose(of[name], each, rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
def test_measured_moments_of_a_watched_field():
    """C = x·x̄/n and D = dx·dx̄/n at each position, dx = √n ∇f."""
    x, n = jnp.asarray(inputs((2, 4, 2))), 5
    model = ntk.finite(watched, n)
    params = model.init(jax.random.key(0), x)
    _, vectors = model.trace(params, x, {})
    taps = jax.tree.map(jnp.zeros_like, vectors)
    slopes = jax.grad(lambda taps: jnp.sum(model.trace(params, x, taps)[0]))(taps)
    found = ntk.empirical_kernels(watched, params, x)
    for name in ("h", "z"):
        C = np.einsum("ipn,jpn->ijp", vectors[name], vectors[name]) / n
        np.testing.assert_allclose(found.C[name], C, rtol=SAME_FORMULA["float64"])
        D = np.einsum("ipn,jpn->ijp", slopes[name], slopes[name])
        np.testing.assert_allclose(found.D[name], D, rtol=SAME_FORMULA["float64"], atol=SAME_FORMULA["float64"])


def test_tiles_make_one_symmetric_kernel():
    x = np.concatenate([inputs((2, 3, 2)), inputs((3, 3, 2), seed=1)])
    whole, tiled = ntk.infinite_ntk(read_twice, x), ntk.infinite_ntk(read_twice, x, tile_size=2)
    np.testing.assert_allclose(tiled, whole, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(tiled, tiled.T, rtol=CLOSED_FORM["float64"])
    assert np.linalg.eigvalsh(tiled)[0] > -1e-12 * np.linalg.eigvalsh(tiled)[-1]  # rounding of the eigenvalues


@pytest.mark.parametrize("name", NAMES)
def test_networks_of_fields_agree_with_a_vector_for_each_position(name):
    """The parameters of one position are those of the array at that place."""
    program, shape = CASES[name]
    x = jnp.asarray(inputs(shape))
    model, recording = ntk.finite(program, 4), program.record(shape[1:])
    params = model.init(jax.random.key(1), x)
    read = {weight.name: len(vector.shape) for weight, vector in recording.output.vectors}
    of_positions = {
        name_at(name, place): params[name][place]
        for name, parameter in recording.parameters.items()
        for place in np.ndindex(params[name].shape[: read.get(name, len(parameter.axes))])
    }
    expected = forward(unrolled(recording), numbers_as(program, x.dtype), of_positions, x, 4, {})[0]
    # Outputs are sums of numbers of order 1, and may nearly cancel.
    np.testing.assert_allclose(model.apply(params, x), expected, rtol=CLOSED_FORM["float64"], atol=1e-13)


@pytest.mark.parametrize("program", [pytest.param(causal, marks=pytest.mark.slow), local])
def test_empirical_kernels_of_fields_are_those_of_jacobians(program):
    x = jnp.asarray(inputs((2, 3, 2) if program is causal else (2, 3, 2, 1)))
    model = ntk.finite(program, 4)
    params = model.init(jax.random.key(1), x)
    jacobian = jax.jit(jax.jacobian(model.apply))(params, x)
    rows = np.concatenate([np.reshape(part, (len(x), -1)) for part in jax.tree.leaves(jacobian)], axis=1)
    measured = ntk.programs.measured(program, params, x)
    np.testing.assert_allclose(measured.ntk, rows @ rows.T, rtol=CLOSED_FORM["float64"])


def test_an_index_means_what_it_means_to_numpy():
    """At finite width, where every position is a row of numbers and the output a weighted sum of them all."""

    @ntk.tensor_program
    def rearranged(net, x):
        z = net.input_matrix("u") @ x
        z = z[1:, None, ::-2] + z[0, -1] + z[..., -1][:2][::-1][:, None, None]
        return net.output("v") @ (z.padded((0, 1), (0, 0), (2, 0, 1)) + 1.0).transposed(1, 2, 0)

    x = np.random.default_rng(2).normal(size=(1, 3, 4, 2))
    model = ntk.finite(rearranged, 5)
    params = model.init(jax.random.key(0), x)
    z = x[0] @ np.asarray(params["u"]) / 2**0.5
    z = z[1:, None, ::-2] + z[0, -1] + z[:, -1][:2][::-1][:, None, None]
    apart = np.insert(z, [1], 0.0, axis=2)  # of two positions
    z = np.pad(apart, ((0, 1), (0, 0), (2, 0), (0, 0)))
    z, v = np.transpose(z + 1.0, (1, 2, 0, 3)), params["v"]
    np.testing.assert_allclose(
        model.apply(params, x)[0], np.sum(v * z) / (5 * z[..., 0].size) ** 0.5, rtol=CLOSED_FORM["float64"]
    )


def test_layer_norm_of_fields_is_read_position_by_position():
    """(z − μ)/s of a Gaussian z is z over its deviation."""

    @ntk.tensor_program
    def normalized(net, x):
        z = ntk.architectures.layer_norm(net, net.input_matrix("u") @ x + net.bias("b"))
        return net.output("v") @ z.pooled()

    x = inputs((3, 2, 3))
    assert is_on_arrays(forms_of(normalized.record(x.shape[1:])))
    covariances = np.einsum("npd,mqd->npmq", x, x) / 3 + 1
    deviations = np.sqrt(np.einsum("npnp->np", covariances))
    expected = np.mean(covariances / deviations[:, :, None, None] / deviations, axis=(1, 3))
    found = ntk.infinite_kernels(normalized, x)
    assert found.samples == 0
    np.testing.assert_allclose(found.nngp, expected, rtol=CLOSED_FORM["float64"])


def test_derivatives_and_transformations():
    net, x = ntk.architectures.cnn_1d(depth=1), jnp.asarray(inputs((2, 3, 2)))[1:]

    def trace(w_std, x):
        return jnp.trace(ntk.infinite_ntk(net(w_std=w_std), x))

    several = jax.vmap(jax.value_and_grad(trace, argnums=(0, 1)), in_axes=(0, None))
    step = 1e-5
    values, (slopes, in_x) = jax.jit(several)(jnp.array([1.3, 1.3 + step, 1.3 - step]), x)
    np.testing.assert_allclose(values[0], trace(1.3, x), rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(slopes[0], (values[1] - values[2]) / (2 * step), rtol=DIFFERENCE["float64"])
    assert np.all(np.isfinite(in_x))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn_1d", "rnn"])
def test_derivatives_in_inputs_are_those_of_a_vector_for_each(name):
    """First and second order, eager and jitted, beside a duplicate, opposites, equal positions and a zero position."""
    program = getattr(ntk.architectures, name)(depth=1) if name != "rnn" else ntk.architectures.rnn(pooling="mean")
    x = inputs((4, 4, 2))
    x[2, -1], x[3] = 0.0, -x[0]
    x, direction = jnp.asarray(x), jnp.asarray(inputs((4, 4, 2), seed=1))

    def found(x):
        return jnp.sum(jnp.sin(ntk.infinite_ntk(program, x)))

    def expected(x):
        return jnp.sum(jnp.sin(unrolled_kernels(program, x, None).ntk))

    def both(fn, x):
        return jax.jvp(jax.grad(fn), (x,), (direction.astype(x.dtype),))

    slopes, products = jax.jit(functools.partial(both, expected))(x)
    for derivatives in (both, jax.jit(both, static_argnums=0)):
        in_x, along = derivatives(found, x)
        for each, correct in ((in_x, slopes), (along, products)):
            atol = DERIVATIVE["float64"] * float(jnp.max(jnp.abs(correct)))
            np.testing.assert_allclose(each, correct, rtol=DERIVATIVE["float64"], atol=atol)
    single = jax.grad(found)(x.astype(jnp.float32))
    np.testing.assert_allclose(single, slopes, rtol=0, atol=DERIVATIVE["float32"] * float(jnp.max(jnp.abs(slopes))))


def test_what_does_not_fit_into_memory_is_refused_before_it_is_computed():
    """256×256 positions make 2³² pairs."""
    program = ntk.architectures.cnn_2d(depth=1, pooling="mean")
    with pytest.raises(ValueError, match=r"kernels of 1 inputs with 1 take about 256 GiB, for arrays of 4294967296"):
        ntk.infinite_ntk(program, np.ones((1, 256, 256, 1), np.float32))


def test_tables_count_among_what_has_to_fit_into_memory(monkeypatch):
    """A table of P² numbers in a program with P = 2 positions, where all else takes less than 16·4 numbers."""

    def scaled(size):
        @ntk.tensor_program
        def program(net, x):
            largest = net.scalar(jnp.max, over=2)(net.table(np.ones((size, size))))
            return net.output("v") @ (largest * (net.input_matrix("u") @ x)).pooled()

        return program

    x = np.ones((1, 2, 3))
    monkeypatch.setattr(kernels, "device_memory", lambda: 8 * 1000)
    # C = τ = ξ·ξ̄/d = 1, so that Θ = 2.
    np.testing.assert_allclose(ntk.infinite_ntk(scaled(20), x), [[2.0]], rtol=CLOSED_FORM["float64"])
    with pytest.raises(ValueError, match=r"arrays of 4 pairs of positions and tables of 1600 numbers; expected"):
        ntk.infinite_ntk(scaled(40), x)


REFUSED = {
    "window": (lambda net, z: net.convolution("w", 3) @ z, r"window of 'w' is 3; expected a tuple"),
    "stride": (lambda net, z: net.convolution("w", (3, 3), strides=(0, 1)) @ z, "strides of 'w' is 0; expected an"),
    "axes": (
        lambda net, z: net.convolution("w", (3,)) @ z,
        r"'w' is applied to axes \(3, 2\); expected 1 position",
    ),
    "number": (
        lambda net, z: net.convolution("w", (3, 3)) @ 1.0,
        "'w' is applied to 1.0; expected a part of the input",
    ),
    "index": (lambda net, z: z[5], r"axes \(3, 2\) is indexed by 5; expected one of 3 positions"),
    "many": (lambda net, z: z[0, 0, 0], r"axes \(3, 2\) is given 3 indices; expected at most 2"),
    "list": (lambda net, z: z[[0, 1]], r"indexed by \[0, 1\]; expected integers, slices"),
    "pool": (lambda net, z: z.pooled(4, 1), r"windows is \(4, 1\); expected windows that fit"),
    "pad": (lambda net, z: z.padded((1, 1)), "widths is .*; expected a pair for each"),
    "order": (lambda net, z: z.transposed(0, 0), r"order is \(0, 0\); expected each of the axes \(0, 1\) once"),
    "zeros": (lambda net, z: z.padded((1,), (0, 0)), r"widths has \(1,\); expected counts of zeros: before, after"),
    "shared": (lambda net, z: net.convolution("w", (3, 3), shared=0) @ z, "shared is 0; expected"),
    "meet": (lambda net, z: z + z[:2], r"fields with axes \(3, 2\), \(2, 2\) meet; expected axes that broadcast"),
    "no axes": (lambda net, z: sum(z[0, 0]), "a vector without position axes has no length"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_what_is_expected(name, plain):
    made, sentence = REFUSED[name]
    program = plain.tensor_program(lambda net, x: net.output("v") @ made(net, net.input_matrix("u") @ x))
    with pytest.raises((ValueError, TypeError), match=sentence):
        plain.infinite_ntk(program, np.ones((1, 3, 2, 2)))
