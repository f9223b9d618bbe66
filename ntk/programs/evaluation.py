"""The kernels of a recorded program, compiled once: exact, sampled for all inputs together, or pair by pair."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt32

from ntk.programs.demand import Demand
from ntk.programs.forms import Forms
from ntk.programs.moments import OwnInputs, PairsOfInputs
from ntk.programs.points import scrambled_normals
from ntk.programs.sampling import Sampler
from ntk.tiles import kernel_by_tiles

forms_of = functools.lru_cache(maxsize=256)(Forms)


class Limits(NamedTuple):
    """The kernels between two batches of inputs, (N1, N2) each.

    Attributes:
        ntk: Θ.
        nngp: Σ.
        C: By name, second moments E x x̄ of the watched vectors.
        D: By name, second moments of dx = √n ∇_x f. Empty where the program takes batch means: its gradients then
            differ for each pair of outputs.
    """

    ntk: Array
    nngp: Array
    C: dict[str, Array]
    D: dict[str, Array]


@functools.partial(jax.jit, static_argnums=(0, 1))
def exact_limits(
    forms: Forms,
    tile_size: int,
    numbers: dict[str, Array],
    x1: Float[Array, "N1 F"],
    x2: Float[Array, "N2 F"] | None,
) -> Limits:
    """Where every expectation has a closed form; tile by tile."""

    def pair(x1: Array, x2: Array) -> Limits:
        return _limits(PairsOfInputs(*(OwnInputs(forms, x, numbers) for x in (x1, x2))))

    return kernel_by_tiles((lambda x: x, lambda x: x), pair, jnp.transpose, x1, x2, tile_size)


@functools.partial(jax.jit, static_argnums=0)
def sampled_limits(
    forms: Forms,
    points: UInt32[Array, "S D"],
    keys: jax.Array,
    numbers: dict[str, Array],
    x1: Float[Array, "N1 F"],
    x2: Float[Array, "N2 F"] | None,
) -> tuple[Limits, Limits]:
    """All inputs sampled together: the mean over replicates, one for each key, and its standard error."""
    x = x1 if x2 is None else jnp.concatenate([x1, x2])
    batch_sizes = (len(x1),) if x2 is None else (len(x1), len(x2))

    def replicate(key: jax.Array) -> Limits:
        limits = _sampled(forms, batch_sizes, points, key, numbers, x)
        return jax.tree.map(lambda kernel: kernel[: len(x1), len(x) - batch_sizes[-1] :], limits)

    return _mean_and_error(lax.map(replicate, keys))


@functools.partial(jax.jit, static_argnums=(0, 1))
def limits_of_pairs(
    forms: Forms,
    tile_size: int,
    points: UInt32[Array, "S D"],
    keys: jax.Array,
    numbers: dict[str, Array],
    x1: Float[Array, "N1 F"],
    x2: Float[Array, "N2 F"] | None,
) -> tuple[Limits, Limits]:
    """Each pair of inputs sampled for itself, on the same points, tile by tile."""

    def one_pair(key: jax.Array, side1: tuple[Array, Array], side2: tuple[Array, Array]) -> Limits:
        (number1, x1), (number2, x2) = side1, side2
        # A pair has one value, in whichever order it is asked for.
        x = jnp.where(number1 <= number2, jnp.stack([x1, x2]), jnp.stack([x2, x1]))
        return jax.tree.map(lambda kernel: kernel[0, 1], _sampled(forms, (2,), points, key, numbers, x))

    def tile(side1: tuple[Array, Array], side2: tuple[Array, Array]) -> tuple[Limits, Limits]:
        def replicate(key: jax.Array) -> Limits:
            row = jax.vmap(functools.partial(one_pair, key), in_axes=(None, 0))
            return lax.map(lambda one: row(one, side2), side1)

        return _mean_and_error(lax.map(replicate, keys))

    side1 = jnp.arange(len(x1)), x1
    side2 = None if x2 is None else (len(x1) + jnp.arange(len(x2)), x2)
    return kernel_by_tiles((lambda x: x, lambda x: x), tile, jnp.transpose, side1, side2, tile_size)


def _sampled(
    forms: Forms,
    batch_sizes: tuple[int, ...],
    points: UInt32[Array, "S D"],
    key: jax.Array,
    numbers: dict[str, Array],
    x: Float[Array, "N F"],
) -> Limits:
    """One replicate, all inputs together, (N, N)."""
    own = OwnInputs(forms, x, numbers)
    pairs = PairsOfInputs(own, own)
    pairs.sampler = own.sampler = Sampler(pairs, scrambled_normals(points, key, x.dtype), batch_sizes)
    return _limits(pairs)


def _mean_and_error(replicates: Any) -> tuple[Any, Any]:
    """The mean over the leading axis, and its standard error."""

    def error(values: Array) -> Array:
        return jnp.std(values, axis=0, ddof=1) / len(values) ** 0.5

    return jax.tree.map(lambda values: jnp.mean(values, axis=0), replicates), jax.tree.map(error, replicates)


def _limits(moments: PairsOfInputs) -> Limits:
    """All kernels, D as the derivative of the NTK in what could be added to τ of a watched vector."""
    recording, zeros = moments.forms.recording, moments.zeros()
    names = () if moments.forms.couples_inputs else tuple(recording.watched)

    def ntk_of(sources: dict[str, Array]) -> tuple[Array, tuple[Array, dict[str, Array]]]:
        moments.sources, demand = sources, Demand()
        nngp = ntk = zeros
        for weight, x in recording.output.readouts:
            variance, C, tau = demand(
                (moments.own[0].variance, weight), (moments.product, x, x), (moments.tangent, x, x)
            )
            nngp, ntk = nngp + variance * C, ntk + variance * (C + tau)
        C = {name: demand((moments.product, x, x))[0] for name, (_, x) in recording.watched.items()}
        return ntk, (nngp, C)

    ntk, pullback, (nngp, C) = jax.vjp(ntk_of, dict.fromkeys(names, zeros), has_aux=True)
    return Limits(ntk, nngp, C, pullback(jnp.ones_like(ntk))[0])
