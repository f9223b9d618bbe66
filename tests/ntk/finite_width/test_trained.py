"""Which leaves are trained: no empirical NTK counts the variables that Flax keeps beside the parameters."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from as_written import as_written
from dense_jacobian import assert_equal
from flax import nnx
from model_zoo import normal

import ntk

X = normal(5, 3)


class Normalized(nn.Module):
    """Batch normalization in evaluation mode, and a scale in a collection of its own."""

    @nn.compact
    def __call__(self, x):
        scale = self.variable("constants", "scale", lambda: jnp.asarray(1.5))
        x = nn.Dense(4, param_dtype=jnp.float64)(x * scale.value)
        return nn.Dense(2, param_dtype=jnp.float64)(nn.tanh(nn.BatchNorm(use_running_average=True)(x)))


def linen_variables():
    """Parameters and statistics that are all of order one."""
    shapes = jax.eval_shape(Normalized().init, jax.random.key(0), X)
    variables = jax.tree.map(lambda leaf: normal(*leaf.shape), shapes)
    variables["batch_stats"] = jax.tree.map(lambda leaf: np.abs(leaf) + 0.5, variables["batch_stats"])
    return variables


class Gain(nnx.Param):
    """A user's own kind of parameter."""


class Net(nnx.Module):
    def __init__(self, rngs):
        kwargs = {"param_dtype": jnp.float64, "rngs": rngs}
        self.first = nnx.Linear(3, 4, **kwargs)
        self.norm = nnx.BatchNorm(4, use_running_average=True, **kwargs)
        self.out = nnx.Linear(4, 2, **kwargs)
        self.gain, self.factor = Gain(jnp.asarray(0.8)), nnx.Variable(jnp.asarray(1.5))

    def __call__(self, x):
        return self.factor[...] * self.out(self.gain[...] * jnp.tanh(self.norm(self.first(x))))


def linen_case(wrap=False):
    variables = linen_variables()
    f, state = Normalized().apply, {"batch_stats", "constants"}
    if wrap:  # in a user's own function only the state of Linen's layers is state
        method = f

        def f(variables, x):
            return method(variables, x)

        state = {"batch_stats"}
    trained = {name: value for name, value in variables.items() if name not in state}
    rest = {name: value for name, value in variables.items() if name in state}
    return f, variables, lambda trained, x: f({**trained, **rest}, x), trained


def nnx_case():
    model = Net(nnx.Rngs(0))
    graph, state = nnx.split(model)
    state = jax.tree.map(lambda leaf: leaf.astype("float64") + 0.3, state)
    own_graph, trained, rest = nnx.split(nnx.merge(graph, state), nnx.Param, ...)
    return (
        lambda state, x: nnx.merge(graph, state)(x),
        state,
        lambda trained, x: nnx.merge(own_graph, trained, rest)(x),
        trained,
    )


def nested_case():
    f, variables, of_trained, trained = linen_case(wrap=True)
    return (
        lambda params, x: params["gain"] * f(params["net"], x),
        {"net": variables, "gain": np.float64(0.7)},
        lambda params, x: params["gain"] * of_trained(params["net"], x),
        {"net": trained, "gain": np.float64(0.7)},
    )


def partial_case():
    f, *rest = linen_case()
    return functools.partial(f, mutable=False), *rest


CASES = {
    "linen": linen_case,
    "wrapped": lambda: linen_case(wrap=True),
    "partial": partial_case,
    "nested": nested_case,
    "nnx": nnx_case,
}


def jacobian(f, trained, x):
    """(N, O, P) by JAX, over all floating-point leaves of what is trained."""
    leaves = jax.tree.leaves(jax.jit(jax.jacobian(f))(trained, x))
    return np.concatenate([np.asarray(leaf).reshape(*leaf.shape[:2], -1) for leaf in leaves], axis=-1)


def marked(name, *values, slow=False):
    """A case, marked where Linen's batch normalization promotes."""
    marks = [pytest.mark.implicit_promotion] * (name != "nnx") + [pytest.mark.slow] * slow
    return pytest.param(name, *values, marks=marks)


