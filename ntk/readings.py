"""A network read: in the limit, at finite width, and measured there. Every keyword stands in the signature.

Each function takes any description of a network, an `ntk.MLP`, an `ntk.RNN` or an `ntk.tensor_program`, and passes it
on to the package that reads it.
"""

from typing import Any, Protocol, overload

import jax
from jax.typing import ArrayLike

from ntk import finite_width, infinite_width, programs
from ntk.checks import shown
from ntk.decomposition import Kernels
from ntk.finite_width.models import FiniteMLP, FiniteRNN
from ntk.networks import MLP, RNN
from ntk.programs import FiniteProgram, ProgramKernels, TensorProgram

DEFAULT_SAMPLES = 2**14


class NetworkKernels(Protocol):
    """What every reading of kernels returns.

    Attributes:
        ntk: Θ, (N1, N2).
        nngp: Σ, (N1, N2).
        C: Second moments of activations; an array of all layers or times, or a dictionary of the watched vectors.
        D: Second moments of gradients, laid out as C.
    """

    @property
    def ntk(self) -> jax.Array:
        """Θ, (N1, N2)."""

    @property
    def nngp(self) -> jax.Array:
        """Σ, (N1, N2)."""

    @property
    def C(self) -> jax.Array | dict[str, jax.Array]:
        """Second moments of activations."""

    @property
    def D(self) -> jax.Array | dict[str, jax.Array]:
        """Second moments of gradients."""


