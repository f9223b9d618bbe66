"""The limits of scalars looked at, to refuse what is not continuous or finite there."""

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from ntk.caches.lifetimes import compiled
from ntk.checks import check_representable, is_concrete
from ntk.programs.language.scalars import Apply, Entry, Moment, Scalar
from ntk.programs.limit.arrays.kernels import is_on_arrays, scalar_limits
from ntk.programs.limit.demand import Demand
from ntk.programs.limit.draws.points import Points, points_for
from ntk.programs.limit.evaluation import sampled_moments
from ntk.programs.limit.forms import Forms
from ntk.programs.limit.jumps import check_jumps, moments_before_jumps
from ntk.programs.limit.moments import OwnInputs

_SAMPLES = 2**10  # to look at scalars that are sampled, not to measure them
_INPUTS = 16  # that are sampled together for that


Batches = Sequence[tuple[Forms, Array]]  # the inputs of each side, and the program at their shape


def check_scalars(batches: Batches, samples: int, numbers: dict[str, Array]) -> None:
    """Refuse functions of scalars that jump where these have their limits, known from so many samples."""
    for forms, x in batches:
        moments = moments_before_jumps(forms.recording)
        if not moments or forms.scores or not is_concrete(numbers, x):
            continue
        for part in _parts(forms, x):
            limits = _limits(forms, moments, samples, numbers, part)
            check_jumps(forms.recording, numbers, limits)


def check_kernels(batches: Batches, numbers: dict[str, Array], **results: Array) -> None:
    """Refuse concrete results that are not finite, and name the scalar that is to blame where one is."""
    for forms, x in batches:
        if not is_concrete(results, numbers, x) or not _any_nan(results) or forms.sampled_loops or forms.scores:
            continue
        scalars = tuple(node for node in forms.recording.nodes if isinstance(node, Moment | Apply | Entry))
        for part in _parts(forms, x):
            for node, limit in zip(scalars, _limits(forms, scalars, _SAMPLES, numbers, part), strict=True):
                value = np.asarray(limit)
                if not np.all(np.isfinite(value)):
                    raise ValueError(
                        f"the scalar at {node.line} is {value[~np.isfinite(value)][0]}; expected a number."
                    )
    check_numbers(**results)


def check_numbers(**results: Array) -> None:
    """Refuse concrete results that are not finite: for a function that is not, or for their range."""
    for name, result in results.items():
        if is_concrete(results) and _any_nan({name: result}):
            raise ValueError(
                f"{name} is not a number; expected functions that are finite at every coordinate, and inputs and"
                " standard deviations whose products are finite."
            )
    check_representable(**results)


def _any_nan(results: dict[str, Array]) -> bool:
    return any(np.isnan(np.asarray(result, float)).any() for result in results.values())


def _parts(forms: Forms, x: Array) -> Iterator[Array]:
    """All inputs, as many at a time as can be looked at together, of one shape where there are more."""
    size = len(x) if forms.is_exact or forms.couples_inputs else min(len(x), _INPUTS)
    for start in range(0, len(x), size):
        start = min(start, len(x) - size)
        yield x[start : start + size]


def _limits(
    forms: Forms, scalars: tuple[Scalar, ...], samples: int, numbers: dict[str, Array], x: Array
) -> list[Array]:
    """The limits of scalars, (R, N, *P) or (R,), as R independent replicates find them; one where all is exact."""
    if is_on_arrays(forms):
        return [found[None] for found in scalar_limits(forms, tuple(each.index for each in scalars), numbers, x)]
    points = None if forms.is_exact else points_for(samples, max(1, len(x) * len(forms.drawn)), seed=0)
    return _limits_of(forms, tuple(scalar.index for scalar in scalars), points, numbers, x)


@compiled(static=1)
def _limits_of(
    forms: Forms, indices: tuple[int, ...], points: Points | None, numbers: dict[str, Array], x: Array
) -> list[Array]:
    scalars = [forms.recording.graph.nodes[index] for index in indices]

    def limits(own: OwnInputs) -> list[Array]:
        return [jnp.asarray(value, x.dtype) for value in Demand()(*((own.scalar, scalar) for scalar in scalars))]

    if points is None:
        return [value[None] for value in limits(OwnInputs(forms, x, numbers))]

    def replicate(key: Array) -> list[Array]:
        return limits(sampled_moments(forms, (len(x),), points.directions, key, numbers, x).own[0])

    return lax.map(replicate, points.keys)
