"""The limit of a program at infinite width: C, D, NNGP and NTK, exact where closed forms suffice, else sampled."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from ntk.checks import MOST_STEPS, as_numpy, check_count, is_concrete, shown
from ntk.dtypes import common_dtype
from ntk.learning_rates import Rates, Trained
from ntk.programs.language.atoms import MASK_COLUMNS
from ntk.programs.language.positions import Shape
from ntk.programs.language.program import TensorProgram, check_program
from ntk.programs.lengths import check_one_shape, joined, program_groups
from ntk.programs.limit.arrays.kernels import array_limits, check_memory, is_on_arrays, tile_size_of
from ntk.programs.limit.draws.points import check_seed, points_for
from ntk.programs.limit.evaluation import (
    exact_limits,
    forms_of,
    limits_of_pairs,
    sampled_limits,
    warn_of_heavy_tails,
)
from ntk.programs.limit.forms import Forms
from ntk.programs.limit.loops.kernels import averages_of_loops, samples_loops
from ntk.programs.limit.scalar_limits import check_kernels, check_scalars
from ntk.programs.limit.scores import check_scores, limits_of_scores, num_scores
from ntk.programs.limit.unrolling import unrolled, with_fields
from ntk.programs.options import check_options, numbers_as
from ntk.programs.rates import rates_of_program, unrolled_rates
from ntk.programs.refusals import check_covered, check_span
from ntk.programs.results import Limits, ProgramKernels

JOINT_VARIABLES = 4096  # inputs times Gaussian vectors, up to which all inputs are sampled together
# Inputs to a tile of an exact kernel, times the terms that a readout is a sum of, so that all their pairs stay in a
# core's cache; and bounds on the inputs.
_TILE, _SMALLEST_TILE, _LARGEST_TILE = 320, 16, 100
_TILE_OF_PAIRS = 16  # inputs to a tile where each pair is sampled for itself
_MOST_SAMPLES = 2**24


def infinite(
    program: TensorProgram,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
    samples: int = 2**14,
    rtol: float | None = None,
    seed: int = 0,
    tile_size: int | None = None,
    trained: Trained | None = None,
) -> ProgramKernels:
    """C, D, NNGP and NTK of an infinitely wide tensor program (Yang 2020; theory.md 3.2 to 3.8).

    An expectation is exact, by a closed form or a quadrature as good, where it is that of a function of one Gaussian
    sum, or of a product of two such functions. All other expectations are averages over sampled coordinates, on
    randomised quasi-Monte-Carlo points. The number of variables to draw is that of inputs times Gaussian vectors. Up to
    4096 of them, all inputs are sampled together, and the kernels are positive semi-definite. Beyond that, or where
    `tile_size` is given, each pair of inputs is sampled by itself, on the same points.

    Functions of scalars that jump at their limits are refused. A jump is seen if it is more than 4√ε of the function's
    value there, 6e-8 in float64 and 1.4e-3 in float32, and more than the function changes beside it. Where scalars are
    sampled, it is looked for within six standard errors, and seen for certain if it is more than 1 %.

    Args:
        program: A `tensor_program` for which the Simple GIA Check holds.
        x1: Inputs (N1, …), floating-point, or integers if the program looks tokens up. A program with batch means takes
            them as one batch.
        x2: The other inputs (N2, …), another batch. None means `x1` itself. They may have another shape than those of
            `x1`, as for sequences of another length.
        lengths1: (N1,) concrete integers. Of the first axis of each input of `x1` so many entries count, and the rest
            is not read. None means all. Each pair of different lengths is compiled, and sampled, by itself.
        lengths2: (N2,) concrete integers, the same for `x2`.
        samples: The least number of samples, where any are needed. It is rounded up to 16 times a power of two.
        rtol: If given, the samples are doubled until no standard error of the NTK exceeds `rtol` times its largest
            entry.
        seed: The seed of the points. The same seed gives the same numbers.
        tile_size: The number of inputs in a tile. None lets the library choose.
        trained: Which parameters the NTK is of, as `ntk.infinite_ntk` takes it. None means all.

    Returns:
        `ProgramKernels`.

    Raises:
        TypeError: `program` is not a tensor program, or the dtype of an array is not what it reads.
        ValueError: The Simple GIA Check fails; the theory covers no limit of some quantity; a function of scalars jumps
            where these have their limits; an argument has a wrong shape or value; `rtol` is not reached; or a kernel is
            too large for the dtype.

    Warns:
        RuntimeWarning: Few samples dominate an average, as for a variable without a second moment.

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
    return _kernels(program, x1, x2, lengths1, lengths2, samples, rtol, seed, tile_size, trained, only_ntk=False)


