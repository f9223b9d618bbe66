"""Bad values that a caller may pass, and a check of the answers to them."""

import inspect
import itertools
import linecache
import math
import re
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

ROOT = Path(__file__).parents[1]
PACKAGES = ("ntk", "bounds")
LONGEST_MESSAGE = 600

# By names that tests show. Only those whose names say so hold NaN.
BAD_VALUES: dict[str, Any] = {
    **{"none": None, "true": True, "text": "x", "number in text": "0.1", "function": jnp.tanh, "object": object()},
    **{"nan": math.nan, "inf": math.inf, "-1": -1, "0": 0, "1.5": 1.5, "-1.5": -1.5, "complex": 1j, "huge": 10**400},
    **{"list": [], "dictionary": {}, "ragged list": [[1.0], [1.0, 2.0]], "list of text": ["x"], "list of none": [None]},
    "empty array": np.ones(0),
    "empty matrix": np.ones((0, 3), np.float32),
    "vector": np.ones(2, np.float32),
    "matrix": np.ones((2, 3), np.float32),
    "three axes": np.ones((2, 3, 4), np.float32),
    "nan array": np.full((2, 2), np.nan),
    "inf array": np.full((2, 2), np.inf),
    "integer array": np.arange(6).reshape(2, 3),
    "half array": jnp.ones((2, 2), jnp.float16),
    "complex array": np.ones((2, 2), complex),
    "text array": np.array(["x", "y"]),
    "object array": np.array([None, "x"], dtype=object),
    "shape": jax.ShapeDtypeStruct((2, 3), jnp.float32),
    "linen module": nn.Dense(3),
    "nnx module": nnx.Linear(2, 3, rngs=nnx.Rngs(0)),
}


def replaced(arguments: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each argument, the name of each bad value, and the arguments with the bad value in place of this argument."""
    for argument, bad in itertools.product(arguments, BAD_VALUES):
        yield argument, bad, arguments | {argument: BAD_VALUES[bad]}


def dealt(calls: Mapping[str, Iterable[str]], values: Iterable[str], each: int) -> dict[tuple[str, str], list[str]]:
    """Some of the values for each argument of each function, (function, argument), dealt in turn from all of them.

    Arguments of one name are dealt to one after another, whatever functions they are of. So every argument gets
    `each` values, every value is dealt equally often, and what many functions take meets most of the values.
    """
    deck = itertools.cycle(values)
    places = sorted((argument, function) for function, arguments in calls.items() for argument in arguments)
    return {(function, argument): [next(deck) for _ in range(each)] for argument, function in places}


def judge(call: Callable[[], Any], argument: str, bad: str, doors: tuple[str, ...] = ()) -> str | None:
    """The fault in the answer to a call in which one argument is the bad value of that name; None if it is right.

    A result is right if NaN was passed or if the result holds none. A refusal is right if it is a TypeError or
    ValueError that a line of the packages raises, and if its message names the argument, is short and has no private
    name. Any refusal by a package of `doors` is right too, since such packages check arguments themselves.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", UserWarning)  # these warnings are intended
        # NumPy 2.0 asks every object for a dtype, Flax's modules too.
        warnings.filterwarnings("ignore", "in the future the `.dtype` attribute", DeprecationWarning)
        try:
            result = call()
            if inspect.isgenerator(result):
                result = list(itertools.islice(result, 3))
        except Exception as error:
            return None if _raised_by(error, doors) else _of_refusal(error, argument)
    return "a silent NaN" if "nan" not in bad and _has_nan(result) else None


def _of_refusal(error: Exception, argument: str) -> str | None:
    said = f"{type(error).__name__}: {str(error)[:300]}"
    if type(error) not in (TypeError, ValueError) or not _raised_by_the_packages(error.__traceback__):
        return f"an internal error, {said}"
    if not re.search(rf"\b{argument}\b", str(error)):
        return f"{argument} is not named by {said}"
    if len(str(error)) > LONGEST_MESSAGE:
        return f"{len(str(error))} characters in {said}"
    private = re.search(r"(?<!\w)_(?!_)\w+", str(error))
    return f"the private name {private[0]} in {said}" if private else None


def _raised_by(error: Exception, doors: tuple[str, ...]) -> bool:
    """Whether it is a TypeError or ValueError that passed through, or came from, a module of one of these packages."""
    frames = traceback.walk_tb(error.__traceback__)
    modules = {frame.f_globals.get("__name__", "").split(".")[0] for frame, _ in frames}
    return isinstance(error, TypeError | ValueError) and bool(modules & set(doors))


def _raised_by_the_packages(trace: TracebackType | None) -> bool:
    """Whether the innermost line is a `raise` in one of the packages, and not an operation that failed there."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    file = Path(trace.tb_frame.f_code.co_filename)
    inside = file.is_relative_to(ROOT) and file.relative_to(ROOT).parts[0] in PACKAGES
    return inside and linecache.getline(str(file), trace.tb_lineno).strip().startswith("raise ")


def _has_nan(result: Any) -> bool:
    """Whether a result holds NaN. If it is not a pytree, its fields are searched."""
    leaves = [vars(leaf) if hasattr(leaf, "__dict__") else leaf for leaf in jax.tree.leaves(result)]
    for leaf in jax.tree.leaves(leaves):
        dtype = getattr(leaf, "dtype", np.dtype(type(leaf)) if isinstance(leaf, float | complex) else None)
        if dtype is not None and jnp.issubdtype(dtype, jnp.inexact) and bool(jnp.isnan(leaf).any()):
            return True
    return False
