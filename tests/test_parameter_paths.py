"""Paths of parameters are the names that the author of a network gave, in both packages and for every library."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import bounds
import ntk
from ntk.trees import leaf_paths

X = jnp.ones((2, 3))


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(4, name="hidden", param_dtype=x.dtype)(x))
        return nn.Dense(1, name="out", param_dtype=x.dtype)(x)


class Boxed(nn.Module):
    """The same network with the axes of its kernels named, for a mesh of devices."""

    @nn.compact
    def __call__(self, x):
        kernel = nn.with_partitioning(nn.initializers.lecun_normal(), ("in", "out"))
        x = nn.tanh(nn.Dense(4, name="hidden", param_dtype=x.dtype, kernel_init=kernel)(x))
        return nn.Dense(1, name="out", param_dtype=x.dtype, kernel_init=kernel)(x)


class Nnx(nnx.Module):
    def __init__(self):
        kwargs = {"param_dtype": X.dtype, "rngs": nnx.Rngs(0)}
        self.hidden, self.out = nnx.Linear(3, 4, **kwargs), nnx.Linear(4, 1, **kwargs)

    def __call__(self, x):
        return self.out(jnp.tanh(self.hidden(x)))


GRAPH, STATE = nnx.split(Nnx())
KERNELS, BIASES = ("hidden/kernel", "out/kernel"), ("hidden/bias", "out/bias")


def of_plain_dictionaries(params, x):
    """Names as in attention. One of them is 'value'."""
    return (x @ params["query"]["value"]) @ params["value"]


CASES = {
    "linen": (Linen().apply, Linen().init(jax.random.key(0), X), "params/", KERNELS, BIASES),
    "linen, boxed": (Boxed().apply, Boxed().init(jax.random.key(0), X), "params/", KERNELS, BIASES),
    "nnx": (lambda state, x: nnx.merge(GRAPH, state)(x), STATE, "", KERNELS, BIASES),
    "plain": (
        of_plain_dictionaries,
        {"query": {"value": jnp.ones((3, 4))}, "value": jnp.ones((4, 1))},
        *("", ("query/value", "value"), ()),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_both_packages_see_the_names_that_the_author_wrote(name):
    f, params, prefix, kernels, biases = CASES[name]
    expected = {prefix + path for path in (*kernels, *biases)}
    seen = []
    ntk.explain_empirical(f, params, X, param_filter=lambda path: seen.append(path) or True)
    assert set(seen) == expected
    rows = ntk.explain_empirical(f, params, X).rows
    assert {path for row in rows for path in row.parameters} == expected
    found = bounds.weight_matrices(params)
    assert found.names == tuple(prefix + path for path in kernels)
    assert set(found.ignored) == {prefix + path for path in biases}


def test_a_module_has_the_paths_of_its_state():
    model = Nnx()
    assert sorted(leaf_paths(model)) == sorted(leaf_paths(nnx.state(model))) == sorted((*KERNELS, *BIASES))
    assert bounds.weight_matrices(model).names == KERNELS


def test_paths_stand_in_the_order_of_the_leaves():
    tree = {"b": [jnp.zeros(1), (jnp.zeros(2), nnx.Param(jnp.zeros(3)))], "a": None, "c": jnp.zeros(4)}
    assert leaf_paths(tree) == ["b/0", "b/1/0", "b/1/1", "c"]
    assert [leaf.shape for leaf in jax.tree.leaves(tree)] == [(1,), (2,), (3,), (4,)]
    # A variable may hold a tree of its own, whose names are kept.
    assert leaf_paths({"many": nnx.Param({"x": jnp.zeros(1), "y": jnp.zeros(1)})}) == ["many/x", "many/y"]
    assert leaf_paths(jnp.zeros(3)) == [""]
