"""The dichotomies that a class makes of a given sample, counted and listed exactly.

A dichotomy is a vector of signs, one for each point. In a linear dichotomy no point lies on the boundary; affine
half-spaces lose no dichotomy by this. In the space of weight vectors w, each point x is a hyperplane {w: x·w = 0}. The
N hyperplanes cut this space into cells, and each cell is one dichotomy (Cover 1965). One more hyperplane adds as many
cells as the others cut it into, and within it the others are hyperplanes of one dimension less. This recursion runs in
integers and is right for points in any position, degenerate or not.
"""

import itertools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int8

from bounds.arrays import as_host_numbers
from bounds.checks import Reals
from ntk.checks import check_flag

Vector = tuple[int, ...]

_MOST_SIGNS = 2**29  # in memory at once, one byte each


class LinearSeparators(NamedTuple):
    """Every linear dichotomy of a sample, each with a half-space that makes it.

    Attributes:
        signs: (M, N) of −1 and 1, int8, all different.
        weights: (M, D) in float64, rounded from exact integers and scaled to a largest entry of 1. Sign j is the sign
            of weights·x_j. For affine half-spaces D is one more than the points' dimension, and the offset comes last.
    """

    signs: Int8[np.ndarray, "M N"]
    weights: Float[np.ndarray, "M D"]


def count_linear_dichotomies(x: Reals, affine: bool = True) -> int:
    """How many dichotomies of the points x half-spaces make (Cover 1965; Zaslavsky 1975 for degenerate positions).

    The count is at most `bounds.cover_count(N, dim, affine)`, which points in general position attain (theory.md 9.2).
    It is exact for the numbers as given: three float64 points count as collinear only if they are collinear to the last
    digit. Time grows with N^D/D!, where D is the dimension, plus one if affine.

    Args:
        x: The points, (N, dim), real.
        affine: True if half-spaces have an offset, False if their boundaries go through the origin.

    Raises:
        ValueError: `x` is not (N, dim) or not finite, or holds the origin while `affine` is False.
        TypeError: `x` is not real, or is traced by JAX, or `affine` is not True or False.

    Example:
        >>> from bounds.counting.dichotomies import count_linear_dichotomies
        >>> triangle, line = [[0, 0], [1, 0], [0, 1]], [[0, 0], [1, 1], [2, 2]]
        >>> count_linear_dichotomies(triangle), count_linear_dichotomies(line)
        (8, 6)
    """
    return _count(_dual_points(x, affine))


def linear_separators(x: Reals, affine: bool = True) -> LinearSeparators:
    """Every dichotomy that half-spaces make of the points x, each with its weights.

    Args:
        x: The points, (N, dim), real.
        affine: True if half-spaces have an offset, False if their boundaries go through the origin.

    Returns:
        `LinearSeparators`.

    Raises:
        ValueError: `x` is not (N, dim) or not finite, or holds the origin while `affine` is False.
        TypeError: `x` is not real, or is traced by JAX, or `affine` is not True or False.

    Example:
        >>> from bounds.counting.dichotomies import linear_separators
        >>> linear_separators([[0.0], [1.0]]).signs.tolist()
        [[1, 1], [1, -1], [-1, 1], [-1, -1]]
    """
    points = _dual_points(x, affine)
    cells = _cells(points, len(points[0]))
    # Integers of any size: the quotient of two is rounded once.
    weights = [[entry / max(map(abs, w)) for entry in w] for w in cells.values()]
    return LinearSeparators(np.array(list(cells), dtype=np.int8), np.array(weights))


def linear_dichotomies(x: Reals, affine: bool = True) -> Int8[np.ndarray, "M N"]:
    """The signs of `linear_separators`: the class of half-spaces, as `bounds.counting.shattering` takes it.

    Args:
        x: The points, (N, dim), real.
        affine: True if half-spaces have an offset, False if their boundaries go through the origin.

    Returns:
        (M, N) of −1 and 1, int8, all different.

    Raises:
        ValueError: `x` is not (N, dim) or not finite, or holds the origin while `affine` is False.
        TypeError: `x` is not real, or is traced by JAX, or `affine` is not True or False.

    Example:
        >>> from bounds.counting.dichotomies import linear_dichotomies
        >>> linear_dichotomies([[1.0], [2.0]], affine=False).tolist()
        [[1, 1], [-1, -1]]
    """
    return linear_separators(x, affine).signs


