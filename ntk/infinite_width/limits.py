"""Kernels in the limit of infinite width, for every network that has a recursion."""

from types import ModuleType
from typing import Any

import jax
from jax.typing import ArrayLike

from ntk.checks import check_representable
from ntk.decomposition import Kernels
from ntk.dispatch import of_networks
from ntk.infinite_width import mlp, rnn
from ntk.inputs import Batch, Network, check_batches, no_network, with_dtype
from ntk.networks import MLP, RNN

_RECURSIONS: dict[type, ModuleType] = {MLP: mlp, RNN: rnn}


@of_networks
def infinite_kernels(net: Any, x1: ArrayLike, x2: ArrayLike | None = None, **options: Any) -> Any:
    """C, D, NNGP and NTK of an infinitely wide network (THEORY sections 1 to 3).

    Args:
        net: An `ntk.MLP`, an `ntk.RNN` or an `ntk.tensor_program`.
        x1: Inputs, (N1, d) for an MLP, (N1, T1, d) for an RNN. Scaled so that ξ·ξ/d is of order one.
        x2: The other inputs; None means `x1` itself, and then the diagonal is exact.
        **options: For an RNN, `lengths1` (N1,) and `lengths2` (N2,), integers: how many steps of each sequence count
            (None: all). For a program, those of `ntk.programs.infinite`, such as `samples`.

    Returns:
        `Kernels`: ntk and nngp (N1, N2); C and D of every layer, or of every pair of times. Of a program,
        `ProgramKernels`: C and D by name, and standard errors.

    Raises:
        TypeError: `net` is no network, or an array is not floating-point.
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
    raise no_network(net)


@infinite_kernels.register(MLP, RNN)
def _kernels_of_description(
    net: Network,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
) -> Kernels:
    batch1, batch2 = check_batches(net, x1, x2, lengths1, lengths2)
    result = _kernels(with_dtype(net, batch1.x.dtype), batch1, batch2)
    check_representable(**vars(result))
    return result


@of_networks
def infinite_ntk(net: Any, x1: ArrayLike, x2: ArrayLike | None = None, **options: Any) -> jax.Array:
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
    raise no_network(net)


@infinite_ntk.register(MLP, RNN)
def _ntk_of_description(
    net: Network,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
) -> jax.Array:
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
