"""Sets of points that networks shatter, by construction: lower bounds on the VC dimension, in numbers.

Layers are dense and given by `bounds.networks.layers`; d is the dimension of the inputs, k_1…k_L are the widths, and
k_L = 1 is the output's. A wider or deeper network contains the ones that are
built here: units that are not needed have weights 0.
"""

import math

from bounds.checks import as_count
from bounds.networks.layers import DenseLayers, check_activation_name, check_layers

# Units by which a layer passes on the sign of what it reads: φ or −φ(−·) is odd and grows, or φ − φ(−·) or φ − φ(0) is.
_UNITS_FOR_SIGN = {"leaky_relu": 1, "cube": 1, "tanh": 1, "sign": 1, "relu": 2, "step": 2, "sigmoid": 2}
# Units whose sum is a hat: not zero near the hyperplane t = 0, zero (or as near to it as we like) away from it.
_UNITS_FOR_HAT = {"relu": 3, "leaky_relu": 3, "abs": 3, "step": 2, "sign": 2, "sigmoid": 2, "tanh": 2}
# Units that make one ReLU of a bounded argument: relu(z) is a sum of φ(z), φ(−z), or of |z| and z = |z + c| − c.
_UNITS_FOR_RELU = {"relu": 1, "leaky_relu": 2, "abs": 2}
_UNITS_A_BIT = 5
_MOST_BITS = 500  # of a count, of which products are taken in float64


def half_space_vc_lower(layers: DenseLayers, activation: str) -> int:
    """Half-spaces, where each layer can pass a sign on: d + 1, or d without biases in the first layer.

    One unit suffices for tanh, sign, cube and leaky ReLU, which keep the sign; two for ReLU and step (φ(t) − φ(−t)) and
    sigmoid (φ(t) − φ(0)), and for square and |·| (φ(t + c) − φ(t − c)), which need biases everywhere. Otherwise 1.

    Args:
        layers: The network.
        activation: Of the hidden units, by name.

    Raises:
        TypeError: `layers` is no `DenseLayers`,
            or `activation` no name.
        ValueError: It is no network.

    Example:
        >>> from bounds.networks.layers import DenseLayers
        >>> from bounds.networks.vc_lower import half_space_vc_lower
        >>> half_space_vc_lower(DenseLayers(6, (2, 1), (14, 3)), "tanh")
        7
    """
    _check(layers, activation)
    even = activation in ("square", "abs")
    needed = 2 if even else _UNITS_FOR_SIGN.get(activation, math.inf)
    if any(k < needed for k in layers.units[:-1]) or (even and not all(_biases(layers))):
        return 1
    return layers.dim + (layers.parameters[0] == layers.units[0] * (layers.dim + 1))


