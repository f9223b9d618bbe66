"""Which leaves of the parameters of a model are trained. All others are constants.

State that Flax keeps beside the parameters is not trained: the collections of Linen's variables other than "params",
and NNX variables that are not `nnx.Param`, such as the running statistics of a batch normalization.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import PyTree

from ntk.checks import shown
from ntk.trees import ParamFilter, Params, is_chosen, leaf_paths

DType: TypeAlias = Any  # of NumPy, or one of JAX's own such as that of random keys

# The collections that Linen's own layers keep beside "params". A user's own function may take entries of other names.
_LINEN_STATE = frozenset({"batch_stats", "cache", "intermediates", "perturbations"})


def trained_leaves(f: Callable[..., PyTree], params: Params, param_filter: ParamFilter | None) -> tuple[int, ...]:
    """Which leaves are floating-point, are not state, and pass the filter of their paths.

    Raises:
        TypeError: A leaf is not an array, or is complex and would be trained.
        ValueError: No leaf is trained.
    """
    paths, dtypes, state = leaf_paths(params), leaf_dtypes(params), _state(f, params)

    def is_trained(leaf: int) -> bool:
        return leaf not in state and (param_filter is None or is_chosen(param_filter, paths[leaf]))

    inexact = [i for i, dtype in enumerate(dtypes) if jnp.issubdtype(dtype, jnp.inexact)]
    trained = tuple(filter(is_trained, inexact))
    if complex_leaves := [paths[i] for i in trained if jnp.issubdtype(dtypes[i], jnp.complexfloating)]:
        raise TypeError(
            f"params has complex leaves at {_quoted(complex_leaves)}; expected real ones, such as real and imaginary"
            " parts. One that is not trained may be left out by param_filter, or be closed over by f."
        )
    if trained:
        return trained
    beside = f" ({_quoted(paths[i] for i in sorted(state))} is state, which is not trained)" if state else ""
    if candidates := [paths[i] for i in inexact if i not in state]:
        raise ValueError(
            f"param_filter is false for all of {', '.join(candidates)}{beside}; expected it to be true for some."
        )
    found = f"leaves of {', '.join(sorted({str(dtype) for dtype in dtypes}))}" if dtypes else "no leaves"
    raise ValueError(
        f"params has {found}{beside}; expected a pytree with at least one floating-point leaf that is trained."
    )


def leaf_dtypes(params: Params) -> list[DType]:
    """The dtypes of all leaves. A leaf that is neither an array nor a number is refused."""
    return [_dtype_of(path, leaf) for path, leaf in zip(leaf_paths(params), jax.tree.leaves(params), strict=True)]


def _dtype_of(path: str, leaf: PyTree) -> DType:
    where = f" at '{path}'" if path else ""
    if not isinstance(leaf, int | float | complex | np.ndarray | np.generic | jax.Array):
        raise TypeError(f"params has {shown(leaf)}{where}; expected arrays and numbers.")
    try:
        return jnp.asarray(leaf).dtype
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"params has {shown(leaf)}{where}; expected arrays and numbers that JAX has.") from None


def _state(f: Callable[..., PyTree], params: Params) -> set[int]:
    """The leaves that are state to Flax and not parameters."""
    return _nnx_state(params) | _linen_state(f, params)


def _nnx_state(params: Params) -> set[int]:
    """The leaves of NNX variables that are not parameters."""
    state: set[int] = set()
    first = 0
    for node in jax.tree.leaves(params, is_leaf=_is_variable):
        count = len(jax.tree.leaves(node))
        if _is_variable(node) and not isinstance(node, nnx.Param):
            state |= set(range(first, first + count))
        first += count
    return state


def _is_variable(node: PyTree) -> bool:
    return isinstance(node, nnx.Variable)


def _linen_state(f: Callable[..., PyTree], params: Params) -> set[int]:
    """The leaves of collections beside "params".

    If f is the method of a Linen module, all collections count. Otherwise only those of Linen's own layers count.
    """
    while isinstance(f, functools.partial):
        f = f.func
    of_module = isinstance(getattr(f, "__self__", None), nn.Module)
    paths = [path.split("/") for path in leaf_paths(params)]
    variables = {tuple(path[:depth]) for path in paths for depth, key in enumerate(path) if key == "params"}

    def is_state(path: list[str]) -> bool:
        known = (key in _LINEN_STATE and tuple(path[:depth]) in variables for depth, key in enumerate(path))
        return any(known) or (of_module and () in variables and path[0] != "params")

    return {leaf for leaf, path in enumerate(paths) if is_state(path)}


def _quoted(paths: Iterable[str]) -> str:
    return ", ".join(f"'{path}'" for path in paths)
