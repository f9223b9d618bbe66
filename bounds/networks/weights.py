"""Weight matrices of a parameter tree, in the order of the layers."""

import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntk
from bounds.arrays import as_data, as_host_array
from bounds.networks import trees
from ntk.checks import as_floating, is_concrete, shown
from ntk.dtypes import common_dtype
from ntk.trees import ParamFilter, Params, check_filter, is_chosen


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["matrices"], meta_fields=["names", "patch_sizes", "ignored"]
)
@dataclass(frozen=True)
class WeightMatrices:
    """The weight matrices of a network, in the order of its layers. It prints as the list of leaves that were taken.

    Attributes:
        matrices: Each (in, out), as in Flax: a layer computes x W.
        names: Their paths in the parameter tree.
        patch_sizes: 1 for a dense layer. For a convolution, the number of positions of its kernel; its matrix is
            (positions · in, out) and acts on patches of the input.
        ignored: The paths of floating-point leaves that are not matrices: biases, scales, running averages.
    """

    matrices: Any
    names: tuple[str, ...]
    patch_sizes: tuple[int, ...]
    ignored: tuple[str, ...] = ()

    def __str__(self) -> str:
        rows = []
        for name, w, size in zip(self.names, self.matrices, self.patch_sizes, strict=True):
            rows.append(f"{name}: {w.shape[0]} x {w.shape[1]}" + f", a convolution of {size} positions" * (size > 1))
        return "\n".join([*rows, *(f"{name}: ignored" for name in self.ignored)])


def weight_matrices(params: Params, param_filter: ParamFilter | None = None) -> WeightMatrices:
    """The weight matrices of a network, from a Flax parameter tree or any other pytree.

    All floating-point leaves with two axes or more are taken. Two axes are (in, out), as in a dense layer or an
    embedding. More axes are a convolution's kernel, (…, in, out), which is reshaped to (… · in, out): each column is
    one filter. Kernels of attention with an axis of heads must be reshaped to (in, out) beforehand, or left out. Leaves
    are sorted by their paths, with numbers as numbers: Dense_2 comes before Dense_10.

    Args:
        params: Variables of a Flax Linen model, an NNX state or model, a list of matrices in the order of the layers,
            or `WeightMatrices`, which are returned unchanged.
        param_filter: Takes a path such as 'params/Dense_0/kernel' and returns whether its leaf may be taken; None takes
            all.

    Returns:
        `WeightMatrices`.

    Raises:
        TypeError: A matrix is not of float32 or float64.
        ValueError: No leaf is a matrix, or a matrix is empty or not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.networks.weights import weight_matrices
        >>> params = {"Dense_0": {"kernel": jnp.ones((3, 4)), "bias": jnp.ones(4)}, "Conv_0": jnp.ones((5, 5, 1, 3))}
        >>> print(weight_matrices(params))
        Conv_0: 25 x 3, a convolution of 25 positions
        Dense_0/kernel: 3 x 4
        Dense_0/bias: ignored
    """
    return matrices_of("params", params, param_filter)


def matrices_of(argument: str, params: Params, param_filter: ParamFilter | None = None) -> WeightMatrices:
    """`weight_matrices`, whose messages call the tree by the name `argument`."""
    if isinstance(params, WeightMatrices):
        return params
    found = _taken(argument, params, param_filter)
    kernels = []
    for name, leaf in zip(found.names, found.matrices, strict=True):
        kernel = as_data(_place(argument, name), leaf, f"({', '.join([*'…' * (leaf.ndim - 2), 'in', 'out'])})")
        kernels.append(kernel.reshape(-1, kernel.shape[-1]))
    return replace(found, matrices=tuple(kernels))


def in_one_dtype(weights: WeightMatrices) -> WeightMatrices:
    """The matrices in the dtype that they have in common, to be computed with."""
    dtype = common_dtype(*weights.matrices)
    return replace(weights, matrices=tuple(w.astype(dtype) for w in weights.matrices))


def layer_matrices(argument: str, params: Params) -> WeightMatrices:
    """The matrices of dense and convolutional layers in one dtype, which must fit one another in some order."""
    found = in_one_dtype(matrices_of(argument, params))
    trees.check_chain(argument, found.names, [w.shape for w in found.matrices], found.patch_sizes)
    return found


def dense_matrices(argument: str, params: Params) -> WeightMatrices:
    """The matrices of a chain of dense layers in their order, JAX arrays of one dtype; convolutions are refused."""
    return _in_chain(argument, in_one_dtype(matrices_of(argument, params)))


