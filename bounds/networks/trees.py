"""Parameter trees: their leaves by name, and the order in which matrices follow each other as layers."""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ntk.trees import Params, leaf_paths

_MOST_LISTED = 8  # matrices in a message


def named_leaves(params: Params) -> dict[str, Any]:
    """The floating-point leaves, or their shapes, under paths such as 'params/Dense_0/kernel', sorted by path.

    Numbers within names are sorted as numbers, and the read-out v of `ntk.finite` comes after w1, w2, ….
    """
    leaves = {}
    for path, leaf in zip(leaf_paths(params), jax.tree.leaves(params), strict=True):
        if hasattr(leaf, "shape") and jnp.issubdtype(getattr(leaf, "dtype", bool), jnp.floating):
            leaves[path] = leaf
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
    """The one order in which every matrix (in, out) takes what the one before gives, as places in `names`.

    Matrices whose names differ only in numbers, like those of a list, stay in the order of the numbers. The matrices
    are refused where no order is possible, and where several are: names such as hidden, in and out do not tell the
    order.
    """
    found = list(itertools.islice(_orders(names, lambda one, other: shapes[one][1] == shapes[other][0]), 2))
    if len(found) != 1:
        fitting = "each fitting the one before" if not found else "in one order only: numbered layers, or a list"
        raise ValueError(f"{argument} has {_listed(names, shapes)}; expected matrices (in, out), {fitting}.")
    return found[0]


def check_chain(
    argument: str, names: Sequence[str], shapes: Sequence[tuple[int, int]], patch_sizes: Sequence[int]
) -> None:
    """Refuse matrices that no order makes layers of a network. Some may be matrices of convolutions.

    A convolution's matrix has as many rows for each input as its kernel has positions. A dense layer may take what a
    convolution gives at each of several positions.
    """

    def fits(one: int, other: int) -> bool:
        given, taken = shapes[one][1], shapes[other][0] // patch_sizes[other]
        flattened = patch_sizes[one] > 1 == patch_sizes[other]
        return taken % given == 0 if flattened else taken == given

    if next(_orders(names, fits), None) is None:
        raise ValueError(
            f"{argument} has {_listed(names, shapes)}; expected matrices (in, out), each fitting the one before. Of"
            " another network pass a part that is a chain, by weight_matrices(params, param_filter)."
        )


def _orders(names: Sequence[str], fits: Callable[[int, int], bool]) -> Iterator[list[int]]:
    """Every order of the places in `names` in which each fits the one before; numbered names keep their order."""
    stems: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        stems.setdefault(re.sub(r"\d+", "#", re.sub(r"(^|/)v$", r"\1w#", name)), []).append(place)
    groups = list(stems.values())
    dead_ends: set[tuple[int, ...]] = set()  # how many of each group are used, and the last one

    def extended(chain: list[int], used: tuple[int, ...]) -> Iterator[list[int]]:
        if len(chain) == len(names):
            yield chain
            return
        state = (*used, *chain[-1:])
        if state in dead_ends:
            return
        fruitful = False
        for i, group in enumerate(groups):
            if used[i] < len(group) and (not chain or fits(chain[-1], group[used[i]])):
                longer = [*chain, group[used[i]]]
                for order in extended(longer, (*used[:i], used[i] + 1, *used[i + 1 :])):
                    fruitful = True
                    yield order
        if not fruitful:
            dead_ends.add(state)

    return extended([], (0,) * len(groups))


def _listed(names: Sequence[str], shapes: Sequence[tuple[int, int]]) -> str:
    listed = [f"{name} {tuple(shape)}" for name, shape in zip(names, shapes, strict=True)]
    return ", ".join(listed if len(listed) <= _MOST_LISTED else [*listed[:_MOST_LISTED], "…"])


def _natural(name: str) -> list[tuple[int, str]]:
    """A key to sort paths by."""
    ranked = re.sub(r"(^|/)v$", r"\1w~", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", ranked)]
