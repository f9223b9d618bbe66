"""Sets of points that a class shatters: found, or excluded by trying every configuration that the class tells apart.

A class is given by its dichotomies: a function from points to signs (M, N), such as those of
`bounds.counting.dichotomies`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Shaped

from bounds.calls import called
from bounds.checks import Reals
from ntk.calls import check_function
from ntk.checks import MOST_STEPS, as_numpy, check_count, check_flag, shown

Dichotomies = Callable[[np.ndarray], np.ndarray]


def is_shattered(signs: Shaped[np.ndarray, "M N"]) -> bool:
    """Whether the dichotomies of a sample of N points are all 2^N vectors of signs.

    Args:
        signs: (M, N) of −1 and 1; equal rows count once.

    Raises:
        ValueError: `signs` is not (M, N), or holds other numbers.

    Example:
        >>> from bounds.counting.dichotomies import interval_dichotomies
        >>> from bounds.counting.shattering import is_shattered
        >>> is_shattered(interval_dichotomies([0.0, 1.0])), is_shattered(interval_dichotomies([0.0, 1.0, 2.0]))
        (True, False)
    """
    return _has_all("signs", signs)


def find_shattered_set(dichotomies: Dichotomies, configurations: Iterable[np.ndarray]) -> np.ndarray | None:
    """The first of the configurations that the class shatters, or None.

    None proves that no set of that size is shattered if the configurations are exhaustive: if they stand for all that
    the class tells apart, as `line_configurations`, `plane_configurations` and `half_space_configurations` do for their
    classes, or if they are all subsets of a finite domain (`subset_configurations`). Otherwise None proves nothing.

    Args:
        dichotomies: Takes points and returns the signs that the class gives them, (M, N).
        configurations: Arrays of points, as `dichotomies` takes them.

    Raises:
        TypeError: `dichotomies` is not a function, or `configurations` cannot be iterated over.
        ValueError: `dichotomies` returns something other than signs (M, N).

    Example:
        >>> from bounds.counting.dichotomies import rectangle_dichotomies
        >>> from bounds.counting.shattering import find_shattered_set, plane_configurations
        >>> find_shattered_set(rectangle_dichotomies, plane_configurations(4)).tolist()
        [[0, 1], [1, 0], [2, 3], [3, 2]]
        >>> find_shattered_set(rectangle_dichotomies, plane_configurations(5)) is None
        True
    """
    check_function("dichotomies", dichotomies, "a function of points")
    try:
        points = iter(configurations)
    except TypeError:
        raise TypeError(f"configurations is {shown(configurations)}; expected arrays of points.") from None

    def shattered(x: np.ndarray) -> bool:
        return _has_all("what dichotomies returns", called("dichotomies", dichotomies, {"points": x}))

    return next((x for x in points if shattered(x)), None)


def vc_dimension(
    dichotomies: Dichotomies,
    configurations: Callable[[int], Iterable[np.ndarray]],
    limit: int = 8,
) -> int | None:
    """The size of the largest shattered set, where `configurations(size)` are exhaustive (see `find_shattered_set`).

    A subset of a shattered set is shattered. The first size without a shattered set is therefore a break point.

    Args:
        dichotomies: Takes points and returns the signs that the class gives them, (M, N).
        configurations: Takes a size and returns arrays of that many points.
        limit: The largest size to try.

    Returns:
        d_vc; None where some set of `limit` points is shattered, which leaves d_vc ≥ `limit`.

    Raises:
        TypeError: `dichotomies` or `configurations` is not a function.
        ValueError: `limit` is not a positive integer, or `dichotomies` returns something other than signs (M, N).

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
        return find_shattered_set(dichotomies, called("configurations", configurations, {"size": size}))

    return next((size - 1 for size in range(1, limit + 1) if shattered(size) is None), None)


def line_configurations(size: int) -> Iterator[Shaped[np.ndarray, "size ..."]]:
    """All configurations on the line that differ in the order of their points: one array, (size,).

    They are exhaustive for rays, intervals and unions of these. Equal points cannot have different signs and are left
    out.

    Args:
        size: How many points.

    Raises:
        ValueError: `size` is not a positive integer.

    Example:
        >>> from bounds.counting.shattering import line_configurations
        >>> [x.tolist() for x in line_configurations(3)]
        [[0, 1, 2]]
    """
    check_count("size", size, maximum=MOST_STEPS)
    yield np.arange(size)


