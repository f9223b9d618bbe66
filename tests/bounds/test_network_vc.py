"""VC dimensions of networks: the theorems' inequalities solved anew, a construction that shatters, known classes."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import ntk
from bounds import network_vc as v
from bounds.growth import cover_count
from bounds.layers import DenseLayers, mlp_layers, tree_layers

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
    assert v.piecewise_vc_closed_form(layers) == pytest.approx(closed, rel=1e-12)
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
    assert found <= v.piecewise_vc_closed_form(layers, 2, 0) == pytest.approx(closed, rel=1e-12)


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


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs"])
@pytest.mark.parametrize(("dim", "width", "depth"), [(1, 7, 1), (3, 10, 1), (2, 9, 3)])
def test_as_many_points_as_the_lower_bound_says_are_shattered(activation, dim, width, depth):
    """The network of the docstring, built for random points and every one of 20 random labellings."""
    net = ntk.MLP(depth=depth, activation=activation)
    layers = mlp_layers(net, dim, width)
    num_points = v.kinked_vc_lower(layers)
    assert num_points == 2 * dim * ((width - 1) // 3) + 1
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num_points, dim))
    model = ntk.finite(net, width)
    apply = jax.jit(model.apply)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    for _ in range(20):
        y = rng.choice([-1, 1], size=num_points)
        minority = -1 if (y == 1).sum() > num_points // 2 else 1
        rows = np.flatnonzero(y == minority)
        params = {name: np.zeros(leaf.shape) for name, leaf in shapes.items()}
        read_out = np.zeros(width)
        for group, start in enumerate(range(0, len(rows), dim)):
            on_plane = x[rows[start : start + dim]]
            # A hyperplane through the group: what else is orthogonal to its differences is drawn at random.
            basis = np.linalg.svd(on_plane[1:] - on_plane[0])[2] if len(on_plane) > 1 else np.eye(dim)
            free = basis[len(on_plane) - 1 :]
            normal = rng.normal(size=len(free)) @ free
            t = (x - on_plane[0]) @ normal
            t[rows[start : start + dim]] = np.inf
            epsilon = np.abs(t).min() / 2
            for unit, (shift, height) in enumerate([(epsilon, 1.0), (0.0, -2.0), (-epsilon, 1.0)], start=3 * group):
                params["w1"][:, unit] = normal * dim**0.5
                params["b1"][unit] = shift - on_plane[0] @ normal
                read_out[unit] = height / epsilon
        params["b1"][-1] = 1.0
        read_out[-1] = -0.5  # half of the lowest hat, which is |slope change| ≥ 0.9 high
        read_out *= width**0.5
        if depth == 1:
            params["v"] = minority * read_out
        else:
            # Later layers: unit 0 carries the sum plus 10, which is positive, unit 1 the constant 1.
            params["w2"][:, 0] = read_out
            for layer in range(2, depth + 1):
                params[f"b{layer}"][:2] = 10.0, 1.0
                if layer > 2:
                    params[f"w{layer}"][0, 0] = width**0.5
            params["v"][:2] = minority * np.array([1.0, -10.0 * (depth - 1)])
        np.testing.assert_array_equal(np.sign(apply({"params": params}, x)), y)


def test_lower_bounds_stay_below_upper_ones():
    for layers in SHAPES:
        for activation in ("relu", "leaky_relu", "abs", "square", "cube", "step", "sign", "sigmoid", "tanh"):
            bounds = v.network_vc_bounds(layers, activation)
            assert 1 <= bounds.lower <= bounds.upper
            assert isinstance(bounds.upper, int)
    # Narrow networks still have affine functions, those without biases or hidden layers are left alone.
    assert v.kinked_vc_lower(DenseLayers(6, (2, 2, 1), (14, 6, 3))) == 7
    assert v.kinked_vc_lower(DenseLayers(6, (10, 1), (60, 10))) == 1
    assert v.kinked_vc_lower(DenseLayers(6, (10, 1, 1), (70, 11, 2))) == 1
    assert v.kinked_vc_lower(DenseLayers(6, (1,), (7,))) == 1


def test_linear_networks_are_exact():
    assert v.network_vc_bounds(mlp_layers(ntk.MLP(depth=3), 5, 8), "identity") == (6, 6)
    assert v.network_vc_bounds(mlp_layers(ntk.MLP(depth=3, b_std=0.0), 5, 8), "identity") == (5, 5)


def test_thresholds_take_the_better_bound():
    layers = SHAPES[2]
    expected = min(v.piecewise_vc_upper(layers, 1, 0), math.floor(v.threshold_vc_upper(layers)))
    assert v.network_vc_bounds(layers, "step").upper == expected


def test_bit_extraction_grows_as_stated():
    assert v.bit_extraction_vc_measure(1024, 4) == 1024 * 4 * 8
    assert v.bit_extraction_vc_measure(7, 7) == 0.0


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
    x = jnp.ones((1, 2))
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
