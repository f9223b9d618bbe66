"""Lower bounds on VC dimensions: each network of a docstring is built, and gives every labelling that is tried."""

import itertools

import numpy as np
import pytest
from scipy.special import expit
from tolerances import LAST_DIGITS

from bounds.networks.layers import DenseLayers
from bounds.networks.vc_lower import (
    baum_vc_lower,
    bit_extraction_vc_lower,
    bit_extraction_vc_measure,
    half_space_vc_lower,
)
from bounds.networks.vc_upper import network_vc_bounds

ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.1 * z),
    "abs": np.abs,
    "square": np.square,
    "cube": lambda z: z**3,
    "step": lambda z: (z > 0).astype(float),
    "sign": np.sign,
    "sigmoid": expit,
    "tanh": np.tanh,
}
# Units φ(az + c) as (a, c). Their sum with these signs has the sign of z.
PASSED_ON = {
    **{name: [(1, 0, 1)] for name in ("leaky_relu", "cube", "tanh", "sign")},
    **{name: [(1, 0, 1), (-1, 0, -1)] for name in ("relu", "step")},
    "sigmoid": [(1, 0, 1), (0, 0, -1)],
    **{name: [(0.1, 1, 1), (0.1, -1, -1)] for name in ("square", "abs")},
}


def dense(dim, hidden, biases=True, read_out_bias=False):
    """The layers of a network of these widths, as the bounds take them."""
    inputs, units = (dim, *hidden), (*hidden, 1)
    has_bias = [biases] * len(hidden) + [read_out_bias]
    return DenseLayers(dim, units, tuple(k * (d + b) for d, k, b in zip(inputs, units, has_bias, strict=True)))


def forward(activation, layers, x):
    """The signs of a network of (weights, biases), the last of them the read-out."""
    for w, b in layers[:-1]:
        x = ACTIVATIONS[activation](x @ w + b)
    w, b = layers[-1]
    return np.sign(x @ w + b)


def every_labelling(num_points, rng, some=40):
    """All of up to 9 points; of more those with one sign, with signs in turn, and random ones."""
    if num_points <= 9:
        return np.array(list(itertools.product([-1, 1], repeat=num_points)))
    turns = (-1) ** np.arange(num_points)
    ones = np.ones(num_points, dtype=int)
    return np.concatenate([[ones, -ones, turns, -turns], rng.choice([-1, 1], size=(some, num_points))])


def passed_on(activation, depth):
    """The layers after the first of a network that passes the sign of one number on, and its read-out."""
    units = np.array(PASSED_ON[activation], dtype=float)
    read_out = units[:, 2:]
    middle = (read_out * units[:, 0], units[:, 1])
    return [middle] * (depth - 1) + [(read_out[:, 0], 0.0)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("biases", [True, False])
def test_networks_make_every_half_space(activation, biases):
    """The corners of a simplex, with the origin if there is a bias: three hidden layers of as few units as allowed."""
    units, dim = np.array(PASSED_ON[activation], dtype=float), 4
    layers = dense(dim, [len(units)] * 3, biases)
    found = half_space_vc_lower(layers, activation)
    if not biases and activation in ("square", "abs"):
        assert found == 1
        return
    assert found == dim + biases
    x = np.vstack([np.zeros((int(biases), dim)), np.eye(dim)])
    for y in every_labelling(found, None):
        offset = y[0] if biases else 0
        normal = y[-dim:] - offset
        first = (np.outer(normal, units[:, 0]), offset * units[:, 0] + units[:, 1])
        np.testing.assert_array_equal(forward(activation, [first, *passed_on(activation, 3)], x), y)
    # With one unit less, or an unknown activation, the bound is 1.
    if len(units) == 2:
        assert half_space_vc_lower(dense(dim, [2, 1, 2], biases), activation) == 1
    assert half_space_vc_lower(layers, "gelu") == 1


def hats(activation, epsilon):
    """(shift, height) of the units of one hat, their steepness and the hat's height."""
    if activation in ("relu", "leaky_relu", "abs"):
        lowest = {"relu": 1.0, "leaky_relu": 0.9, "abs": 2.0}[activation]
        return [(epsilon, 1 / epsilon), (0.0, -2 / epsilon), (-epsilon, 1 / epsilon)], 1.0, lowest
    steepness = 1.0 if activation in ("step", "sign") else 60 / epsilon
    height = 2.0 if activation in ("sign", "tanh") else 1.0
    return [(epsilon, 1.0), (-epsilon, -1.0)], steepness, height


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name not in ("square", "cube")])
@pytest.mark.parametrize(("dim", "width", "depth"), [(1, 7, 1), (3, 10, 1), (2, 9, 3)])
def test_hats_shatter(activation, dim, width, depth):
    """Random points, and the network of the docstring."""
    units_a_hat = 3 if activation in ("relu", "leaky_relu", "abs") else 2
    num_points = baum_vc_lower(dense(dim, [width] * depth), activation)
    assert num_points == 2 * dim * ((width - 1) // units_a_hat) + 1
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num_points, dim))
    for y in every_labelling(num_points, rng):
        minority = -1 if (y == 1).sum() > num_points // 2 else 1
        rows = np.flatnonzero(y == minority)
        w, b, read_out = np.zeros((dim, width)), np.zeros(width), np.zeros(width)
        for group, start in enumerate(range(0, len(rows), dim)):
            on_plane = x[rows[start : start + dim]]
            # A hyperplane through the group: what else is orthogonal to its differences is drawn at random.
            basis = np.linalg.svd(on_plane[1:] - on_plane[0])[2] if len(on_plane) > 1 else np.eye(dim)
            free = basis[len(on_plane) - 1 :]
            normal = rng.normal(size=len(free)) @ free
            t = (x - on_plane[0]) @ normal
            t[rows[start : start + dim]] = np.inf
            units, steepness, height = hats(activation, np.abs(t).min() / 2)
            for unit, (shift, factor) in enumerate(units, start=units_a_hat * group):
                w[:, unit] = steepness * normal
                b[unit] = steepness * (shift - on_plane[0] @ normal)
                read_out[unit] = factor / height
        b[-1] = 50.0  # the constant, 50 or 1
        read_out[-1] = -0.5 / ACTIVATIONS[activation](np.array(50.0))
        read_out *= minority
        first = (w, b)
        if depth == 1:
            layers = [first, (read_out, 0.0)]
        else:
            scale, shift, factor = np.array(PASSED_ON[activation], dtype=float).T
            if len(scale) == 1:  # there are two units in any case
                scale, shift, factor = (np.append(numbers, 0.0) for numbers in (scale, shift, factor))
            middle = [(np.outer(factor, scale), shift)] * (depth - 2)
            layers = [first, (np.outer(read_out, scale), shift), *middle, (factor, 0.0)]
        np.testing.assert_array_equal(forward(activation, layers, x), y)


