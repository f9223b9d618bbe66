"""The kernels of a program at finite width, measured, in the same class as those of its limit."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Integer

from ntk.caches.lifetimes import compiled
from ntk.checks import check_representable, is_concrete, shown
from ntk.finite_width import empirical_ntk
from ntk.learning_rates import StandardParameterization, Trained
from ntk.linalg import highest_einsum
from ntk.programs.at_width.model import FiniteProgram, forward
from ntk.programs.language.graph import Node, reachable
from ntk.programs.language.program import Recording, TensorProgram, check_program
from ntk.programs.language.scalars import Value, Width
from ntk.programs.lengths import check_one_shape, joined, program_groups
from ntk.programs.options import numbers_as
from ntk.programs.rates import rates_of_program
from ntk.programs.results import Limits, ProgramKernels
from ntk.programs.scalar_values import evaluated


def measured(
    program: TensorProgram,
    params: dict[str, Array],
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    *,
    lengths1: Integer[ArrayLike, " N1"] | None = None,
    lengths2: Integer[ArrayLike, " N2"] | None = None,
    trained: Trained | None = None,
) -> ProgramKernels:
    """C, D, NNGP and NTK of a program of finite width with a single output.

    For watched vectors C = x·x̄/n and D = dx·dx̄/n. The NNGP is the part of Θ that belongs to the output weights:
    σ_v² x·x̄/n of the vectors that they read, and σ_v² ξ·ξ̄/d of the input.

    Args:
        program: A `tensor_program`.
        params: The parameters of `finite(program, width)`, where `outputs` is None.
        x1: Inputs (N1, …). A program with batch means takes them as one batch.
        x2: The other inputs (N2, …), another batch. None means `x1` itself.
        lengths1: (N1,) concrete integers, how many entries of the first axis of each input of `x1` count. None means
            all.
        lengths2: (N2,) concrete integers, the same for `x2`.
        trained: Which parameters the NTK is of, as `ntk.infinite_ntk` takes it. None means all.

    Returns:
        `ProgramKernels`, with standard errors of 0.

    Raises:
        TypeError: `program` is not a tensor program, `params` is not a dictionary, or an array is not floating-point.
        ValueError: The parameters are not the program's, a shape or value is not what it reads, or a standard
            deviation is 0 in standard parameterization.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> program, x = ntk.architectures.residual_mlp(depth=1), jax.random.normal(jax.random.key(0), (2, 4))
        >>> params = ntk.finite(program, width=8).init(jax.random.key(1), x)
        >>> k = ntk.empirical_kernels(program, params, x)
        >>> k.ntk.shape, bool(jnp.all(jnp.diag(k.nngp) < jnp.diag(k.ntk)))
        ((2, 2), True)
    """
    check_program(program)
    groups = program_groups(program, x1, x2, lengths1, lengths2)
    recordings = {group.shape: program.record(group.shape) for group in groups.every}
    recording = recordings[groups.rows[0].shape]
    if not isinstance(params, Mapping):
        raise TypeError(f"params is {shown(params)}; expected a dictionary by name, as of finite(program, width).init.")
    weights = [name for name, parameter in recording.parameters.items() if parameter.kind == "output"]
    missing = sorted(recording.parameters.keys() - params.keys())
    if missing or not weights:
        raise ValueError(f"params has no {missing[0] if missing else 'output weight'!r}; expected those of finite().")
    check_one_shape(recording.couples_inputs, recordings)
    model = FiniteProgram(program, _width(recording, params), None)
    for each in recordings.values():
        model.check(each, params, groups.rows[0].x.dtype)
    network = recording.once(_Network, model.width, *recordings.items())
    factors = _factors(program, list(recordings.values()), model.width, trained, groups.rows[0].x.dtype)
    blocks = [_between(network, program, params, weights, factors, *groups.two(*pair)) for pair in groups.pairs]
    return joined(blocks, groups)


def _between(
    network: "_Network",
    program: TensorProgram,
    params: dict[str, Array],
    weights: list[str],
    factors: dict[str, Array] | None,
    x1: Array,
    x2: Array | None,
) -> ProgramKernels:
    """The kernels between inputs of one shape and inputs of one shape."""
    couples, numbers = network.recordings[x1.shape[1:]].couples_inputs, numbers_as(program, x1.dtype)
    parts = empirical_ntk(
        network,
        {"params": params, "numbers": numbers},
        x1,
        x2,
        per_layer=True,
        param_filter=lambda path: path.startswith("params/"),
        batch_dependent=couples,
    )["params"]
    C, D = _moments(network, numbers, params, x1, x2)
    ntk = sum(part if factors is None else factors[name] * part for name, part in parts.items())
    kernels = Limits(ntk, sum(parts[name] for name in weights), C, {} if couples else D)
    check_representable(ntk=kernels.ntk, nngp=kernels.nngp)
    return ProgramKernels(
        **kernels._asdict(),
        standard_error=jax.tree.map(jnp.zeros_like, kernels),
        samples=0,
        joint=True,
        one_batch=x2 is None,
    )


def _factors(
    program: TensorProgram, recordings: Sequence[Recording], width: int, trained: Trained | None, dtype: jnp.dtype
) -> dict[str, Array] | None:
    """By name, the learning rate of each parameter ω from N(0, 1); None means 1 for all."""
    rates = rates_of_program(trained, recordings, dtype)
    if rates is None:
        return None
    numbers = numbers_as(program, dtype)
    found: dict[str, Array] = {}
    for name, parameter in (recordings[0].parameters | recordings[-1].parameters).items():
        nodes = reachable([parameter.std])
        known: dict[Node, Value] = {node: float(width) for node in nodes if isinstance(node, Width)}
        std = evaluated(nodes, numbers, known, dtype)[parameter.std]
        if isinstance(trained, StandardParameterization) and is_concrete(std) and std == 0:
            raise ValueError(
                f"std of {name!r} is 0; expected a positive number for standard parameterization at finite width, where"
                " the gradient in this parameter is not that of a number drawn from N(0, 1)."
            )
        found[name] = jnp.asarray(rates[name].of_normal + rates[name].of_scaled / jnp.square(std), dtype)
    return found


def _width(recording: Recording, params: dict[str, Array]) -> int:
    """The width that the parameters have; 1 for a linear model, which has none."""
    parameters = sorted(recording.parameters.values(), key=lambda parameter: parameter.kind != "output")
    axes = {weight.name: len(vector.shape) for weight, vector in recording.output.vectors}
    for parameter in parameters:
        axis = axes.get(parameter.name, len(parameter.axes) + (parameter.kind not in ("output", "bias", "matrix")))
        shape = getattr(params[parameter.name], "shape", ())
        if len(shape) > axis and not (parameter.kind == "output" and parameter.fan_in is not None):
            return shape[axis]
    return 1


class _Network:
    """The network as a function of its parameters and its numbers, for inputs of some shapes."""

    def __init__(self, width: int, *recordings: tuple[tuple[int, ...], Recording]):
        self.width, self.recordings = width, dict(recordings)

    def __call__(self, arguments: dict[str, dict[str, Array]], x: Array) -> Array:
        return self.trace(arguments["numbers"], arguments["params"], x, {})[0]

    def trace(
        self, numbers: dict[str, Array], params: dict[str, Array], x: Array, taps: dict[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        """The outputs and the watched vectors."""
        return forward(self.recordings[x.shape[1:]], numbers, params, x, self.width, taps)


@compiled()
def _moments(
    network: _Network, numbers: dict[str, Array], params: dict[str, Array], x1: Array, x2: Array | None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """By name, C and D of the watched vectors."""

    def side(x: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        watched = network.recordings[x.shape[1:]].watched
        taps = {name: jnp.zeros((len(x), *z.shape, network.width), x.dtype) for name, (_, z) in watched.items()}

        def total(taps: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
            outputs, watched = network.trace(numbers, params, x, taps)
            return jnp.sum(outputs), watched

        gradients, watched = jax.grad(total, has_aux=True)(taps)
        return {name: vector / network.width**0.5 for name, vector in watched.items()}, gradients

    (vectors1, gradients1), (vectors2, gradients2) = side(x1), side(x1 if x2 is None else x2)

    def gram(a: Array, b: Array) -> Array:
        """At the positions that both have."""
        a, b = (side[(slice(None), *(slice(size) for size in other.shape[1:]))] for side, other in ((a, b), (b, a)))
        return highest_einsum("i...n,j...n->ij...", a, b)

    def both(of1: dict[str, Array], of2: dict[str, Array]) -> dict[str, Array]:
        return {name: gram(vector, of2[name]) for name, vector in of1.items() if name in of2}

    return both(vectors1, vectors2), both(gradients1, gradients2)
