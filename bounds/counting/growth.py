"""Growth functions m_H(N): the most dichotomies that a class H makes of N points, over all placements of the points.

Counts are exact integers of any size. Where they would fill the memory, `bounds.counting.log_counts` has logarithms.
"""

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np

from bounds.calls import called
from ntk.checks import check_count, check_flag

_LARGEST_SEARCH = 9  # 9! orders take a second or two; each further point takes ten times as long
_MOST_BITS = 10**9  # of an exact count, which are 125 MB


def sauer(num_samples: int, vc_dim: int) -> int:
    """Σ_{i≤d} C(N, i): no class of VC dimension d makes more dichotomies of N points (Sauer 1972; Shelah 1972).

    Stated in theory.md 9.1. The result is exact, in time that grows with d times the digits of the result. For larger
    numbers there is `log_sauer`.

    Args:
        num_samples: N, at least 0.
        vc_dim: d, at least 0.

    Raises:
        ValueError: An argument is not an integer of at least 0, or the result has more than 10⁹ digits in base 2.

    Example:
        >>> from bounds.counting.growth import sauer
        >>> sauer(4, 3), sauer(10, 3), sauer(10, 20) == 2**10
        (15, 176, True)
    """
    check_count("num_samples", num_samples, minimum=0)
    check_count("vc_dim", vc_dim, minimum=0)
    n, d = int(num_samples), int(vc_dim)
    if d >= n:
        return _power_of_two("num_samples", n)
    term = total = 1
    for i in range(1, d + 1):
        term = term * (n - i + 1) // i
        total += term
    return total


def cover_count(num_samples: int, dim: int, affine: bool = False) -> int:
    """2 Σ_{i<D} C(N−1, i): the dichotomies that half-spaces make of N points in general position (Cover 1965, Thm 1).

    It is also the growth function: no other placement has more (theory.md 9.2).

    Args:
        num_samples: N, at least 1.
        dim: Dimension of the points. D equals it for half-spaces through the origin; for affine ones D = dim + 1.
        affine: Whether half-spaces have an offset.

    Raises:
        ValueError: N or `dim` is not a positive integer.
        TypeError: `affine` is not True or False.

    Example:
        >>> from bounds.counting.growth import cover_count
        >>> [cover_count(n, 2, affine=True) for n in range(1, 6)]
        [2, 4, 8, 14, 22]
    """
    check_count("num_samples", num_samples)
    check_count("dim", dim)
    check_flag("affine", affine)
    return 2 * sauer(num_samples - 1, dim if affine else dim - 1)


def ray_growth(num_samples: int, both_directions: bool = False) -> int:
    """N + 1, the growth function of the rays {x > a} on the line; 2N with the rays {x < a} as well.

    The VC dimension is 1, and 2 with both directions (Learning From Data, example 2.2; theory.md 9.3).

    Args:
        num_samples: N, at least 1.
        both_directions: Whether a ray may point either way.

    Raises:
        ValueError: N is not a positive integer.
        TypeError: `both_directions` is not True or False.

    Example:
        >>> from bounds.counting.growth import ray_growth
        >>> ray_growth(5), ray_growth(5, both_directions=True)
        (6, 10)
    """
    check_count("num_samples", num_samples)
    check_flag("both_directions", both_directions)
    return 2 * int(num_samples) if both_directions else int(num_samples) + 1


def interval_growth(num_samples: int) -> int:
    """C(N+1, 2) + 1, the growth function of intervals on the line, whose VC dimension is 2.

    Learning From Data, example 2.2; theory.md 9.3.

    Args:
        num_samples: N, at least 1.

    Raises:
        ValueError: N is not a positive integer.

    Example:
        >>> from bounds.counting.growth import interval_growth
        >>> [interval_growth(n) for n in range(1, 5)]
        [2, 4, 7, 11]
    """
    check_count("num_samples", num_samples)
    return math.comb(int(num_samples) + 1, 2) + 1


