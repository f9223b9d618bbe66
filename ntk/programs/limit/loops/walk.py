"""A sampled loop, step by step: draws, second moments and tangent kernels of its vectors (theory.md 3.13)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ntk.programs.language.graph import Node
from ntk.programs.language.scalars import Value
from ntk.programs.limit.loops.cells import Cell
from ntk.programs.limit.loops.step import Given, OneStep, Outside, Probe, Rows, Walk

_SEGMENTS = 3  # A step looks at all steps up to the end of its segment, and not at all T.


class Sampled(NamedTuple):
    """What a loop's samples give.

    Attributes:
        moments: By two probes, C and τ of the first at t and the second at s, (T, T, N, N).
        means: Of each probe at each step, (T, N).
    """

    moments: dict[tuple[int, int], Rows]
    means: list[Array]


def variables_of(cell: Cell, num_inputs: int) -> int:
    """How many standard normal variables the loop needs."""
    return cell.body.length * len(cell.units) * num_inputs


def sampled(
    cell: Cell,
    numbers: dict[Node, Value],
    scalars: dict[Node, Array],
    outside: Outside,
    noise: Float[Array, "S D"],
    num_inputs: int,
) -> Sampled:
    """Draw all steps.

    Args:
        cell: The step.
        numbers: The values of scalars that do not depend on the inputs.
        scalars: The values of those that do, and are computed outside the loop.
        outside: The moments of the Gaussian vectors that the loop reads; None where they are 0.
        noise: Standard normal variables.
        num_inputs: N.
    """
    length, by_step = cell.body.length, noise.reshape(len(noise), cell.body.length, len(cell.units), num_inputs)
    blocks = [by_step[:, :, jnp.array(block)].reshape(len(noise), -1).T for block in cell.blocks]
    known = {node: jnp.asarray(value, noise.dtype) for node, value in numbers.items()}
    given = Given(cell, numbers, {**known, **scalars}, outside, blocks, num_inputs)

    def step(walk: Walk, t: Array) -> tuple[Walk, list[Rows]]:
        now = OneStep(given, walk, t)
        for level in cell.levels:
            for product in (product for unit in level for product, _ in cell.units[unit].products):
                number, ago = cell.operand(product)
                if not ago:
                    now.look_at(number)
            now.draw(level)
        for number in range(len(cell.probes)):
            now.look_at(number)
        return now.after(), now.rows

    ends = sorted({-(-length * part // _SEGMENTS) for part in range(1, _SEGMENTS + 1)})
    walk, found, start = _beginning(given, ends[0]), [], 0
    for end in ends:
        walk, rows = lax.scan(step, _longer(given, walk, end), jnp.arange(start, end))
        found.append(jax.tree.map(lambda row, end=end: jnp.pad(row, [(0, 0), (0, length - end), (0, 0), (0, 0)]), rows))
        start = end
    rows = jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)
    moments = {}
    for pair, row in zip(cell.pairs, rows, strict=True):
        moments[pair] = jax.tree.map(_both_triangles, row, rows[cell.pairs.index(pair[::-1])])
    return Sampled(moments, [jnp.mean(probe.values, axis=-1) for probe in walk.probes])


def _beginning(given: Given, length: int) -> Walk:
    """Before the first step, with room for so many."""
    cell, N, S = given.cell, given.num_inputs, given.num_samples
    states, units = range(len(cell.states)), range(len(cell.units))

    def draws() -> Array:
        return given.zeros(length, N, S)

    return Walk(
        states=[given.zeros(N, S) for _ in states],
        probes=[Probe(draws(), [draws() for _ in states], [draws() for _ in units]) for _ in cell.probes],
        R=[[given.zeros(length, N, N, S) for _ in units] for _ in states],
        Q=[[given.zeros(length + 1, N, N, S) for _ in states] for _ in states],
        step_in_states=[[draws() for _ in states] for _ in states],
        step_in_units=[[draws() for _ in units] for _ in states],
        rows=[Rows(given.zeros(length, N, N), given.zeros(length, N, N)) for _ in cell.pairs],
        whitenings=[given.zeros(length * len(block) * N, length * len(block) * N) for block in cell.blocks],
    )


def _longer(given: Given, walk: Walk, length: int) -> Walk:
    """With room for so many steps."""

    def longer(have: Array, want: jax.ShapeDtypeStruct) -> Array:
        return jnp.pad(have, [(0, w - h) for h, w in zip(have.shape, want.shape, strict=True)])

    return jax.tree.map(longer, walk, jax.eval_shape(lambda: _beginning(given, length)))


def _both_triangles(row: Array, other: Array) -> Array:
    """Moments (t, s) for s ≤ t, and for s > t those of (s, t) with the inputs exchanged."""
    lower = jnp.tril(jnp.ones(row.shape[:2], bool))[:, :, None, None]
    return jnp.where(lower, row, jnp.transpose(other, (1, 0, 3, 2)))
