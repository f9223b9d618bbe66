"""Dichotomies found by training all exist, and all that exist are found if training is easy."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from refusals import COUNT, assert_refused, rows

import ntk
from bounds.counting.dichotomies import linear_dichotomies
from bounds.counting.shattering import find_shattered_set, is_shattered
from bounds.networks.pattern_fitting import fitted_dichotomies, network_dichotomies

KEY = jax.random.key(0)
LINEAR = ntk.finite(ntk.MLP(depth=1, activation="identity"), width=4)
RELU = ntk.finite(ntk.MLP(depth=1), width=8)
SQUARE = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype="float32")


@pytest.mark.implicit_promotion  # by Optax: a Python number to the power of the count of steps
def test_a_linear_network_finds_the_linear_dichotomies():
    """Its functions are the affine ones, whose dichotomies are counted exactly: 22 of 32, each with a wide margin."""
    x = np.random.default_rng(1).normal(size=(5, 2)).astype("float32")
    found = {tuple(signs) for signs in network_dichotomies(LINEAR, x, KEY).tolist()}
    assert found == {tuple(signs) for signs in linear_dichotomies(x).tolist()}


@pytest.mark.implicit_promotion
def test_a_lower_bound_grows_with_training():
    """Before training, patterns count only if the random weights happen to produce them."""
    x = np.random.default_rng(1).normal(size=(5, 2)).astype("float32")
    found = network_dichotomies(LINEAR, x, KEY, steps=1)
    assert 0 < len(found) < 22
    assert {tuple(s) for s in found.tolist()} <= {tuple(s) for s in linear_dichotomies(x).tolist()}


@pytest.mark.implicit_promotion
def test_hidden_units_shatter_a_square():
    """Exclusive or included; for linear classifiers the square has 14 dichotomies."""
    found = network_dichotomies(RELU, SQUARE, KEY, restarts=3)
    assert is_shattered(found)
    assert found.dtype == np.int8
    assert find_shattered_set(lambda x: network_dichotomies(RELU, x, KEY, restarts=3), [SQUARE]) is SQUARE


class Scaled(nn.Module):
    """w (x_1 + 10⁻⁷ x_2), from w = 0."""

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.zeros, (), x.dtype)
        return w * (x[:, :1] + 1e-7 * x[:, 1:])


@pytest.mark.implicit_promotion
@pytest.mark.parametrize(("second_point", "expected"), [([0.0, 1.0], [False] * 3), ([1.0, 1.0], [True, True, False])])
def test_signs_that_rounding_could_turn_do_not_count(second_point, expected):
    """With w ≠ 0 the output at (0, 1) has the sign of that at (1, 0), but 10⁻⁷ of its size."""
    x = np.array([[1.0, 0.0], second_point], dtype="float32")
    patterns = np.array([[1, 1], [-1, -1], [1, -1]])
    assert fitted_dichotomies(Scaled(), x, patterns, KEY, steps=20).tolist() == expected


class Zero(nn.Module):
    """3 (xw) − x (3w), which is 0 but for rounding."""

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.normal(), (x.shape[1], 1), x.dtype)
        return 3 * (x @ w) - x @ (3 * w)


class Squared(nn.Module):
    """(xw)², as h² − c² − 2c xw with h = xw + c and c near 10⁵: never negative but for rounding."""

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.normal(), (x.shape[1], 1), x.dtype)
        c = 1e5 * self.param("c", nn.initializers.ones, (), x.dtype)
        h = x @ w + c
        return h * h - c * c - 2 * c * (x @ w)


@pytest.mark.implicit_promotion
@pytest.mark.parametrize("model", [Zero(), Squared()])
def test_signs_of_what_cancels_do_not_count(model):
    x = np.random.default_rng(3).normal(size=(4, 3)).astype("float32")
    found = network_dichotomies(model, x, KEY, restarts=4)
    assert not (found == -1).any()
    assert len(found) == 0 or isinstance(model, Squared)


@pytest.mark.implicit_promotion
def test_memory_does_not_grow_with_the_number_of_patterns():
    """XLA's own count: 4,096 patterns of 12 points and a network of 30,000 parameters at once would be gigabytes."""
    model = ntk.finite(ntk.MLP(depth=1), width=2000)
    x, patterns = jax.ShapeDtypeStruct((12, 12), "float32"), jax.ShapeDtypeStruct((4096, 12), "int8")
    fit = jax.jit(lambda x, patterns, key: fitted_dichotomies(model, x, patterns, key))
    memory = fit.lower(x, patterns, jax.eval_shape(lambda: KEY)).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 2**28