def word_of(bits):
    """The number whose orbit under the tent map is above ½ where a bit is set."""
    a = 0.75 if bits[-1] else 0.25
    for bit in bits[-2::-1]:
        a = 1 - a / 2 if bit else a / 2
    return a


def interpolated(values):
    """Coefficients of relu(i − i') for i' = 0, 1, …, and the constant, of the function with these values at 0, 1, …."""
    slopes = np.diff(values, axis=0)
    return np.diff(slopes, axis=0, prepend=np.zeros_like(values[:1])), values[0]


def reading(num_bits, first):
    """The layers that read bits, after layers whose sum `first` gives a_0, and j: (weights and bias of a_0, of j)."""
    (word, word_bias), (place, place_bias) = first
    M = (num_bits + 1) * 2.0 ** (num_bits + 1)
    last = num_bits == 1
    # Units a, relu(a − ½), relu(j − t), relu(t − j), o. At first j is relu(j − 0), and o is 0.
    w = np.stack([0 * word if last else word, word, place, -place, 0 * word], axis=1)
    b = np.array([1.0 if last else word_bias, word_bias - 0.5, place_bias, -place_bias, 0.0])
    layers = [(w, b)]
    tent, distance = np.array([2.0, -4.0, 0.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0, -1.0, 0.0])
    result = np.array([0.0, 1.0, -1.0, -1.0, M])
    for t in range(1, num_bits):
        last = t == num_bits - 1
        # j − t is the difference of what the layer before has, j − (t − 1), less one.
        w = np.stack([0 * tent if last else tent, tent, distance, -distance, result], axis=1)
        layers.append((w, np.array([1.0 if last else 0.0, -0.5, -1.0, 1.0, 0.0])))
    return [*layers, (result - 2.0 ** -(num_bits + 2) * np.eye(5)[0], 0.0)]


@pytest.mark.parametrize(("num_words", "num_bits"), [(3, 3), (9, 1), (1, 9), (6, 8)])
def test_bits_of_words_are_read(num_words, num_bits):
    layers = dense(2, [num_words, *[5] * num_bits])
    assert bit_extraction_vc_lower(layers) == num_words * num_bits
    x = np.array(list(itertools.product(range(num_words), range(num_bits))), dtype=float)
    rng = np.random.default_rng(0)
    for y in every_labelling(len(x), rng, some=200):
        words = np.array([word_of(bits) for bits in y.reshape(num_words, num_bits) == 1])
        slopes, constant = interpolated(words)
        kinks = num_words - 1
        # relu(i − i') and relu(j).
        first = np.eye(2)[:, [*[0] * kinks, 1]], -np.array([*range(kinks), 0], dtype=float)
        place = np.append(np.zeros(kinks), 1.0)
        read = reading(num_bits, ((np.append(slopes[:kinks], 0.0), constant), (place, 0.0)))
        np.testing.assert_array_equal(forward("relu", [first, *read], x), y)