@overload
def infinite_kernels(
    net: MLP | RNN,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
) -> Kernels: ...
@overload
def infinite_kernels(
    net: TensorProgram,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    samples: int = DEFAULT_SAMPLES,
    rtol: float | None = None,
    seed: int = 0,
    tile_size: int | None = None,
) -> ProgramKernels: ...
def infinite_kernels(
    net: MLP | RNN | TensorProgram,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
    samples: int | None = None,
    rtol: float | None = None,
    seed: int | None = None,
    tile_size: int | None = None,
) -> Kernels | ProgramKernels:
    """C, D, NNGP and NTK of an infinitely wide network (theory.md 1.2 to 1.5, 2.2 to 2.5, 3.2 to 3.8).

    Args:
        net: An `ntk.MLP`, an `ntk.RNN` or an `ntk.tensor_program`.
        x1: Inputs: (N1, d) for an MLP, (N1, T1, d) for an RNN, (N1, …) for a program. Scale them so that ξ·ξ/d is of
            order one.
        x2: The other inputs; None means `x1` itself, and then the diagonal is exact.
        lengths1: For an RNN, (N1,) integers: how many steps of each sequence count; None for all.
        lengths2: The same for `x2`, (N2,).
        samples: For a program whose limit has to be sampled: at least so many samples, 2¹⁴ unless told otherwise.
        rtol: For a program: double the samples until no standard error in the NTK exceeds this times its largest entry.
        seed: For a program: of the samples, 0 unless told otherwise. The same seed gives the same numbers.
        tile_size: For a program: inputs to a tile.

    Returns:
        `Kernels`: ntk and nngp (N1, N2); C and D of every layer, or of every pair of times. For a program
        `ProgramKernels`: C and D of the watched vectors by name, and standard errors.

    Raises:
        TypeError: `net` is not a network, an array is not floating-point, or a keyword belongs to another kind of
            network.
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
    sampling = {"samples": samples, "rtol": rtol, "seed": seed, "tile_size": tile_size}
    lengths = {"lengths1": lengths1, "lengths2": lengths2}
    if isinstance(net, TensorProgram):
        _refuse(net, lengths, sampling)
        return programs.infinite(net, x1, x2, **_given(sampling))
    _check_description(net)
    _refuse(net, sampling, lengths)
    return infinite_width.kernels_of(net, x1, x2, lengths1, lengths2)


@overload
def infinite_ntk(
    net: MLP | RNN,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
) -> jax.Array: ...
@overload
def infinite_ntk(
    net: TensorProgram,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    samples: int = DEFAULT_SAMPLES,
    rtol: float | None = None,
    seed: int = 0,
    tile_size: int | None = None,
) -> jax.Array: ...
def infinite_ntk(
    net: MLP | RNN | TensorProgram,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
    samples: int | None = None,
    rtol: float | None = None,
    seed: int | None = None,
    tile_size: int | None = None,
) -> jax.Array:
    """The NTK of an infinitely wide network alone, on the fastest path (theory.md 1.6, 2.6, 3.6).

    It runs forward only and keeps nothing per layer. A last-state RNN follows the one diagonal of times that it needs:
    O(T) time and O(1) memory for a pair of sequences.

    Layers of ReLU bring the correlation of every pair near 1, where its distance from 1 holds few digits. The relative
    error of an MLP off the diagonal grows to ε·depth³/1000: in float32 to 1e-4 at depth 100 and 0.1 at depth 1000.
    float64 keeps 1e-10 there.

    Args:
        net: An `ntk.MLP`, an `ntk.RNN` or an `ntk.tensor_program`.
        x1: Inputs: (N1, d) for an MLP, (N1, T1, d) for an RNN, (N1, …) for a program.
        x2: The other inputs; None means `x1` itself.
        lengths1: For an RNN, (N1,) integers: how many steps of each sequence count; None for all.
        lengths2: The same for `x2`, (N2,).
        samples: For a program, as `infinite_kernels` has it; `rtol`, `seed` and `tile_size` too.
        rtol: See `samples`.
        seed: See `samples`.
        tile_size: See `samples`.

    Returns:
        (N1, N2).

    Raises:
        TypeError: `net` is not a network, an array is not floating-point, or a keyword belongs to another kind of
            network.
        ValueError: A shape, a length or a value is not what the network reads, or the kernel is too large for the
            dtype (under a transformation it is inf instead).

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
        >>> print(ntk.infinite_ntk(ntk.MLP(depth=2, activation="identity"), x))
        [[6.5 5. ]
         [5.  6.5]]
    """
    sampling = {"samples": samples, "rtol": rtol, "seed": seed, "tile_size": tile_size}
    lengths = {"lengths1": lengths1, "lengths2": lengths2}
    if isinstance(net, TensorProgram):
        _refuse(net, lengths, sampling)
        return programs.infinite_ntk(net, x1, x2, **_given(sampling))
    _check_description(net)
    _refuse(net, sampling, lengths)
    return infinite_width.ntk_of(net, x1, x2, lengths1, lengths2)


@overload
def finite(net: MLP, width: int, outputs: int | None = None) -> FiniteMLP: ...
@overload
def finite(net: RNN, width: int, outputs: int | None = None) -> FiniteRNN: ...
@overload
def finite(net: TensorProgram, width: int, outputs: int | None = None) -> FiniteProgram: ...
def finite(
    net: MLP | RNN | TensorProgram, width: int, outputs: int | None = None
) -> FiniteMLP | FiniteRNN | FiniteProgram:
    """The network at finite width, as a Flax model in NTK parameterization (theory.md 1.1, 2.1, 3.1).

    The parameters are all N(0, 1), and the standard deviations stand in the forward pass. Matrix products keep JAX's
    default precision; set `jax.default_matmul_precision` where that matters (TPU, recent GPUs).

    Args:
        net: An `ntk.MLP`, an `ntk.RNN` or an `ntk.tensor_program`.
        width: n, of every hidden layer, or of every vector of a program; an MLP of depth 0 has none, and ignores it.
        outputs: O, the number of outputs; None for a single one without an axis of its own.

    Returns:
        A Flax Linen module; for a program, a `FiniteProgram` that is used like one. `params = model.init(key, x)`
        takes the input dimension and the dtype from x; `model.apply(params, x)` is (N,), or (N, O). An RNN's apply also
        takes `lengths`.

    Raises:
        TypeError: `net` is not a network.
        ValueError: `width` or `outputs` is not a positive integer.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> model = ntk.finite(ntk.MLP(depth=2), width=64, outputs=10)
        >>> x = jnp.ones((5, 3))
        >>> params = model.init(jax.random.key(0), x)
        >>> model.apply(params, x).shape, params["params"]["w2"].shape
        ((5, 10), (64, 64))
    """
    if isinstance(net, TensorProgram):
        return programs.finite(net, width, outputs)
    _check_description(net)
    return finite_width.model_of(net, width, outputs)


@overload
def empirical_kernels(
    net: MLP | RNN,
    params: Any,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
) -> Kernels: ...
@overload
def empirical_kernels(
    net: TensorProgram, params: Any, x1: ArrayLike, x2: ArrayLike | None = None
) -> ProgramKernels: ...
def empirical_kernels(
    net: MLP | RNN | TensorProgram,
    params: Any,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
) -> Kernels | ProgramKernels:
    """The C, D, NNGP and NTK of `ntk.finite(net, width)` at these parameters, in the layout of the limits.

    C is x·x̄/n, and D is dh·dh̄/n with dh = √n ∇_h f, averaged over outputs (theory.md 5.1 to 5.3). nngp is σ_v² times C
    of what the output weight reads (not f·f̄). ntk is the exact NTK at this width, averaged over outputs. Gram matrices
    are computed at highest precision; the forward and backward pass keep JAX's default.

    Args:
        net: The description that the parameters belong to.
        params: What `ntk.finite(net, width, outputs).init(key, x)` returned, or a trained version of it.
        x1: Inputs: (N1, d) for an MLP, (N1, T1, d) for an RNN, (N1, …) for a program.
        x2: The other inputs; None means `x1` itself.
        lengths1: For an RNN, (N1,) integers: how many steps of each sequence count; None for all.
        lengths2: The same for `x2`, (N2,).

    Returns:
        `Kernels`, shaped as by `ntk.infinite_kernels`. For a program, which has a single output here, `ProgramKernels`
        with C and D of the vectors that it watches.

    Raises:
        TypeError: `net` is not a network, an array is not floating-point or of another dtype, or lengths are given for
            another network than an RNN.
        ValueError: A shape, a length or a value is not what the network reads, the parameters are not those of
            this network, or a kernel is too large for the dtype.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> net = ntk.MLP(depth=2, activation="erf")
        >>> x = jnp.ones((5, 3))
        >>> params = ntk.finite(net, width=64).init(jax.random.key(0), x)
        >>> k = ntk.empirical_kernels(net, params, x)
        >>> k.ntk.shape, k.C.shape, k.D.shape
        ((5, 5), (3, 5, 5), (2, 5, 5))
    """
    if isinstance(net, TensorProgram):
        _refuse(net, {"lengths1": lengths1, "lengths2": lengths2}, {})
        return programs.measured(net, params, x1, x2)
    _check_description(net)
    return finite_width.kernels_of(net, params, x1, x2, lengths1, lengths2)


def _check_description(net: Any) -> None:
    if not isinstance(net, MLP | RNN):
        raise TypeError(f"net is {shown(net)}; expected an ntk.MLP, an ntk.RNN or an ntk.tensor_program.")


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Those that are not left to their defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _refuse(net: MLP | RNN | TensorProgram, foreign: dict[str, Any], own: dict[str, Any]) -> None:
    """Refuse keywords of another kind of network."""
    for name in _given(foreign):
        expected = ", ".join(own) or "no more keywords"
        raise TypeError(f"{name} is given for {_kind(net)}; expected {expected}.")


def _kind(net: MLP | RNN | TensorProgram) -> str:
    return "a tensor program" if isinstance(net, TensorProgram) else f"an ntk.{type(net).__name__}"
