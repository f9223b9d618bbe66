"""Kernels in the limit of infinite width, for every network that has a recursion."""

from types import ModuleType

import jax
from jax.typing import ArrayLike

from ntk.checks import check_representable
from ntk.decomposition import Kernels
from ntk.infinite_width import mlp, rnn
from ntk.inputs import Batch, Network, check_batches, with_dtype
from ntk.networks import MLP, RNN

_RECURSIONS: dict[type, ModuleType] = {MLP: mlp, RNN: rnn}


def kernels(
    net: Network,
    x1: ArrayLike,
    x2: ArrayLike | None,
    lengths1: ArrayLike | None,
    lengths2: ArrayLike | None,
) -> Kernels:
    """C, D, NNGP and NTK of an MLP or an RNN; see `ntk.infinite_kernels`."""
    batch1, batch2 = check_batches(net, x1, x2, lengths1, lengths2)
    result = _kernels(with_dtype(net, batch1.x.dtype), batch1, batch2)
    check_representable(**vars(result))
    return result


def ntk(
    net: Network,
    x1: ArrayLike,
    x2: ArrayLike | None,
    lengths1: ArrayLike | None,
    lengths2: ArrayLike | None,
) -> jax.Array:
    """The NTK of an MLP or an RNN alone, (N1, N2); see `ntk.infinite_ntk`."""
    batch1, batch2 = check_batches(net, x1, x2, lengths1, lengths2)
    result = _ntk(with_dtype(net, batch1.x.dtype), batch1, batch2)
    check_representable(ntk=result)
    return result


@jax.jit
def _kernels(net: Network, batch1: Batch, batch2: Batch | None) -> Kernels:
    return _RECURSIONS[type(net)].kernels(net, batch1, batch2)


@jax.jit
def _ntk(net: Network, batch1: Batch, batch2: Batch | None) -> jax.Array:
    return _RECURSIONS[type(net)].ntk_only(net, batch1, batch2)
