"""The limits of programs for which the Simple GIA Check fails: W with its transpose, averaged readouts."""

import functools
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ntk.caches.lifetimes import compiled
from ntk.checks import check_count, check_flag, is_concrete
from ntk.decomposition import gram, unit_scaled
from ntk.dtypes import common_dtype
from ntk.learning_rates import Rates, Trained
from ntk.programs.batches import program_batches
from ntk.programs.language.atoms import BatchMean, Bias, Dropped, Embed, Gaussian, MatMul, Parameter
from ntk.programs.language.graph import reachable
from ntk.programs.language.loops import with_bodies
from ntk.programs.language.program import Recording, TensorProgram, check_program
from ntk.programs.language.scalars import Moment, Scores
from ntk.programs.limit.draws.coordinates import Coordinates, num_variables, overlap
from ntk.programs.limit.draws.points import Points, check_seed, points_for, scrambled_normals
from ntk.programs.limit.evaluation import Averages, averages, warn_of_heavy_tails
from ntk.programs.limit.jumps import check_jumps, moments_before_jumps
from ntk.programs.limit.kernels import JOINT_VARIABLES
from ntk.programs.limit.scalar_limits import check_numbers
from ntk.programs.limit.unrolling import unrolled, with_fields
from ntk.programs.options import check_options, numbers_as
from ntk.programs.rates import rates_of_program, unrolled_rates
from ntk.programs.refusals import check_has_limit

_SAMPLES_FOR_EACH_USE = 256  # 16 to a replicate, where the regression on as many results as there are uses is made
SomeGaussian = TypeVar("SomeGaussian", bound=Gaussian)


class CorrectedLimits(NamedTuple):
    """The sampled limits of a program; see `CorrectedKernels`."""

    ntk: Float[Array, "N1 N2"]
    nngp: Float[Array, "N1 N2"]
    theta: Float[Array, " N1"]
    C: dict[str, Float[Array, "N1 N2"]]
    D: dict[str, Float[Array, "N1 N2"]]
    mean: dict[str, Float[Array, " N1"]]
    gradient_mean: dict[str, Float[Array, " N1"]]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["ntk", "nngp", "theta", "C", "D", "mean", "gradient_mean", "standard_error"],
    meta_fields=["averaged", "samples"],
)
@dataclass(frozen=True)
class CorrectedKernels:
    """The limits that `corrected_kernels` finds.

    With output weights f = √n θ. Without, the output is an average f = θ over coordinates. Gradients are dx = n ∇_x θ.

    Attributes:
        ntk: n ⟨∇θ(ξ), ∇θ(ξ̄)⟩, (N1, N2). This is Θ with output weights, and nΘ of an average, as Θ itself goes to 0.
        nngp: Σ, (N1, N2), σ_v² times the second moment of what the output weights read. It is 0 for an average.
        theta: θ of x1, (N1,). With output weights f stays finite only where θ is 0.
        C: By name, second moments E x x̄ of the watched vectors, (N1, N2).
        D: By name, second moments E dx dx̄ of the gradients there, (N1, N2).
        mean: By name, E x of x1, (N1,).
        gradient_mean: By name, E dx of x1, (N1,). The gradient independence assumption says 0.
        standard_error: `CorrectedLimits` of the same shapes, the standard error of every entry.
        averaged: Whether the output is an average.
        samples: The number of samples.
    """

    ntk: Array
    nngp: Array
    theta: Array
    C: dict[str, Array]
    D: dict[str, Array]
    mean: dict[str, Array]
    gradient_mean: dict[str, Array]
    standard_error: CorrectedLimits
    averaged: bool
    samples: int


