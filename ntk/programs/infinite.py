"""The limit of a program at infinite width: C, D, NNGP and NTK, exact where closed forms suffice, else sampled."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ntk.checks import check_count, check_representable, is_concrete
from ntk.programs.evaluation import Limits, exact_limits, forms_of, limits_of_pairs, sampled_limits
from ntk.programs.forms import Forms
from ntk.programs.gia import check_recording
from ntk.programs.points import MAX_DIMENSIONS, sobol
from ntk.programs.program import Recording, TensorProgram, check_inputs, numbers_as
from ntk.programs.scalars import Width

_TILE = 100  # inputs to a tile of an exact kernel: what a recurrent network has of it stays in a core's cache
_TILE_OF_PAIRS = 16  # inputs to a tile where each pair is sampled for itself
_JOINT_VARIABLES = 4096  # inputs times Gaussian vectors, up to which all inputs are sampled together
_REPLICATES = 16  # independent randomisations, whose spread gives the standard error
_MOST_SAMPLES = 2**24


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["ntk", "nngp", "C", "D", "standard_error"],
    meta_fields=["samples"],
)
@dataclass(frozen=True)
class ProgramKernels:
    """What `infinite` finds.

    Attributes:
        ntk: Θ, (N1, N2).
        nngp: Σ, (N1, N2).
        C: By name, second moments E x x̄ of the vectors that the program watches, (N1, N2).
        D: By name, second moments of dx = √n ∇_x f, (N1, N2); empty where the program takes batch means.
        standard_error: `Limits` of the same shapes: the standard error of every entry, 0 where exact.
        samples: How many samples were taken, 0 where exact.
    """

    ntk: Array
    nngp: Array
    C: dict[str, Array]
    D: dict[str, Array]
    standard_error: Limits
    samples: int

    @property
    def smallest_eigenvalue(self) -> Array:
        """Of the NTK of one batch. Negative beyond rounding only where pairs were sampled for themselves."""
        if self.ntk.shape[0] != self.ntk.shape[1]:
            raise ValueError(f"ntk has shape {self.ntk.shape}; expected that of one batch, square.")
        return jnp.linalg.eigvalsh(self.ntk)[0]


def infinite(
    program: TensorProgram,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    samples: int = 2**14,
    rtol: float | None = None,
    seed: int = 0,
    tile_size: int | None = None,
) -> ProgramKernels:
    """C, D, NNGP and NTK of an infinitely wide tensor program (Yang 2020; THEORY section 3).

    Expectations of one function of a Gaussian sum each, and of their products in pairs, are exact: closed forms, or a
    quadrature as good. All others are averages over sampled coordinates of the composed function, on randomised
    quasi-Monte-Carlo points. All inputs are sampled together while there are few thousand variables to draw, and the
    kernels are then positive semi-definite; beyond that, and for a given `tile_size`, each pair of inputs is sampled
    for itself, on the same points.

    Args:
        program: A `tensor_program` for which the Simple GIA Check holds.
        x1: Inputs (N1, …).
        x2: The other inputs (N2, …); None means `x1` itself. A program with batch means takes each as a batch.
        samples: At least so many samples, if any are needed; rounded up to 16 times a power of two.
        rtol: Double the samples until no standard error in the NTK exceeds this times its largest entry.
        seed: Of the points; the same seed gives the same numbers.
        tile_size: Inputs to a tile.

    Returns:
        `ProgramKernels`.

    Raises:
        TypeError: `program` is no tensor program, or an array is not floating-point.
        ValueError: The Simple GIA Check fails, a quantity has no limit that the theory covers, an argument has a wrong
            shape or value, `rtol` is not reached, or a kernel is too large for the dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from ntk.programs import infinite, tensor_program
        >>> @tensor_program
        ... def gated(net, x):
        ...     u, w = net.input_matrix("U") @ x, net.input_matrix("W") @ x
        ...     return net.output("v") @ (net.phi("sigmoid")(u) * w)
        >>> k = infinite(gated, jnp.ones((1, 2)))
        >>> bool(abs(k.nngp[0, 0] - 0.29338) < 4 * k.standard_error.nngp[0, 0]), k.samples
        (True, 16384)
    """
    if not isinstance(program, TensorProgram):
        raise TypeError(f"program is {type(program).__name__}; expected a tensor_program.")
    x1 = check_inputs("x1", x1)
    x2 = None if x2 is None else check_inputs("x2", x2)
    if x2 is not None:
        if x2.shape[1:] != x1.shape[1:]:
            raise ValueError(f"x2 has inputs of shape {x2.shape[1:]}; expected {x1.shape[1:]} as in x1.")
        dtype = jnp.result_type(x1, x2)
        x1, x2 = x1.astype(dtype), x2.astype(dtype)
    check_count("samples", samples)
    if tile_size is not None:
        check_count("tile_size", tile_size)
    if rtol is not None and not (is_concrete(x1, x2, program) and rtol > 0):
        raise ValueError(f"rtol is {rtol!r}; expected a positive number, and concrete arguments, no traced ones.")
    recording = program.record(x1.shape[1:])
    _check_covered(recording)
    forms = forms_of(recording)
    arguments = numbers_as(program, x1.dtype), _flat(x1), None if x2 is None else _flat(x2)
    if forms.is_exact:
        limits = exact_limits(forms, tile_size or _TILE, *arguments)
        result = ProgramKernels(**limits._asdict(), standard_error=jax.tree.map(jnp.zeros_like, limits), samples=0)
    else:
        result = _sampled(forms, tile_size, samples, jax.random.key(seed), arguments)
        while rtol is not None and jnp.max(result.standard_error.ntk) > rtol * jnp.max(jnp.abs(result.ntk)):
            if 2 * result.samples > _MOST_SAMPLES:
                raise ValueError(f"rtol is {rtol}; expected one that {result.samples} samples can reach.")
            result = _sampled(forms, tile_size, 2 * result.samples, jax.random.key(seed), arguments)
    check_representable(ntk=result.ntk, nngp=result.nngp)
    return result


def infinite_ntk(program: TensorProgram, x1: ArrayLike, x2: ArrayLike | None = None, **options: Any) -> jax.Array:
    """The NTK alone, (N1, N2); arguments and errors as for `infinite`."""
    return infinite(program, x1, x2, **options).ntk


def _sampled(
    forms: Forms,
    tile_size: int | None,
    samples: int,
    key: jax.Array,
    arguments: tuple[dict[str, Array], Array, Array | None],
) -> ProgramKernels:
    """Mean and standard error over replicates, all inputs together, or pair by pair where these are too many."""
    _, x1, x2 = arguments
    num_inputs = len(x1) + (0 if x2 is None else len(x2))
    joint = tile_size is None and num_inputs * len(forms.drawn) <= _JOINT_VARIABLES
    if forms.couples_inputs and not joint:
        if tile_size is not None:
            raise ValueError(f"tile_size is {tile_size}; expected None for a program with batch means.")
        raise ValueError(f"x1 and x2 hold {num_inputs} inputs; expected fewer for a program with batch means.")
    variables = (num_inputs if joint else 2) * len(forms.drawn)
    if variables > MAX_DIMENSIONS:
        raise ValueError(
            f"the program has {len(forms.drawn)} Gaussian vectors; expected at most {MAX_DIMENSIONS // 2}."
        )
    log2_points = max(4, math.ceil(math.log2(samples / _REPLICATES)))
    points, keys = jnp.asarray(sobol(log2_points, variables)), jax.random.split(key, _REPLICATES)
    if joint:
        mean, error = sampled_limits(forms, points, keys, *arguments)
    else:
        mean, error = limits_of_pairs(forms, tile_size or _TILE_OF_PAIRS, points, keys, *arguments)
    return ProgramKernels(**mean._asdict(), standard_error=error, samples=_REPLICATES * 2**log2_points)


def _check_covered(recording: Recording) -> None:
    """Refuse what has no limit, or none by the gradient independence assumption."""
    for node in recording.nodes:
        if isinstance(node, Width):
            raise ValueError(
                f"the program uses its width at {node.line}; expected one that does not: scores scaled by 1/√n,"
                " say, stay random in the limit, and the theory covers averages over coordinates, .mean(), alone."
            )
    check = check_recording(recording)
    if not check:
        raise ValueError(f"{check} Expected a program for which the gradient independence assumption holds.")


def _flat(x: Array) -> Float[Array, "N F"]:
    return x.reshape(len(x), -1)
