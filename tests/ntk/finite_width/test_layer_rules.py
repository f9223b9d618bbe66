"""Every rule of `empirical_ntk`, on every kind of layer, against dense Jacobians in float64."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from as_written import as_written
from dense_jacobian import Dense, assert_equal, dense, dense_jacobians, dense_ntk, is_state
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from model_zoo import ZOO, Model, normal
from tolerances import CLOSED_FORM

import ntk

pytestmark = pytest.mark.slow

# Seen in the other tests of this file too.
LONG = ("attention", "nnx", "convolutions", "gru", "lstm")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("attention", "convolutions")]


class Expected(NamedTuple):
    """A model with its Jacobians."""

    model: Model
    jacobians: Dense


@pytest.fixture(scope="module")
def models():
    made = {}

    def of_name(name):
        if name not in made:
            model = ZOO[name]()
            made[name] = Expected(model, dense(*model))
        return made[name]

    return of_name


def compiled(*kernels):
    """All of these functions of parameters and both batches as one program."""
    return jax.jit(lambda *arguments: [kernel(*arguments) for kernel in kernels])


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in ZOO])
def test_all_outputs_of_two_batches_and_one_by_gram_matrices(models, name):
    (f, *arguments), jacobians = models(name)
    pairs, mean = compiled(
        lambda params, x1, x2: ntk.empirical_ntk(f, params, x1, x2, trace_axes=()),
        lambda params, x1, x2: ntk.empirical_ntk(f, params, x1, method="layerwise"),
    )(*arguments)
    assert_equal(pairs, jacobians.ntk("iap,jbp->ijab"))
    assert_equal(mean, jacobians.ntk("iap,jap->ij", one_batch=True) / pairs.shape[-1])


@pytest.mark.parametrize("name", ["embedded", "views", *SLOW, pytest.param("nested_scans", marks=pytest.mark.slow)])
def test_parts_of_parameters_add_up(models, name):
    """Each part is the kernel of the Jacobian in one leaf; state, which is not trained, has none."""
    (f, params, x1, x2), jacobians = models(name)
    kernel = functools.partial(ntk.empirical_ntk, f, diagonal_axes=(-1,), per_layer=True)
    parts = dict(jax.tree_util.tree_leaves_with_path(jax.jit(kernel)(params, x1, x2)))
    start = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        assert (path in parts) != is_state(path)
        if path in parts:
            J1, J2 = (J[..., start : start + leaf.size] for J in jacobians)
            expected = np.einsum("iap,jap->ija", J1, J2)
            np.testing.assert_allclose(
                parts[path], expected, rtol=0, atol=CLOSED_FORM["float64"] * max(1.0, np.abs(expected).max())
            )
            start += leaf.size
    assert start == jacobians.J1.shape[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gru", *SLOW])
@pytest.mark.parametrize("method", ["auto", pytest.param("vector_products", marks=pytest.mark.slow)])
def test_chosen_parameters_and_the_others_add_up(models, name, method):
    (f, *arguments), jacobians = models(name)

    def part(chosen):
        options = {"method": method, "param_filter": chosen, "trace_axes": ()}
        return lambda params, x1, x2: ntk.empirical_ntk(f, params, x1, x2, **options)

    kernels, others = compiled(part(lambda path: "kernel" in path), part(lambda path: "kernel" not in path))(*arguments)
    assert_equal(kernels + others, jacobians.ntk("iap,jbp->ijab"))
    assert np.abs(kernels).max() > 0
    assert np.abs(others).max() > 0


@pytest.mark.parametrize(
    "method", ["auto", "vector_products", *(pytest.param(m, marks=pytest.mark.slow) for m in ("layerwise", "jacobian"))]
)
@pytest.mark.parametrize(
    "batch_size", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 3]
)
def test_tiles_of_any_size(models, method, batch_size):
    """Four rows in tiles of 3 and of 2: mirrored tiles, a smaller last tile, and a pair of tiles that occurs twice."""
    (f, *arguments), jacobians = models("stacked_layers")
    options = {"trace_axes": (), "method": method, "batch_size": batch_size}
    two_batches, one_batch = compiled(
        lambda params, x1, x2: ntk.empirical_ntk(f, params, x1, x2, **options),
        lambda params, x1, x2: ntk.empirical_ntk(f, params, x1, **options),
    )(*arguments)
    assert_equal(two_batches, jacobians.ntk("iap,jbp->ijab"))
    assert_equal(one_batch, jacobians.ntk("iap,jbp->ijab", one_batch=True))


@pytest.mark.slow
def test_tiles_of_parts(models):
    (f, *arguments), _ = models("nested_scans")
    parts, whole = compiled(
        lambda params, x1, x2: ntk.empirical_ntk(f, params, x1, per_layer=True, batch_size=3),
        lambda params, x1, x2: ntk.empirical_ntk(f, params, x1, per_layer=True),
    )(*arguments)
    jax.tree.map(assert_equal, parts, whole)


@pytest.mark.parametrize("name", ["embedded", *SLOW, pytest.param("stacked_layers", marks=pytest.mark.slow)])
def test_diagonal(models, name):
    (f, *arguments), jacobians = models(name)
    at_once, tiled, mean = compiled(
        lambda params, x1, x2: ntk.ntk_diagonal(f, params, x1, trace_axes=()),
        lambda params, x1, x2: ntk.ntk_diagonal(f, params, x1, trace_axes=(), batch_size=3),
        lambda params, x1, x2: ntk.ntk_diagonal(f, params, x1),
    )(*arguments)
    expected = jacobians.ntk("iap,ibp->iab", one_batch=True)
    for found in (at_once, tiled):
        assert_equal(found, expected)
    assert_equal(mean, np.trace(expected, axis1=1, axis2=2) / expected.shape[1])


def test_an_embedding_that_is_scaled_after_the_lookup():
    """So many rows that "auto" takes the rule too; ∂f/∂e is 4 where tokens agree: 16 for every pair of equal ones."""
    params, tokens = {"e": normal(5000, 16)}, np.array([[0, 7, 7], [7, 4999, 5]])

    def f(params, tokens):
        return (params["e"][tokens] * 16**0.5).sum((1, 2))

    assert ntk.explain_empirical(f, params, tokens).rows[0].rule == "gram"
    # Each of 16 columns: 1 + 2² for the first input, two pairs between them, 3 of the second.
    assert_equal(ntk.empirical_ntk(f, params, tokens), 16 * 16.0 * np.array([[5, 2], [2, 3]]))


@pytest.mark.slow
def test_inputs_of_two_lengths():
    """A recurrent net on sequences of two lengths, scanned (the same program) and unrolled (another one)."""
    params = {"w": normal(3, 3), "u": normal(2, 3), "v": normal(3, 2)}

    def step(params, s, x):
        return jnp.tanh(s @ params["w"] + x @ params["u"])

    def scanned(params, x):
        start = jnp.zeros((len(x), 3))
        return lax.scan(lambda s, xt: (step(params, s, xt), None), start, x.swapaxes(0, 1))[0] @ params["v"]

    def unrolled(params, x):
        s = jnp.zeros((len(x), 3))
        for t in range(x.shape[1]):
            s = step(params, s, x[:, t])
        return s @ params["v"]

    def pooled(params, x):  # its parameters are used in the same way for any length
        return jnp.tanh(x.mean(1) @ params["u"]) @ params["v"]

    x1, x2 = normal(4, 5, 2), normal(3, 7, 2)

    @as_written
    def positions(params, x):  # another slice of one parameter for each length
        return jnp.tanh(x @ params["u"] + params["table"][-x.shape[1] :]).sum(1) @ params["v"]

    params["table"] = normal(9, 3, seed=5)
    for f in (scanned, unrolled, pooled, positions):
        expected = dense_ntk(f, params, x1, x2, equation="iap,jbp->ijab")
        kernels = compiled(
            lambda params, x1, x2, f=f: ntk.empirical_ntk(f, params, x1, x2, trace_axes=()),
            lambda params, x1, x2, f=f: ntk.empirical_ntk(f, params, x1, x2, trace_axes=(), batch_size=2),
        )
        for found in kernels(params, x1, x2):
            assert_equal(found, expected)


@as_written
def batch_normed(params, x):
    h = x @ params["w"]
    h = (h - h.mean(0)) / jnp.sqrt(h.var(0) + 0.1) * params["scale"] + params["shift"]
    return jnp.tanh(h) @ params["v"]


BATCH_NORMED = {"w": normal(3, 4), "scale": normal(4), "shift": normal(4, seed=1), "v": normal(4, 2)}


@pytest.mark.parametrize("method", ["auto", "jacobian", pytest.param("layerwise", marks=pytest.mark.slow)])
def test_outputs_that_depend_on_the_whole_batch(method):
    x1, x2 = normal(5, 3, seed=1), normal(4, 3, seed=2)
    options = {"batch_dependent": True, "method": method}

    def kernels(params, x1, x2):
        return [
            (
                ntk.empirical_ntk(batch_normed, params, x1, other, trace_axes=(), **options),
                ntk.empirical_ntk(batch_normed, params, x1, other, per_layer=True, **options),
            )
            for other in (None, x2)
        ]

    J1, J2 = (np.concatenate(dense_jacobians(batch_normed, BATCH_NORMED, x), axis=-1) for x in (x1, x2))
    for other, (pairs, parts) in zip((J1, J2), jax.jit(kernels)(BATCH_NORMED, x1, x2), strict=True):
        expected = np.einsum("iap,jbp->ijab", J1, other)
        assert_equal(pairs, expected)
        assert_equal(sum(parts.values()), np.einsum("ijaa->ij", expected) / 2)


def check_composition(data):
    """Random chains of layers that share their parameters at random: order, reuse, shapes and scan change the plan."""
    width, time = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    weights = {name: normal(width, width, seed=i) for i, name in enumerate("abc")}
    params = weights | {"bias": normal(width), "kernel": normal(2, width, width), "scale": normal(width, seed=9)}
    weight = st.sampled_from("abc")
    layers = {
        "product": lambda p, h, name: jnp.tanh(h @ p[name]),
        "affine": lambda p, h, name: jnp.tanh(h @ p[name] + p["bias"]),
        "two products": lambda p, h, name: jnp.tanh(h @ p[name] - jnp.sin(h) @ p["a"] + p["bias"]),
        "transposed": lambda p, h, name: h + jnp.sin(p[name] @ h.swapaxes(1, 2)).swapaxes(1, 2),
        "sum": lambda p, h, name: 0.5 * (h @ p[name] - p["bias"]) + h,
        "scaled": lambda p, h, name: jnp.tanh(h @ (p[name] * 0.3)) * p["scale"],
        "convolution": lambda p, h, name: lax.conv_general_dilated(
            h, p["kernel"], (1,), [(1, 0)], dimension_numbers=("NHC", "HIO", "NHC")
        ),
        "positions": lambda p, h, name: jnp.einsum("ntd,de->nte", h, p[name]) / (1 + h**2),
        "scan": lambda p, h, name: lax.scan(
            lambda s, ht: (jnp.tanh(s @ p[name] + ht),) * 2, jnp.zeros_like(h[:, 0]), h.swapaxes(0, 1)
        )[1].swapaxes(0, 1),
    }
    chain = data.draw(st.lists(st.tuples(st.sampled_from(sorted(layers)), weight), min_size=1, max_size=4))
    method = data.draw(st.sampled_from(["auto", "layerwise"]))

    def f(params, x):
        h = x
        for layer, name in chain:
            h = layers[layer](params, h, name)
        return h.mean(1)

    x1, x2 = normal(3, time, width, seed=5), normal(2, time, width, seed=6)
    expected = dense_ntk(f, params, x1, x2, equation="iap,jbp->ijab")
    found = ntk.empirical_ntk(f, params, x1, x2, trace_axes=(), method=method)
    # Relative to the product of the norms of the gradients, below which a chain may cancel.
    scale = np.sqrt(
        dense_ntk(f, params, x1, equation="iap,iap->").max() * dense_ntk(f, params, x2, equation="iap,iap->")
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSED_FORM["float64"] * max(scale, 1e-300))


test_compositions = pytest.mark.slow(settings(max_examples=60, deadline=None)(given(st.data())(check_composition)))