def ray_dichotomies(x: Reals, both_directions: bool = False) -> Int8[np.ndarray, "M N"]:
    """The dichotomies of points on the line by rays {x > a}, and {x < a} if `both_directions` (theory.md 9.3).

    Args:
        x: The points, (N,), real; equal ones have the same sign.
        both_directions: Whether a ray may point either way.

    Returns:
        (M, N) of −1 and 1, int8, all different.

    Raises:
        ValueError: `x` is not (N,) or not finite.
        TypeError: `x` is not real, or is traced by JAX, or `both_directions` is not True or False.

    Example:
        >>> from bounds.counting.dichotomies import ray_dichotomies
        >>> len(ray_dichotomies([0.0, 1.0, 2.0])), len(ray_dichotomies([0.0, 1.0, 2.0], both_directions=True))
        (4, 6)
    """
    check_flag("both_directions", both_directions)
    points = as_host_numbers("x", x, "(N,)")
    above = points >= np.append(np.unique(points), np.inf)[:, None]
    return _signs(np.concatenate([above, ~above]) if both_directions else above)


def interval_dichotomies(x: Reals) -> Int8[np.ndarray, "M N"]:
    """The dichotomies of points on the line by intervals (theory.md 9.3).

    Args:
        x: The points, (N,), real; equal ones have the same sign.

    Returns:
        (M, N) of −1 and 1, int8, all different.

    Raises:
        ValueError: `x` is not (N,) or not finite.
        TypeError: `x` is not real, or is traced by JAX.

    Example:
        >>> from bounds.counting.dichotomies import interval_dichotomies
        >>> len(interval_dichotomies([0.0, 1.0, 2.0]))
        7
    """
    return _signs(_intervals(as_host_numbers("x", x, "(N,)")))


def rectangle_dichotomies(x: Reals) -> Int8[np.ndarray, "M N"]:
    """The dichotomies of points by axis-aligned rectangles, or boxes in more dimensions.

    Args:
        x: The points, (N, dim), real. All (N(N+1)/2 + 1)^dim boxes between them are tried.

    Returns:
        (M, N) of −1 and 1, int8, all different.

    Raises:
        ValueError: `x` is not (N, dim) or not finite, or there are too many boxes, as for 70 points in the plane.
        TypeError: `x` is not real, or is traced by JAX.

    Example:
        >>> from bounds.counting.dichotomies import rectangle_dichotomies
        >>> len(rectangle_dichotomies([[0, 1], [1, 0], [0, -1], [-1, 0]]))
        16
    """
    points = as_host_numbers("x", x, "(N, dim)")
    held = np.ones((1, len(points)), dtype=bool)
    for coordinate in points.T:
        intervals = _intervals(coordinate)
        if len(held) * intervals.size > _MOST_SIGNS:
            raise ValueError(
                f"x has {len(points)} points, with {len(held) * len(intervals)} boxes to try at once; expected at most"
                f" {_MOST_SIGNS // len(points)}: fewer points."
            )
        held = np.unique((held[:, None] & intervals).reshape(-1, len(points)), axis=0)
    return _signs(held)


def _count(points: list[Vector]) -> int:
    """The number of cells of the hyperplanes {w: x·w = 0}; 0 if one of the vectors x is zero."""
    if not all(map(any, points)):
        return 0
    # Opposite vectors have the same hyperplane. Independent vectors have all signs.
    points = list({max(x, tuple(-entry for entry in x)) for x in points})
    if _independent(points):
        return 1 << len(points)
    return 1 + sum(_count([_restrict(y, x) for y in points[:k]]) for k, x in enumerate(points))


def _independent(points: list[Vector]) -> bool:
    """Whether the vectors are linearly independent: none vanishes on the subspace where those before it do."""
    if points and len(points) > len(points[0]):
        return False
    while points:
        first, *others = points
        points = [_restrict(y, first) for y in others]
        if not all(map(any, points)):
            return False
    return True