def baum_vc_lower(layers: DenseLayers, activation: str) -> int:
    """2d ⌊(k_1 − 1)/u⌋ + 1 points are shattered, with hats of u units: 3 of ReLU, leaky ReLU and |·|, 2 of the others.

    After Baum 1988, who did it with thresholds. Take points in general position. Of N points one sign belongs to at
    most ⌊N/2⌋, in groups of at most d, and through each group goes a hyperplane t = 0 that meets no other point.
    φ(t + ε) − φ(t − ε) of steps, or of steep sigmoids, is a hat, zero away from the hyperplane, as φ(t + ε) − 2φ(t) +
    φ(t − ε) is of ReLU: two or three units a group, and one unit is the constant with which the sum of hats is
    compared. Later layers pass on the two, in two units. Where a hidden layer lacks biases or a second unit, or the
    activation is another one, the bound is 1. Arguments and errors as for `half_space_vc_lower`.

    Example:
        >>> from bounds.networks.layers import DenseLayers
        >>> from bounds.networks.vc_lower import baum_vc_lower
        >>> baum_vc_lower(DenseLayers(2, (10, 1), (30, 10)), "relu")
        13
    """
    _check(layers, activation)
    hidden = layers.units[:-1]
    if activation not in _UNITS_FOR_HAT or not hidden or min(hidden) < 2 or not all(_biases(layers)):
        return 1
    return 2 * layers.dim * ((hidden[0] - 1) // _UNITS_FOR_HAT[activation]) + 1


def bit_extraction_vc_lower(layers: DenseLayers, activation: str = "relu") -> int:
    """As many points as words times bits: labels stand in the bits of numbers, which a deep network reads one by one.

    The idea of Bartlett, Maiorov & Meir 1998 and of Bartlett, Harvey, Liaw & Mehrabian 2019, Theorem 3, here for dense
    layers, ReLU and one bit a layer. The points are (i, j) for words i < n and bits j < m, in two of the inputs.

    - The first layer has the units relu(i − i') for i' < n − 1, of which any function of i on n points is a sum, and
      relu(j): n = k_1 units for the n words a(i) in (0, 1).
    - Layer t + 2 has a_t, relu(a_t − ½), relu(j − t), relu(t − j) and o_t, five units. Then a_{t+1} = 2a_t −
      4 relu(a_t − ½), the tent map, has every sequence of sides of ½ as the orbit of some word (its bits); |j − t| is
      the sum of the next two; and o_{t+1} = relu(M o_t + relu(a_t − ½) − |j − t|) is positive beyond t = j if bit j is
      set, else 0. The last layer needs no a_t, but a constant, below which the output is negative.
    - With a third input c < C, the word of (i, c) is Σ_c' relu(a_c'(i) − |c − c'|), which takes C − 1 units more in the
      first layer and a layer of C + 1: C (k_1 − C + 1) words.

    So n·m points with m + 1 hidden layers, and C (k_1 − C + 1)·m with m + 2: of the order of W L. For the factor
    log(W/L) of the theorem, several bits are read at once. Leaky ReLU and |·| take twice as many units. 1 if there are
    too few layers, units, inputs or biases, or the activation is another one. Arguments and errors as for
    `half_space_vc_lower`.

    Example:
        >>> from bounds.networks.layers import DenseLayers
        >>> from bounds.networks.vc_lower import bit_extraction_vc_lower
        >>> bit_extraction_vc_lower(DenseLayers(2, (100, 5, 5, 5, 1), (300, 505, 30, 30, 6)))
        300
    """
    _check(layers, activation)
    if activation not in _UNITS_FOR_RELU or not all(_biases(layers)):
        return 1
    widths = [k // _UNITS_FOR_RELU[activation] for k in layers.units[:-1]]
    found = 1
    if layers.dim >= 2 and len(widths) >= 2 and min(widths[1:]) >= _UNITS_A_BIT:
        found = max(found, widths[0] * (len(widths) - 1))
    if layers.dim >= 3 and len(widths) >= 3 and min(widths[2:]) >= _UNITS_A_BIT:
        C = min(widths[1] - 1, (widths[0] + 1) // 2)  # near which C (k_1 − C + 1) is largest
        found = max(found, C * (widths[0] - C + 1) * (len(widths) - 2))
    return found


def bit_extraction_vc_measure(num_parameters: int, num_layers: int) -> float:
    """WL log(W/L): some ReLU network with W parameters in L layers has this VC dimension, up to a constant factor.

    A measure, not a bound: it is the order of growth (Bartlett, Harvey, Liaw & Mehrabian 2019, Thm 3) of a network with
    connections that skip layers. With the upper bound O(WL log W) it settles how d_vc grows. For dense layers and with
    every constant, `bit_extraction_vc_lower`.

    Args:
        num_parameters: W, at least L.
        num_layers: L.

    Raises:
        ValueError: A count is no positive integer, or W < L.

    Example:
        >>> from bounds.networks.vc_lower import bit_extraction_vc_measure
        >>> bit_extraction_vc_measure(1024, 4)
        32768.0
    """
    num_layers = as_count("num_layers", num_layers, bits=_MOST_BITS)
    num_parameters = as_count("num_parameters", num_parameters, bits=_MOST_BITS)
    if num_parameters < num_layers:
        raise ValueError(
            f"num_parameters is {num_parameters}; expected an integer of at least {num_layers}, that is num_layers."
        )
    return num_parameters * num_layers * math.log2(num_parameters / num_layers)


def _check(layers: DenseLayers, activation: str) -> None:
    check_layers(layers)
    check_activation_name(activation)


def _biases(layers: DenseLayers) -> list[bool]:
    """Of every hidden layer, whether all of its units have biases."""
    hidden = zip((layers.dim, *layers.units), layers.units[:-1], layers.parameters, strict=False)
    return [w == k * (inputs + 1) for inputs, k, w in hidden]
