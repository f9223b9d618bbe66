"""Limits of architectures over positions against C and Θ carried forward in NumPy, and against neural-tangents."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse
from kernel_pairs import Pair, embedded
from scipy.special import softmax
from tolerances import CLOSED_FORM, PEER

import ntk
from ntk import architectures


def inputs(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def assert_equal_kernels(program, x, expected, tolerance=CLOSED_FORM["float64"]):
    found = ntk.infinite_kernels(program, x)
    assert found.samples == 0
    for kernel, wanted in ((found.nngp, expected.C), (found.ntk, expected.ntk)):
        np.testing.assert_allclose(kernel, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def of_each_input(M, count):
    return np.kron(np.eye(count), M)


@pytest.mark.slow
@pytest.mark.parametrize("normalized", [False, True])
def test_causal_transformer(normalized):
    """Two blocks, with layer norm and without, in which a position looks at those before it."""
    N, T = 2, 3
    x = inputs(N, T, 2)
    before = of_each_input(np.tril(np.ones((T, T))), N) > 0
    states = embedded(x, 0.9)
    for block in range(2):
        keys = states.dense(0.9) if block else states
        weights = softmax(np.where(before, keys.C, -np.inf), axis=1)
        z = keys.mapped(np.eye(N * T) + weights)
        z = z.scaled(1e-5) if normalized else z
        states = z + z.dense(1.2, 0.3).relu().dense(1.2, 0.3)
        states = states.scaled(1e-5) if normalized else states
    program = architectures.transformer(
        depth=2, causal=True, normalized=normalized, u_std=0.9, w_std=1.2, b_std=0.3, epsilon=1e-5
    )
    assert_equal_kernels(program, x, states.pooled(N))


@pytest.mark.slow
def test_mlp_mixer():
    N, P, S = 2, 3, 4
    x = inputs(N, P, 2)

    def mixed(z, count):
        """A field at `count` positions of independent weights, each of which reads all positions of z."""

        def read(kernel):
            each = np.mean(np.diagonal(kernel.reshape(N, len(kernel) // N, N, -1), axis1=1, axis2=3), axis=-1)
            return 1.2**2 * np.einsum("ij,ps->ipjs", each, np.eye(count)).reshape(N * count, N * count)

        return Pair(read(z.C), read(z.C) + read(z.ntk))

    z = embedded(x, 0.9)
    for _ in range(2):
        z = z + mixed(mixed(z.scaled(1e-3), S).relu(), P)
        z = z + z.scaled(1e-3).dense(1.2).relu().dense(1.2)
    program = architectures.mlp_mixer(depth=2, hidden=S, activation="relu", u_std=0.9, w_std=1.2, epsilon=1e-3)
    assert_equal_kernels(program, x, z.scaled(1e-3).pooled(N))


@pytest.mark.slow
def test_state_space():
    """Responses to impulses by the recurrence itself, one step after the other."""
    N, T, eigenvalues = 2, 4, (0.8, 0.3 + 0.6j, -0.5)
    x = inputs(N, T, 2)
    maps = []
    for eigenvalue in eigenvalues:
        h, rows = np.zeros(T, complex), []
        for t in range(T):
            h = eigenvalue * h + np.sqrt(1 - abs(eigenvalue) ** 2) * 0.7 * np.eye(T)[t]
            rows.append(h)
        maps += [of_each_input(part, N) for part in (np.real(rows), np.imag(rows))]
    z = embedded(x, 0.9)
    for _ in range(2):
        # Of the real part of h there are R B and −I B̃ with half of the variance each, and of the imaginary part too.
        read = z.dense(1.0)
        y = sum((read.mapped(M) for M in maps[1:]), read.mapped(maps[0])).dense(1.1 / len(eigenvalues) ** 0.5)
        z = z + y.relu().dense(1.2)
    program = architectures.state_space(
        depth=2, eigenvalues=eigenvalues, activation="relu", u_std=0.9, b_std=0.7, c_std=1.1, w_std=1.2
    )
    assert_equal_kernels(program, x, z.pooled(N))


def test_rms_norm():
    """Of ReLUs, which have a mean: only the mean of their squares is divided by."""

    @ntk.tensor_program
    def program(net, x):
        z = net.phi("relu")(net.input_matrix("u", 1.3) @ x)
        return net.output("v") @ architectures.rms_norm(net, z, 0.1)

    x = inputs(3, 2)
    assert_equal_kernels(program, x, embedded(x[:, None], 1.3).relu().scaled(0.1).pooled(3))


class TestGraphs:
    ADJACENCY = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]])

    def test_kernels(self):
        N, nodes = 2, 4
        x = inputs(N, nodes, 3)
        looped = self.ADJACENCY + np.eye(nodes)
        scale = np.diag(looped.sum(1) ** -0.5)
        table = of_each_input(scale @ looped @ scale, N)
        z = embedded(x, 1.2)
        z = Pair(z.C, z.ntk).mapped(table)
        z = Pair(z.C + 0.3**2, z.ntk + 0.3**2).relu().dense(1.2).mapped(table)
        z = Pair(z.C + 0.3**2, z.ntk + 0.3**2).relu()
        program = architectures.gcn(self.ADJACENCY)(w_std=1.2, b_std=0.3)
        assert_equal_kernels(program, x, z.pooled(N))

    def test_sparse_matrices_are_the_same_program(self):
        dense = architectures.gcn(self.ADJACENCY, normalization="none")
        for kind in (scipy.sparse.csr_array, sparse.BCOO.fromdense):
            assert architectures.gcn(kind(self.ADJACENCY), normalization="none").choices == dense.choices

    @pytest.mark.parametrize(
        ("adjacency", "said"),
        [
            (np.ones((2, 3)), "adjacency has shape"),
            ([[np.nan]], "adjacency has shape"),
            ([[0, -1], [-1, 0]], "adjacency has the degrees"),
        ],
    )
    def test_refusals(self, adjacency, said):
        with pytest.raises(ValueError, match=said):
            architectures.gcn(adjacency)

    def test_other_nodes_are_refused(self):
        with pytest.raises(ValueError, match="an input has 3 nodes; expected 4"):
            ntk.infinite_kernels(architectures.gcn(self.ADJACENCY), jnp.ones((2, 3, 1)))


@pytest.mark.parametrize("eigenvalues", [(1.0,), (), (0.6 + 0.8j,), (float("nan"),)])
def test_eigenvalues_that_are_refused(eigenvalues):
    with pytest.raises(ValueError, match="expected a tuple of numbers of modulus less than 1"):
        ntk.check_gia(architectures.state_space(eigenvalues=eigenvalues), (3, 2))


def of_stax(*layers):
    stax = ntk.load_neural_tangents().stax
    return stax.serial(*layers, stax.GlobalAvgPool(), stax.Dense(1, 1.0, None))[2]


@pytest.mark.slow
@pytest.mark.implicit_promotion
@pytest.mark.filterwarnings("ignore:`FanIn` layers assume")
class TestImages:
    def test_wide_resnet(self):
        s, x = ntk.load_neural_tangents().stax, inputs(2, 5, 4, 2)

        def conv(stride=1):
            return s.Conv(1, (3, 3), (stride, stride), padding="SAME", W_std=1.2, b_std=None)

        layers = [conv()]
        for stride in (1, 2, 2):
            for first in (True, False):
                step = stride if first else 1
                branch = s.serial(s.Relu(), conv(step), s.Relu(), conv())
                skip = conv(step) if first else s.Identity()
                layers += [s.FanOut(2), s.parallel(branch, skip), s.FanInSum()]
        expected = of_stax(*layers)(x, None, ("nngp", "ntk"))
        program = architectures.wide_resnet(blocks=2, w_std=1.2)
        assert_equal_kernels(program, x, Pair(expected.nngp, expected.ntk), PEER["float64"])

    def test_densenet(self):
        s, x = ntk.load_neural_tangents().stax, inputs(2, 4, 5, 2)
        conv = s.Conv(1, (3, 3), padding="SAME", W_std=1.2, b_std=None)
        dense = s.serial(s.FanOut(2), s.parallel(s.Identity(), s.serial(conv, s.Relu())), s.FanInConcat(-1))
        block = [s.Relu(), dense, dense]
        layers = [conv, *block, s.Dense(1, 1.2, None), s.AvgPool((2, 2), (2, 2)), *block]
        expected = of_stax(*layers)(x, None, ("nngp", "ntk"))
        assert_equal_kernels(architectures.densenet(w_std=1.2), x, Pair(expected.nngp, expected.ntk), PEER["float64"])