@pytest.mark.parametrize(("num_words", "num_groups", "num_bits"), [(2, 2, 2), (3, 4, 3)])
def test_words_are_chosen_by_a_third_input(num_words, num_groups, num_bits):
    width = num_words + num_groups - 1
    layers = dense(3, [width, num_groups + 1, *[5] * num_bits])
    assert bit_extraction_vc_lower(layers) >= num_words * num_groups * num_bits
    points = itertools.product(range(num_words), range(num_groups), range(num_bits))
    x = np.array([(i, j, c) for i, c, j in points], dtype=float)
    rng = np.random.default_rng(0)
    for y in every_labelling(len(x), rng, some=200):
        bits = y.reshape(num_words, num_groups, num_bits) == 1
        words = np.array([[word_of(row) for row in rows] for rows in bits])
        slopes, constant = interpolated(words)
        kinks = num_words - 1
        # relu(i − i'), relu(j), relu(c − c').
        kind = [*[0] * kinks, 1, *[2] * (num_groups - 1)]
        first = np.eye(3)[:, kind], -np.array([*range(kinks), 0, *range(num_groups - 1)], dtype=float)
        # |c − c'| = 2 relu(c − c') − c + c', where c = relu(c − 0), and relu(c − c') = 0 for the last c'.
        w, b = np.zeros((width, num_groups + 1)), np.zeros(num_groups + 1)
        for group in range(num_groups):
            w[:kinks, group] = slopes[:kinks, group]
            w[kinks + 1, group] += 1.0
            if group < num_groups - 1:
                w[kinks + 1 + group, group] -= 2.0
            b[group] = constant[group] - group
        w[kinks, -1] = 1.0
        word, place = np.append(np.ones(num_groups), 0.0), np.append(np.zeros(num_groups), 1.0)
        read = reading(num_bits, ((word, 0.0), (place, 0.0)))
        np.testing.assert_array_equal(forward("relu", [first, (w, b), *read], x), y)


@pytest.mark.parametrize("activation", ["leaky_relu", "abs"])
def test_two_units_make_a_relu(activation):
    """So twice the width gives the same networks."""
    z, phi = np.linspace(-3, 3, 61), ACTIVATIONS[activation]
    by_two = {"leaky_relu": (phi(z) + 0.1 * phi(-z)) / 0.99, "abs": (phi(z) + phi(z + 4) - 4) / 2}
    np.testing.assert_allclose(by_two[activation], np.maximum(z, 0), atol=LAST_DIGITS["float64"])
    for dim, widths, doubled in ((2, [7, 5, 5], [14, 10, 11]), (3, [9, 4, 5], [19, 8, 10])):
        found = bit_extraction_vc_lower(dense(dim, doubled), activation)
        assert found == bit_extraction_vc_lower(dense(dim, widths), "relu")


def test_what_bit_extraction_needs():
    assert bit_extraction_vc_lower(dense(2, [100, 5, 4])) == 1  # it takes five units for each bit
    assert bit_extraction_vc_lower(dense(1, [100, 5, 5])) == 1  # it takes two inputs
    assert bit_extraction_vc_lower(dense(2, [100])) == 1  # it takes one layer for each bit
    assert bit_extraction_vc_lower(dense(2, [100, 5, 5], biases=False)) == 1
    assert bit_extraction_vc_lower(dense(2, [100, 5, 5]), "tanh") == 1
    assert bit_extraction_vc_lower(dense(3, [20, 20, 5])) == 10 * 11  # C = 10 groups of 11 words
    assert bit_extraction_vc_lower(dense(3, [20, 1, 5])) == 1


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs"])
def test_lower_bounds_grow_as_parameters_times_layers(activation):
    """In deep networks they exceed the others. If only the first layers are wide, they exceed W L/100."""
    deep, narrow = dense(20, [200] * 40), dense(20, [400, 200, *[10] * 400])
    for layers in (deep, narrow):
        lower, upper = network_vc_bounds(layers, activation)
        assert 10 * baum_vc_lower(layers, activation) < lower == bit_extraction_vc_lower(layers, activation) < upper
    assert lower > sum(narrow.parameters) * len(narrow.units) / 100


def test_bit_extraction_grows_as_stated():
    assert bit_extraction_vc_measure(1024, 4) == 1024 * 4 * 8
    assert bit_extraction_vc_measure(7, 7) == 0.0


def test_one_layer_or_no_biases():
    assert half_space_vc_lower(DenseLayers(6, (1,), (7,)), "relu") == 7
    assert baum_vc_lower(DenseLayers(6, (1,), (7,)), "relu") == 1
    assert baum_vc_lower(dense(6, [10], biases=False), "relu") == 1
    assert baum_vc_lower(dense(6, [10, 1]), "relu") == 1
    assert baum_vc_lower(dense(6, [10]), "cube") == 1