def infinite_ntk(
    program: TensorProgram,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: ArrayLike | None = None,
    lengths2: ArrayLike | None = None,
    samples: int = 2**14,
    rtol: float | None = None,
    seed: int = 0,
    tile_size: int | None = None,
    trained: Trained | None = None,
) -> Float[Array, "N1 N2"]:
    """The NTK alone, (N1, N2), without C and D of watched vectors.

    Args:
        program: A `tensor_program` for which the Simple GIA Check holds.
        x1: Inputs (N1, …).
        x2: The other inputs (N2, …), or None.
        lengths1: (N1,) integers, how many entries of the first axis of each input of `x1` count, or None.
        lengths2: (N2,) integers, the same for `x2`, or None.
        samples: The least number of samples.
        rtol: The relative standard error to reach, or None.
        seed: The seed of the points.
        tile_size: The number of inputs in a tile, or None.
        trained: Which parameters the NTK is of, as `ntk.infinite_ntk` takes it, or None.

    Raises:
        TypeError: `program` is not a tensor program, or an array is not floating-point.
        ValueError: The Simple GIA Check fails; the theory covers no limit of some quantity; a function of scalars jumps
            where these have their limits; an argument has a wrong shape or value; `rtol` is not reached; or the kernel
            is too large for the dtype.

    Warns:
        RuntimeWarning: Few samples dominate an average, as for a variable without a second moment.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> print(ntk.programs.infinite_ntk(ntk.architectures.mlp(depth=0), jnp.array([[1.0, 1.0]])))
        [[1.]]
    """
    return _kernels(program, x1, x2, lengths1, lengths2, samples, rtol, seed, tile_size, trained, only_ntk=True).ntk


def _kernels(
    program: TensorProgram,
    x1: ArrayLike,
    x2: ArrayLike | None,
    lengths1: ArrayLike | None,
    lengths2: ArrayLike | None,
    samples: int,
    rtol: float | None,
    seed: int,
    tile_size: int | None,
    trained: Trained | None,
    only_ntk: bool,
) -> ProgramKernels:
    check_program(program)
    groups = program_groups(program, x1, x2, lengths1, lengths2)
    check_count("samples", samples)
    if tile_size is not None:
        check_count("tile_size", tile_size, maximum=MOST_STEPS)
    check_seed(seed)
    if rtol is not None:
        _check_rtol(rtol, program, x1, x2)
    recordings = [program.record(group.shape) for group in groups.every]
    rates = functools.partial(rates_of_program, trained, recordings)
    estimates = [_estimate(program, *groups.two(*pair), only_ntk, tile_size, seed, rates) for pair in groups.pairs]
    batches = [(forms := _forms(program, group.shape), _flat(forms, group.x, 0)) for group in groups.every]
    numbers = numbers_as(program, batches[0][1].dtype)
    check_scalars(batches, samples, numbers)
    result = joined([estimate(samples) for estimate in estimates], groups)
    while rtol is not None and jnp.max(result.standard_error.ntk) > rtol * jnp.max(jnp.abs(result.ntk)):
        samples = 2 * result.samples
        if samples > _MOST_SAMPLES:
            raise ValueError(f"rtol is {rtol}; expected one that {result.samples} samples can reach.")
        result = joined([estimate(samples) for estimate in estimates], groups)
    check_kernels(batches, numbers, ntk=result.ntk, nngp=result.nngp)
    return result


def _forms(program: TensorProgram, *shapes: Shape) -> Forms:
    """What is known of the program at some shapes, as it is read: with its fields, or position by position."""
    written = program.record(*shapes)
    forms = forms_of(written)
    if forms.scores:
        check_scores(forms)
        return forms
    return forms if is_on_arrays(forms) or samples_loops(forms) else forms_of(unrolled(written))


def _flat(forms: Forms, x: Array, first: int) -> Float[Array, "N F"]:
    """The entries of each input. Roots of covariances are not taken in half precision.

    With dropout the digits of a number follow them, `first` of the first input, that tells the inputs' masks apart.
    """
    flat = x.reshape(len(x), -1).astype(x.dtype if forms.is_exact else common_dtype(x.dtype, jnp.float32))
    if not forms.has_masks:
        return flat
    digits = (np.arange(first, first + len(x))[:, None] >> (8 * np.arange(MASK_COLUMNS))) & 255
    return jnp.concatenate([flat, jnp.asarray(digits, flat.dtype)], axis=1)


