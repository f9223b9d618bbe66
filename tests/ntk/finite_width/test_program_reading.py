"""How `empirical_ntk` reads programs: fallback, compilations, ties, unused and empty parameters, dtypes."""

import importlib

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from as_written import as_written
from dense_jacobian import assert_equal, dense, dense_ntk
from jax import lax
from model_zoo import ZOO, normal

import ntk

PARAMS = {"w": normal(3, 8), "b": normal(8), "v": normal(8, 2)}
X1, X2 = normal(6, 3, seed=1), normal(4, 3, seed=2)


@as_written
def network(params, x):
    return jnp.tanh(x @ params["w"] + params["b"]) @ params["v"]


def assert_both_equal(f, params, x1, x2, options, symmetric=None):
    """The kernels of two batches, and of one with itself (with more options, if any): one program for all of them."""

    @jax.jit
    def kernels(params, x1, x2):
        return [
            [
                ntk.empirical_ntk(f, params, x1, x2, trace_axes=(), **chosen),
                ntk.empirical_ntk(f, params, x1, trace_axes=(), **chosen, **(symmetric or {})),
            ]
            for chosen in options
        ]

    expected = dense(f, params, x1, x2)
    for two_batches, one_batch in kernels(params, x1, x2):
        assert_equal(two_batches, expected.ntk("iap,jbp->ijab"))
        assert_equal(one_batch, expected.ntk("iap,jbp->ijab", one_batch=True))


@pytest.mark.parametrize(
    "missing",
    ["ClosedJaxpr", *(pytest.param(name, marks=pytest.mark.slow) for name in ("jaxpr_as_fun", "Literal", "DropVar"))],
)
def test_a_jax_without_an_interface_gets_jacobians_and_a_warning(monkeypatch, missing):
    monkeypatch.delattr(jax.extend.core, missing)

    @as_written
    def f(params, x):  # compiled anew
        return network(params, x)

    with pytest.warns(RuntimeWarning, match=r"could not be read with JAX \d.*Jacobian contraction"):
        found = ntk.empirical_ntk(f, PARAMS, X1, X2, trace_axes=())
    assert_equal(found, dense_ntk(network, PARAMS, X1, X2, equation="iap,jbp->ijab"))


def test_one_compilation_for_each_shape():
    count = 0

    @as_written
    def f(params, x):
        nonlocal count
        count += 1
        return network(params, x)

    ntk.empirical_ntk(f, PARAMS, X1, batch_size=4)
    traced = count
    for scale in (1.0, 2.0, 3.0):
        params = jax.tree.map(lambda leaf, scale=scale: scale * leaf, PARAMS)
        found = ntk.empirical_ntk(f, params, scale * X1, batch_size=4)
        assert_equal(found, dense_ntk(network, params, scale * X1, equation="iap,jap->ij") / 2)
    assert count == traced


def test_ties_are_those_of_the_function():
    """At a ReLU's kink each function has the derivative its program has, not that of the layer it resembles."""
    x, params = normal(2, 3), {"w": np.zeros((3, 8)), "v": normal(8, 2)}  # every pre-activation is 0
    kernels = []
    for relu in (lambda h: jnp.maximum(h, 0.0), jax.nn.relu):

        @as_written
        def f(params, x, relu=relu):
            return relu(x @ params["w"] + 0.0 * params["v"][:, 0]) @ params["v"] + (x + 1.0) @ params["w"][:, :2]

        kernels.append(ntk.empirical_ntk(f, params, x, trace_axes=()))
        assert_equal(kernels[-1], dense_ntk(f, params, x, equation="iap,jbp->ijab"))
    # The slope at 0 is 1/2 for maximum and 0 for jax.nn.relu.
    assert np.abs(kernels[0] - kernels[1]).max() > 0.1


def test_parameters_that_are_not_used_contribute_nothing():
    params = {**PARAMS, "idle": normal(4, 4)}
    parts = ntk.empirical_ntk(network, params, X1, X2, per_layer=True, trace_axes=())
    assert parts["idle"].shape == (6, 4, 2, 2)
    assert not np.any(parts["idle"])
    rows = ntk.explain_empirical(network, params, X1, X2).rows
    assert {row.rule for row in rows if "idle" in row.parameters} == {"unused"}  # no Jacobian of zeros
    only = ntk.empirical_ntk(network, params, X1, X2, param_filter=lambda path: path == "idle")
    assert only.shape == (6, 4)
    assert not np.any(only)


def test_explanation_is_a_table_that_names_every_parameter():
    explained = ntk.explain_empirical(network, PARAMS, X1)
    text = str(explained)
    assert {path for row in explained.rows for path in row.parameters} == set(PARAMS)
    assert all(name in text for name in ("rule", "Mflop", "tiles of 6 inputs", "gram"))
    # 3·8 + 8 products with δ of 8 numbers for each of 6·6 pairs: A of w (3) and b (1), D (2 outputs of 8).
    first = next(row for row in explained.rows if "w" in row.parameters)
    assert first.flops == 2 * 36 * (3 + 1 + 2 * 8)


@pytest.mark.slow
def test_against_neural_tangents():
    nt = ntk.load_neural_tangents()
    f, params, x1, x2 = ZOO["other_ranks"]()
    for trace_axes, diagonal_axes in (((-1,), ()), ((), ()), ((), (-1,))):
        reference = nt.empirical_ntk_fn(f, trace_axes=trace_axes, diagonal_axes=diagonal_axes, implementation=1)
        found = ntk.empirical_ntk(f, params, x1, x2, trace_axes=trace_axes, diagonal_axes=diagonal_axes)
        assert_equal(found, np.asarray(reference(x1, x2, params)))