WIDE = ntk.finite(ntk.MLP(depth=1), 4, outputs=3)
PATTERNS = np.ones((2, 4))

REFUSED = [
    (
        "fitted_dichotomies: model",
        lambda bounds: bounds.fitted_dichotomies(None, SQUARE, PATTERNS, KEY),
        TypeError,
        "model is NoneType without init; expected a hashable Flax Linen module",
    ),
    (
        "fitted_dichotomies: x",
        lambda bounds: bounds.fitted_dichotomies(LINEAR, SQUARE.astype(int), PATTERNS, KEY),
        TypeError,
        "x has dtype int64; expected a real floating-point array",
    ),
    (
        "fitted_dichotomies: patterns",
        lambda bounds: bounds.fitted_dichotomies(LINEAR, SQUARE, PATTERNS[0], KEY),
        ValueError,
        r"patterns has shape \(4,\); expected \(P, N\)",
    ),
    (
        "fitted_dichotomies: patterns",
        lambda bounds: bounds.fitted_dichotomies(LINEAR, SQUARE[:3], PATTERNS, KEY),
        ValueError,
        r"patterns has shape \(2, 4\); expected \(P, N\)",
    ),
    (
        "fitted_dichotomies: patterns",
        lambda bounds: bounds.fitted_dichotomies(LINEAR, SQUARE, 0 * PATTERNS, KEY),
        ValueError,
        "patterns holds entries other than -1 and 1; expected signs",
    ),
    (
        "fitted_dichotomies: x",
        lambda bounds: bounds.fitted_dichotomies(LINEAR, SQUARE * np.nan, PATTERNS, KEY),
        ValueError,
        "x holds 8 entries that are NaN or infinite",
    ),
    (
        "fitted_dichotomies: model",
        lambda bounds: bounds.fitted_dichotomies(WIDE, SQUARE, PATTERNS, KEY),
        ValueError,
        r"model returns outputs of shape \(4, 3\); expected \(N,\) or \(N, 1\)",
    ),
    (
        "fitted_dichotomies: steps",
        lambda bounds: bounds.fitted_dichotomies(LINEAR, SQUARE, PATTERNS, KEY, steps=0),
        ValueError,
        f"steps is 0; {COUNT}",
    ),
    (
        "fitted_dichotomies: restarts",
        lambda bounds: bounds.fitted_dichotomies(LINEAR, SQUARE, PATTERNS, KEY, restarts=1.5),
        ValueError,
        f"restarts is 1.5; {COUNT}",
    ),
    (
        "fitted_dichotomies: learning_rate",
        lambda bounds: bounds.fitted_dichotomies(LINEAR, SQUARE, PATTERNS, KEY, learning_rate=-1.0),
        ValueError,
        "learning_rate is -1.0; expected one finite number that is",
    ),
    (
        "fitted_dichotomies: key",
        lambda bounds: bounds.fitted_dichotomies(LINEAR, SQUARE, PATTERNS, 3),
        TypeError,
        "key is 3; expected one PRNG key",
    ),
    (
        "network_dichotomies: x",
        lambda bounds: bounds.network_dichotomies(LINEAR, np.ones((17, 2)), KEY),
        ValueError,
        r"x has shape \(17, 2\); expected from 1 to 16 points",
    ),
]


@rows(REFUSED)
def test_refused(plain_bounds, call, exception, sentence):
    assert_refused(lambda: call(plain_bounds), exception, sentence)