def rectangle_growth(num_samples: int) -> int:
    """The growth function of axis-aligned rectangles in the plane, whose VC dimension is 4, by search; N ≤ 9.

    A rectangle may shrink until each of its sides touches a point that it holds. Dichotomies are therefore counted by
    the sets of points that are all needed for their bounding box: no point, one, any two, any three that do not rise or
    fall monotonically, and any four that each touch another side. Their number depends only on the order of the second
    coordinates, and all N! orders are tried. For N > 9 there is the bound `sauer(N, 4)` (theory.md 9.1).

    Args:
        num_samples: N, from 1 to 9.

    Raises:
        ValueError: N is not an integer from 1 to 9.

    Example:
        >>> from bounds.counting.growth import rectangle_growth
        >>> [rectangle_growth(n) for n in range(1, 7)]
        [2, 4, 8, 16, 28, 49]
    """
    check_count("num_samples", num_samples)
    if num_samples > _LARGEST_SEARCH:
        raise ValueError(
            f"num_samples is {num_samples}; expected at most {_LARGEST_SEARCH}, since all orders of the points are"
            " tried: sauer(num_samples, 4) bounds the growth function."
        )
    return _largest_rectangle_count(int(num_samples))


def convex_growth(num_samples: int) -> int:
    """2^N, the growth function of convex sets in the plane: points on a circle are shattered.

    Learning From Data, example 2.2; theory.md 9.3.

    Args:
        num_samples: N, at least 1.

    Raises:
        ValueError: N is not a positive integer, or is above 10⁹.

    Example:
        >>> from bounds.counting.growth import convex_growth
        >>> convex_growth(100) == 2**100
        True
    """
    check_count("num_samples", num_samples)
    return _power_of_two("num_samples", int(num_samples))


def break_point(growth_function: Callable[[int], int], limit: int = 64) -> int | None:
    """The smallest k with m_H(k) < 2^k, which is d_vc + 1 (theory.md 9.1); None if no k up to `limit` has it.

    Args:
        growth_function: m_H; it takes N and returns an integer.
        limit: The largest k to try.

    Raises:
        TypeError: `growth_function` is not a function.
        ValueError: `limit` is not a positive integer, or `growth_function` fails or returns something other than a
            count.

    Example:
        >>> from bounds.counting.growth import break_point, convex_growth, cover_count, interval_growth
        >>> break_point(interval_growth), break_point(lambda n: cover_count(n, 10, affine=True))
        (3, 12)
        >>> break_point(convex_growth) is None
        True
    """
    check_count("limit", limit)

    def dichotomies(k: int) -> int:
        count = called("growth_function", growth_function, {"N": k})
        check_count("what growth_function returns", count, minimum=0)
        return int(count)

    return next((k for k in range(1, limit + 1) if dichotomies(k) < 1 << k), None)


def _power_of_two(name: str, exponent: int) -> int:
    if exponent > _MOST_BITS:
        raise ValueError(f"{name} is {exponent}; expected at most {_MOST_BITS}: 2^{name} is an exact integer.")
    return 1 << exponent


@functools.cache
def _largest_rectangle_count(n: int) -> int:
    """The largest count over all orders of the second coordinates; the first ones are 1, 2, …, n."""
    heights = np.array(list(itertools.permutations(range(n))), dtype=np.int8)
    heights = heights[heights[:, 0] <= heights[:, -1]]  # the others are their mirror images
    needed = np.zeros(len(heights), dtype=np.int64)
    for left, middle, right in itertools.combinations(heights.T, 3):
        needed += (middle > left) != (right > middle)  # not monotone
    for left, second, third, right in itertools.combinations(heights.T, 4):
        lower, upper = np.minimum(left, right), np.maximum(left, right)
        needed += (np.minimum(second, third) < lower) & (np.maximum(second, third) > upper)
    return 1 + n + math.comb(n, 2) + int(needed.max())