def plane_configurations(size: int) -> Iterator[Shaped[np.ndarray, "size ..."]]:
    """All configurations in the plane that differ in the orders of their coordinates: size! arrays (size, 2).

    They are exhaustive for axis-aligned rectangles, quadrants and similar classes. Equal coordinates are left out: a
    rectangle that tells points apart still does so when they are moved a little.

    Args:
        size: How many points.

    Raises:
        ValueError: `size` is not a positive integer.

    Example:
        >>> from bounds.counting.shattering import plane_configurations
        >>> [x.tolist() for x in plane_configurations(2)]
        [[[0, 0], [1, 1]], [[0, 1], [1, 0]]]
    """
    check_count("size", size, maximum=MOST_STEPS)
    for heights in itertools.permutations(range(size)):
        yield np.column_stack([np.arange(size), heights])


def half_space_configurations(size: int, dim: int, affine: bool = True) -> Iterator[Shaped[np.ndarray, "size ..."]]:
    """All configurations that half-spaces of R^dim tell apart, up to the order of the points: arrays (size, dim).

    Let D = dim + 1 for affine half-spaces and D = dim for those through the origin. All sets of up to D points in
    general position have the same dichotomies. D + 1 points have one dependency Σ c_i x_i = 0 (with Σ c_i = 0 if
    affine: Radon 1921), and the signs of c decide which dichotomies there are. Degenerate points have no more
    dichotomies than points next to them in general position.

    Args:
        size: How many points, at most D + 1; a larger set is not shattered since D + 1 of its points are not.
        dim: Dimension of the points.
        affine: Whether half-spaces have an offset.

    Raises:
        ValueError: `size` is not from 1 to D + 1, or `dim` is not a positive integer.
        TypeError: `affine` is not True or False.

    Example:
        >>> from bounds.counting.shattering import half_space_configurations
        >>> [x[-1].tolist() for x in half_space_configurations(4, dim=2)]  # beside (0, 0), (4, 0) and (0, 4)
        [[1, 1], [-4, 1], [-4, -4]]
    """
    check_count("size", size, maximum=MOST_STEPS)
    check_count("dim", dim, maximum=MOST_STEPS)
    check_flag("affine", affine)
    corners = np.vstack([np.zeros((int(affine), dim), dtype=int), 2 * dim * np.eye(dim, dtype=int)])
    if size > len(corners) + 1:
        raise ValueError(f"size is {size}; expected at most {len(corners) + 1}, D + 1.")
    if size <= len(corners):
        yield corners[:size]
        return
    for negative in range(dim + 1):
        # The positive entries are small, so that the coefficient of the origin is positive too if it is a corner.
        yield np.vstack([corners, np.where(np.arange(dim) < negative, -2 * dim, 1)])


def subset_configurations(x: Reals, size: int) -> Iterator[Shaped[np.ndarray, "size ..."]]:
    """All sets of `size` points among the points x. They are exhaustive if x is the whole domain.

    Args:
        x: The points, (N,) or (N, dim).
        size: How many of them.

    Raises:
        ValueError: `size` is not a positive integer, or `x` has no axis.

    Example:
        >>> from bounds.counting.shattering import subset_configurations
        >>> [x.tolist() for x in subset_configurations([0.5, 1.5, 2.5], 2)]
        [[0.5, 1.5], [0.5, 2.5], [1.5, 2.5]]
    """
    check_count("size", size, maximum=MOST_STEPS)
    points = as_numpy("x", x, "points (N,) or (N, dim)")
    if points.ndim == 0:
        raise ValueError(f"x is {shown(x)}; expected points (N,) or (N, dim).")
    for chosen in itertools.combinations(range(len(points)), size):
        yield points[list(chosen)]


def _has_all(name: str, signs: ArrayLike) -> bool:
    """Whether the rows of `signs` are all vectors of signs; `name` is what a message calls it."""
    numbers = as_numpy(name, signs, "signs (M, N)")
    if numbers.ndim != 2:
        raise ValueError(f"{name} has shape {numbers.shape}; expected (M, N).")
    if not np.isin(numbers, (-1, 1)).all():
        raise ValueError(f"{name} holds entries other than -1 and 1; expected one dichotomy in each row.")
    return bool(len(np.unique(numbers, axis=0)) == 1 << numbers.shape[1])
