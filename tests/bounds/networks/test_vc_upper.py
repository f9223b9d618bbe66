"""VC dimensions of networks: the theorems' inequalities solved anew, known classes, and layers of parameter trees."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from tolerances import CLOSED_FORM

import ntk
from bounds.counting.growth import cover_count
from bounds.networks import vc_upper as v
from bounds.networks.layers import DenseLayers, mlp_layers, tree_layers

SHAPES = [
    DenseLayers(2, (10, 1), (30, 10)),
    DenseLayers(5, (7, 3, 1), (42, 24, 4)),
    DenseLayers(64, (100, 100, 100, 1), (6500, 10100, 10100, 101)),
    DenseLayers(3, (4,) * 9 + (1,), (16,) + (20,) * 8 + (5,)),
]


def root(log2_growth, start):
    """The largest m ≥ start with m ≤ log2_growth(m), by halving an interval of real numbers."""
    low, high = start, start
    while high <= log2_growth(high):
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if middle <= log2_growth(middle) else (low, middle)
    return math.floor(low + 1e-9)


@pytest.mark.parametrize("layers", SHAPES)
def test_relu_bound_of_bartlett_harvey_liaw_mehrabian(layers):
    """Theorem 7 as its paper writes it for p = d = 1: k_i units of degree i, W_i parameters up to layer i."""
    k, w = np.array(layers.units), np.cumsum(layers.parameters)
    i = np.arange(1, len(k) + 1)

    def log2_growth(m):
        return np.sum(1 + w * np.log2(2 * math.e * m * k * i / w))

    found = v.piecewise_vc_upper(layers)
    assert found == root(log2_growth, w.sum())
    total, effective_depth = w[-1], w.sum() / w[-1]
    r = np.sum(i * k)
    closed = len(k) + effective_depth * total * np.log2(4 * math.e * r * np.log2(2 * math.e * r))
    assert v.piecewise_vc_closed_form(layers) == pytest.approx(closed, rel=CLOSED_FORM["float64"])
    assert found <= closed


@pytest.mark.parametrize("layers", SHAPES)
def test_piecewise_constant_bound(layers):
    """d = 0: only the parameters of the layer itself count, L + W log(4epU log(2epU)) in closed form."""
    k, w = np.array(layers.units), np.array(layers.parameters)

    def log2_growth(m):
        return np.sum(1 + w * np.log2(2 * math.e * m * 2 * k / w))

    found = v.piecewise_vc_upper(layers, breakpoints=2, degree=0)
    assert found == root(log2_growth, w.sum())
    r = 2 * k.sum()
    closed = len(k) + w.sum() * np.log2(4 * math.e * r * np.log2(2 * math.e * r))
    assert found <= v.piecewise_vc_closed_form(layers, 2, 0) == pytest.approx(closed, rel=CLOSED_FORM["float64"])


@pytest.mark.parametrize("layers", SHAPES)
def test_bounds_of_anthony_and_bartlett_follow_from_their_growth_functions(layers):
    """Each closed form is above the root of 2^m ≤ Π(m), with the Π of its theorem, and within a factor of 4."""
    w, k, depth = sum(layers.parameters), sum(layers.units), len(layers.units)
    full = sum(k_i * (inputs + 1) for inputs, k_i in zip((layers.dim, *layers.units), layers.units, strict=False))
    for degree in (1, 2):
        growth = root(
            lambda m, nu=degree: depth + w * depth * math.log2(2 * math.e * m * k * 2 * (nu + 1) ** (depth - 1) / w),
            w,
        )
        assert growth <= v.anthony_bartlett_vc_upper(layers, 1, degree) <= 4 * growth
    assert v.piecewise_vc_upper(layers) < v.anthony_bartlett_vc_upper(layers)
    growth = root(lambda m: w * math.log2(math.e * m * k / w), w)
    assert growth <= v.threshold_vc_upper(layers) <= 4 * growth
    wk = full * k
    cells = wk**2 / 2 + 5 * wk * math.log2(18 * wk * k)
    growth = root(lambda m: cells + full * math.log2(math.e * m / full), full)
    assert growth <= v.sigmoid_vc_upper(layers) <= 4 * growth


@pytest.mark.parametrize("dim", [1, 4, 50])
def test_one_unit_is_a_half_space(dim):
    """d_vc = dim + 1, and the growth function is Cover's."""
    layers = DenseLayers(dim, (1,), (dim + 1,))
    for upper in (v.piecewise_vc_upper(layers), v.threshold_vc_upper(layers), v.anthony_bartlett_vc_upper(layers)):
        assert upper >= dim + 1
    for m in (dim + 1, 3 * dim, 100 * dim):
        bound = 1 + (dim + 1) * math.log2(2 * math.e * m / (dim + 1))
        assert bound >= math.log2(cover_count(m, dim, affine=True))


