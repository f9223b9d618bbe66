"""The kernels of a recorded program, compiled once: exact, sampled for all inputs together, or pair by pair."""

import functools
import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PyTree

from ntk.caches.lifetimes import compiled
from ntk.checks import is_concrete
from ntk.duals.quadrature import ratio
from ntk.learning_rates import Rates
from ntk.programs.language.program import Recording
from ntk.programs.limit.demand import Demand
from ntk.programs.limit.draws.points import Points, scrambled_normals
from ntk.programs.limit.forms import Forms
from ntk.programs.limit.moments import OwnInputs, PairsOfInputs
from ntk.programs.limit.sampling import Sampler
from ntk.programs.results import Limits
from ntk.tiles import kernel_by_tiles

_LARGEST_SHARE = 0.8


def forms_of(recording: Recording) -> Forms:
    """What can be said of a recording without its inputs, found once."""
    return recording.once(Forms, recording)


class Averages(NamedTuple):
    """What independent replicates give.

    Attributes:
        mean: Their mean: `Limits`, or another tree of kernels that has an `ntk`.
        error: Its standard error.
        share: For each entry of the NTK, how much of the spread is due to one replicate.
    """

    mean: PyTree
    error: PyTree
    share: Array


class ReadOut(NamedTuple):
    """What an output weight reads, of the input or of vectors.

    Attributes:
        variance: σ².
        trained: ησ².
        C: Its second moments.
        tau: Its tangent kernel, 0 of the input.
    """

    variance: float | Array
    trained: float | Array
    C: Float[Array, "N1 N2"]
    tau: Float[Array, "N1 N2"]


@compiled(static=2)
def exact_limits(
    forms: Forms,
    only_ntk: bool,
    tile_size: int,
    numbers: dict[str, Array],
    x1: Float[Array, "N1 F"],
    x2: Float[Array, "N2 G"] | None,
    rates: Rates | None = None,
) -> Limits:
    """Where every expectation has a closed form; tile by tile."""

    def pair(x1: Array, x2: Array) -> Limits:
        return _limits(PairsOfInputs(*(OwnInputs(forms, x, numbers, rates) for x in (x1, x2))), only_ntk)

    return kernel_by_tiles((lambda x: x, lambda x: x), pair, jnp.transpose, x1, x2, tile_size)


@compiled(static=1)
def sampled_limits(
    forms: Forms,
    only_ntk: bool,
    points: Points,
    numbers: dict[str, Array],
    x1: Float[Array, "N1 F"],
    x2: Float[Array, "N2 G"] | None,
    rates: Rates | None = None,
) -> Averages:
    """All inputs sampled together, once for each key."""
    x = x1 if x2 is None else jnp.concatenate([x1, x2])
    batch_sizes = (len(x1),) if x2 is None else (len(x1), len(x2))

    def replicate(key: jax.Array) -> Limits:
        limits = _limits(sampled_moments(forms, batch_sizes, points.directions, key, numbers, x, rates), only_ntk)
        return jax.tree.map(lambda kernel: kernel[: len(x1), len(x) - batch_sizes[-1] :], limits)

    return averages(lax.map(replicate, points.keys))


@compiled(static=2)
def limits_of_pairs(
    forms: Forms,
    only_ntk: bool,
    tile_size: int,
    points: Points,
    numbers: dict[str, Array],
    x1: Float[Array, "N1 F"],
    x2: Float[Array, "N2 G"] | None,
    rates: Rates | None = None,
) -> Averages:
    """Each pair of inputs sampled for itself, on the same points, tile by tile."""

    def one_pair(key: jax.Array, side1: tuple[Array, Array], side2: tuple[Array, Array]) -> Limits:
        (number1, x1), (number2, x2) = side1, side2
        # A pair has one value, in whichever order it is asked for.
        x = jnp.where(number1 <= number2, jnp.stack([x1, x2]), jnp.stack([x2, x1]))
        limits = _limits(sampled_moments(forms, (2,), points.directions, key, numbers, x, rates), only_ntk)
        return jax.tree.map(lambda kernel: kernel[0, 1], limits)

    def tile(side1: tuple[Array, Array], side2: tuple[Array, Array]) -> Averages:
        def replicate(key: jax.Array) -> Limits:
            row = jax.vmap(functools.partial(one_pair, key), in_axes=(None, 0))
            return lax.map(lambda one: row(one, side2), side1)

        return averages(lax.map(replicate, points.keys))

    side1 = jnp.arange(len(x1)), x1
    side2 = None if x2 is None else (len(x1) + jnp.arange(len(x2)), x2)
    return kernel_by_tiles((lambda x: x, lambda x: x), tile, jnp.transpose, side1, side2, tile_size)


