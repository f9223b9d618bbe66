"""Parameter trees: leaves by their names, and the order in which matrices follow each other as layers."""

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

_WRAPPERS = ("value", "raw_value")  # what NNX puts around an array


def named_leaves(params: Any) -> dict[str, Any]:
    """The floating-point leaves, or their shapes, under paths such as 'params/Dense_0/kernel', in the order of these.

    Numbers within names count as numbers, and the read-out v of `ntk.finite` comes after w1, w2, ….
    """
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if jnp.issubdtype(getattr(leaf, "dtype", type(None)), jnp.floating):
            keys = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
            leaves["/".join(keys[:-1] if keys[-1] in _WRAPPERS else keys)] = leaf
    return dict(sorted(leaves.items(), key=lambda item: _natural(item[0])))


def is_bias(name: str) -> bool:
    """Whether a path ends as those of biases do: in bias, b, b1, b2, …."""
    return re.fullmatch(r"bias|b\d*", name.rpartition("/")[2]) is not None


def bias_of(name: str) -> str | None:
    """The path of the bias that goes with a matrix: bias beside kernel, b1 beside w1; None for other names."""
    prefix, slash, last = name.rpartition("/")
    if last in ("kernel", "weight"):
        return f"{prefix}{slash}bias"
    return f"{prefix}{slash}b{last[1:]}" if re.fullmatch(r"w\d*", last) else None


def in_chain(argument: str, names: Sequence[str], shapes: Sequence[tuple[int, int]]) -> list[int]:
    """The one order in which every matrix (in, out) takes what the one before gives, as their places in `names`.

    Matrices whose names differ in numbers alone, as those of a list do, stay in the order of the numbers. Refused where
    no order is possible, and where there are several: names such as hidden, in and out say nothing of the order.
    """
    stems: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        stems.setdefault(re.sub(r"\d+", "#", re.sub(r"(^|/)v$", r"\1w#", name)), []).append(place)
    found: list[list[int]] = []

    def extend(chain: list[int], left: list[list[int]]) -> None:
        if len(found) == 2:
            return
        if not left:
            found.append(chain)
        for i, (first, *others) in enumerate(left):
            if not chain or shapes[chain[-1]][1] == shapes[first][0]:
                extend([*chain, first], left[:i] + [others] * bool(others) + left[i + 1 :])

    extend([], list(stems.values()))
    if len(found) != 1:
        listed = ", ".join(f"{name} {tuple(shape)}" for name, shape in zip(names, shapes, strict=True))
        fitting = "each fitting the one before" if not found else "in one order only: numbered layers, or a list"
        raise ValueError(f"{argument} has {listed}; expected matrices (in, out), {fitting}.")
    return found[0]


def _natural(name: str) -> list[tuple[int, str]]:
    """A key to sort paths by."""
    ranked = re.sub(r"(^|/)v$", r"\1w~", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", ranked)]