# The partial case has all that the first one has, and the nested case all that the wrapped one has.
@pytest.mark.parametrize("name", [marked(name, slow=name in ("linen", "wrapped")) for name in CASES])
def test_state_is_not_trained_anywhere(name):
    """Every function, against the Jacobian in the parameters alone (agreement to rounding, 1e-10 of the largest)."""
    f, params, of_trained, trained = CASES[name]()
    J = jacobian(of_trained, trained, X)
    kernel = np.einsum("iap,jbp->ijab", J, J)
    v = normal(5, 2)

    @jax.jit
    def computed(params, moved, x):
        methods = "auto", "layerwise", "jacobian", "vector_products"
        return {
            "kernels": [ntk.empirical_ntk(f, params, x, trace_axes=(), method=method) for method in methods],
            "diagonal": ntk.ntk_diagonal(f, params, x),
            "product": ntk.ntk_vector_product(f, params, x, None, v),
            "sketch": ntk.sketched_ntk(f, params, x, num_projections=64, key=jax.random.key(0)),
            "step": ntk.linearize(f, params)(moved, x) - f(params, x),
        }

    moved = jax.tree.map(lambda leaf: leaf + 0.1 if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, params)
    found = computed(params, moved, X)
    for method in found["kernels"]:
        assert_equal(method, kernel)
    assert_equal(found["diagonal"], np.einsum("iiaa->i", kernel) / 2)
    assert_equal(found["product"], np.einsum("ijab,jb->ia", kernel, v))
    # The norms of the sketch are exact where it says so: within 6 standard errors of its estimate.
    sketch, mean = found["sketch"], np.einsum("ijaa->ij", kernel) / 2
    assert np.abs((sketch.ntk - mean) / sketch.standard_error).max() < 6
    assert_equal(found["step"], 0.1 * J.sum(-1))


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        marked("linen", {"batch_stats/BatchNorm_0/mean", "batch_stats/BatchNorm_0/var", "constants/scale"}),
        marked("wrapped", {"batch_stats/BatchNorm_0/mean", "batch_stats/BatchNorm_0/var"}),
        marked("nnx", {"norm/mean", "norm/var", "factor"}),
    ],
)
def test_what_is_left_out_is_named(name, constant):
    f, params, *_ = CASES[name]()
    explained = ntk.explain_empirical(f, params, X)
    (row,) = (row for row in explained.rows if row.rule == "constant")
    assert constant <= set(row.parameters)
    assert all(path in str(explained) for path in constant)
    parts, whole = jax.jit(lambda params, x: [ntk.empirical_ntk(f, params, x, per_layer=y) for y in (True, False)])(
        params, X
    )
    assert_equal(sum(jax.tree.leaves(parts)), whole)
    with pytest.raises(ValueError, match=r"param_filter is false for all of .* is state, which is not trained"):
        ntk.empirical_ntk(f, params, X, param_filter=lambda path: path in constant)


@pytest.mark.implicit_promotion
def test_statistics_alone_are_parameters_as_any():
    """If only statistics are passed, they are the parameters."""
    variables = linen_variables()

    def f(stats, x):
        return Normalized().apply({**variables, **stats}, x)

    stats = {"batch_stats": variables["batch_stats"]}
    J = jacobian(f, stats, X)
    assert_equal(ntk.empirical_ntk(f, stats, X, trace_axes=()), np.einsum("iap,jbp->ijab", J, J))


def test_a_dictionary_of_ones_own_is_trained_whole():
    params = {"params": normal(3, 2), "shift": normal(2)}

    def f(params, x):
        return jnp.tanh(x @ params["params"]) + params["shift"][None]

    J = jacobian(f, params, X)
    assert_equal(ntk.empirical_ntk(f, params, X, trace_axes=()), np.einsum("iap,jbp->ijab", J, J))


@as_written
def rotated(params, x):
    return jnp.real(params["phase"] * (x @ params["w"]))


def test_complex_leaves_are_constants_where_they_are_left_out_and_else_refused():
    params = {"w": normal(3, 2), "phase": np.exp(1j * normal(2))}
    with pytest.raises(TypeError, match=r"params has complex leaves at 'phase'; expected real ones"):
        ntk.empirical_ntk(rotated, params, X)
    found = ntk.empirical_ntk(rotated, params, X, trace_axes=(), param_filter=lambda path: path == "w")
    J = jacobian(lambda w, x: rotated({**params, "w": w}, x), params["w"], X)
    assert_equal(found, np.einsum("iap,jbp->ijab", J, J))
    variables = {"params": {"w": params["w"]}, "cache": {"phase": params["phase"]}}
    state = ntk.empirical_ntk(lambda v, x: rotated(v["params"] | v["cache"], x), variables, X, trace_axes=())
    assert_equal(state, found)
