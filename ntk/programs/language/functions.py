"""The functions of numbers and of arrays that a program applies to its scalars and to coordinates of its vectors."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ntk.calls import of_user
from ntk.checks import shown
from ntk.programs.language.positions import Shape

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def promoting(fn: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The user's function with JAX's usual promotions, also where the user has JAX refuse them."""

    @functools.wraps(fn)
    def promoted(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return fn(*args, **kwargs)

    return promoted


def coordinatewise(fn: Callable[..., ArrayLike]) -> Callable[..., jax.Array]:
    """A function of numbers as one of arrays, with JAX's usual promotions."""
    return jnp.vectorize(promoting(fn))


def shape_of_result(fn: Callable[..., object], count: int, name: str, shape: Shape = ()) -> Shape:
    """The shape of what a function returns for so many numbers, or arrays; refused if it cannot be applied to them."""
    numbers = f"{count} array{'s' * (count != 1)} of shape {shape}" if shape else f"{count} number{'s' * (count != 1)}"
    zeros = [jnp.zeros(shape)] * count
    result = of_user(f"{name} of {numbers}", f"a function of {numbers}", jax.eval_shape, fn, *zeros)
    if not isinstance(result, jax.ShapeDtypeStruct):
        raise TypeError(f"{name} returns {shown(result)}; expected an array.")
    return result.shape


@dataclass(frozen=True)
class Softmax:
    """The softmax over the last axis.

    Attributes:
        allowed: Which entries count, of the whole array in order; None for all.
    """

    allowed: tuple[bool, ...] | None

    def __call__(self, scores: jax.Array) -> jax.Array:
        """The weights, 0 for entries that do not count."""
        if self.allowed is None:
            return jax.nn.softmax(scores)
        return jax.nn.softmax(scores, where=np.reshape(self.allowed, scores.shape))


def softmax_where(mask: np.ndarray | None, shape: Shape) -> tuple[Softmax, Shape]:
    """The softmax of scores with these position axes, and the axes that it takes at once.

    Args:
        mask: True for the entries that count, of the last axes; None for all.
        shape: The sizes of the position axes.

    Raises:
        TypeError: The mask is not of booleans.
        ValueError: `shape` is empty, the mask does not fit, or a row of the mask has no entries.
    """
    if not shape:
        raise ValueError("scores has no position axis; expected that of the keys.")
    if mask is None:
        return Softmax(None), shape[-1:]
    allowed = mask if isinstance(mask, np.ndarray) else np.array(None)
    if allowed.dtype != bool:
        raise TypeError(f"mask is {shown(mask)}; expected an array of booleans of NumPy.")
    if not allowed.ndim or shape[-allowed.ndim :] != allowed.shape or not allowed.any(-1).all():
        raise ValueError(
            f"mask has shape {allowed.shape}; expected the last axes of {shape}, and a key for every query."
        )
    return Softmax(tuple(map(bool, allowed.ravel()))), allowed.shape


@dataclass(frozen=True)
class OfNumbers:
    """A function of arrays as one of all their entries, of which the results are given in order.

    Attributes:
        fn: The function.
        shape: Of every array.
    """

    fn: Callable[..., ArrayLike]
    shape: Shape

    def __call__(self, *entries: jax.Array) -> jax.Array:
        """The results, (k,)."""
        arrays = jnp.stack(entries).reshape(-1, *self.shape)
        return jnp.ravel(self.fn(*arrays))
