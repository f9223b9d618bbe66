"""Dichotomies of a sample that training finds for a network: a lower bound on how many there are."""

import itertools
from collections.abc import Callable, Hashable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int8, PyTree, Shaped

from bounds import batches
from bounds.arrays import as_labels
from bounds.calls import shapes_returned
from bounds.networks.rounding import rounded_at_random
from ntk.caches.lifetimes import compiled
from ntk.checks import MOST_STEPS, as_floating, as_nonnegative_number, check_count, check_finite, check_key, is_concrete
from ntk.trees import Params

_LARGEST_SAMPLE = 16  # 65,536 networks
# The least margin relative to the largest |f|. Rounding may decide the sign of an output that is nearer to zero.
_MARGIN = 1e-3
# How often a network is evaluated with random errors, and the largest error in units of the last place, which is more
# than rounding causes. Every output must change by less than the last number, as a share of itself.
_TRIALS, _UNITS, _CHANGE = 16, 4.0, 0.25
Training = tuple[Params, PyTree, Params, Array]  # parameters, moments of Adam, the best parameters, and their margin


@runtime_checkable
class Model(Hashable, Protocol):
    """A network with one output, such as `ntk.finite` returns, or a Flax Linen module."""

    def init(self, rngs: Array, x: Float[Array, "N ..."]) -> Params:
        """Random parameters for such inputs."""

    def apply(self, variables: Params, x: Float[Array, "N ..."]) -> PyTree:
        """The outputs, (N,) or (N, 1). A Flax module states no narrower type."""


def fitted_dichotomies(
    model: Model,
    x: Shaped[ArrayLike, "N ..."],
    patterns: Shaped[ArrayLike, "P N"],
    key: Array,
    *,
    steps: int = 1000,
    learning_rate: ArrayLike = 0.1,
    restarts: int = 1,
) -> Bool[Array, " P"]:
    """For which patterns of signs training found weights. False does not prove that there are none.

    One network is trained for each pattern and restart, by Adam on the logistic loss, from its own random weights. As
    many are trained at once as memory for a few million numbers allows. The margin of a network is its output nearest
    to the wrong side, relative to its largest output. Of all steps of a network the one with the largest margin counts.
    A pattern is found if both of these hold:

    - The margin is above a thousandth.
    - In 16 trials no output changes by a quarter of itself when every number on the way to it is moved at random by up
      to 4 units in its last place (`bounds.networks.rounding`). Signs that come from rounding, such as those of a
      difference that cancels, do not count, as far as random errors can tell.

    Args:
        model: Hashable, with `init(key, x)`, which returns parameters, and `apply(params, x)`, which returns (N,) or
            (N, 1): what `ntk.finite` returns, or a Flax Linen module.
        x: The points, (N, …), floating-point; training runs in their dtype.
        patterns: (P, N) of −1 and 1.
        key: A PRNG key for the initial weights.
        steps: How many steps of training, each on all N points.
        learning_rate: The learning rate of Adam.
        restarts: How many networks for each pattern.

    Returns:
        (P,) of booleans.

    Raises:
        ValueError: The patterns are not (P, N) or not signs, the model's outputs are not one number per point, a count
            is not a positive integer, or a value is not finite.
        TypeError: `model` lacks a method or is not hashable, `x` is not floating-point, or `key` is not a PRNG key.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> from bounds.networks.pattern_fitting import fitted_dichotomies
        >>> model = ntk.finite(ntk.MLP(depth=1, activation="identity", b_std=0.0), width=4)
        >>> patterns = jnp.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
        >>> print(fitted_dichotomies(model, jnp.array([[1.0], [2.0]]), patterns, jax.random.key(0)))
        [ True False False  True]
    """
    x, patterns, learning_rate = _check(model, x, patterns, learning_rate)
    check_count("steps", steps, maximum=MOST_STEPS)
    check_count("restarts", restarts, maximum=MOST_STEPS)
    check_key(key)
    found: Bool[Array, " P"] = _fitted(model, restarts, x, patterns, key, jnp.asarray(steps), learning_rate)
    return found


def network_dichotomies(
    model: Model,
    x: Shaped[ArrayLike, "N ..."],
    key: Array,
    *,
    steps: int = 1000,
    learning_rate: ArrayLike = 0.1,
    restarts: int = 1,
) -> Int8[np.ndarray, "M N"]:
    """The dichotomies of the points x that training finds, among all 2^N: their number is a lower bound.

    A dichotomy that rounding may have made does not count, as far as random errors show it (see `fitted_dichotomies`).
    The function may be the class in `bounds.counting.shattering`: if a set is found to be shattered, it is. If none is
    found, this proves nothing.

    Args:
        model: Hashable, with `init(key, x)`, which returns parameters, and `apply(params, x)`, which returns (N,) or
            (N, 1): what `ntk.finite` returns, or a Flax Linen module.
        x: The points, (N, …), floating-point, N ≤ 16.
        key: A PRNG key for the initial weights.
        steps: How many steps of training, each on all N points.
        learning_rate: The learning rate of Adam.
        restarts: How many networks for each pattern.

    Returns:
        (M, N) of −1 and 1, int8, on the host.

    Raises:
        ValueError: N is above 16, the model's outputs are not one number per point, a count is not a positive integer,
            or a value is not finite.
        TypeError: `model` lacks a method or is not hashable, `x` is not floating-point, or `key` is not a PRNG key.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> from bounds.networks.pattern_fitting import network_dichotomies
        >>> model = ntk.finite(ntk.MLP(depth=1, activation="identity", b_std=0.0), width=4)
        >>> network_dichotomies(model, jnp.array([[1.0], [2.0]]), jax.random.key(0)).tolist()
        [[-1, -1], [1, 1]]
    """
    x = as_floating("x", x)
    if x.ndim < 1 or not 1 <= len(x) <= _LARGEST_SAMPLE:
        raise ValueError(f"x has shape {x.shape}; expected from 1 to {_LARGEST_SAMPLE} points: all signs are tried.")
    patterns = np.array(list(itertools.product((-1, 1), repeat=len(x))), dtype=np.int8)
    found = fitted_dichotomies(model, x, patterns, key, steps=steps, learning_rate=learning_rate, restarts=restarts)
    dichotomies: Int8[np.ndarray, "M N"] = patterns[np.asarray(found)]
    return dichotomies