def _estimate(
    program: TensorProgram,
    x1: Array,
    x2: Array | None,
    only_ntk: bool,
    tile_size: int | None,
    seed: int,
    rates: Callable[[DTypeLike], Rates | None],
) -> Callable[[int], ProgramKernels]:
    """The kernels between inputs of one shape and inputs of one shape, as a function of the number of samples."""
    shapes = x1.shape[1:], (x1 if x2 is None else x2).shape[1:]
    written, forms = program.record(*shapes), _forms(program, *shapes)
    check_covered(forms.recording)
    check_options(program, forms.recording)
    check_span(forms.recording, program.numbers, x1, x2)
    check_one_shape(forms.couples_inputs, shapes)
    if x2 is not None and forms.recording.has_two_shapes and not (forms.is_exact or forms.sampled_loops):
        x1, x2 = _of_one_length(x1, x2)
    flat1, flat2 = _flat(forms, x1, 0), None if x2 is None else _flat(forms, x2, len(x1))
    of_parameters = unrolled_rates(rates(flat1.dtype), written, forms.recording)
    arguments = numbers_as(program, flat1.dtype), flat1, flat2, of_parameters

    def kernels(samples: int) -> ProgramKernels:
        if forms.is_exact and not forms.scores:
            found = _exact(forms, only_ntk, tile_size, arguments)
        else:
            found = _sampled(forms, only_ntk, tile_size, samples, seed, arguments)
        found = found if forms.recording is written else with_fields(written, found)
        return jax.tree.map(lambda kernel: kernel.astype(x1.dtype), found)

    return kernels


def _of_one_length(x1: Array, x2: Array) -> tuple[Array, Array]:
    """Inputs that are sampled together, the shorter ones repeated. What is read of them stays in its place."""
    if x1.shape[2:] != x2.shape[2:]:
        raise ValueError(
            f"inputs have shapes {x1.shape[1:]} and {x2.shape[1:]}; expected shapes that differ in their first axis"
            " alone: the limit of this program is sampled."
        )
    length = max(x1.shape[1], x2.shape[1])
    return x1[:, jnp.arange(length) % x1.shape[1]], x2[:, jnp.arange(length) % x2.shape[1]]


_Arguments = tuple[dict[str, Array], Float[Array, "N1 F"], Float[Array, "N2 G"] | None, Rates | None]


def _exact(forms: Forms, only_ntk: bool, tile_size: int | None, arguments: _Arguments) -> ProgramKernels:
    _, x1, x2, _ = arguments
    if is_on_arrays(forms):
        size = min(tile_size or tile_size_of(forms), max(map(len, (x1, x1 if x2 is None else x2))))
        check_memory(forms, size, x1.dtype)
        limits = array_limits(forms, only_ntk, size, *arguments)
    else:
        limits = exact_limits(forms, only_ntk, tile_size or _tile_size(forms), *arguments)
    return ProgramKernels(
        **limits._asdict(),
        standard_error=_no_error(limits),
        samples=0,
        joint=True,
        one_batch=x2 is None,
    )


@jax.jit
def _no_error(limits: Limits) -> Limits:
    return jax.tree.map(jnp.zeros_like, limits)


def _check_rtol(rtol: object, *arguments: object) -> None:
    expected = "a positive number, and concrete arguments, none of them traced"
    number = as_numpy("rtol", rtol, expected) if is_concrete(rtol, *arguments) else np.zeros(())
    if number.shape != () or not number > 0:
        raise ValueError(f"rtol is {shown(rtol)}; expected {expected}.")


def _sampled(
    forms: Forms,
    only_ntk: bool,
    tile_size: int | None,
    samples: int,
    seed: int,
    arguments: _Arguments,
) -> ProgramKernels:
    """Mean and standard error over replicates, all inputs together, or pair by pair where these are too many."""
    _, x1, x2, _ = arguments
    if forms.scores:
        if tile_size is not None:
            raise ValueError(f"tile_size is {tile_size}; expected None for a program with random scores.")
        variables = 2 * (len(x1) + (0 if x2 is None else len(x2))) * num_scores(forms)
        points, joint = points_for(samples, variables, seed), True
        found, drawn = limits_of_scores(forms, only_ntk, points, *arguments), points.samples
    elif forms.sampled_loops:
        found, drawn, joint = averages_of_loops(forms, only_ntk, tile_size, samples, seed, arguments)
    else:
        num_inputs, num_vectors = len(x1) + (0 if x2 is None else len(x2)), len(forms.drawn)
        joint = tile_size is None and num_inputs * num_vectors <= JOINT_VARIABLES
        if forms.couples_inputs and not joint:
            if tile_size is not None:
                raise ValueError(f"tile_size is {tile_size}; expected None for a program with batch means.")
            raise ValueError(f"x1 and x2 hold {num_inputs} inputs; expected fewer for a program with batch means.")
        points = points_for(samples, max(1, (num_inputs if joint else 2) * num_vectors), seed)
        drawn = points.samples
        if joint:
            found = sampled_limits(forms, only_ntk, points, *arguments)
        else:
            found = limits_of_pairs(forms, only_ntk, tile_size or _TILE_OF_PAIRS, points, *arguments)
    warn_of_heavy_tails(found)
    return ProgramKernels(
        **found.mean._asdict(), standard_error=found.error, samples=drawn, joint=joint, one_batch=x2 is None
    )


def _tile_size(forms: Forms) -> int:
    terms = max((len(vector.terms) for _, vector in forms.recording.output.readouts), default=1)
    return min(max(_TILE // max(terms, 1), _SMALLEST_TILE), _LARGEST_TILE)
