"""Errors of the kernels of random finite networks relative to their infinite-width limits."""

from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree
from ml_collections import ConfigDict

import ntk
from experiments.common.networks import Network, build_network, network_inputs
from ntk.checks import check_choice
from ntk.interop.neural_tangents import stax_kernel_fn

REFERENCES = ("recursion", "neural_tangents")
Blocks = dict[str, Float[Array, "N N"]]


def kernel_blocks(net: Network, kernels: ntk.NetworkKernels) -> Blocks:
    """The (N, N) matrices that are compared with their limits, by name.

    All networks have "ntk" and "nngp"; programs have nothing else. An MLP of depth L has "C^1".."C^L" and "D^1".."D^L"
    too (C^0 is exact at any width). An RNN over T steps has the blocks at equal times, "C^1,1".."C^T,T" and
    "D^1,1".."D^T,T".

    Args:
        net: The network.
        kernels: Its kernels, from `ntk.infinite_kernels(net, x)` or `ntk.empirical_kernels(net, params, x)`.

    Example:
        >>> net = ntk.MLP(depth=2)
        >>> list(kernel_blocks(net, ntk.infinite_kernels(net, jnp.ones((3, 4)))))
        ['ntk', 'nngp', 'C^1', 'C^2', 'D^1', 'D^2']
    """
    blocks = {"ntk": kernels.ntk, "nngp": kernels.nngp}
    if isinstance(net, ntk.RNN) and isinstance(kernels, ntk.Kernels):
        for letter, moments in (("C", kernels.C), ("D", kernels.D)):
            for t in range(moments.shape[1]):
                blocks[f"{letter}^{t + 1},{t + 1}"] = moments[:, t, :, t]
    if isinstance(net, ntk.MLP) and isinstance(kernels, ntk.Kernels):
        for layer in range(net.depth):
            blocks[f"C^{layer + 1}"] = kernels.C[layer + 1]
        for layer in range(net.depth):
            blocks[f"D^{layer + 1}"] = kernels.D[layer]
    return blocks


def limit_blocks(
    net: Network, x: Array, reference: str = "recursion", samples: int = 2**14, seed: int = 0
) -> tuple[Blocks, float]:
    """The infinite-width limits of `kernel_blocks`, and the relative standard error of the limit of Θ.

    Args:
        net: The network.
        x: Inputs as the network reads them.
        reference: "recursion" takes all limits from `ntk.infinite_kernels`. "neural_tangents", for an MLP, takes "ntk"
            and "nngp" from that library. It gives no C and D, so these come from the recursion.
        samples: The number of samples of the limit of a program without a closed form.
        seed: The seed of these samples.

    Returns:
        The limits, and the Frobenius norm of the standard errors of Θ over the norm of Θ; 0 if nothing is sampled.

    Raises:
        ValueError: The reference is unknown, or does not know the activation.
        TypeError: The reference does not know this kind of network.
        ImportError: neural-tangents is not installed.

    Example:
        >>> limits, error = limit_blocks(ntk.MLP(depth=2), jnp.ones((3, 4)))
        >>> bool(jnp.array_equal(limits["nngp"], limits["C^2"])), error  # with v_std=1
        (True, 0.0)
    """
    check_choice("reference", reference, REFERENCES)
    if isinstance(net, ntk.TensorProgram):
        limit = ntk.infinite_kernels(net, x, samples=samples, seed=seed)
        error = float(jnp.linalg.norm(limit.standard_error.ntk) / jnp.linalg.norm(limit.ntk))
        blocks = kernel_blocks(net, limit)
    else:
        error, blocks = 0.0, kernel_blocks(net, ntk.infinite_kernels(net, x))
    if reference == "neural_tangents":
        kernel_fn = stax_kernel_fn(cast(ntk.MLP, net))  # it refuses other networks
        with jax.default_matmul_precision("highest"):
            kernels = kernel_fn(x, None, ("ntk", "nngp"))
        # neural-tangents computes in float64 if x64 is on.
        blocks |= {name: getattr(kernels, name).astype(blocks[name].dtype) for name in ("ntk", "nngp")}
    return blocks, error