@compiled(static=1)
def _fitted(
    model: Model,
    restarts: int,
    x: Float[Array, "N ..."],
    patterns: Float[Array, "P N"],
    key: Array,
    steps: Array,
    learning_rate: Array,
) -> Bool[Array, " P"]:
    optimizer = optax.adam(learning_rate)

    def loss(params: Params, signs: Float[Array, " N"]) -> tuple[Array, Array]:
        """The loss, and the smallest margin relative to the largest output."""
        margins = signs * model.apply(params, x).reshape(len(x))
        largest = jnp.abs(margins).max()
        margin = margins.min() / jnp.where(largest > 0, largest, 1)
        return jnp.mean(jax.nn.softplus(-margins)), margin.astype(x.dtype)  # the model may compute in another dtype

    def train(task: tuple[Array, Float[Array, " N"]]) -> Bool[Array, ""]:
        key, signs = task

        def step(_: Array, state: Training) -> Training:
            params, moments, best, best_margin = state
            gradient, margin = jax.grad(loss, has_aux=True)(params, signs)
            updates, moments = optimizer.update(gradient, moments)
            better = margin > best_margin
            best = jax.tree.map(lambda new, old: jnp.where(better, new, old), params, best)
            return optax.apply_updates(params, updates), moments, best, jnp.where(better, margin, best_margin)

        params = model.init(key, x)
        start = (params, optimizer.init(params), params, jnp.asarray(-1, x.dtype))
        # The number of steps is an input of the program, so that another number compiles nothing.
        _, _, best, margin = jax.lax.fori_loop(0, steps + 1, step, start)
        return jnp.logical_and(margin > _MARGIN, _beyond_rounding(model, best, x, key))

    total = restarts * len(patterns)
    tasks = jax.random.split(key, total), jnp.tile(patterns, (restarts, 1))
    size = batches.batch_size(_numbers_held(model, loss, x), total)
    found: Bool[Array, " all"] = jax.lax.map(train, tasks, batch_size=size)
    return found.reshape(restarts, -1).any(0)


def _beyond_rounding(model: Model, params: Params, x: Array, key: Array) -> Bool[Array, ""]:
    """Whether no output changes much when every number on the way to it is moved at random."""
    outputs = model.apply(params, x)

    def holds(key: Array) -> Array:
        moved = rounded_at_random(model.apply, (params, x), key, _UNITS)
        return jnp.all(jnp.abs(moved - outputs) < _CHANGE * jnp.abs(outputs))

    return jnp.all(jax.vmap(holds)(jax.random.split(jax.random.fold_in(key, 1), _TRIALS)))


def _numbers_held(model: Model, loss: Callable[[Params, Array], tuple[Array, Array]], x: Array) -> int:
    """How many numbers one network holds: parameters, moments, the best ones, and those of a step or the trials."""
    params = jax.eval_shape(model.init, jax.random.key(0), x)
    signs = jnp.ones(len(x), x.dtype)
    size = sum(int(leaf.size) for leaf in jax.tree.leaves(params))
    step = batches.numbers_made(jax.grad(loss, has_aux=True), params, signs)
    # To move a number takes a few numbers more.
    return 5 * size + max(step, 4 * _TRIALS * batches.numbers_made(model.apply, params, x))


def _check(model: Model, x: ArrayLike, patterns: ArrayLike, learning_rate: ArrayLike) -> tuple[Array, Array, Array]:
    for method in ("init", "apply", "__hash__"):
        if not callable(getattr(model, method, None)):
            raise TypeError(f"model is {type(model).__name__} without {method}; expected a hashable Flax Linen module.")
    x = as_floating("x", x)
    check_finite("x", x)
    if x.ndim < 1:
        raise ValueError(f"x has shape {x.shape}; expected points (N, …).")
    signs = as_labels("patterns", patterns, "(P, N)")
    if signs.shape[1] != len(x):
        raise ValueError(f"patterns has shape {signs.shape}; expected (P, N) with N points x, of shape {x.shape}.")
    if is_concrete(signs) and not np.isin(signs, (-1, 1)).all():
        raise ValueError("patterns holds entries other than -1 and 1; expected signs.")

    def outputs(x: Array) -> Array:
        found: Array = model.apply(model.init(jax.random.key(0), x), x)
        return found

    shape = shapes_returned("model", outputs, {"x": x})
    if shape not in ((len(x),), (len(x), 1)):
        raise ValueError(f"model returns outputs of shape {shape}; expected (N,) or (N, 1), one number per point.")
    return x, signs.astype(x.dtype), as_nonnegative_number("learning_rate", learning_rate, x.dtype)
