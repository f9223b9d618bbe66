"""Errors of finite-width kernels: what is compared, with what, and on what scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, SAME_FORMULA

import ntk
from experiments.common.networks import member_keys, network_inputs
from experiments.convergence.kernel_errors import error_scales, errors_at_width, limit_blocks
from experiments.data.images import load_data

pytestmark = pytest.mark.slow

IMAGES = load_data("digits", 4).train_images
MLP = ntk.MLP(depth=3, activation="erf", w_std=1.2, b_std=0.5, v_std=0.8)
RNN = ntk.RNN(activation="erf", w_std=1.2, u_std=0.9, b_std=0.5, v_std=0.8)
NETWORKS = [MLP, RNN, ntk.RNN(activation="relu", pooling="mean")]


def inputs(net):
    """Vectors, or sequences of the first four rows of images."""
    x = jnp.asarray(network_inputs(type(net).__name__, IMAGES))
    return x[:, :4] if x.ndim == 3 else x


def test_names_of_an_mlp_and_of_an_rnn():
    assert list(limit_blocks(MLP, inputs(MLP))[0]) == ["ntk", "nngp", "C^1", "C^2", "C^3", "D^1", "D^2", "D^3"]
    times = range(1, 5)
    names = ["ntk", "nngp", *(f"C^{t},{t}" for t in times), *(f"D^{t},{t}" for t in times)]
    assert list(limit_blocks(RNN, inputs(RNN))[0]) == names


@pytest.mark.parametrize(("net", "last"), [(MLP, "C^3"), (RNN, "C^4,4")])
def test_indices_are_those_of_the_theory(net, last):
    blocks, _ = limit_blocks(net, inputs(net))
    # The read-out reads the last layer, or the last state: Σ = σ_v² C^L. One float32 product: 2 roundings.
    np.testing.assert_allclose(blocks["nngp"], net.v_std**2 * blocks[last], rtol=2e-7)
    # D shrinks by σ_w² Ċ < 1 a step on the way back, so its norms grow with the index.
    norms = [float(jnp.linalg.norm(block)) for name, block in blocks.items() if name.startswith("D")]
    assert norms == sorted(norms)
    # C^1 of erf at K = σ_w² ξ·ξ̄/d + σ_b², the first layer (in an RNN σ_u, the first row), by Williams' formula.
    x = np.asarray(inputs(net), float)
    x, std = (x, net.w_std) if x.ndim == 2 else (x[:, 0], net.u_std)
    K = std**2 * x @ x.T / x.shape[1] + net.b_std**2
    norm = np.sqrt(1 + 2 * np.diag(K))
    first = blocks["C^1" if net is MLP else "C^1,1"]
    np.testing.assert_allclose(first, 2 / np.pi * np.arcsin(2 * K / norm[:, None] / norm), rtol=CLOSED_FORM["float32"])


@pytest.mark.parametrize(
    "net",
    [MLP, *(pytest.param(net, marks=pytest.mark.slow) for net in NETWORKS[1:])],
    ids=["mlp", "rnn-last", "rnn-mean"],
)
def test_errors_are_those_of_each_network_by_itself(net):
    x, width = inputs(net), 32
    (limits, _), keys = limit_blocks(net, x), member_keys(0, width, 3)
    errors = errors_at_width(net, x, limits, width, keys, memory_gib=1.0)
    assert list(errors) == list(limits)
    model = ntk.finite(net, width)
    limit = np.asarray(limits["ntk"], float)
    for key, error in zip(keys, errors["ntk"], strict=True):
        # Another way to the finite kernel: the Jacobian of all parameters.
        kernel = np.asarray(ntk.empirical_ntk(model.apply, model.init(key, x), x))
        expected = np.linalg.norm(kernel - limit) / np.linalg.norm(limit)
        # Kernels to about 1e-6 in float32, an error of about 0.2.
        assert error == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("net", [MLP, pytest.param(RNN, marks=pytest.mark.slow)], ids=["mlp", "rnn"])
def test_the_batch_size_changes_errors_by_rounding_only(net):
    x = inputs(net)
    (limits, _), keys = limit_blocks(net, x), member_keys(0, 64, 4)
    one_by_one = errors_at_width(net, x, limits, 64, keys, memory_gib=1e-9)
    together = errors_at_width(net, x, limits, 64, keys, memory_gib=1.0)
    for name, errors in one_by_one.items():
        # Sums of 64 float32 products lose at most 64 roundings, 4e-6 of a kernel, in each of 8 steps: 3e-5; the
        # errors are at least 0.05 of a kernel.
        np.testing.assert_allclose(errors, together[name], rtol=6e-4, err_msg=name)


def test_a_key_depends_on_seed_width_and_member_alone():
    def data(*arguments):
        return jax.random.key_data(member_keys(*arguments)).tolist()

    assert data(0, 32, 8)[:3] == data(0, 32, 3)
    everything = data(0, 32, 8) + data(0, 64, 8) + data(1, 32, 8)
    assert len({tuple(key) for key in everything}) == 24


def test_a_limit_of_zero_is_measured_against_the_last_D():
    # Without recurrent weights only the last state's gradient is not zero, at any width.
    net = ntk.RNN(activation="erf", w_std=0.0)
    x = inputs(net)
    limits, _ = limit_blocks(net, x)
    scales = error_scales(limits)
    assert float(jnp.linalg.norm(limits["D^3,3"])) == 0
    assert float(scales["D^3,3"]) == pytest.approx(np.linalg.norm(limits["D^4,4"]), rel=SAME_FORMULA["float32"])
    assert float(scales["C^3,3"]) == pytest.approx(np.linalg.norm(limits["C^3,3"]), rel=SAME_FORMULA["float32"])
    errors = errors_at_width(net, x, limits, 16, member_keys(0, 16, 2), memory_gib=1.0)
    assert errors["D^3,3"].tolist() == [0.0, 0.0]
    assert np.all(errors["D^4,4"] > 0)


def test_a_network_whose_limit_vanishes_is_refused():
    net = ntk.MLP(depth=2, activation="relu", v_std=0.0)
    with pytest.raises(ValueError, match="infinite-width ntk has norm 0, and D\\^2 has 0; expected a network"):
        error_scales(limit_blocks(net, inputs(net))[0])


def test_what_is_not_finite_is_named():
    limits = {name: jnp.eye(4, dtype=jnp.float32) for name in ("ntk", "nngp", "C^1", "D^1")}
    with pytest.raises(ValueError, match="infinite-width nngp has norm nan"):
        error_scales(limits | {"nngp": jnp.full((4, 4), jnp.nan, jnp.float32)})
    # Weights so large that float32 overflows in the Gram matrix of a finite network.
    net = ntk.MLP(depth=1, activation="relu", w_std=1e30)
    sentence = r"the error of ntk at width 8 is not finite with MLP\(.*w_std=1e\+30.*\); expected smaller"
    with pytest.raises(FloatingPointError, match=sentence):
        errors_at_width(net, inputs(net), limits, 8, member_keys(0, 8, 2), memory_gib=1.0)


@pytest.mark.parametrize("activation", ["relu", "gaussian"])
def test_neural_tangents_agrees_with_the_recursion(activation):
    net = ntk.MLP(depth=3, activation=activation, w_std=1.3, b_std=0.4, v_std=0.7)
    recursion, independent = (limit_blocks(net, inputs(net), name)[0] for name in ("recursion", "neural_tangents"))
    for name in ("ntk", "nngp"):
        # Both in float32 over 4 layers; each rounds at its own places, a few 1e-7 each.
        difference = jnp.linalg.norm(independent[name] - recursion[name]) / jnp.linalg.norm(recursion[name])
        assert 0 < difference < 1e-5
    np.testing.assert_array_equal(independent["D^2"], recursion["D^2"])


@pytest.mark.parametrize(
    ("net", "reference", "sentence"),
    [
        (MLP, "paper", "reference is 'paper'; expected one of 'recursion', 'neural_tangents'"),
        (RNN, "neural_tangents", "net is of type RNN; expected an ntk.MLP for neural-tangents"),
        (ntk.MLP(depth=1, activation="tanh"), "neural_tangents", "net.activation is 'tanh'; expected, for neural"),
    ],
)
def test_references_that_do_not_fit(net, reference, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        limit_blocks(net, inputs(net), reference)


@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param("MLP", "mlp", marks=pytest.mark.slow), pytest.param("RNN", "rnn", marks=pytest.mark.slow)],
)
def test_programs_have_the_errors_of_the_networks_that_they_describe(name, kind):
    """Errors of single networks differ, since their parameters are other draws. Over 32 seeds both means agree."""
    fields = {"depth": 2} if name == "MLP" else {"pooling": "last"}
    nets = getattr(ntk, name)(activation="erf", **fields), getattr(ntk.architectures, kind)(activation="erf", **fields)
    x = inputs(nets[0])[:, :2] if name == "RNN" else inputs(nets[0])
    found = []
    for net in nets:
        limits, _ = limit_blocks(net, x)
        found.append(errors_at_width(net, x, limits, 32, member_keys(0, 32, 32), memory_gib=1.0))
    for block in ("ntk", "nngp"):
        one, other = (errors[block] for errors in found)
        standard_error = np.sqrt((one.var() + other.var()) / 31)
        assert abs(one.mean() - other.mean()) < 4 * standard_error


def test_a_sampled_limit_comes_with_its_standard_error():
    net = ntk.architectures.batch_norm_mlp(depth=1)
    x = jax.random.normal(jax.random.key(0), (8, 20), jnp.float32)
    found, errors = zip(*(limit_blocks(net, x, samples=2**10, seed=seed) for seed in range(4)), strict=True)
    kernels = np.array([limits["ntk"] for limits in found], float)
    spread = np.linalg.norm(kernels.std(axis=0, ddof=1)) / np.linalg.norm(kernels.mean(axis=0))
    # Of 4 draws a spread is known to 1/√6 of itself where all entries go together; each error, of 16 replicates, too.
    assert 0.3 < spread / np.mean(errors) < 2
    assert limit_blocks(MLP, inputs(MLP))[1] == 0
