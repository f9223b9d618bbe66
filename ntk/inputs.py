"""The inputs of a network, checked once for every kernel: shapes, dtypes, lengths, finite values."""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ntk.checks import as_floating, check_finite, is_concrete, shown
from ntk.dtypes import common_dtype
from ntk.networks import MLP, RNN, check_stds

Network = MLP | RNN
SomeNetwork = TypeVar("SomeNetwork", bound=Network)


class Batch(NamedTuple):
    """Inputs of one side of a kernel.

    Attributes:
        x: (N, d) for an MLP, (N, T, d) for an RNN.
        lengths: For an RNN, (N,) integers in 1..T, the number of steps that count. For an MLP, None.
    """

    x: jax.Array
    lengths: jax.Array | None


class NetworkInputs(NamedTuple):
    """A network and both sides of a kernel, as `checked_network_inputs` found them: all of one dtype.

    Attributes:
        net: The network.
        batch1: The first side.
        batch2: The second side. None if it equals the first.
    """

    net: Network
    batch1: Batch
    batch2: Batch | None


def checked_network_inputs(
    net: Network, x1: ArrayLike, x2: ArrayLike | None, lengths1: ArrayLike | None, lengths2: ArrayLike | None
) -> NetworkInputs:
    """The checked arguments from which every kernel of a description is computed.

    Raises:
        TypeError: An array is not floating-point.
        ValueError: A shape, a length or a value is not what the network reads.
    """
    check_stds(net)
    if x2 is None and lengths2 is not None:
        raise ValueError("lengths2 is given without x2; expected lengths1 alone when there is one batch.")
    batch1 = check_batch(net, x1, lengths1, "1")
    if x2 is None or (x2 is x1 and lengths2 is lengths1):
        return NetworkInputs(with_dtype(net, batch1.x.dtype), batch1, None)
    batch2 = check_batch(net, x2, lengths2, "2")
    if batch1.x.shape[-1] != batch2.x.shape[-1]:
        raise ValueError(f"x2 has {batch2.x.shape[-1]} features; expected {batch1.x.shape[-1]} as in x1.")
    dtype = common_dtype(batch1.x, batch2.x)
    batch1, batch2 = (batch._replace(x=batch.x.astype(dtype)) for batch in (batch1, batch2))
    return NetworkInputs(with_dtype(net, dtype), batch1, batch2)


def check_batch(net: Network, x: ArrayLike, lengths: ArrayLike | None, side: str) -> Batch:
    """One side of a kernel, checked. `side` is the suffix of the argument names in messages."""
    name = f"x{side}"
    x = as_floating(name, x)
    expected = "(N, d)" if isinstance(net, MLP) else "(N, T, d)"
    if x.ndim != expected.count(",") + 1 or 0 in x.shape:
        raise ValueError(f"{name} has shape {x.shape}; expected {expected} with no empty axis.")
    if isinstance(net, MLP):
        if lengths is not None:
            raise ValueError(f"lengths{side} is given; expected none, an MLP reads no sequences.")
        check_finite(name, x)
        return Batch(x, None)
    if lengths is None:
        lengths = jnp.full((x.shape[0],), x.shape[1])
    else:
        lengths = check_lengths(f"lengths{side}", lengths, name, x.shape[0], x.shape[1])
        # Entries past a sequence's length are not read. They may be anything, also NaN.
        x = jnp.where((jnp.arange(x.shape[1])[None] < lengths[:, None])[:, :, None], x, 0.0)
    check_finite(name, x)
    return Batch(x, lengths)


def check_lengths(name: str, lengths: ArrayLike, of: str, num_inputs: int, num_steps: int) -> jax.Array:
    """Lengths of the inputs of the argument `of`, as an array of integers. Anything else is refused."""
    expected = f"{num_inputs} integers, one for each input of {of}"
    try:
        lengths = jnp.asarray(lengths)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} is {shown(lengths)}; expected an array of {expected}.") from None
    if lengths.shape != (num_inputs,) or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(f"{name} is {lengths.dtype} of shape {lengths.shape}; expected {expected}.")
    if is_concrete(lengths):
        values = np.asarray(lengths)
        if values.min() < 1 or values.max() > num_steps:
            raise ValueError(
                f"{name} goes from {values.min()} to {values.max()}; expected lengths from 1 to T = {num_steps}."
            )
    return lengths.astype(int)


def with_dtype(net: SomeNetwork, dtype: jnp.dtype) -> SomeNetwork:
    """The network with its standard deviations in the dtype of the data, so that none of them widens it."""
    return jax.tree.map(lambda std: jnp.asarray(std, dtype), net)
