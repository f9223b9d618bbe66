"""A fully connected network as VC bounds count it: units and parameters of each layer."""

import itertools
import re
from typing import Any, NamedTuple

import jax
import numpy as np

from bounds.weights import natural
from ntk.checks import check_count, is_concrete
from ntk.networks import MLP

_BIAS_OF = {"kernel": "bias", "w": "b"}  # in Flax's layers and in those of ntk.finite, where a number follows


class DenseLayers(NamedTuple):
    """A network of dense layers with one output, whose sign is the class.

    Attributes:
        dim: Dimension of the inputs.
        units: k_1…k_L, of every layer, the output (1) last.
        parameters: Weights and biases into the units of each layer, as many.
    """

    dim: int
    units: tuple[int, ...]
    parameters: tuple[int, ...]


def mlp_layers(net: MLP, dim: int, width: int) -> DenseLayers:
    """The layers of an `ntk.MLP` of finite width; biases count unless σ_b is 0.

    Args:
        net: The network; it has L hidden layers and a read-out without bias.
        dim: d, of the inputs.
        width: n, of every hidden layer.

    Raises:
        TypeError: `net` is no `ntk.MLP`.
        ValueError: `dim` or `width` is no positive integer, or σ_w or σ_v is 0.

    Example:
        >>> import ntk
        >>> from bounds.layers import mlp_layers
        >>> mlp_layers(ntk.MLP(depth=2), dim=3, width=10)
        DenseLayers(dim=3, units=(10, 10, 1), parameters=(40, 110, 10))
    """
    if not isinstance(net, MLP):
        raise TypeError(f"net is {type(net).__name__}; expected an ntk.MLP.")
    check_count("dim", dim)
    check_count("width", width)
    for name in ("w_std", "v_std"):
        if _is_zero(getattr(net, name)):
            raise ValueError(f"net has {name} 0; expected a positive one, without which its weights do nothing.")
    bias = not _is_zero(net.b_std)
    hidden = (width * (dim + bias), *[width * (width + bias)] * (net.depth - 1))
    return DenseLayers(int(dim), (*[int(width)] * net.depth, 1), (*map(int, hidden), int(width)))


def tree_layers(params: Any) -> DenseLayers:
    """The layers of a tree of parameters: of Flax Linen or NNX dense layers, or of `ntk.finite`.

    Weights are the arrays (in, out) named kernel or w1, w2, …, and the read-out v of `ntk.finite`; a bias has the name
    that goes with its weight's. Layers follow each other in the order of their names, numbers counted as numbers.

    Biases of `ntk.finite` are in its tree even if σ_b is 0 and they do nothing: there, `mlp_layers` is right.

    Args:
        params: A pytree of arrays, or of their shapes (`jax.ShapeDtypeStruct`).

    Raises:
        ValueError: A leaf is neither, a layer's inputs are not the outputs of the one before, or there is more than one
            output.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> from bounds.layers import tree_layers
        >>> model = ntk.finite(ntk.MLP(depth=2), width=10)
        >>> tree_layers(model.init(jax.random.key(0), jnp.ones((1, 3))))
        DenseLayers(dim=3, units=(10, 10, 1), parameters=(40, 110, 10))
    """
    shapes = {_names(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]}
    weights: dict[tuple[str, ...], tuple[int, ...]] = {}
    biases: dict[tuple[str, ...], int] = {}
    for names, shape in shapes.items():
        kind, number = re.fullmatch(r"(.*?)(\d*)", names[-1] if names else "").groups()  # type: ignore[union-attr]
        bias = (*names[:-1], _BIAS_OF.get(kind, "") + number)
        if kind in _BIAS_OF and len(shape) == 2:
            weights[names] = shape
            biases[names] = int(np.prod(shapes.get(bias, (0,))))
        elif kind == "v" and len(shape) in (1, 2):
            weights[names] = (*shape, 1)[:2]
            biases[names] = 0
        elif kind not in _BIAS_OF.values():
            raise ValueError(
                f"params has {'/'.join(names)} of shape {shape}; expected dense layers' weights and biases."
            )
    ordered = sorted(weights, key=_in_order)
    chain = [weights[names] for names in ordered]
    if not chain or any(first[1] != second[0] for first, second in itertools.pairwise(chain)):
        raise ValueError(f"params has weights of shapes {chain}; expected (in, out) with each in the out before it.")
    if chain[-1][1] != 1:
        raise ValueError(f"params has {chain[-1][1]} outputs; expected 1, whose sign is the class.")
    parameters = tuple(int(np.prod(weights[names])) + biases[names] for names in ordered)
    return DenseLayers(int(chain[0][0]), tuple(int(shape[1]) for shape in chain), parameters)


def _is_zero(std: Any) -> bool:
    return is_concrete(std) and float(std) == 0


def _names(path: tuple) -> tuple[str, ...]:
    """The keys of a path as text; what NNX wraps around an array is left out."""
    names = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path]
    return tuple(names[:-1] if names[-1:] in (["value"], ["raw_value"]) else names)


def _in_order(names: tuple[str, ...]) -> tuple:
    """Numbers within names as numbers, and the read-out v of `ntk.finite` after w1, w2, …."""
    return names[-1] == "v", [natural(name) for name in names]
