"""What a sampled loop reads: moments of Gaussian vectors outside it, at all steps of all inputs (theory.md 3.13)."""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ntk.programs.language.atoms import Atom, MatMul
from ntk.programs.language.loops import AtStep, Loop, Scanned
from ntk.programs.language.scalars import Scalar
from ntk.programs.limit.arrays.indices import Indices, all_pairs
from ntk.programs.limit.arrays.plan import Alone, Pair, Plan, plan
from ntk.programs.limit.arrays.rules import rule_of
from ntk.programs.limit.arrays.values import Values
from ntk.programs.limit.forms import Forms
from ntk.programs.limit.loops.cells import Cell, cell_of
from ntk.programs.limit.loops.step import Outside, Rows
from ntk.programs.limit.loops.twins import Walked, walked_loops

# By two sides, the first one not after the second, and by two Gaussian vectors: (N1, N2, …), the steps behind.
Blocks = dict[tuple[int, int], dict[tuple[Atom, Atom], Rows]]


def cell_of_loop(forms: Forms, loop: Loop) -> Cell:
    """The step of a loop."""
    return forms.recording.once(_make_cell, forms, loop)


def _make_cell(forms: Forms, loop: Loop) -> Cell:
    return cell_of(forms, loop, [node.vector for node in stacked_of(forms, loop)])


def stacked_of(forms: Forms, loop: Loop) -> list[Scanned]:
    """The stacked vectors of a loop that the program reads."""
    return [node for node in forms.recording.nodes if isinstance(node, Scanned) and node.loop is loop]


def outside_plan(forms: Forms, loop: Loop, first: int, second: int) -> Plan:
    """What is needed of the Gaussian vectors that a loop reads, between two sides or of one side's inputs."""
    return forms.recording.once(_plan_outside, forms, loop, first, second)


def _plan_outside(forms: Forms, loop: Loop, first: int, second: int) -> Plan:
    cell = cell_of_loop(forms, loop)
    (walked,) = (each for each in walked_loops(forms) if each.loop is loop)
    goals = {_outer(walked, a, b, first, second): _indices(a, b) for a, b in _given(cell)}
    alone = [[Alone(walked.of(side, node)) for node in scalars_of(cell)] for side in (first, second)]
    return plan(functools.partial(rule_of, forms), goals, alone[0], None if first == second else alone[1])


def _given(cell: Cell) -> Iterator[tuple[Atom, Atom]]:
    """The pairs of Gaussian vectors of which moments are read."""
    for block in cell.blocks:
        atoms = [atom for place in block for atom, _ in cell.units[place].terms if not isinstance(atom, MatMul)]
        yield from ((a, b) for a in atoms for b in atoms if cell.forms.families(a) & cell.forms.families(b))


def scalars_of(cell: Cell) -> list[Scalar]:
    """The scalars that a step reads."""
    return [node for node in cell.body.reads if isinstance(node, Scalar)]


def _outer(walked: Walked, a: Atom, b: Atom, first: int, second: int) -> Pair:
    """The pair outside the loop."""
    at = walked.of(first, a), walked.of(second, b)
    return Pair(*(atom.vector if isinstance(atom, AtStep) else atom for atom in at))


def _indices(a: Atom, b: Atom) -> Indices:
    return all_pairs(int(isinstance(a, AtStep)), int(isinstance(b, AtStep)))


def block_of(
    walked: Walked, cell: Cell, values: Values, steps: Plan, first: int, second: int
) -> dict[tuple[Atom, Atom], Rows]:
    """The moments between two sides, with zeros after the last step of the shorter of two loops."""
    found, length, block = values.follow(steps.cross), cell.body.length, {}

    def of_all_steps(part: Array) -> Array:
        return jnp.pad(part, [(0, 0), (0, 0), *((0, length - size) for size in part.shape[2:])])

    for a, b in _given(cell):
        key, indices = _outer(walked, a, b, first, second), _indices(a, b)
        moments = found.of(key, indices)
        filled = (values.filled(part, key, indices) for part in (moments.C, moments.tau))
        block[a, b] = Rows(*map(of_all_steps, filled))
    return block


def outside_of(cell: Cell, blocks: Blocks, num_sides: int) -> Outside:
    """What a step is given."""
    given = {(a, b): _joined(blocks, a, b, num_sides) for a, b in _given(cell)}

    def outside(a: Atom, b: Atom, t: Array) -> Rows | None:
        """Of a at step t and b at all steps, (T, N, N)."""
        if (a, b) not in given:
            return None

        def row(array: Array) -> Array:
            if isinstance(a, AtStep):
                array = lax.dynamic_index_in_dim(array, t, 2, keepdims=False)
            array = jnp.moveaxis(array, -1, 0) if isinstance(b, AtStep) else array[None]
            return jnp.broadcast_to(array, (cell.body.length, *array.shape[1:]))

        return Rows(row(given[a, b].C), row(given[a, b].tau))

    return outside


def _joined(blocks: Blocks, a: Atom, b: Atom, num_sides: int) -> Rows:
    """The moments of all inputs with each other. Below the diagonal a and b change places."""
    sides = range(num_sides)

    def transposed(part: Array) -> Array:
        part = jnp.swapaxes(part, 0, 1)
        return jnp.swapaxes(part, 2, 3) if part.ndim == 4 else part

    def block(first: int, second: int) -> Rows:
        if first <= second:
            return blocks[first, second][a, b]
        return jax.tree.map(transposed, blocks[second, first][b, a])

    rows = [jax.tree.map(lambda *parts: jnp.concatenate(parts, 1), *(block(i, j) for j in sides)) for i in sides]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *rows)