def error_scales(limits: Blocks) -> dict[str, Float[Array, ""]]:
    """The divisor of each error: the Frobenius norm of its limit, or of the last limit if that norm is zero.

    Raises:
        ValueError: The divisor is zero or not finite.

    Example:
        >>> scales = error_scales({"C^1": jnp.zeros((2, 2)), "D^1": 3.0 * jnp.eye(2)})
        >>> bool(scales["C^1"] == scales["D^1"])
        True
    """
    norms = {name: jnp.linalg.norm(block) for name, block in limits.items()}
    last = list(norms)[-1]
    scales = {name: jnp.where(norm == 0, norms[last], norm) for name, norm in norms.items()}
    for name, scale in scales.items():
        if not 0 < float(scale) < np.inf:
            raise ValueError(
                f"the infinite-width {name} has norm {float(norms[name]):g}, and {last} has {float(norms[last]):g}; "
                "expected a network for which one of them is positive, and both finite."
            )
    return scales


def errors_at_width(
    net: Network, x: Array, limits: Blocks, width: int, keys: Array, memory_gib: float
) -> dict[str, Float[np.ndarray, " seeds"]]:
    """Relative Frobenius errors (theory.md 5.4) of the kernels of one random network per key, in one compiled program.

    Args:
        net: The network.
        x: Inputs as the network reads them.
        limits: The blocks of `limit_blocks`.
        width: The width n.
        keys: One PRNG key for each network.
        memory_gib: The memory in GiB for the networks that are computed at the same time.

    Raises:
        FloatingPointError: A finite network overflows.

    Example:
        >>> from experiments.common.networks import member_keys
        >>> net, x = ntk.MLP(depth=2), jnp.eye(3)
        >>> errors = errors_at_width(net, x, limit_blocks(net, x)[0], 16, member_keys(0, 16, 5), memory_gib=1.0)
        >>> errors["ntk"].shape
        (5,)
    """
    model = ntk.finite(net, width=width)
    scales = error_scales(limits)

    def member_errors(key: Array) -> dict[str, Array]:
        params = model.init(key, x)
        blocks = kernel_blocks(net, ntk.empirical_kernels(net, params, x))
        return {name: jnp.linalg.norm(blocks[name] - limits[name]) / scales[name] for name in limits}

    batch_size = _batch_size(model.init, keys, x, memory_gib)
    program = jax.jit(lambda keys: jax.lax.map(member_errors, keys, batch_size=batch_size))
    measured = program(keys)
    # In the order of the limits: JAX returns dictionaries sorted by name, where C^10 comes before C^2.
    errors = {name: np.asarray(measured[name]) for name in limits}
    for name, error in errors.items():
        if not np.isfinite(error).all():
            raise FloatingPointError(
                f"the error of {name} at width {width} is not finite with {net}; expected smaller standard deviations."
            )
    return errors


def _batch_size(init: Callable[[Array, Array], PyTree], keys: Array, x: Array, memory_gib: float) -> int:
    """The largest divisor of the number of keys for which that many networks fit into memory; at least 1."""
    params = jax.tree.leaves(jax.eval_shape(init, keys[0], x))
    # The compiled programs take 3 to 6 times the memory of the weights, for random bits and for a transposed copy.
    needed = 8 * sum(leaf.size * leaf.dtype.itemsize for leaf in params)
    # With a divisor the last batch is not smaller, and no second program is compiled for it.
    fitting = [
        size for size in range(1, len(keys) + 1) if len(keys) % size == 0 and size * needed <= memory_gib * 2**30
    ]
    return max(fitting, default=1)


class Case(NamedTuple):
    """A network, its inputs, the limits of its kernels, and the relative standard error of the limit of Θ."""

    net: Network
    x: Array
    limits: Blocks
    limit_error: float


def prepare(fields: ConfigDict, images: np.ndarray, config: ConfigDict) -> Case:
    """The network that a config describes, and the limits that its kernels are compared with.

    Raises:
        ValueError: A field of the network is out of range, or a limit is zero or not finite.
        TypeError: A required field is missing, or the reference does not know this kind of network.
        ImportError: The reference is neural-tangents, which is not installed.
    """
    net = build_network(fields)
    x = jnp.asarray(network_inputs(fields.kind, images))
    limits, limit_error = limit_blocks(net, x, config.reference, config.samples, config.seed)
    error_scales(limits)
    return Case(net, x, limits, limit_error)
