"""Upper bounds on the VC dimension of the signs of a network's output, in numbers, from its layers.

W is the number of parameters, L that of layers with parameters, and k or U that of units, with the output. The
activation has p breakpoints, and the pieces in between are polynomials of degree at most ν. Logarithms are to base 2.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from bounds.checks import as_count
from bounds.networks.layers import DenseLayers, check_layers
from bounds.networks.vc_lower import baum_vc_lower, bit_extraction_vc_lower, half_space_vc_lower
from ntk.checks import check_choice

# Breakpoints and degree of the activations of ntk that are piecewise polynomial. {0} is a piece of sign.
_PIECES = {
    **{"relu": (1, 1), "leaky_relu": (1, 1), "abs": (1, 1)},
    **{"square": (1, 2), "cube": (1, 3), "step": (1, 0), "sign": (2, 0)},
}
_SIGMOIDS = ("sigmoid", "tanh")
_MOST_BITS = 256  # of breakpoints and degrees, so that their products are within float64


class VCBounds(NamedTuple):
    """Bounds on a VC dimension d_vc.

    Attributes:
        lower: At most d_vc.
        upper: At least d_vc.
    """

    lower: int
    upper: int


def network_vc_bounds(layers: DenseLayers, activation: str) -> VCBounds:
    """The best lower and the best upper bound on the VC dimension of a network with one output.

    Lower bounds are those of theory.md 10.5 and 10.6. Upper bounds are theory.md 10.1 and 10.4.

    Args:
        layers: The network: how many units and parameters each layer has.
        activation: The activation of the hidden units: identity, relu, leaky_relu, abs, square, cube, step, sign,
            sigmoid or tanh.

    Raises:
        TypeError: `layers` is not a `DenseLayers`.
        ValueError: No bound is known for the activation.

    Example:
        >>> import ntk
        >>> from bounds.networks.layers import mlp_layers
        >>> from bounds.networks.vc_upper import network_vc_bounds
        >>> network_vc_bounds(mlp_layers(ntk.MLP(depth=2), dim=64, width=100), "relu")
        VCBounds(lower=4225, upper=497667)
    """
    check_layers(layers)
    check_choice("activation", activation, ("identity", *_PIECES, *_SIGMOIDS))
    if activation == "identity" or len(layers.units) == 1:
        # All linear functions of the inputs, and all affine ones if there is a bias anywhere.
        exact = layers.dim + (sum(layers.parameters) > _num_weights(layers))
        return VCBounds(exact, exact)
    lower = max(find(layers, activation) for find in (half_space_vc_lower, baum_vc_lower, bit_extraction_vc_lower))
    if activation in _SIGMOIDS:
        return VCBounds(lower, sigmoid_vc_upper(layers))
    upper = piecewise_vc_upper(layers, *_PIECES[activation])
    if activation == "step":
        upper = min(upper, math.floor(threshold_vc_upper(layers)))
    return VCBounds(lower, upper)


def piecewise_vc_upper(layers: DenseLayers, breakpoints: int = 1, degree: int = 1) -> int:
    """The largest m with 2^m ≤ Π_i 2 (2e m k_i p (1 + (i−1)ν^{i−1})/W_i)^{W_i}: no more points are shattered.

    The right side bounds the growth function for m ≥ W (Bartlett, Harvey, Liaw & Mehrabian 2019, JMLR 20, Theorem 7;
    theory.md 10.1). W_i counts the parameters of layers 1 to i, or of layer i alone if ν = 0. The theorem's closed
    form, `piecewise_vc_closed_form`, is never smaller.

    Args:
        layers: The network.
        breakpoints: p, of the activation, at least 1; 1 for ReLU.
        degree: ν, at least 0; 1 for ReLU.

    Raises:
        TypeError: `layers` is not a `DenseLayers`.
        ValueError: `breakpoints` is not a positive integer, or `degree` is not an integer of at least 0.

    Example:
        >>> import ntk
        >>> from bounds.networks.layers import mlp_layers
        >>> from bounds.networks.vc_upper import piecewise_vc_upper
        >>> piecewise_vc_upper(mlp_layers(ntk.MLP(depth=1), dim=2, width=10))
        598
    """
    terms = _layer_terms(layers, breakpoints, degree)

    def log_growth(m: int) -> float:
        return sum(1 + w * math.log2(2 * math.e * m * k / w) for k, w in terms)

    # At m = ΣW_i every factor is above 2, so the bound exceeds 2^m there. Beyond, it grows more slowly than 2^m.
    return _largest(lambda m: m <= log_growth(m), start=sum(w for _, w in terms))


def piecewise_vc_closed_form(layers: DenseLayers, breakpoints: int = 1, degree: int = 1) -> float:
    """L + ΣW_i log(4epR log(2epR)) with R = Σ_i k_i (1 + (i−1)ν^{i−1}), for more than two units.

    Bartlett et al. 2019, Theorem 7; theory.md 10.2. For ReLU this is O(WL log W), tight up to the logarithm.

    Args:
        layers: The network, with at least three units.
        breakpoints: p, of the activation, at least 1; 1 for ReLU.
        degree: ν, at least 0; 1 for ReLU.

    Raises:
        TypeError: `layers` is not a `DenseLayers`.
        ValueError: `breakpoints` is not a positive integer, or `degree` is not an integer of at least 0, or there are
            fewer than three units.

    Example:
        >>> import ntk
        >>> from bounds.networks.layers import mlp_layers
        >>> from bounds.networks.vc_upper import piecewise_vc_closed_form
        >>> round(piecewise_vc_closed_form(mlp_layers(ntk.MLP(depth=1), dim=2, width=10)), 1)
        675.3
    """
    terms = _layer_terms(layers, breakpoints, degree)
    if sum(layers.units) <= 2:
        raise ValueError(f"layers has {sum(layers.units)} units; expected more than 2 for the closed form.")
    r = 2 * math.e * sum(k for k, _ in terms)
    return len(terms) + sum(w for _, w in terms) * math.log2(2 * r * math.log2(r))


def anthony_bartlett_vc_upper(layers: DenseLayers, breakpoints: int = 1, degree: int = 1) -> float:
    """2WL log(4WLqk/ln 2) + 2WL² log(ν+1) + 2L with q = p + 1 pieces (Anthony & Bartlett 1999, Theorem 8.8).

    Stated in theory.md 10.3. It is older and looser than `piecewise_vc_upper`.

    Args:
        layers: The network.
        breakpoints: p, of the activation, at least 1; 1 for ReLU.
        degree: ν, at least 0; 1 for ReLU.

    Raises:
        TypeError: `layers` is not a `DenseLayers`.
        ValueError: `breakpoints` is not a positive integer, or `degree` is not an integer of at least 0.

    Example:
        >>> import ntk
        >>> from bounds.networks.layers import mlp_layers
        >>> from bounds.networks.vc_upper import anthony_bartlett_vc_upper
        >>> round(anthony_bartlett_vc_upper(mlp_layers(ntk.MLP(depth=1), dim=2, width=10)), 1)
        2453.6
    """
    check_layers(layers)
    _check_pieces(breakpoints, degree)
    w, depth, k = sum(layers.parameters), len(layers.units), sum(layers.units)
    wl = w * depth
    return 2 * wl * math.log2(4 * wl * (breakpoints + 1) * k / math.log(2)) + 2 * (
        wl * depth * math.log2(degree + 1) + depth
    )


def threshold_vc_upper(layers: DenseLayers) -> float:
    """2W log(2k/ln 2), for units that are linear thresholds, the step function.

    Anthony & Bartlett 1999, Theorem 6.1; theory.md 10.4.

    Args:
        layers: The network.

    Raises:
        TypeError: `layers` is not a `DenseLayers`.

    Example:
        >>> import ntk
        >>> from bounds.networks.layers import mlp_layers
        >>> from bounds.networks.vc_upper import threshold_vc_upper
        >>> round(threshold_vc_upper(mlp_layers(ntk.MLP(depth=1), dim=2, width=10)), 1)
        399.1
    """
    check_layers(layers)
    return 2 * sum(layers.parameters) * math.log2(2 * sum(layers.units) / math.log(2))


def sigmoid_vc_upper(layers: DenseLayers) -> int:
    """(Wk)² + 11Wk log(18Wk²), rounded down, for logistic sigmoids or tanh (Anthony & Bartlett 1999, Theorem 8.13).

    Stated in theory.md 10.4. Since tanh(z) = 2σ(2z) − 1, a tanh network is a sigmoid network with other weights and
    with a bias in each layer. W therefore counts a bias for every unit, also for units without a bias.

    Args:
        layers: The network.

    Raises:
        TypeError: `layers` is not a `DenseLayers`.

    Example:
        >>> import ntk
        >>> from bounds.networks.layers import mlp_layers
        >>> from bounds.networks.vc_upper import sigmoid_vc_upper
        >>> sigmoid_vc_upper(mlp_layers(ntk.MLP(depth=1, activation="tanh"), dim=2, width=10))
        284991
    """
    check_layers(layers)
    k = sum(layers.units)
    w = _num_weights(layers) + k
    return math.floor((w * k) ** 2 + 11 * w * k * math.log2(18 * w * k**2))


def _layer_terms(layers: DenseLayers, breakpoints: int, degree: int) -> list[tuple[float, int]]:
    """p k_i (1 + (i−1)ν^{i−1}) and W_i of every layer: polynomials per point, by degree, and their variables."""
    check_layers(layers)
    _check_pieces(breakpoints, degree)
    terms, total = [], 0
    for i, (k, own) in enumerate(zip(layers.units, layers.parameters, strict=True)):
        total += own
        polynomials = int(breakpoints) * k * (1 + i * int(degree) ** i)
        if polynomials.bit_length() > 1000:
            raise ValueError(f"degree is {degree} in {len(layers.units)} layers; expected a smaller one, for float64.")
        terms.append((float(polynomials), total if degree else own))
    return terms


def _num_weights(layers: DenseLayers) -> int:
    """Parameters that are not biases."""
    return sum(inputs * k for inputs, k in zip((layers.dim, *layers.units), layers.units, strict=False))


def _largest(holds: Callable[[int], bool], start: int) -> int:
    """The largest integer at which a condition holds: it holds at `start`, and once it fails it fails from there on."""
    low, high = start, 2 * start
    while holds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _check_pieces(breakpoints: int, degree: int) -> None:
    as_count("breakpoints", breakpoints, bits=_MOST_BITS)
    as_count("degree", degree, minimum=0, bits=_MOST_BITS)