def _cells(points: list[Vector], dim: int) -> dict[Vector, Vector]:
    """From the signs of each cell to a point in it."""
    if not all(map(any, points)):
        return {}
    cells: dict[Vector, Vector] = {(): (0,) * dim}
    for k, x in enumerate(points):
        cut = _cells([_restrict(y, x) for y in points[:k]], dim - 1)
        refined = {}
        for signs, w in cells.items():
            if signs in cut:
                refined[(*signs, 1)], refined[(*signs, -1)] = _sides(_lift(cut[signs], x), x, points[:k])
            else:
                refined[(*signs, 1 if _dot(x, w) > 0 else -1)] = w
        cells = refined
    return cells


def _sides(on_x: Vector, x: Vector, others: list[Vector]) -> tuple[Vector, Vector]:
    """Two points next to `on_x`, which lies on x. x is positive at one, negative at the other; no other changes."""
    # The steps are ± 2^e x, with the largest e that bit lengths show to be small enough. Without others they are about
    # as long as on_x.
    lengths = [(_dot(on_x, y).bit_length(), _dot(x, y).bit_length()) for y in others if _dot(x, y)]
    lengths = lengths or [(max(map(abs, on_x)).bit_length(), max(map(abs, x)).bit_length())]
    exponent = min(a - b - 1 for a, b in lengths)
    far, step = 1 << max(-exponent, 0), 1 << max(exponent, 0)
    plus, minus = ([far * a + side * step * b for a, b in zip(on_x, x, strict=True)] for side in (1, -1))
    return _primitive(plus), _primitive(minus)


def _restrict(y: Vector, x: Vector) -> Vector:
    """The functional y on the hyperplane {w: x·w = 0}, in the coordinates other than the first where x is not 0."""
    pivot = next(i for i, entry in enumerate(x) if entry)
    scale, factor = abs(x[pivot]), y[pivot] if x[pivot] > 0 else -y[pivot]
    return _primitive([scale * a - factor * b for i, (a, b) in enumerate(zip(y, x, strict=True)) if i != pivot])


def _lift(w: Vector, x: Vector) -> Vector:
    """The point of {w: x·w = 0} with these coordinates, up to a positive factor: the inverse of `_restrict`."""
    pivot = next(i for i, entry in enumerate(x) if entry)
    others = x[:pivot] + x[pivot + 1 :]
    at_pivot = -_dot(others, w) if x[pivot] > 0 else _dot(others, w)
    scaled = [abs(x[pivot]) * entry for entry in w]
    return _primitive([*scaled[:pivot], at_pivot, *scaled[pivot:]])


def _primitive(vector: list[int]) -> Vector:
    """The shortest integer vector in this direction."""
    divisor = math.gcd(*vector) or 1
    return tuple(entry // divisor for entry in vector)


def _dot(x: Vector, y: Vector) -> int:
    return sum(a * b for a, b in zip(x, y, strict=True))


def _dual_points(x: Reals, affine: bool) -> list[Vector]:
    """The points, with a last entry of 1 if affine, each multiplied by a positive factor that makes it integer."""
    check_flag("affine", affine)
    points = as_host_numbers("x", x, "(N, dim)")
    if not affine and not points.any(axis=1).all():
        raise ValueError("x holds the origin; expected other points, since all boundaries go through it.")
    vectors = []
    for point in points.tolist():
        ratios = [entry.as_integer_ratio() for entry in point] + [(1, 1)] * affine
        common = math.lcm(*(denominator for _, denominator in ratios))
        vectors.append(_primitive([numerator * (common // denominator) for numerator, denominator in ratios]))
    return vectors


def _intervals(x: np.ndarray) -> np.ndarray:
    """Which points each interval holds, the empty one first: (K(K+1)/2 + 1, N) with K different points."""
    ends = np.unique(x)
    held = [(low <= x) & (x <= high) for low, high in itertools.combinations_with_replacement(ends, 2)]
    return np.array([np.zeros(x.shape, dtype=bool), *held])


def _signs(held: np.ndarray) -> np.ndarray:
    return np.unique(np.where(held, 1, -1).astype(np.int8), axis=0)
