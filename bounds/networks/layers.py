"""A fully connected network as VC bounds count it: the units and parameters of each layer."""

import math
from typing import NamedTuple

from bounds.checks import as_count
from bounds.networks import trees
from ntk.checks import check_count, is_concrete, shown
from ntk.networks import MLP, Std
from ntk.trees import Params

_MOST_BITS = 256  # of a count of units or parameters, so that their products are within float64


class DenseLayers(NamedTuple):
    """A network of dense layers with one output, whose sign is the class.

    Attributes:
        dim: Dimension of the inputs.
        units: k_1, …, k_L, the units of every layer; the last one is the output, 1.
        parameters: How many weights and biases lead into the units of each layer.
    """

    dim: int
    units: tuple[int, ...]
    parameters: tuple[int, ...]


def check_layers(layers: object) -> None:
    """Refuse what is not a `DenseLayers`, and numbers that do not belong to a network."""
    if not isinstance(layers, DenseLayers):
        raise TypeError(f"layers is {type(layers).__name__}; expected the DenseLayers of mlp_layers or tree_layers.")
    as_count("dim", layers.dim, bits=_MOST_BITS)
    for name in ("units", "parameters"):
        counts = getattr(layers, name)
        if not isinstance(counts, tuple) or not counts:
            raise TypeError(f"{name} is {shown(counts)}; expected a tuple of one integer for each layer.")
        for count in counts:
            as_count(f"{name} of layers", count, bits=_MOST_BITS)
    fits = len(layers.units) == len(layers.parameters) and layers.units[-1] == 1
    inputs = (layers.dim, *layers.units)
    if not fits or any(
        not k * d <= w <= k * (d + 1) for d, k, w in zip(inputs, layers.units, layers.parameters, strict=False)
    ):
        raise ValueError(
            f"layers is {shown(layers)}; expected units and parameters of as many layers, the last with one unit. A"
            " layer of k units has k weights for each of its inputs, and 0 to k biases."
        )


def check_activation_name(activation: object) -> None:
    """Refuse what is not a string."""
    if not isinstance(activation, str):
        raise TypeError(f"activation is {shown(activation)}; expected the name of an activation.")


def mlp_layers(net: MLP, dim: int, width: int) -> DenseLayers:
    """The layers of an `ntk.MLP` of finite width; biases count unless σ_b is 0.

    Args:
        net: The network; it has L hidden layers and a read-out without bias.
        dim: d, the dimension of the inputs.
        width: n, the width of every hidden layer.

    Raises:
        TypeError: `net` is not an `ntk.MLP`.
        ValueError: `dim` or `width` is not a positive integer, or σ_w or σ_v is 0.

    Example:
        >>> import ntk
        >>> from bounds.networks.layers import mlp_layers
        >>> mlp_layers(ntk.MLP(depth=2), dim=3, width=10)
        DenseLayers(dim=3, units=(10, 10, 1), parameters=(40, 110, 10))
    """
    if not isinstance(net, MLP):
        raise TypeError(f"net is {type(net).__name__}; expected an ntk.MLP.")
    check_count("dim", dim)
    check_count("width", width)
    for name in ("w_std", "v_std"):
        if _is_zero(getattr(net, name)):
            raise ValueError(f"net has {name} 0; expected a positive one: with 0 its weights have no effect.")
    bias = not _is_zero(net.b_std)
    hidden = (width * (dim + bias), *[width * (width + bias)] * (net.depth - 1))
    return DenseLayers(int(dim), (*[int(width)] * net.depth, 1), (*map(int, hidden), int(width)))


def tree_layers(params: Params) -> DenseLayers:
    """The layers of a tree of parameters: of Flax Linen or NNX dense layers, of `ntk.finite`, or a list of matrices.

    Weights are the leaves (in, out), and the read-out v (n,) of `ntk.finite`. The name of a bias (out,) goes with that
    of its weight: bias with kernel, b1 with w1. Layers follow each other in the order of the numbers in their names, or
    in the only order in which their shapes fit.

    The tree of `ntk.finite` has biases even if σ_b is 0 and they have no effect. Use `mlp_layers` there.

    Args:
        params: A pytree of arrays, or of their shapes (`jax.ShapeDtypeStruct`).

    Raises:
        ValueError: A leaf is neither a weight nor a bias, a bias has no weight or another size, no order of the layers
            fits or several do, or there is more than one output.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> from bounds.networks.layers import tree_layers
        >>> model = ntk.finite(ntk.MLP(depth=2), width=10)
        >>> tree_layers(model.init(jax.random.key(0), jnp.ones((1, 3))))
        DenseLayers(dim=3, units=(10, 10, 1), parameters=(40, 110, 10))
    """
    shapes = {name: tuple(leaf.shape) for name, leaf in trees.named_leaves(params).items()}
    weights = {
        name: (*shape, 1)[:2]
        for name, shape in shapes.items()
        if len(shape) == 2 or (len(shape) == 1 and name.rpartition("/")[2] == "v")
    }
    outputs_of = {trees.bias_of(name): shape[1] for name, shape in weights.items()}
    for name, shape in shapes.items():
        if name not in weights and not (trees.is_bias(name) and shape == (outputs_of.get(name),)):
            raise ValueError(f"params has {name} of shape {shape}; expected dense layers' weights and their biases.")
    if not weights:
        raise ValueError(f"params is {shown(params)}, without weights; expected matrices (in, out).")
    names = list(weights)
    chain = [names[place] for place in trees.in_chain("params", names, list(weights.values()))]
    if weights[chain[-1]][1] != 1:
        raise ValueError(f"params has {weights[chain[-1]][1]} outputs; expected 1, whose sign is the class.")
    parameters = (math.prod(weights[name]) + sum(shapes.get(trees.bias_of(name) or "", ())) for name in chain)
    return DenseLayers(weights[chain[0]][0], tuple(weights[name][1] for name in chain), tuple(parameters))


def _is_zero(std: Std) -> bool:
    return is_concrete(std) and float(std) == 0
