"""Union bounds over a grid, for values that depend on the sample: norms of trained weights, margins, scales."""

import math

RATIO = 1.1  # of neighbours on the grid, so that rounding up adds at most a tenth


def round_up(value: float, ratio: float = RATIO) -> tuple[float, float]:
    """The next grid value ratio^k ≥ value, for an integer k of either sign, and ln(1/p_k), where p_k is its share of δ.

    The shares p_k = 2/(3 (|k| + 1)(|k| + 2)) add up to one (theory.md 12.8). A bound that holds for each fixed grid
    value with probability 1 − p_k δ holds for all at once with probability 1 − δ, so also for one chosen by the data.

    Args:
        value: A positive number. Where it or its grid value leaves the range of float64, both results are infinite.
        ratio: The ratio of neighbours on the grid, above 1.

    Example:
        >>> from bounds.concentration.union import round_up
        >>> round_up(3.0, 2.0), round_up(0.25, 2.0)  # k = 2 and −2
        ((4.0, 2.8903717578961645), (0.25, 2.8903717578961645))
    """
    if not value < math.inf:
        return math.inf, math.inf
    # Logarithms are rounded. The loops make sure that the grid value is not below the value.
    k = math.ceil(math.log(value) / math.log(ratio))
    try:
        while ratio ** (k - 1) >= value:
            k -= 1
        while ratio**k < value:
            k += 1
        return ratio**k, math.log(1.5 * (abs(k) + 1) * (abs(k) + 2))
    except OverflowError:
        return math.inf, math.inf
