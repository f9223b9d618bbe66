"""The leaves of parameter trees by name: one dialect of paths for Linen, NNX and any other pytree."""

from collections.abc import Callable
from typing import Any, TypeAlias

import flax.linen as nn
import jax
import numpy as np
from flax import nnx
from jaxtyping import PyTree

from ntk.calls import check_function, of_user
from ntk.checks import shown

Params: TypeAlias = PyTree  # of a model: arrays and numbers, nested in any way
ParamFilter = Callable[[str], bool]  # takes the path of a leaf and returns whether it is chosen
KeyPath = tuple[Any, ...]  # keys of jax.tree_util, which have no type in common


def leaf_paths(tree: PyTree) -> list[str]:
    """The path of every leaf, in the order of `jax.tree.leaves`, such as 'params/Dense_0/kernel'.

    The keys of a path are the names that the author of the network wrote. A wrapper that Flax puts around an array,
    such as an NNX variable or a box of Linen's metadata, adds no key: the kernel of the NNX layer `hidden` is
    'hidden/kernel'.

    Args:
        tree: Variables of a Flax Linen model, an NNX state or module, or any other pytree.

    Returns:
        The paths. If the tree itself is a leaf, its path is ''.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from ntk.trees import leaf_paths
        >>> leaf_paths({"params": {"Dense_0": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}}})
        ['params/Dense_0/bias', 'params/Dense_0/kernel']
        >>> leaf_paths({"hidden": nnx.Linear(3, 4, use_bias=False, rngs=nnx.Rngs(0))})
        ['hidden/kernel']
    """
    paths: list[KeyPath] = []
    for path, node in jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_wrapper):
        # The first key below a wrapper is the attribute that holds the array.
        inner = [below[1:] for below, _ in jax.tree_util.tree_leaves_with_path(node)] if _is_wrapper(node) else [()]
        paths += [(*path, *below) for below in inner]
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path in paths]


def check_filter(param_filter: object) -> None:
    """Refuse a `param_filter` that cannot be called.

    Raises:
        TypeError: It cannot be called.
    """
    check_function("param_filter", param_filter, "a function of a path such as 'params/w'")


def is_chosen(param_filter: ParamFilter, path: str, name: str = "param_filter") -> bool:
    """Whether a filter, an argument of that name, chooses the parameter at a path.

    Raises:
        TypeError: The filter returns neither True nor False, or raises a TypeError.
        ValueError: It raises anything else.

    Example:
        >>> from ntk.trees import is_chosen
        >>> is_chosen(lambda path: path.endswith("kernel"), "params/Dense_0/kernel")
        True
    """
    called, expected = f"{name}({path!r})", "a function of a path that returns True or False"
    chosen = of_user(called, expected, param_filter, path)
    if not isinstance(chosen, bool | np.bool_):
        raise TypeError(f"{called} returns {shown(chosen)}; expected {expected}.")
    return bool(chosen)


def _is_wrapper(node: PyTree) -> bool:
    return isinstance(node, nnx.Variable | nn.meta.AxisMetadata)
