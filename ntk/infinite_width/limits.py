"""Kernels in the limit of infinite width, for every network that has a recursion."""

from types import ModuleType

import jax
from jax.typing import ArrayLike
from jaxtyping import Float

from ntk.caches.lifetimes import compiled
from ntk.checks import check_representable
from ntk.decomposition import Kernels
from ntk.duals import Activation
from ntk.infinite_width import mlp, rnn
from ntk.inputs import Batch, Network, checked_network_inputs
from ntk.learning_rates import Rates, Trained, fan_ins_of, learning_rates
from ntk.networks import MLP, RNN, with_activation

_RECURSIONS: dict[type, ModuleType] = {MLP: mlp, RNN: rnn}


def kernels_of(
    net: Network,
    x1: ArrayLike,
    x2: ArrayLike | None,
    lengths1: ArrayLike | None,
    lengths2: ArrayLike | None,
    trained: Trained | None = None,
) -> Kernels:
    """C, D, NNGP and NTK of an MLP or an RNN, as `ntk.infinite_kernels` documents them."""
    net, batch1, batch2 = checked_network_inputs(net, x1, x2, lengths1, lengths2)
    rates = _rates(trained, net, batch1)
    result = _kernels(net.activation, with_activation(net, None), batch1, batch2, rates)
    check_representable(ntk=result.ntk, nngp=result.nngp, C=result.C, D=result.D)
    return result


def ntk_of(
    net: Network,
    x1: ArrayLike,
    x2: ArrayLike | None,
    lengths1: ArrayLike | None,
    lengths2: ArrayLike | None,
    trained: Trained | None = None,
) -> Float[jax.Array, "N1 N2"]:
    """The NTK of an MLP or an RNN alone, (N1, N2), as `ntk.infinite_ntk` documents it."""
    net, batch1, batch2 = checked_network_inputs(net, x1, x2, lengths1, lengths2)
    rates = _rates(trained, net, batch1)
    result = _ntk(net.activation, with_activation(net, None), batch1, batch2, rates)
    check_representable(ntk=result)
    return result


def _rates(trained: Trained | None, net: Network, batch: Batch) -> Rates | None:
    return learning_rates(trained, fan_ins_of(net, batch.x.shape[-1]), batch.x.dtype)


@compiled()
def _kernels(activation: Activation, net: Network, batch1: Batch, batch2: Batch | None, rates: Rates | None) -> Kernels:
    return _RECURSIONS[type(net)].kernels(with_activation(net, activation), batch1, batch2, rates)


@compiled()
def _ntk(
    activation: Activation, net: Network, batch1: Batch, batch2: Batch | None, rates: Rates | None
) -> Float[jax.Array, "N1 N2"]:
    return _RECURSIONS[type(net)].ntk_only(with_activation(net, activation), batch1, batch2, rates)