def host_matrices(argument: str, params: Params) -> list[np.ndarray]:
    """The matrices of a chain of dense layers without biases in their order, in float64 on the host."""
    found = params if isinstance(params, WeightMatrices) else _taken(argument, params, None)
    if found.ignored:
        raise ValueError(
            f"{argument} has leaves that are not matrices, {', '.join(found.ignored)}; expected a network without"
            " biases: pass the matrices alone if these leaves have no effect."
        )
    found = _in_chain(argument, found)
    named = zip(found.names, found.matrices, strict=True)
    return [as_host_array(_place(argument, name), w, "(in, out)") for name, w in named]


def ntk_weight_matrices(net: ntk.MLP, params: Params) -> WeightMatrices:
    """The matrices by which an `ntk.MLP` multiplies: (σ_w/√d) w¹, (σ_w/√n) wˡ and (σ_v/√n) v, in this order.

    Its parameters are N(0, 1), and the forward pass multiplies them by scales (theory.md 1.1). Norms of the parameters
    themselves therefore say nothing about the function.

    Args:
        net: The description of the network.
        params: Parameters of `ntk.finite(net, …)`.

    Returns:
        `WeightMatrices`. A read-out v without an axis of outputs becomes (n, 1). Biases are ignored, and listed as such
        where σ_b ≠ 0.

    Raises:
        TypeError: net is not an `ntk.MLP`, or a parameter is not of float32 or float64.
        ValueError: A parameter is missing, is not a matrix, or is not finite.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> from bounds.networks.weights import ntk_weight_matrices
        >>> net = ntk.MLP(depth=2)
        >>> params = ntk.finite(net, width=16).init(jax.random.key(0), jnp.ones((1, 3)))
        >>> print(ntk_weight_matrices(net, params))
        w1: 3 x 16
        w2: 16 x 16
        v: 16 x 1
        b1: ignored
        b2: ignored
    """
    if not isinstance(net, ntk.MLP):
        raise TypeError(f"net is {shown(net)}; expected an ntk.MLP.")
    stds = {f"w{layer}": net.w_std for layer in range(1, net.depth + 1)} | {"v": net.v_std}
    parameters = params["params"] if isinstance(params, dict) and "params" in params else {}
    matrices = []
    for name, std in stds.items():
        if name not in parameters:
            raise ValueError(f"params has no '{name}'; expected the parameters of an MLP of depth {net.depth}.")
        place = _place("params", name)
        w = as_floating(place, parameters[name])
        w = as_data(place, w[:, None] if w.ndim == 1 else w, "(in, out)")
        matrices.append(jnp.asarray(std, w.dtype) / w.shape[0] ** 0.5 * w)
    has_biases = not is_concrete(net.b_std) or float(net.b_std) != 0
    biases = tuple(f"b{layer}" for layer in range(1, net.depth + 1)) if has_biases else ()
    return WeightMatrices(tuple(matrices), tuple(stds), (1,) * len(stds), biases)


def _place(argument: str, name: str) -> str:
    """How a message names a leaf."""
    return f"{argument} at {name}" if name else argument


def _taken(argument: str, params: Params, param_filter: ParamFilter | None) -> WeightMatrices:
    """The leaves that are taken, unchanged, in place of matrices."""
    leaves = trees.named_leaves(params)
    matrices = [name for name in leaves if leaves[name].ndim >= 2]
    if param_filter is None:
        taken = matrices
    else:
        check_filter(param_filter)
        taken = [name for name in matrices if is_chosen(param_filter, name)]
    if not taken:
        listed = ", ".join(leaves) or "no leaves"
        raise ValueError(f"{argument} has no weight matrix among {listed}; expected at least one.")
    sizes = tuple(int(np.prod(leaves[name].shape[:-2])) for name in taken)
    ignored = tuple(name for name in leaves if name not in taken)
    return WeightMatrices(tuple(leaves[name] for name in taken), tuple(taken), sizes, ignored)


def _in_chain(argument: str, weights: WeightMatrices) -> WeightMatrices:
    for name, size in zip(weights.names, weights.patch_sizes, strict=True):
        if size != 1:
            raise ValueError(f"{argument} has a convolution, {name}; expected dense layers.")
    order = trees.in_chain(argument, weights.names, [w.shape for w in weights.matrices])
    return replace(
        weights,
        matrices=tuple(weights.matrices[place] for place in order),
        names=tuple(weights.names[place] for place in order),
    )
