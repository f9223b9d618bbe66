"""Union bounds over a grid, for what is chosen after the sample was seen: norms of trained weights, margins, scales."""

import math

RATIO = 1.1  # of neighbours: the grid costs at most a tenth of what is proportional to the value


def round_up(value: float, ratio: float = RATIO) -> tuple[float, float]:
    """The next grid value ratio^k ≥ value, k of either sign, and ln(1/p_k) of its share of δ.

    The shares p_k = 2/(3 (|k| + 1)(|k| + 2)) add up to one. A bound that holds for each fixed grid value with
    probability 1 − p_k δ holds for all at once with probability 1 − δ, so also for one chosen by the data.

    Args:
        value: A positive number; infinite if it or the grid value is beyond float64, and then so is the logarithm.
        ratio: Of neighbours on the grid, above 1.

    Example:
        >>> from bounds.concentration.union import round_up
        >>> round_up(3.0, 2.0), round_up(0.25, 2.0)  # k = 2 and −2
        ((4.0, 2.8903717578961645), (0.25, 2.8903717578961645))
    """
    if not value < math.inf:
        return math.inf, math.inf
    # Rounding must not leave the value above: the grid value is compared, not the exponent.
    k = math.ceil(math.log(value) / math.log(ratio))
    try:
        while ratio ** (k - 1) >= value:
            k -= 1
        while ratio**k < value:
            k += 1
        return ratio**k, math.log(1.5 * (abs(k) + 1) * (abs(k) + 2))
    except OverflowError:
        return math.inf, math.inf
