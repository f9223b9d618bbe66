"""How many numbers the entries of a parameter multiply in one sum: its fan-in, of which a part may be the width."""

from typing import NamedTuple

from ntk.networks import MLP, RNN


class FanIn(NamedTuple):
    """The fan-in of a parameter: `size`, times the width n if `of_width`. That of a bias is 1.

    Attributes:
        size: An integer of at least 1.
        of_width: Whether the parameter reads vectors of the network.
    """

    size: int
    of_width: bool


FanIns = dict[str, FanIn]  # of all parameters, by name


def fan_ins_of(net: MLP | RNN, features: int) -> FanIns:
    """The fan-ins of the parameters of `ntk.finite(net, width)`, by the names that `param_filter` takes.

    Args:
        net: The network.
        features: d, of its inputs.

    Example:
        >>> import ntk
        >>> from ntk.learning_rates import fan_ins_of
        >>> list(fan_ins_of(ntk.MLP(depth=1), features=3))
        ['params/w1', 'params/b1', 'params/v']
    """
    of_inputs, of_units, of_bias = FanIn(features, False), FanIn(1, True), FanIn(1, False)
    if isinstance(net, RNN):
        return {"params/w": of_units, "params/u": of_inputs, "params/b": of_bias, "params/v": of_units}
    found: FanIns = {}
    for layer in range(1, net.depth + 1):
        found |= {f"params/w{layer}": of_units if layer > 1 else of_inputs, f"params/b{layer}": of_bias}
    return found | {"params/v": of_units if net.depth else of_inputs}