def corrected_kernels(
    program: TensorProgram,
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    samples: int = 2**14,
    seed: int = 0,
    assume_gia: bool = False,
    trained: Trained | None = None,
) -> CorrectedKernels:
    """C, D, NNGP and NTK of an infinitely wide program without the gradient independence assumption.

    This is for programs that fail the Simple GIA Check: they use a matrix together with its transpose, return an
    average, or have an output weight that has a mean or is used inside. Where the check holds, `infinite` gives the
    same limits, faster and more exactly.

    Every vector, forward and backward, is sampled on randomised quasi-Monte-Carlo points with the correction Ż that the
    transpose of a matrix needs (Yang 2020, Tensor Programs III, arXiv:2009.10685; theory.md 3.10). Ż is estimated
    from the same samples. For a matrix that is used k times this leaves a bias of relative order 16 k/samples.

    Args:
        program: A `tensor_program` without batch means.
        x1: Inputs (N1, …).
        x2: The other inputs (N2, …). None means `x1` itself.
        samples: The least number of samples. It is rounded up to 16 times a power of two.
        seed: The seed of the points. The same seed gives the same numbers.
        assume_gia: Whether to leave the correction out, to see what the assumption gives.
        trained: Which parameters the NTK is of, as `ntk.infinite_ntk` takes it. None means all.

    Returns:
        `CorrectedKernels`.

    Raises:
        TypeError: `program` is not a tensor program, or an array is not floating-point.
        ValueError: The program uses its width or batch means, divides by a Gaussian vector, has a constant output, or
            has a function of scalars that jumps where these have their limits. Or there are too many inputs to be
            sampled together, or too few samples for the uses of a matrix. Or an argument has a wrong shape or value, or
            a kernel is not a number or too large for the dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from ntk.programs import corrected_kernels, tensor_program
        >>> @tensor_program
        ... def averaged(net, x):  # y = 1ᵀ(W²x¹)²/n with x¹ = 1
        ...     x1 = net.watch("x1", net.input_matrix("W1") @ x + 1.0)
        ...     h = net.matrix("W2") @ x1
        ...     return (h * h).mean()
        >>> true = corrected_kernels(averaged, jnp.zeros((1, 3)))
        >>> gia = corrected_kernels(averaged, jnp.zeros((1, 3)), assume_gia=True)
        >>> for k in (true, gia):  # dx¹ = 2W²ᵀW²x¹: mean, second moment
        ...     print(f"{abs(k.gradient_mean['x1'][0]):.2f} {k.D['x1'][0, 0]:.1f}")
        2.00 8.0
        0.00 4.0
    """
    check_program(program)
    x1, x2 = program_batches(program, x1, x2)
    check_count("samples", samples)
    check_seed(seed)
    check_flag("assume_gia", assume_gia)
    written = program.record(x1.shape[1:])
    _check_covered(written)
    recording = unrolled(written)
    check_options(program, recording)
    x = x1 if x2 is None else jnp.concatenate([x1, x2])
    variables = num_variables(recording, len(x))
    if variables > JOINT_VARIABLES:
        raise ValueError(
            f"x1 and x2 hold {len(x)} inputs, of which {variables} variables are drawn; expected at most"
            f" {JOINT_VARIABLES}, fewer inputs."
        )
    points = points_for(samples, variables, seed)
    uses = Counter(node.parameter for node in recording.nodes if isinstance(node, MatMul))
    most = max(uses.values(), default=0)
    if points.samples < _SAMPLES_FOR_EACH_USE * most:
        raise ValueError(
            f"samples is {samples}; expected at least {_SAMPLES_FOR_EACH_USE * most}, as a matrix is used {most} times."
        )
    dtype = common_dtype(x.dtype, jnp.float32)
    flat = x.reshape(len(x), -1).astype(dtype)
    numbers = numbers_as(program, dtype)
    if moments_before_jumps(recording) and is_concrete(numbers, flat):
        limits = _moments(recording, assume_gia, points, numbers, flat)
        check_jumps(recording, numbers, [limits[:, number] for number in range(limits.shape[1])])
    rates = unrolled_rates(rates_of_program(trained, [written], dtype), written, recording)
    found = _corrected(recording, assume_gia, len(x1), points, numbers, flat, rates)
    warn_of_heavy_tails(found)
    mean, error = (with_fields(written, limits) for limits in (found.mean, found.error))
    mean, error = jax.tree.map(lambda limit: limit.astype(x.dtype), (mean, error))
    check_numbers(ntk=mean.ntk, nngp=mean.nngp)
    return CorrectedKernels(
        **mean._asdict(), standard_error=error, averaged=not recording.output.readouts, samples=points.samples
    )


def _check_covered(recording: Recording) -> None:
    """Refuse what has no limit even so."""
    check_has_limit(recording)
    for node in with_bodies(recording.nodes):
        if isinstance(node, Scores):
            raise ValueError(f"the program has random scores at {node.line}; expected none: they are not drawn here.")
        if isinstance(node, BatchMean):
            raise ValueError(f"the program takes a batch mean at {node.line}; expected one that does not.")
        if isinstance(node, Dropped):
            raise ValueError(f"the program has dropout at {node.line}; expected none: its masks are not drawn here.")
    output = recording.output
    if not output.readouts and not any(isinstance(node, Moment) for node in reachable([output.offset])):
        raise ValueError(f"the output is a constant at {output.line}; expected a product or an average of vectors.")