def test_fori_with_dynamic_bounds_is_fine_where_no_gradient_passes():
    @as_written
    def f(params, x):
        steps = lax.fori_loop(0, jnp.sum(jnp.ones(3)).astype(int), lambda i, n: n + 1, 0)
        return x @ params * steps

    assert_equal(ntk.empirical_ntk(f, np.ones(3), X1), 9.0 * X1 @ X1.T)


def empty_operands(params, x):
    return network(params, x) + jnp.tanh(x[:, :0] @ params["empty"])


@as_written
def no_steps(params, x):
    s = jnp.tanh(x @ params["w"])
    s, _ = lax.scan(lambda s, _: (jnp.tanh(s @ params["u"] + params["b"]), None), s, None, length=0)
    return s @ params["v"]


@pytest.mark.parametrize("f", [empty_operands, no_steps])
@pytest.mark.parametrize(
    "methods", [("auto", "layerwise"), pytest.param(("jacobian", "vector_products"), marks=pytest.mark.slow)]
)
def test_what_is_empty_contributes_nothing(f, methods):
    params = {**PARAMS, "empty": np.zeros((0, 2)), "u": normal(8, 8)}
    assert_both_equal(f, params, X1, X2, [{"method": method} for method in methods], symmetric={"batch_size": 4})


@pytest.mark.parametrize(
    ("name", "method", "constant", "value"),
    [
        ("embedded", "layerwise", "contraction.BLOCK_ROWS", 12),
        ("nested_scans", "auto", "plan.PART_BYTES", 256),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("convolutions", "layerwise", "contraction.BLOCK_ROWS", 1),
                ("gru", "layerwise", "contraction.BLOCK_ROWS", 1),
                ("attention", "layerwise", "contraction.BLOCK_ROWS", 12),
                ("convolutions", "auto", "plan.PART_BYTES", 256),
                ("convolutions", "auto", "linear_ops.LARGE_PATCH", 1),
                ("gru", "auto", "plan.STEP_FLOPS", 0.0),
            )
        ),
    ],
)
def test_sizes_of_blocks_change_nothing(monkeypatch, name, method, constant, value):
    """Small ones bring many blocks of positions, and many parts of gradients, into models of a few numbers."""
    module, constant = constant.split(".")
    monkeypatch.setattr(importlib.import_module(f"ntk.finite_width.rules.{module}"), constant, value)
    f, *model = ZOO[name]()  # made anew, and so compiled anew
    assert_both_equal(f, *model, [{"method": method}])


@as_written
def complex_operand(params, x):
    return jnp.real(jnp.exp(1j * x) @ params["w"]) @ params["v"]


@as_written
def integer_operand(params, x):
    return jnp.tanh(jnp.round(3 * x).astype(int) @ params["w"]) @ params["v"]


def narrow_rows(params, x):
    """Row numbers of 8 bits, in which -1 and 255 are the same bits."""
    return jnp.tanh(params["w"][jnp.abs(jnp.round(x)).astype("uint8") % 3].sum(1)) @ params["v"]


@as_written
def missing_rows(params, x):
    """One-hot rows that do not exist are zero, or the last row, as the lookup says."""
    rows = jnp.round(4 * x).astype(int)
    filled = jnp.take(params["w"], rows, axis=0, mode="fill", fill_value=0)
    return jnp.tanh((filled + jnp.take(params["w"], rows, axis=0, mode="clip")).sum(1)) @ params["v"]


@as_written
def difference(params, x):
    """A bias that is subtracted, on either side, once together with another bias."""
    return jnp.tanh(2 * (params["b"] - x @ params["w"]) - params["b"] / 3 - (x - 1) @ params["w"]) @ params["v"]


@pytest.mark.parametrize("f", [complex_operand, integer_operand, narrow_rows, missing_rows, difference])
def test_operands_of_every_type(f):
    assert_both_equal(f, PARAMS, X1, X2, [{"method": "auto"}, {"method": "layerwise"}])


def test_a_bias_that_is_subtracted_has_a_rule():
    assert "jacobian" not in {row.rule for row in ntk.explain_empirical(difference, PARAMS, X1).rows}


def test_checkpointed_values_are_not_kept():
    """Lowered with the barriers that make XLA compute them again, where it has such (its CPU backend drops them)."""

    def block(h, w):
        return jnp.sin(jnp.sin(h @ w))

    def lowered(block):
        @as_written
        def f(params, x):
            return block(block(x, params["w"]), params["u"]).sum(1)

        assert {row.rule for row in ntk.explain_empirical(f, params, X1).rows} == {"gram"}
        return jax.jit(lambda params, x: ntk.empirical_ntk(f, params, x)).lower(params, X1).as_text()

    params = {"w": normal(3, 8), "u": normal(8, 8)}
    assert "optimization_barrier" not in lowered(block)
    assert "optimization_barrier" in lowered(jax.checkpoint(block))


def test_parameters_that_do_not_reach_the_output_need_no_rule():
    """Lines without an effect on the output stay in the program. A parameter that only they read is unused."""

    def f(params, x):
        params["idle"].reshape(2, 2)
        jnp.exp(params["idle"])
        params["b"].reshape(1, 8)
        return network(params, x)

    params = {**PARAMS, "idle": normal(4)}
    rules = {path: row.rule for row in ntk.explain_empirical(f, params, X1).rows for path in row.parameters}
    assert rules == {"w": "gram", "b": "gram", "v": "gram", "idle": "unused"}
    assert_equal(ntk.empirical_ntk(f, params, X1), ntk.empirical_ntk(network, PARAMS, X1))