def test_lower_bounds_stay_below_upper_ones():
    for layers in SHAPES:
        for activation in ("relu", "leaky_relu", "abs", "square", "cube", "step", "sign", "sigmoid", "tanh"):
            bounds = v.network_vc_bounds(layers, activation)
            assert 1 <= bounds.lower <= bounds.upper
            assert isinstance(bounds.upper, int)
    # Narrow networks still have affine functions, those without biases linear ones.
    assert v.network_vc_bounds(DenseLayers(6, (2, 2, 1), (14, 6, 3)), "relu").lower == 7
    assert v.network_vc_bounds(DenseLayers(6, (10, 1), (60, 10)), "relu").lower == 6
    assert v.network_vc_bounds(DenseLayers(6, (10, 1, 1), (70, 11, 2)), "relu").lower == 1
    assert v.network_vc_bounds(DenseLayers(6, (1,), (7,)), "relu") == (7, 7)


def test_linear_networks_are_exact():
    assert v.network_vc_bounds(mlp_layers(ntk.MLP(depth=3), 5, 8), "identity") == (6, 6)
    assert v.network_vc_bounds(mlp_layers(ntk.MLP(depth=3, b_std=0.0), 5, 8), "identity") == (5, 5)


def test_thresholds_take_the_better_bound():
    layers = SHAPES[2]
    expected = min(v.piecewise_vc_upper(layers, 1, 0), math.floor(v.threshold_vc_upper(layers)))
    assert v.network_vc_bounds(layers, "step").upper == expected


class Deep(nn.Module):
    """Twelve dense layers, whose names sort wrongly as text."""

    @nn.compact
    def __call__(self, x):
        for width in (*range(3, 14), 1):
            x = nn.Dense(width, use_bias=width != 5)(x)
        return x


class Two(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(3, 4, rngs=rngs)
        self.second = nnx.Linear(4, 1, use_bias=False, rngs=rngs)


def test_layers_of_parameter_trees():
    x = jnp.ones((1, 2), jnp.float32)
    params = jax.eval_shape(Deep().init, jax.random.key(0), x)
    layers = tree_layers(params)
    assert layers.dim == 2
    assert layers.units == (*range(3, 14), 1)
    assert sum(layers.parameters) == sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    assert layers.parameters[2] == 4 * 5
    assert tree_layers(nnx.split(Two(nnx.Rngs(0)))[1]) == DenseLayers(3, (4, 1), (16, 4))
    for outputs in (None, 1):
        net = ntk.MLP(depth=11)
        model = ntk.finite(net, 6, outputs)
        assert tree_layers(jax.eval_shape(model.init, jax.random.key(0), x)) == mlp_layers(net, 2, 6)
    assert mlp_layers(ntk.MLP(depth=2, b_std=0.0), 2, 6).parameters == (12, 36, 6)


def test_layers_follow_each_other_as_their_shapes_or_numbers_say():
    def tree(**shapes):
        return {name: jax.ShapeDtypeStruct(shape, "float32") for name, shape in shapes.items()}

    named = tree(**{"in": (2, 5), "hidden": (5, 4), "out": (4, 1)})
    assert tree_layers(named) == tree_layers(list(named.values())) == DenseLayers(2, (5, 4, 1), (10, 20, 4))
    # Nothing tells the order of square matrices with such names. Numbers in the names do.
    with pytest.raises(ValueError, match=r"params has a \(3, 3\), b \(3, 3\), out .* in one order only: numbered"):
        tree_layers(tree(a=(3, 3), b=(3, 3), out=(3, 1)))
    assert tree_layers(tree(dense_1=(3, 3), dense_2=(3, 3), out=(3, 1))).units == (3, 3, 1)