@compiled(static=2)
def _corrected(
    recording: Recording,
    assume_gia: bool,
    num_first: int,
    points: Points,
    numbers: dict[str, Array],
    x: Float[Array, "N F"],
    rates: Rates | None,
) -> Averages:
    """All inputs sampled together, once for each key."""
    first, second = slice(num_first), slice(num_first if num_first < len(x) else 0, None)

    def replicate(key: Array) -> CorrectedLimits:
        normals = scrambled_normals(points.directions, key, x.dtype)
        drawn = Coordinates(recording, normals, numbers, x, assume_gia)
        vectors = {name: drawn.values[vector] for name, (_, vector) in recording.watched.items()}
        gradients = {name: drawn.gradient(tap) for name, (tap, _) in recording.watched.items()}
        ntk, nngp = _kernels(drawn, rates)
        second_moments = [
            {name: drawn.moment(draws, draws)[first, second] for name, draws in which.items()}
            for which in (vectors, gradients)
        ]
        means = [
            {name: jnp.mean(draws[:, first], axis=0) for name, draws in which.items()} for which in (vectors, gradients)
        ]
        return CorrectedLimits(ntk[first, second], nngp[first, second], drawn.theta[first], *second_moments, *means)

    return averages(lax.map(replicate, points.keys))


@compiled(static=1)
def _moments(
    recording: Recording, assume_gia: bool, points: Points, numbers: dict[str, Array], x: Float[Array, "N F"]
) -> Float[Array, "R M N"]:
    """The limits of the moments that functions read which may jump, once for each key."""

    def replicate(key: Array) -> Float[Array, "M N"]:
        drawn = Coordinates(recording, scrambled_normals(points.directions, key, x.dtype), numbers, x, assume_gia)
        return jnp.stack([drawn.values[moment] for moment in moments_before_jumps(recording)])

    return lax.map(replicate, points.keys)


def _kernels(drawn: Coordinates, rates: Rates | None) -> tuple[Array, Array]:
    """(Θ, Σ), each (N, N): for each parameter the product of its gradients' limits, times its learning rate in Θ."""
    recording, features = drawn.recording, dict(drawn.recording.output.features)
    ntk = nngp = jnp.zeros((len(drawn.x), len(drawn.x)), drawn.x.dtype)
    for name, parameter in recording.parameters.items():
        std = drawn.values[parameter.std]
        variance = std**2
        trained = variance if rates is None else rates[name].times_variance(std)
        if parameter.kind == "matrix":
            ntk += trained * _of_matrix(drawn, parameter)
        elif parameter.kind in ("input_matrix", "embedding"):
            ntk += trained * _of_input_matrix(drawn, parameter)
        elif parameter in features:
            of_input = drawn.values[features[parameter]]
            ntk += trained * gram(of_input, of_input)
            nngp += variance * gram(of_input, of_input)
        else:  # the gradient in the vector itself: what it reads, and what its uses inside give
            read = [drawn.values[x] for weight, x in recording.output.vectors if weight is parameter]
            inside = [drawn.gradients[node] for node in _uses(drawn, Bias, parameter)]
            total = sum((*read, *inside), jnp.zeros_like(drawn.normals[:, :1]))
            ntk += trained * drawn.moment(total, total)
            nngp += variance * sum(drawn.moment(x, x) for x in read)
    return ntk, nngp


def _uses(drawn: Coordinates, kind: type[SomeGaussian], parameter: Parameter) -> list[SomeGaussian]:
    """The vectors of that kind that are made of a parameter, and that the output depends on."""
    found = [node for node in drawn.recording.nodes if isinstance(node, kind) and node.parameter is parameter]
    return [node for node in found if node in drawn.gradients]


def _of_matrix(drawn: Coordinates, parameter: Parameter) -> Array:
    """Of ∇_W, the sum of dy zᵀ over products y = Wz and of z dyᵀ over y = Wᵀz: Σ E[l l̄'] E[r r̄'] over pairs l rᵀ."""
    pairs = [
        (drawn.gradients[node], drawn.values[node.vector])[:: -1 if node.transposed else 1]
        for node in _uses(drawn, MatMul, parameter)
    ]
    if not pairs:
        return jnp.zeros(())
    left, right = (jnp.concatenate(side, axis=1) for side in zip(*pairs, strict=True))
    return _summed(drawn.moment(left, left) * drawn.moment(right, right), len(pairs))


def _of_input_matrix(drawn: Coordinates, parameter: Parameter) -> Array:
    """Of ∇_U, the sum of du ξᵀ/√d over u = Uξ/√d; of an embedding, a sum over the vectors of each token."""
    uses = _uses(drawn, Embed, parameter)
    if not uses:
        return jnp.zeros(())
    left = jnp.concatenate([drawn.gradients[node] for node in uses], axis=1)
    parts = jnp.concatenate([unit_scaled(drawn.x[:, jnp.array(node.entries)]) for node in uses])
    return _summed(drawn.moment(left, left) * overlap(parameter, parts, parts), len(uses))


def _summed(blocks: Float[Array, "kN kN"], count: int) -> Float[Array, "N N"]:
    """The sum over all blocks."""
    size = len(blocks) // count
    return jnp.sum(blocks.reshape(count, size, count, size), axis=(0, 2))