def sampled_moments(
    forms: Forms,
    batch_sizes: tuple[int, ...],
    directions: Array,
    key: jax.Array,
    numbers: dict[str, Array],
    x: Float[Array, "N F"],
    rates: Rates | None = None,
) -> PairsOfInputs:
    """The moments of all inputs with each other, of one replicate of the samples."""
    own = OwnInputs(forms, x, numbers, rates)
    pairs = PairsOfInputs(own, own)
    pairs.sampler = own.sampler = Sampler(pairs, scrambled_normals(directions, key, x.dtype), batch_sizes)
    return pairs


def averages(replicates: PyTree) -> Averages:
    """The averages over the leading axis."""

    def error(values: Array) -> Array:
        return jnp.std(values, axis=0, ddof=1) / len(values) ** 0.5

    mean = jax.tree.map(lambda values: jnp.mean(values, axis=0), replicates)
    squares = (replicates.ntk - mean.ntk[None]) ** 2
    share = ratio(jnp.max(squares, axis=0), jnp.sum(squares, axis=0))
    return Averages(mean, jax.tree.map(error, replicates), share)


def warn_of_heavy_tails(found: Averages) -> None:
    """Warn where one replicate makes the standard error: of Gaussian ones it would once in 200,000 times."""
    if not is_concrete(found):
        return
    weights = np.asarray(found.error.ntk, float) ** 2
    if np.sum(weights * np.asarray(found.share)) > _LARGEST_SHARE * np.sum(weights):
        warnings.warn(
            "the average over samples is dominated by few of them, and its standard error means nothing; expected"
            " enough samples, and vectors and gradients with finite second moments: a vector divided by a Gaussian"
            " vector has none.",
            RuntimeWarning,
            stacklevel=4,
        )


def _limits(moments: PairsOfInputs, only_ntk: bool) -> Limits:
    """All kernels, from the moments of single vectors."""
    recording, zeros = moments.forms.recording, moments.zeros()
    watched = {} if only_ntk else recording.watched_twice
    names = () if moments.forms.couples_inputs else tuple(watched)

    def found_with(sources: dict[str, Array]) -> tuple[list[ReadOut], dict[str, Array]]:
        moments.sources, demand = sources, Demand()
        read = []
        for weight, *features in recording.features_read:
            (C,) = demand((moments.features_product, *features))
            read.append((weight, C, zeros))
        for weight, *pair in recording.vectors_read:
            C, tau = demand((moments.product, *pair), (moments.tangent, *pair))
            read.append((weight, C, tau))
        own, found = moments.own[0], []
        for weight, C, tau in read:
            variance, trained = demand((own.variance, weight), (own.trained_variance, weight))
            found.append(ReadOut(variance, trained, C, tau))
        return found, {name: demand((moments.product, *pair))[0] for name, pair in watched.items()}

    return limits_from(found_with, zeros, dict.fromkeys(names, zeros))


def limits_from(
    found_with: Callable[[dict[str, Array]], tuple[list[ReadOut], dict[str, Array]]],
    zeros: Float[Array, "N1 N2"],
    sources: dict[str, Array],
) -> Limits:
    """All kernels: Θ = Σ ησ² C + σ² τ and Σ = Σ σ² C over output weights, and D as the derivative of Θ in τ.

    Args:
        found_with: What output weights read, and by name C of the watched vectors; from what is added to τ of these.
        zeros: Zero for every pair of inputs.
        sources: Zero for every entry of D.
    """

    def ntk_of(sources: dict[str, Array]) -> tuple[Array, tuple[Array, dict[str, Array]]]:
        read, C = found_with(sources)
        nngp = sum((each.variance * each.C for each in read), zeros)
        ntk = sum((each.trained * each.C + each.variance * each.tau for each in read), zeros)
        return ntk, (nngp, C)

    ntk, pullback, (nngp, C) = jax.vjp(ntk_of, sources, has_aux=True)
    return Limits(ntk, nngp, C, pullback(jnp.ones_like(ntk))[0])
