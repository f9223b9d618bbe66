"""Sets of points that a class shatters: found, or shown not to exist by trying every configuration it tells apart.

A class is given by its dichotomies: a function from points to signs (M, N), such as those of
`bounds.counting.dichotomies`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from bounds.arrays import check_repeats
from bounds.calls import called, check_function
from ntk.checks import as_numpy, check_count, check_flag, shown

Dichotomies = Callable[[np.ndarray], np.ndarray]


def is_shattered(signs: np.ndarray) -> bool:
    """Whether the dichotomies of a sample are all 2^N that there are.

    Args:
        signs: (M, N) of −1 and 1; equal rows count once.

    Raises:
        ValueError: `signs` is not (M, N), or holds something else.

    Example:
        >>> from bounds.counting.dichotomies import interval_dichotomies
        >>> from bounds.counting.shattering import is_shattered
        >>> is_shattered(interval_dichotomies([0.0, 1.0])), is_shattered(interval_dichotomies([0.0, 1.0, 2.0]))
        (True, False)
    """
    return _has_all("signs", signs)


def find_shattered_set(dichotomies: Dichotomies, configurations: Iterable[np.ndarray]) -> np.ndarray | None:
    """The first of the configurations that the class shatters, or None.

    None proves that no set of that size is shattered if the configurations stand for all that the class tells apart, as
    `line_configurations`, `plane_configurations` and `half_space_configurations` do for their classes, or if they are
    all subsets of a finite domain (`subset_configurations`). For others it proves nothing.

    Args:
        dichotomies: From points to the signs that the class gives them, (M, N).
        configurations: Arrays of points, as `dichotomies` takes them.

    Raises:
        TypeError: `dichotomies` is no function, or `configurations` cannot be iterated over.
        ValueError: `dichotomies` returns something else than signs (M, N).

    Example:
        >>> from bounds.counting.dichotomies import rectangle_dichotomies
        >>> from bounds.counting.shattering import find_shattered_set, plane_configurations
        >>> find_shattered_set(rectangle_dichotomies, plane_configurations(4)).tolist()
        [[0, 1], [1, 0], [2, 3], [3, 2]]
        >>> find_shattered_set(rectangle_dichotomies, plane_configurations(5)) is None
        True
    """
    check_function("dichotomies", dichotomies, ("points",))
    try:
        points = iter(configurations)
    except TypeError:
        raise TypeError(f"configurations is {shown(configurations)}; expected arrays of points.") from None

    def shattered(x: np.ndarray) -> bool:
        return _has_all("what dichotomies returns", called("dichotomies", dichotomies, {"configurations": x}))

    return next((x for x in points if shattered(x)), None)


def vc_dimension(
    dichotomies: Dichotomies,
    configurations: Callable[[int], Iterable[np.ndarray]],
    limit: int = 8,
) -> int | None:
    """The size of the largest shattered set, where `configurations(size)` are exhaustive (see `find_shattered_set`).

    A subset of a shattered set is shattered, so that the first size without one is a break point.

    Args:
        dichotomies: From points to the signs that the class gives them, (M, N).
        configurations: From a size to arrays of that many points.
        limit: The largest size to try.

    Returns:
        d_vc; None where some set of `limit` points is shattered, which leaves d_vc ≥ `limit`.

    Raises:
        TypeError: `dichotomies` or `configurations` is no function.
        ValueError: `limit` is no positive integer, or `dichotomies` returns something else than signs (M, N).

    Example:
        >>> from bounds.counting.dichotomies import interval_dichotomies, linear_dichotomies
        >>> from bounds.counting.shattering import half_space_configurations, line_configurations, vc_dimension
        >>> vc_dimension(interval_dichotomies, line_configurations)
        2
        >>> vc_dimension(linear_dichotomies, lambda size: half_space_configurations(size, dim=3))
        4
    """
    check_count("limit", limit)

    def shattered(size: int) -> np.ndarray | None:
        return find_shattered_set(dichotomies, called("configurations", configurations, {"a size": size}))

    return next((size - 1 for size in range(1, limit + 1) if shattered(size) is None), None)


def line_configurations(size: int) -> Iterator[np.ndarray]:
    """All configurations on the line that only the order of the points tells apart: one, (size,).

    Exhaustive for rays, intervals and unions of these. Equal points cannot have different signs and are left out.

    Raises:
        ValueError: `size` is no positive integer.

    Example:
        >>> from bounds.counting.shattering import line_configurations
        >>> [x.tolist() for x in line_configurations(3)]
        [[0, 1, 2]]
    """
    check_repeats("size", size)
    yield np.arange(size)


def plane_configurations(size: int) -> Iterator[np.ndarray]:
    """All configurations in the plane that only the orders of both coordinates tell apart: size! of them, (size, 2).

    Exhaustive for axis-aligned rectangles, quadrants and the like. Equal coordinates are left out: a rectangle that
    tells points apart still does so when they are moved a little.

    Raises:
        ValueError: `size` is no positive integer.

    Example:
        >>> from bounds.counting.shattering import plane_configurations
        >>> [x.tolist() for x in plane_configurations(2)]
        [[[0, 0], [1, 1]], [[0, 1], [1, 0]]]
    """
    check_repeats("size", size)
    for heights in itertools.permutations(range(size)):
        yield np.column_stack([np.arange(size), heights])


def half_space_configurations(size: int, dim: int, affine: bool = True) -> Iterator[np.ndarray]:
    """All configurations that half-spaces of R^dim tell apart, up to the order of the points: arrays (size, dim).

    With D = dim + 1 (D = dim through the origin), up to D points in general position all look the same, and D + 1 have
    one dependency Σ c_i x_i = 0 (with Σ c_i = 0 if affine: Radon 1921), whose signs decide everything. Degenerate
    points have no more dichotomies than points next to them in general position.

    Args:
        size: How many points, at most D + 1; a larger set is not shattered since D + 1 of its points are not.
        dim: Dimension of the points.
        affine: Whether half-spaces have an offset.

    Raises:
        ValueError: `size` is not from 1 to D + 1, or `dim` no positive integer.

    Example:
        >>> from bounds.counting.shattering import half_space_configurations
        >>> [x[-1].tolist() for x in half_space_configurations(4, dim=2)]  # beside (0, 0), (4, 0) and (0, 4)
        [[1, 1], [-4, 1], [-4, -4]]
    """
    check_repeats("size", size)
    check_repeats("dim", dim)
    check_flag("affine", affine)
    corners = np.vstack([np.zeros((int(affine), dim), dtype=int), 2 * dim * np.eye(dim, dtype=int)])
    if size > len(corners) + 1:
        raise ValueError(f"size is {size}; expected at most {len(corners) + 1}, D + 1.")
    if size <= len(corners):
        yield corners[:size]
        return
    for negative in range(dim + 1):
        # Small enough where positive for the origin's coefficient to be positive too, if it is one of the corners.
        yield np.vstack([corners, np.where(np.arange(dim) < negative, -2 * dim, 1)])


def subset_configurations(x: Any, size: int) -> Iterator[np.ndarray]:
    """All sets of that many among the points x: exhaustive where these are the whole domain.

    Args:
        x: The points, (N,) or (N, dim).
        size: How many of them.

    Raises:
        ValueError: `size` is no positive integer, or `x` has no axis.

    Example:
        >>> from bounds.counting.shattering import subset_configurations
        >>> [x.tolist() for x in subset_configurations([0.5, 1.5, 2.5], 2)]
        [[0.5, 1.5], [0.5, 2.5], [1.5, 2.5]]
    """
    check_repeats("size", size)
    points = as_numpy("x", x, "points (N,) or (N, dim)")
    if points.ndim == 0:
        raise ValueError(f"x is {shown(x)}; expected points (N,) or (N, dim).")
    for chosen in itertools.combinations(range(len(points)), size):
        yield points[list(chosen)]


def _has_all(name: str, signs: Any) -> bool:
    """Whether signs, given under that name, are all that there are."""
    numbers = as_numpy(name, signs, "signs (M, N)")
    if numbers.ndim != 2:
        raise ValueError(f"{name} has shape {numbers.shape}; expected (M, N).")
    if not np.isin(numbers, (-1, 1)).all():
        raise ValueError(f"{name} holds entries other than -1 and 1; expected one dichotomy in each row.")
    return len(np.unique(numbers, axis=0)) == 1 << numbers.shape[1]
