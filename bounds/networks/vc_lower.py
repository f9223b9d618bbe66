"""Sets of points that networks shatter, by construction: lower bounds on the VC dimension, in numbers.

Layers are dense. d is the dimension of the inputs, k_1, …, k_L are the widths, and k_L = 1 is that of the output. A
wider or deeper network contains the networks that are built here: units that are not needed have weights 0.
"""

import math

from bounds.checks import as_count
from bounds.networks.layers import DenseLayers, check_activation_name, check_layers

# Units by which a layer passes on a sign: one if φ(t) has the sign of t, two if φ(t) − φ(−t) or φ(t) − φ(0) has it.
_UNITS_FOR_SIGN = {"leaky_relu": 1, "cube": 1, "tanh": 1, "sign": 1, "relu": 2, "step": 2, "sigmoid": 2}
# Units whose sum is a hat: not zero near the hyperplane t = 0, and zero or arbitrarily small away from it.
_UNITS_FOR_HAT = {"relu": 3, "leaky_relu": 3, "abs": 3, "step": 2, "sign": 2, "sigmoid": 2, "tanh": 2}
# Units that make one ReLU of a bounded argument: relu(z) is a sum of φ(z) and φ(−z), or of |z| and z = |z + c| − c.
_UNITS_FOR_RELU = {"relu": 1, "leaky_relu": 2, "abs": 2}
_UNITS_PER_BIT = 5
_MOST_BITS = 500  # of a count, so that products are within float64


def half_space_vc_lower(layers: DenseLayers, activation: str) -> int:
    """d + 1, or d without biases in the first layer: the network makes half-spaces if each layer can pass a sign on.

    Stated in theory.md 10.5. One unit suffices for tanh, sign, cube and leaky ReLU, which keep the sign. Two units
    suffice for ReLU and step, by φ(t) − φ(−t), for sigmoid, by φ(t) − φ(0), and for square and |·|, by
    φ(t + c) − φ(t − c), if there are biases everywhere. Otherwise the bound is 1.

    Args:
        layers: The network.
        activation: The name of the activation of the hidden units.

    Raises:
        TypeError: `layers` is not a `DenseLayers`, or `activation` is not a string.
        ValueError: `layers` has numbers that do not belong to a network.

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

    Baum 1988 gives the construction for thresholds; the bound is theory.md 10.5. Take N points in general position. At
    most ⌊N/2⌋ of them have the rarer sign. Split these into groups of at most d. Through each group goes a hyperplane
    t = 0 that meets no other point. A hat is a sum of units that is zero away from the hyperplane: φ(t + ε) − φ(t − ε)
    for steps and steep sigmoids, and φ(t + ε) − 2φ(t) + φ(t − ε) for ReLU. Each group takes one hat, of two or three
    units. One more unit is the constant with which the sum of the hats is compared. Later layers pass on the sum and
    the constant, in two units. Where a hidden layer lacks biases or a second unit, or for other activations, the bound
    is 1.

    Args:
        layers: The network.
        activation: The name of the activation of the hidden units.

    Raises:
        TypeError: `layers` is not a `DenseLayers`, or `activation` is not a string.
        ValueError: `layers` has numbers that do not belong to a network.

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
    """The number of words times the number of their bits: the labels are bits of words, which a deep network reads.

    The bound is theory.md 10.6. The idea is that of Bartlett, Maiorov & Meir 1998 and of Bartlett, Harvey, Liaw &
    Mehrabian 2019, Theorem 3, here for dense layers and ReLU, with one bit read by each layer. The points are (i, j)
    for words i < n and bits j < m, in two of the inputs.

    - The first layer has the unit relu(j) and the units relu(i − i') for i' < n − 1. Every function of i on n points is
      a sum of the latter. So n = k_1 units make the n words a(i) in (0, 1).
    - Layer t + 2 has five units: a_t, relu(a_t − ½), relu(j − t), relu(t − j) and o_t. The next word is given by the
      tent map, a_{t+1} = 2a_t − 4 relu(a_t − ½). Every sequence of bits is the sequence of sides of ½ on which the
      orbit of some word lies. |j − t| is the sum of the third and the fourth unit. Then o_{t+1} = relu(M o_t + relu(a_t
      − ½) − |j − t|) is positive beyond t = j if bit j is set, and 0 otherwise. The last layer has a constant in place
      of a_t, below which the output is negative.
    - With a third input c < C, the word of (i, c) is Σ_c' relu(a_c'(i) − |c − c'|). It takes C − 1 units more in the
      first layer, and one more layer of C + 1 units, for C (k_1 − C + 1) words.

    This makes n·m points with m + 1 hidden layers, and C (k_1 − C + 1)·m points with m + 2, of the order of W L. The
    theorem gains the factor log(W/L) by reading several bits at once. Leaky ReLU and |·| take twice as many units. The
    bound is 1 if there are too few layers, units, inputs or biases, and for other activations.

    Args:
        layers: The network.
        activation: The name of the activation of the hidden units.

    Raises:
        TypeError: `layers` is not a `DenseLayers`, or `activation` is not a string.
        ValueError: `layers` has numbers that do not belong to a network.

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
    if layers.dim >= 2 and len(widths) >= 2 and min(widths[1:]) >= _UNITS_PER_BIT:
        found = max(found, widths[0] * (len(widths) - 1))
    if layers.dim >= 3 and len(widths) >= 3 and min(widths[2:]) >= _UNITS_PER_BIT:
        C = min(widths[1] - 1, (widths[0] + 1) // 2)  # near which C (k_1 − C + 1) is largest
        found = max(found, C * (widths[0] - C + 1) * (len(widths) - 2))
    return found


def bit_extraction_vc_measure(num_parameters: int, num_layers: int) -> float:
    """WL log(W/L): some ReLU network with W parameters in L layers has this VC dimension, up to a constant factor.

    It is a measure and not a bound: the order of growth for networks with connections that skip layers (Bartlett,
    Harvey, Liaw & Mehrabian 2019, Theorem 3; theory.md 10.7). With the upper bound O(WL log W) it settles how d_vc
    grows. A bound with every constant, for dense layers, is `bit_extraction_vc_lower`.

    Args:
        num_parameters: W, at least L.
        num_layers: L.

    Raises:
        ValueError: A count is not a positive integer, or W < L.

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
    """For every hidden layer, whether all of its units have biases."""
    hidden = zip((layers.dim, *layers.units), layers.units[:-1], layers.parameters, strict=False)
    return [w == k * (inputs + 1) for inputs, k, w in hidden]
