"""Every rule of `empirical_ntk`, on every kind of layer, against dense Jacobians in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from as_written import as_written
from dense_jacobian import assert_equal, dense_ntk
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from model_zoo import ZOO, normal

import ntk

# Of each model, the parameters that have no rule.
WITHOUT_RULE = {
    "tied_autoencoders": {"w", "gain"},
    "dense": set(),
    "attention": {"params/LayerNorm_0/scale", "params/LayerNorm_1/scale"},
    "convolutions": {"params/BatchNorm_0/scale"},
    "gru": set(),
    "lstm": {f"params/cell/h{gate}/bias" for gate in "fgio"},  # this cell concatenates its parameters
    "side_by_side": {"b", "c", "s", "t"},
    "tied": {"params/Embed_0/embedding"},  # looked up, and multiplied by
    "embedded": set(),
    "nnx": {"norm/scale", "group/scale"},
    "stacked_layers": set(),
    "nested_scans": set(),
    "branches": set(),
    "wrapped": {"v"},  # inside a function with its own derivative
    "views": {"gain", "half", "square", "thin"},
    "escapes": {"w", "v", "masked"},
    "einsums": set(),
    "ensemble": set(),
    "row_lookups": set(),
    "scaled_lookups": set(),
    "joined_alone": set(),
    "printed": set(),
    "other_ranks": set(),
}


# Seen in the other tests of this file too.
LONG = ("attention", "nnx", "convolutions", "gru", "lstm")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("attention", "convolutions")]


@pytest.fixture(scope="module")
def models():
    made = {}
    return lambda name: made[name] if name in made else made.setdefault(name, ZOO[name]())


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in ZOO])
def test_all_outputs_of_two_batches(models, name):
    model = models(name)
    expected = dense_ntk(*model, equation="iap,jbp->ijab")
    assert_equal(ntk.empirical_ntk(*model, trace_axes=()), expected)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in ZOO])
def test_one_batch_by_gram_matrices(models, name):
    f, params, x, _ = models(name)
    num_outputs = jax.eval_shape(f, params, x).shape[1]
    expected = dense_ntk(f, params, x, equation="iap,jap->ij") / num_outputs
    assert_equal(ntk.empirical_ntk(f, params, x, method="layerwise"), expected)


@pytest.mark.parametrize("name", ZOO)
def test_which_parameters_have_no_rule(models, name):
    f, params, x, _ = models(name)
    rows = ntk.explain_empirical(f, params, x, method="layerwise").rows
    assert {row.rule for row in rows} <= {"gram", "jacobian", "constant"}
    found = {path for row in rows if row.rule == "jacobian" for path in row.parameters}
    assert found == WITHOUT_RULE[name]


@pytest.mark.parametrize("name", ["embedded", "views", *SLOW, pytest.param("nested_scans", marks=pytest.mark.slow)])
def test_parts_of_parameters_add_up(models, name):
    f, params, x1, x2 = models(name)
    parts = ntk.empirical_ntk(f, params, x1, x2, diagonal_axes=(-1,), per_layer=True)
    assert jax.tree.structure(parts) == jax.tree.structure(params)
    for i, part in enumerate(jax.tree.leaves(parts)):
        leaves, structure = jax.tree.flatten(params)

        def of_one_leaf(leaf, x, i=i, leaves=leaves, structure=structure):
            return f(jax.tree.unflatten(structure, [*leaves[:i], leaf, *leaves[i + 1 :]]), x)

        expected = dense_ntk(of_one_leaf, leaves[i], x1, x2, equation="iap,jap->ija")
        np.testing.assert_allclose(part, expected, rtol=0, atol=1e-12 * max(1.0, np.abs(expected).max()))
    assert_equal(sum(jax.tree.leaves(parts)), dense_ntk(f, params, x1, x2, equation="iap,jap->ija"))


@pytest.mark.parametrize("name", ["gru", *SLOW])
@pytest.mark.parametrize("method", ["auto", pytest.param("vector_products", marks=pytest.mark.slow)])
def test_chosen_parameters_and_the_others_add_up(models, name, method):
    f, params, x1, x2 = models(name)
    parts = [
        ntk.empirical_ntk(f, params, x1, x2, method=method, param_filter=chosen, trace_axes=())
        for chosen in (lambda path: "kernel" in path, lambda path: "kernel" not in path)
    ]
    assert_equal(parts[0] + parts[1], dense_ntk(f, params, x1, x2, equation="iap,jbp->ijab"))
    assert np.abs(parts[0]).max() > 0
    assert np.abs(parts[1]).max() > 0


@pytest.mark.parametrize(
    "method", ["auto", "vector_products", *(pytest.param(m, marks=pytest.mark.slow) for m in ("layerwise", "jacobian"))]
)
@pytest.mark.parametrize(
    "batch_size", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 3]
)
def test_tiles_of_any_size(models, method, batch_size):
    """Four rows in tiles of 3 and of 2: mirrored, ragged, and two that meet twice in the circle."""
    f, params, x1, x2 = models("stacked_layers")
    options = {"trace_axes": (), "method": method, "batch_size": batch_size}
    for other in (None, x2):
        expected = dense_ntk(f, params, x1, other, equation="iap,jbp->ijab")
        assert_equal(ntk.empirical_ntk(f, params, x1, other, **options), expected)


@pytest.mark.slow
def test_tiles_of_parts(models):
    f, params, x, _ = models("nested_scans")
    parts = ntk.empirical_ntk(f, params, x, per_layer=True, batch_size=3)
    for part, whole in zip(parts.values(), ntk.empirical_ntk(f, params, x, per_layer=True).values(), strict=True):
        assert_equal(part, whole)


@pytest.mark.parametrize("name", ["embedded", *SLOW, pytest.param("stacked_layers", marks=pytest.mark.slow)])
def test_diagonal(models, name):
    f, params, x, _ = models(name)
    expected = dense_ntk(f, params, x, equation="iap,ibp->iab")
    for batch_size in (None, 3):
        assert_equal(ntk.ntk_diagonal(f, params, x, trace_axes=(), batch_size=batch_size), expected)
    mean = np.trace(expected, axis1=1, axis2=2) / expected.shape[1]
    assert_equal(ntk.ntk_diagonal(f, params, x), mean)


def test_an_embedding_that_is_scaled_after_the_lookup():
    """So many rows that "auto" takes the rule too; ∂f/∂e is 4 where tokens agree: 16 for every pair of equal ones."""
    params, tokens = {"e": normal(5000, 16)}, np.array([[0, 7, 7], [7, 4999, 5]])

    def f(params, tokens):
        return (params["e"][tokens] * 16**0.5).sum((1, 2))

    assert ntk.explain_empirical(f, params, tokens).rows[0].rule == "gram"
    # Each of 16 columns: 1 + 2² for the first input, two pairs between them, 3 of the second.
    assert_equal(ntk.empirical_ntk(f, params, tokens), 16 * 16.0 * np.array([[5, 2], [2, 3]]))


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

    def pooled(params, x):  # its parameters are used alike for any length
        return jnp.tanh(x.mean(1) @ params["u"]) @ params["v"]

    x1, x2 = normal(4, 5, 2), normal(3, 7, 2)

    @as_written
    def positions(params, x):  # another slice of one parameter for each length
        return jnp.tanh(x @ params["u"] + params["table"][-x.shape[1] :]).sum(1) @ params["v"]

    params["table"] = normal(9, 3, seed=5)
    for f in (scanned, unrolled, pooled, positions):
        expected = dense_ntk(f, params, x1, x2, equation="iap,jbp->ijab")
        for batch_size in (None, 2):
            assert_equal(ntk.empirical_ntk(f, params, x1, x2, trace_axes=(), batch_size=batch_size), expected)


@as_written
def batch_normed(params, x):
    h = x @ params["w"]
    h = (h - h.mean(0)) / jnp.sqrt(h.var(0) + 0.1) * params["scale"] + params["shift"]
    return jnp.tanh(h) @ params["v"]


BATCH_NORMED = {"w": normal(3, 4), "scale": normal(4), "shift": normal(4, seed=1), "v": normal(4, 2)}


@pytest.mark.parametrize("method", ["auto", "jacobian", pytest.param("layerwise", marks=pytest.mark.slow)])
def test_outputs_that_depend_on_the_whole_batch(method):
    x1, x2 = normal(5, 3, seed=1), normal(4, 3, seed=2)
    for other in (None, x2):
        expected = dense_ntk(batch_normed, BATCH_NORMED, x1, other, equation="iap,jbp->ijab")
        options = {"batch_dependent": True, "method": method}
        found = ntk.empirical_ntk(batch_normed, BATCH_NORMED, x1, other, trace_axes=(), **options)
        assert_equal(found, expected)
        found = ntk.empirical_ntk(batch_normed, BATCH_NORMED, x1, other, per_layer=True, **options)
        assert_equal(sum(found.values()), np.einsum("ijaa->ij", expected) / 2)


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
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(scale, 1e-300))


test_compositions = pytest.mark.slow(settings(max_examples=60, deadline=None)(given(st.data())(check_composition)))
