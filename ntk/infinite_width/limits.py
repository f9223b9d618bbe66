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


def infinite_kernels(
    net: Network,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
) -> Kernels:
    """C, D, NNGP and NTK of an infinitely wide network (THEORY sections 1 and 2).

    Args:
        net: An `ntk.MLP` or `ntk.RNN`.
        x1: Inputs, (N1, d) for an MLP, (N1, T1, d) for an RNN. Scaled so that ξ·ξ/d is of order one.
        x2: The other inputs; None means `x1` itself, and then the diagonal is exact.
        lengths1: (N1,) integers, how many steps of each sequence count (RNN; None: all T1).
        lengths2: (N2,), likewise for `x2`.

    Returns:
        `Kernels`: ntk and nngp (N1, N2); C and D of every layer, or of every pair of times.

    Raises:
        TypeError: `net` is no network description, or an array is not floating-point.
        ValueError: A shape, a length or a value is not what the network reads, or a kernel is too large for the
            dtype (under a transformation it is inf instead).

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> k = ntk.infinite_kernels(ntk.MLP(depth=2, activation="identity"), x)
        >>> k.C.shape, k.D.shape, float(k.nngp[0, 0]), float(k.ntk[0, 0])
        ((3, 2, 2), (2, 2, 2), 2.5, 6.5)
    """
    batch1, batch2 = check_batches(net, x1, x2, lengths1, lengths2)
    result = _kernels(with_dtype(net, batch1.x.dtype), batch1, batch2)
    check_representable(**vars(result))
    return result


def infinite_ntk(
    net: Network,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
) -> jax.Array:
    """The NTK of an infinitely wide network alone, on the fastest path: forward only, nothing kept per layer.

    A last-state RNN follows the one diagonal of times it needs, so that time and memory per pair are O(T) and O(1).
    Arguments and errors as for `infinite_kernels`.

    Returns:
        (N1, N2).

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> print(ntk.infinite_ntk(ntk.MLP(depth=2, activation="identity"), x))
        [[6.5 5. ]
         [5.  6.5]]
    """
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
