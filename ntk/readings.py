"""Three readings of a network: the limit, the network at finite width, and the kernels measured there.

Each function takes a description of a network, an `ntk.MLP`, an `ntk.RNN` or an `ntk.tensor_program`, and passes it on
to the package that reads it.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar, overload

from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, Real

from ntk import finite_width, infinite_width, programs
from ntk.checks import shown
from ntk.decomposition import Kernels
from ntk.finite_width.models import FiniteMLP, FiniteRNN
from ntk.infinite_width import MLPKernels
from ntk.learning_rates import Trained
from ntk.networks import MLP, RNN
from ntk.programs import FiniteProgram, ProgramKernels, TensorProgram
from ntk.trees import Params

# Of an MLP (N, d), of an RNN (N, T, d), of a program (N, …).
Inputs1 = Real[ArrayLike, "N1 ..."]
Inputs2 = Real[ArrayLike, "N2 ..."]
Lengths1 = Integer[ArrayLike, " N1"]
Lengths2 = Integer[ArrayLike, " N2"]
OfDescription = TypeVar("OfDescription")
OfProgram = TypeVar("OfProgram")


class NetworkKernels(Protocol):
    """The kernels that each reading returns.

    Attributes:
        ntk: Θ, (N1, N2).
        nngp: Σ, (N1, N2).
        C: Second moments of activations: an array over all layers or times, or a dictionary of the watched vectors.
        D: Second moments of gradients: an array or a dictionary, as C.
    """

    @property
    def ntk(self) -> Float[Array, "N1 N2"]:
        """Θ, (N1, N2)."""

    @property
    def nngp(self) -> Float[Array, "N1 N2"]:
        """Σ, (N1, N2)."""

    @property
    def C(self) -> Float[Array, "..."] | dict[str, Float[Array, "N1 N2"]]:
        """Second moments of activations."""

    @property
    def D(self) -> Float[Array, "..."] | dict[str, Float[Array, "N1 N2"]]:
        """Second moments of gradients."""


@overload
def infinite_kernels(
    net: MLP, x1: Inputs1, x2: Inputs2 | None = None, *, trained: Trained | None = None
) -> MLPKernels: ...
@overload
def infinite_kernels(
    net: RNN,
    x1: Inputs1,
    x2: Inputs2 | None = None,
    *,
    lengths1: Lengths1 | None = None,
    lengths2: Lengths2 | None = None,
    trained: Trained | None = None,
) -> Kernels: ...
@overload
def infinite_kernels(
    net: TensorProgram,
    x1: Inputs1,
    x2: Inputs2 | None = None,
    *,
    lengths1: Lengths1 | None = None,
    lengths2: Lengths2 | None = None,
    samples: int | None = None,
    rtol: float | None = None,
    seed: int | None = None,
    tile_size: int | None = None,
    trained: Trained | None = None,
) -> ProgramKernels: ...
def infinite_kernels(
    net: MLP | RNN | TensorProgram,
    x1: Inputs1,
    x2: Inputs2 | None = None,
    *,
    lengths1: Lengths1 | None = None,
    lengths2: Lengths2 | None = None,
    samples: int | None = None,
    rtol: float | None = None,
    seed: int | None = None,
    tile_size: int | None = None,
    trained: Trained | None = None,
) -> Kernels | ProgramKernels:
    """C, D, NNGP and NTK of an infinitely wide network (theory.md 1.2 to 1.5, 2.2 to 2.5, 3.2 to 3.8).

    Args:
        net: An `ntk.MLP`, an `ntk.RNN` or an `ntk.tensor_program`.
        x1: Inputs: (N1, d) for an MLP, (N1, T1, d) for an RNN, (N1, …) for a program. Scale them so that ξ·ξ/d is of
            order one.
        x2: The other inputs. None means `x1` itself; the diagonal is then exact.
        lengths1: For sequences: (N1,) integers, how many steps, or entries of the first axis of an input, count in each
            of `x1`. None means all. A program takes concrete ones.
        lengths2: For sequences: (N2,) integers, the same for `x2`.
        samples: For a program whose limit is sampled: the least number of samples. None means 2¹⁴.
        rtol: For a program: double the samples until no standard error in the NTK exceeds rtol times its largest entry.
        seed: For a program: the seed of the samples. None means 0. The same seed gives the same numbers.
        tile_size: For a program: how many inputs a tile has.
        trained: Which parameters the NTK is of, as `ntk.infinite_ntk` takes it. None means all. NNGP, C and D do not
            depend on it.

    Returns:
        For an MLP or an RNN `Kernels`: ntk and nngp, (N1, N2), and C and D of every layer or every pair of times. Those
        of an MLP are `MLPKernels`, whose `up_to(depth)` gives the kernels of fewer layers without a new pass. For a
        program `ProgramKernels`: ntk and nngp, C and D of the watched vectors by name, and standard errors.

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
        >>> k.C.shape, k.D.shape
        ((3, 2, 2), (2, 2, 2))
        >>> print(k.nngp)
        [[2.5 2. ]
         [2.  2.5]]
    """
    lengths = {"lengths1": lengths1, "lengths2": lengths2}
    sampling = {"samples": samples, "rtol": rtol, "seed": seed, "tile_size": tile_size}
    return _limit(programs.infinite, infinite_width.kernels_of, net, x1, x2, lengths, sampling, trained)


@overload
def infinite_ntk(
    net: MLP | RNN,
    x1: Inputs1,
    x2: Inputs2 | None = None,
    *,
    lengths1: Lengths1 | None = None,
    lengths2: Lengths2 | None = None,
    trained: Trained | None = None,
) -> Float[Array, "N1 N2"]: ...
@overload
def infinite_ntk(
    net: TensorProgram,
    x1: Inputs1,
    x2: Inputs2 | None = None,
    *,
    lengths1: Lengths1 | None = None,
    lengths2: Lengths2 | None = None,
    samples: int | None = None,
    rtol: float | None = None,
    seed: int | None = None,
    tile_size: int | None = None,
    trained: Trained | None = None,
) -> Float[Array, "N1 N2"]: ...
def infinite_ntk(
    net: MLP | RNN | TensorProgram,
    x1: Inputs1,
    x2: Inputs2 | None = None,
    *,
    lengths1: Lengths1 | None = None,
    lengths2: Lengths2 | None = None,
    samples: int | None = None,
    rtol: float | None = None,
    seed: int | None = None,
    tile_size: int | None = None,
    trained: Trained | None = None,
) -> Float[Array, "N1 N2"]:
    """The NTK of an infinitely wide network alone, on the fastest path (theory.md 1.6, 2.6, 3.6).

    The recursion runs forward only and keeps nothing of a layer. An RNN that reads its last state follows one diagonal
    of times: a pair of sequences takes O(T) time and O(1) memory.

    Layers of ReLU bring the correlation of every pair near 1, where its distance from 1 has few digits. The relative
    error of an MLP off the diagonal grows to ε·depth³/1000. In float32 that is 1e-4 at depth 100 and 0.1 at depth 1000;
    in float64 it is 1e-10 at depth 1000.

    Args:
        net: An `ntk.MLP`, an `ntk.RNN` or an `ntk.tensor_program`.
        x1: Inputs: (N1, d) for an MLP, (N1, T1, d) for an RNN, (N1, …) for a program.
        x2: The other inputs. None means `x1` itself.
        lengths1: For sequences: (N1,) integers, how many steps, or entries of the first axis of an input, count in each
            of `x1`. None means all. A program takes concrete ones.
        lengths2: For sequences: (N2,) integers, the same for `x2`.
        samples: For a program whose limit is sampled: the least number of samples. None means 2¹⁴.
        rtol: For a program: double the samples until no standard error in the NTK exceeds rtol times its largest entry.
        seed: For a program: the seed of the samples. None means 0. The same seed gives the same numbers.
        tile_size: For a program: how many inputs a tile has.
        trained: Which parameters move; all others keep their random values. None means all. Else a name or names, a
            function of a name that returns True or False, learning rates by name (Θ is then the sum of the parts of
            these parameters, times their learning rates), or an `ntk.StandardParameterization`. Names are spelled as
            for the `param_filter` of `ntk.empirical_ntk`: "params/w1" of an MLP or RNN, "w1" of a program.

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
        >>> print(ntk.infinite_ntk(ntk.MLP(depth=2, activation="identity"), x, trained="params/v"))  # the NNGP
        [[2.5 2. ]
         [2.  2.5]]
    """
    lengths = {"lengths1": lengths1, "lengths2": lengths2}
    sampling = {"samples": samples, "rtol": rtol, "seed": seed, "tile_size": tile_size}
    return _limit(programs.infinite_ntk, infinite_width.ntk_of, net, x1, x2, lengths, sampling, trained)


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

    All parameters are N(0, 1), and the standard deviations stand in the forward pass. The kernels differ from the limit
    by relative errors of order n^{−1/2} (theory.md 5.4). Matrix products keep JAX's default precision. Set
    `jax.default_matmul_precision` on devices where that is low (TPU, recent GPUs).

    Args:
        net: An `ntk.MLP`, an `ntk.RNN` or an `ntk.tensor_program`.
        width: n, the width of every hidden layer, or of every vector of a program. An MLP of depth 0 ignores it.
        outputs: O, the number of outputs. None means one output and no axis for it.

    Returns:
        A Flax Linen module, or a `FiniteProgram` with the same methods. `params = model.init(key, x)` takes the input
        dimension and the dtype from x. `model.apply(params, x)` is (N,), or (N, O). The `apply` of an RNN or a
        program also takes `lengths`.

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
    params: Params,
    x1: Inputs1,
    x2: Inputs2 | None = None,
    *,
    lengths1: Lengths1 | None = None,
    lengths2: Lengths2 | None = None,
    trained: Trained | None = None,
) -> Kernels: ...
@overload
def empirical_kernels(
    net: TensorProgram,
    params: Params,
    x1: Inputs1,
    x2: Inputs2 | None = None,
    *,
    lengths1: Lengths1 | None = None,
    lengths2: Lengths2 | None = None,
    trained: Trained | None = None,
) -> ProgramKernels: ...
def empirical_kernels(
    net: MLP | RNN | TensorProgram,
    params: Params,
    x1: Inputs1,
    x2: Inputs2 | None = None,
    *,
    lengths1: Lengths1 | None = None,
    lengths2: Lengths2 | None = None,
    trained: Trained | None = None,
) -> Kernels | ProgramKernels:
    """The C, D, NNGP and NTK of `ntk.finite(net, width)` at these parameters, in the layout of the limits.

    C is x·x̄/n, and D is dh·dh̄/n with dh = √n ∇_h f, averaged over outputs (theory.md 5.1 to 5.3). nngp is σ_v² times
    the C of the vector that the output weight reads, and not f·f̄. ntk is the exact NTK at this width, averaged over
    outputs. Gram matrices are computed at highest precision. The forward and the backward pass keep JAX's default.

    Args:
        net: The description that the parameters belong to.
        params: Parameters from `ntk.finite(net, width, outputs).init(key, x)`, trained or not.
        x1: Inputs: (N1, d) for an MLP, (N1, T1, d) for an RNN, (N1, …) for a program.
        x2: The other inputs. None means `x1` itself.
        lengths1: For sequences: (N1,) integers, how many steps, or entries of the first axis of an input, count in each
            of `x1`. None means all. A program takes concrete ones.
        lengths2: For sequences: (N2,) integers, the same for `x2`.
        trained: Which parameters the NTK is of, as `ntk.infinite_ntk` takes it. None means all. NNGP, C and D do not
            depend on it.

    Returns:
        For an MLP or an RNN `Kernels`, in the shapes of `ntk.infinite_kernels`. For a program `ProgramKernels`, with C
        and D of the watched vectors; the program has a single output.

    Raises:
        TypeError: `net` is not a network, or an array is not floating-point or has another dtype than the parameters.
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
        return programs.measured(net, params, x1, x2, lengths1=lengths1, lengths2=lengths2, trained=trained)
    _check_description(net)
    return finite_width.kernels_of(net, params, x1, x2, lengths1, lengths2, trained)


def _limit(
    of_program: Callable[..., OfProgram],
    of_description: Callable[..., OfDescription],
    net: MLP | RNN | TensorProgram,
    x1: Inputs1,
    x2: Inputs2 | None,
    lengths: dict[str, ArrayLike | None],
    sampling: dict[str, int | float | None],
    trained: Trained | None,
) -> OfProgram | OfDescription:
    """The limit of either kind of network. The keywords of sampling are those of a program, and refused for others."""
    given = {name: value for name, value in sampling.items() if value is not None}
    if isinstance(net, TensorProgram):
        return of_program(net, x1, x2, **lengths, **given, trained=trained)
    _check_description(net)
    for name in given:
        raise TypeError(f"{name} is given for an ntk.{type(net).__name__}; expected {', '.join(lengths)}.")
    return of_description(net, x1, x2, **lengths, trained=trained)


def _check_description(net: object) -> None:
    if not isinstance(net, MLP | RNN):
        raise TypeError(f"net is {shown(net)}; expected an ntk.MLP, an ntk.RNN or an ntk.tensor_program.")
