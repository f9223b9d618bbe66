"""Growth functions m_H(N): the most dichotomies that a class H makes of N points, over all placements of the points.

Counts are exact integers of any size. Where these would fill the memory, there are functions for their logarithms.
"""

import functools
import itertools
import math
from collections.abc import Callable

import numpy as np

from bounds.calls import called
from bounds.checks import as_count
from ntk.checks import check_choice, check_count, check_flag

_LARGEST_SEARCH = 9  # 9! orders take a second or two; each further point takes ten times as long
_MOST_BITS = 10**9  # of an exact count: 125 MB
_BLOCK = 4096
_MOST_TERMS = 2**22  # of a sum; the terms beyond are bounded by a geometric series


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


def log_sauer(num_samples: int, vc_dim: int) -> float:
    """ln Σ_{i≤d} C(N, i), to a relative error of 1e-12 (Sauer 1972; theory.md 9.1).

    It takes milliseconds for N = 1e9 and d = 1e6.

    Args:
        num_samples: N, at least 0 and below 2^1023.
        vc_dim: d, at least 0.

    Raises:
        ValueError: An argument is not an integer of at least 0, or N has more than 1023 bits.

    Example:
        >>> from bounds.counting.growth import log_sauer
        >>> round(log_sauer(10**9, 10**6), 3)
        7907247.287
    """
    check_count("vc_dim", vc_dim, minimum=0)
    n, d = as_count("num_samples", num_samples, minimum=0), int(vc_dim)
    if d >= n:
        return n * math.log(2)
    if 2 * d < n:
        return _log_lower_sum(n, d)
    # More than half of all terms: those that are missing are the first n − d terms of the same sum, from its other end.
    missing = math.exp(min(_log_lower_sum(n, n - d - 1) - n * math.log(2), math.log(0.5)))
    return n * math.log(2) + math.log1p(-missing)


def log_growth(num_samples: int, vc_dim: int, growth: str = "polynomial") -> float:
    """ln of an upper bound on m_H(N) for a class of VC dimension d (theory.md 9.1).

    Args:
        num_samples: N, at least 1.
        vc_dim: d, at least 0.
        growth: "polynomial" for N^d + 1 (Learning From Data, eq. 2.10), "sauer" for the sum that it bounds.

    Raises:
        ValueError: N is not a positive integer, d is not an integer of at least 0, or `growth` is unknown.

    Example:
        >>> import math
        >>> from bounds.counting.growth import log_growth
        >>> round(math.exp(log_growth(10, 3))), round(math.exp(log_growth(10, 3, growth="sauer")))
        (1001, 176)
    """
    check_count("num_samples", num_samples)
    d = as_count("vc_dim", vc_dim, minimum=0)
    check_choice("growth", growth, ("polynomial", "sauer"))
    if growth == "sauer":
        return log_sauer(num_samples, d)
    return float(np.logaddexp(d * math.log(int(num_samples)), 0.0))


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


def _log_lower_sum(n: int, d: int) -> float:
    """ln Σ_{i≤d} C(n, i) for d < n/2: the last term times 1 + d/(n−d+1) + d(d−1)/((n−d+1)(n−d+2)) + …, which falls.

    Terms are added until they are negligible, or there are too many of them. The rest is then replaced by an upper
    bound. Its error is at most the logarithm of the sum, about ½ ln n, which is negligible beside ln C(n, d), about n.
    """
    product, ratio_sum, first = 1.0, 1.0, 0
    while product > 1e-17 * ratio_sum and first < min(d, _MOST_TERMS):
        i = np.arange(first, min(first + _BLOCK, d), dtype=np.float64)
        products = product * np.cumprod((float(d) - i) / (float(n - d + 1) + i))
        product, ratio_sum, first = float(products[-1]), ratio_sum + float(products.sum()), first + _BLOCK
    if first < d:
        ratio_sum += product * (d - first) / (n - 2 * d + 1 + 2 * first)
    return _log_binomial(n, d) + math.log(ratio_sum)


def _log_binomial(n: int, d: int) -> float:
    """ln C(n, d) as n times an entropy plus errors of Stirling's formula, without cancellation (Loader 2000)."""
    if d == 0:
        return 0.0
    rest = n - d
    entropy = d * math.log(n / d) - rest * math.log1p(-(d / n))
    return entropy + math.log(n / rest / d / (2 * math.pi)) / 2 + _stirling(n) - _stirling(d) - _stirling(rest)


def _stirling(n: int) -> float:
    """ln n! − ((n + ½) ln n − n + ½ ln 2π)."""
    if n < 16:
        return math.log(math.factorial(n)) - (n + 0.5) * math.log(n) + n - math.log(2 * math.pi) / 2
    x = 1 / n
    return x * (1 / 12 - x * x * (1 / 360 - x * x * (1 / 1260 - x * x * (1 / 1680 - x * x / 1188))))


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
