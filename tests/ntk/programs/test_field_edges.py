"""Edge cases of programs with position axes: positions that must stay distinct, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM

import ntk
from ntk.programs.limit.arrays.kernels import is_on_arrays
from ntk.programs.limit.arrays.marks import Marks
from ntk.programs.limit.evaluation import exact_limits, forms_of
from ntk.programs.limit.unrolling import unrolled

pytestmark = pytest.mark.slow


def relu_nngp(K):
    """E relu(u)relu(ū) for covariances K of all u (Cho & Saul 2009)."""
    scale = np.sqrt(np.outer(np.diag(K), np.diag(K)))
    rho = np.clip(K / scale, -1.0, 1.0)
    return scale * (np.sqrt(1 - rho**2) + (np.pi - np.arccos(rho)) * rho) / (2 * np.pi)


# A matrix and its transpose, or bars of 0 and 1, must not be taken for one patch of an image.
TRANSPOSED = {
    "patch": (lambda net, x: net.convolution("w", (2, 2), padding="valid") @ x, (2, 2, 1), (1, 0, 2)),
    "channels": (lambda net, x: net.convolution("w", (3,), padding="valid") @ x, (3, 3), (1, 0)),
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_patch_is_not_its_transpose(name):
    convolve, shape, axes = TRANSPOSED[name]
    program = ntk.tensor_program(lambda net, x: net.output("v") @ net.phi("relu")(convolve(net, x)))
    one = np.random.default_rng(0).normal(size=shape)
    x = np.stack([one, one.transpose(axes)])
    flat = x.reshape(2, -1)
    expected = relu_nngp(flat @ flat.T / flat.shape[1])
    np.testing.assert_allclose(ntk.infinite_kernels(program, x).nngp, expected, rtol=CLOSED_FORM["float64"])


def test_signs_of_a_table_do_not_cancel():
    """±(U + W)x for two positions: E relu(u)relu(−u) = 0."""

    @ntk.tensor_program
    def signs(net, x):
        z = net.table(np.array([1.0, -1.0])) * (net.input_matrix("u") @ x + net.input_matrix("w") @ x)
        return net.output("v") @ net.phi("relu")(z).pooled()

    found = ntk.infinite_kernels(signs, np.ones((1, 2, 1))).nngp
    np.testing.assert_allclose(found, [[0.5]], rtol=CLOSED_FORM["float64"])  # (1 + 0 + 0 + 1)/4


@pytest.mark.parametrize("seed", range(3))
def test_nodes_of_a_graph_with_other_neighbours_differ(seed):
    """A mean over the nodes of relu(A U x), by the covariances of all nodes."""
    rng = np.random.default_rng(seed)
    adjacency, x = (rng.random((40, 40)) < 0.1).astype(float), rng.normal(size=(1, 40, 3))
    adjacency[:, 0] = 1.0  # no node without neighbours
    program = ntk.tensor_program(
        lambda net, x: net.output("v") @ net.phi("relu")(net.table(adjacency) @ (net.input_matrix("u") @ x)).pooled()
    )
    K = adjacency @ (x[0] @ x[0].T / 3) @ adjacency.T
    found = ntk.infinite_kernels(program, x).nngp[0, 0]
    np.testing.assert_allclose(found, relu_nngp(K).mean(), rtol=CLOSED_FORM["float64"])


def test_marks_of_different_patches_are_different():
    """Of all 3×3 patches of 0 and 1, and of ±1: none twice, in either word."""
    patches = np.indices((2,) * 9).reshape(9, -1).T.reshape(-1, 3, 3, 1)

    @ntk.tensor_program
    def network(net, x):
        return net.output("v") @ (net.convolution("w", (3, 3), padding="valid") @ x)

    recording = network.record((3, 3, 1))
    (z,) = (vector for _, vector in recording.output.vectors)
    for images in (patches, 2 * patches - 1):
        for word in Marks(jnp.asarray(images.reshape(-1, 9), float)).of(z):
            assert len(np.unique(np.asarray(word))) == len(patches)


def test_a_function_of_a_field_and_of_scalars_with_axes_at_finite_width():
    """As many positions as coordinates, so that axes could be taken for each other."""

    @ntk.tensor_program
    def scaled(net, x):
        z = net.input_matrix("u") @ x
        return net.output("v") @ net.phi(lambda a, b: a * b)(z, (z * z).mean())

    x = np.random.default_rng(1).normal(size=(1, 4, 2))
    model = ntk.finite(scaled, 4)
    params = model.init(jax.random.key(0), x)
    z = x[0] @ np.asarray(params["u"]) / 2**0.5
    expected = np.sum(np.asarray(params["v"]) * z * np.mean(z**2, axis=1, keepdims=True)) / 4
    np.testing.assert_allclose(model.apply(params, x)[0], expected, rtol=CLOSED_FORM["float64"])


def attention_over_rows(net, x):
    """The weights have fewer axes than the field that they mix."""
    z = net.phi("erf")(net.input_matrix("u") @ x)
    weights = net.softmax((z[0][:, None] * z[0][None]).mean())
    return net.output("v") @ ((weights @ z).mean() * z)


def table_of_rows(net, x):
    table = net.table(np.random.default_rng(0).normal(size=(3, 2)))
    return net.output("v") @ net.phi("erf")(table @ (net.input_matrix("u") @ x))


def cropped(net, x):
    """One index into axes of different sizes."""
    z = net.phi("erf")(net.convolution("a", (3,)) @ x)
    return net.output("v") @ (z[:2] + net.phi("erf")(net.convolution("b", (2,), padding="valid") @ z)[:2])


def means_of_two_depths(net, x):
    """A function at each position beside a function of a mean over positions."""
    z = net.phi("erf")(net.input_matrix("u") @ x)
    mean = net.phi("relu")(net.matrix("w") @ z).pooled().pooled()
    return net.output("v") @ (z.pooled().pooled() + net.phi("erf")(net.matrix("m") @ mean))


@pytest.mark.parametrize(
    "fn",
    [
        means_of_two_depths,
        *(pytest.param(fn, marks=pytest.mark.slow) for fn in (cropped, table_of_rows, attention_over_rows)),
    ],
)
def test_axes_of_unequal_fields(fn):
    """The kernels on arrays are those of a vector for each position."""
    program, x = ntk.tensor_program(fn), np.random.default_rng(2).normal(size=(2, 3, 2) if fn is cropped else (2,) * 4)
    recording = program.record(x.shape[1:])
    assert is_on_arrays(forms_of(recording))
    expected = exact_limits(forms_of(unrolled(recording)), True, 4, {}, jnp.asarray(x.reshape(2, -1)), None)
    found = ntk.infinite_kernels(program, x)
    np.testing.assert_allclose(found.ntk, expected.ntk, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(found.nngp, expected.nngp, rtol=CLOSED_FORM["float64"])


def test_the_rounding_of_a_difference_is_not_a_variance():
    """z − Az where all neighbours are equal is 0, up to a rounding that may be negative."""
    adjacency = np.random.default_rng(0).random((5, 5))
    adjacency /= adjacency.sum(axis=1, keepdims=True)

    @ntk.tensor_program
    def difference(net, x):
        z = net.input_matrix("u") @ x
        return net.output("v") @ net.phi("relu")(z - net.table(adjacency) @ z).pooled()

    x = np.broadcast_to(np.random.default_rng(1).normal(size=(3, 1, 7)), (3, 5, 7))
    assert np.max(np.abs(ntk.infinite_ntk(difference, x))) < 1e-7  # √ε


@pytest.mark.slow
def test_long_chains_of_matrices_have_marks():
    def chain(net, x):
        z = net.input_matrix("u") @ x
        for number in range(160):
            z = net.matrix(f"w{number}") @ z
        return net.output("v") @ z

    recording = ntk.tensor_program(chain).record((2, 1))
    assert Marks(jnp.ones((3, 2))).of(recording.output.vectors[0][1]).word1.shape == (3, 2)


def test_numbers_of_tables_in_programs_without_fields():
    """Σ of a table is a number that may be a standard deviation: 3² x·x/d."""

    @ntk.tensor_program
    def network(net, x):
        return net.output("v") @ (
            net.input_matrix("u", net.scalar(jnp.sum, over=1)(net.table(np.array([1.0, 2.0])))) @ x
        )

    x = np.array([[1.0, 2.0]])
    np.testing.assert_allclose(ntk.infinite_kernels(network, x).nngp, [[22.5]], rtol=CLOSED_FORM["float64"])
    assert ntk.finite(network, 3).init(jax.random.key(0), x)["u"].shape == (2, 3)


def test_the_moment_of_a_zero_field_has_its_positions():
    @ntk.tensor_program
    def uniform(net, x):
        z = net.input_matrix("u") @ x
        return net.output("v") @ (net.softmax((0.0 * z[:, None] * z[None]).mean()) @ z).pooled()

    x = np.random.default_rng(3).normal(size=(1, 3, 2))
    model = ntk.finite(uniform, 3)
    params = model.init(jax.random.key(0), x)
    expected = np.mean(x[0] @ np.asarray(params["u"]) / 2**0.5, axis=0) @ np.asarray(params["v"]) / 3**0.5
    np.testing.assert_allclose(model.apply(params, x)[0], expected, rtol=CLOSED_FORM["float64"])


def larger(net, x, i, j):
    """A function of all moments that jumps where two of them are equal."""
    z = net.input_matrix("u") @ x
    size = net.scalar(lambda a: jnp.where(a[i] > a[j], 2.0, 1.0) + 0.0 * a, over=1)((z * z).mean())
    return net.output("v") @ (size * z)


def test_a_jump_between_two_of_many_positions_is_seen(plain):
    x = np.random.default_rng(4).normal(size=(1, 40, 2))
    x[0, 17] = x[0, 9]
    with pytest.raises(ValueError, match="jumps at its limit"):
        plain.infinite_ntk(plain.tensor_program(lambda net, x: larger(net, x, 17, 9)), x)
    plain.infinite_ntk(plain.tensor_program(lambda net, x: larger(net, x, 17, 10)), x)


REFUSED = {
    "offset": (lambda net, z: net.output("v") @ z + (z * z).mean(), r"output meets scalars with axes \(2,\)"),
    "factor": (lambda net, z: net.table(np.ones(2)) * (net.output("v") @ z), r"output meets scalars with axes \(2,\)"),
    "std": (lambda net, z: net.output("v", net.table(np.ones(2))) @ z, r"std of 'v' has axes \(2,\); expected one"),
    "brackets": (lambda net, z: net.output("v[0]") @ z, r"the name 'v\[0\]'; expected one without brackets"),
    "two roles": (
        lambda net, z: (lambda v: v @ (net.phi("relu")(z + v)))(net.output("v")),
        "output weight 'v' reads a field, and is a vector",
    ),
    "two sizes": (
        lambda net, z: net.output("v") @ (net.bias("b", axes=(2,)) + net.bias("b") + z),
        "expected the same kind, std, axes and number of inputs",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name, plain):
    made, sentence = REFUSED[name]
    program = plain.tensor_program(lambda net, x: made(net, net.input_matrix("u") @ x))
    with pytest.raises(ValueError, match=sentence):
        plain.infinite_ntk(program, np.ones((1, 2, 2)))


def test_a_product_with_zero_keeps_its_axes():
    """(0·a + 1)·z is read at both positions."""

    @ntk.tensor_program
    def network(net, x):
        return net.output("v") @ ((net.table(np.array([1.0, 2.0])) * 0.0 + 1.0) * (net.input_matrix("u") @ x))

    x = np.ones((1, 1))
    assert ntk.finite(network, 3).init(jax.random.key(0), x)["v"].shape == (2, 3)


def test_scalars_that_are_not_numbers_are_named(plain):
    def network(net, x):
        z = net.input_matrix("u") @ x
        a, _ = net.scalar(lambda s: jnp.stack([jnp.log(s - 5.0), s]))((z * z).mean())
        return net.output("v") @ (a * z)

    with pytest.raises(ValueError, match=r"the scalar at test_field_edges\.py.*is nan; expected a number"):
        plain.infinite_ntk(plain.tensor_program(network), np.ones((1, 2, 2)))
