"""A sampled loop, step by step: draws, second moments and tangent kernels of its vectors (theory.md 3.13).

For each sample, τ̂(u, v) = Σ ∂u/∂y ∂v/∂ȳ τ(y, ȳ) over Gaussian y, ȳ is bilinear and has the product rule in each
argument; τ of two vectors is its mean. So states carry τ̂ with them: at step t, for all steps s before,

    R: τ̂(cᵗ, gˢ),   U: τ̂(cˢ, gᵗ),   Q: τ̂(cᵗ, cˢ)   for states c and units g.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ntk.linalg import highest_einsum, highest_matmul
from ntk.programs.language.atoms import Atom, MatMul
from ntk.programs.language.graph import Node
from ntk.programs.language.scalars import Value
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.arrays.plan import Moments
from ntk.programs.limit.draws.conditioning import root_of
from ntk.programs.limit.loops.cells import Cell, Draws

Outside = Callable[[Atom, Atom, Array], Moments | None]  # of two vectors, the first at a step, the second at all
_SEGMENTS = 3  # A step looks at all steps up to the end of its segment, and not at all T.


class Probe(NamedTuple):
    """A vector at each step, (T, N, S) each.

    Attributes:
        values: Draws.
        in_states: Derivatives in the states before the step.
        in_units: Derivatives in the units of the step.
    """

    values: Array
    in_states: list[Array]
    in_units: list[Array]


class Walk(NamedTuple):
    """What is known after some steps. Axes of steps are first; s stands at s + 1 in U and Q, which begin with zeros.

    Attributes:
        states: Draws of them, (N, S).
        probes: In the order of the cell.
        R: By state and unit, (T, N, N, S).
        Q: By two states, (T + 1, N, N, S).
        step_in_states: ∂cˢ/∂cˢ⁻¹ by two states, (T, N, S).
        step_in_units: ∂cˢ/∂gˢ by state and unit, (T, N, S).
        rows: By pair of probes, C and τ of the first at the last step and the second at all, (T, N, N).
        whitenings: By block, the matrix that would find the normals of all draws.
    """

    states: list[Draws]
    probes: list[Probe]
    R: list[list[Array]]
    Q: list[list[Array]]
    step_in_states: list[list[Array]]
    step_in_units: list[list[Array]]
    rows: list[Moments]
    whitenings: list[Array]


class Sampled(NamedTuple):
    """What a loop's samples give.

    Attributes:
        moments: By two probes, C and τ of the first at t and the second at s, (T, T, N, N).
        means: Of each probe at each step, (T, N).
    """

    moments: dict[tuple[int, int], Moments]
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
        outside: The moments of the Gaussian vectors that the loop reads: of one at a step and of one at all steps,
            (T, N, N); None where they are 0.
        noise: Standard normal variables.
        num_inputs: N.
    """
    length, num_units = cell.body.length, len(cell.units)
    blocks = []
    for block in cell.blocks:
        columns = noise.reshape(len(noise), length, num_units, num_inputs)[:, :, jnp.array(block)]
        blocks.append(columns.reshape(len(noise), -1).T)  # (T·K·N, S)
    step = _Step(cell, {**numbers, **scalars}, numbers, outside, blocks, num_inputs, noise.dtype)
    ends = sorted({-(-length * part // _SEGMENTS) for part in range(1, _SEGMENTS + 1)})
    walk, found, start = step.beginning(ends[0]), [], 0
    for end in ends:
        walk = step.longer(walk, end)
        walk, rows = lax.scan(step, walk, jnp.arange(start, end))
        found.append(jax.tree.map(lambda row, end=end: _padded(row, length - end, axis=1), rows))
        start = end
    rows = jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)
    moments = {}
    for pair, row in zip(cell.pairs, rows, strict=True):
        other = rows[cell.pairs.index(pair[::-1])]
        moments[pair] = jax.tree.map(_both_triangles, row, other)
    return Sampled(moments, [jnp.mean(probe.values, axis=-1) for probe in walk.probes])


def _both_triangles(row: Array, other: Array) -> Array:
    """Moments (t, s) for s ≤ t, and for s > t those of (s, t) with the inputs exchanged."""
    lower = jnp.tril(jnp.ones(row.shape[:2], bool))[:, :, None, None]
    return jnp.where(lower, row, jnp.transpose(other, (1, 0, 3, 2)))


def _padded(array: Array, count: int, axis: int = 0) -> Array:
    widths = [(0, count if place == axis else 0) for place in range(array.ndim)]
    return jnp.pad(array, widths)


class _Step:
    """One step, for `lax.scan`."""

    def __init__(
        self,
        cell: Cell,
        known: dict[Node, Any],
        numbers: dict[Node, Value],
        outside: Outside,
        noise: list[Array],
        num_inputs: int,
        dtype: jnp.dtype,
    ):
        self.cell, self.known, self.numbers, self.outside, self.noise = cell, known, numbers, outside, noise
        self.num_inputs, self.dtype = num_inputs, dtype
        self.num_samples = noise[0].shape[1]

    def zeros(self, *shape: int) -> Array:
        return jnp.zeros(shape, self.dtype)

    def beginning(self, length: int) -> Walk:
        """Before the first step."""
        cell, N, S = self.cell, self.num_inputs, self.num_samples
        states, units = range(len(cell.states)), range(len(cell.units))

        def draws() -> Array:
            return self.zeros(length, N, S)

        return Walk(
            [self.zeros(N, S) for _ in states],
            [Probe(draws(), [draws() for _ in states], [draws() for _ in units]) for _ in cell.probes],
            [[self.zeros(length, N, N, S) for _ in units] for _ in states],
            [[self.zeros(length + 1, N, N, S) for _ in states] for _ in states],
            [[draws() for _ in states] for _ in states],
            [[draws() for _ in units] for _ in states],
            [Moments(self.zeros(length, N, N), self.zeros(length, N, N)) for _ in cell.pairs],
            [self.zeros(length * len(block) * N, length * len(block) * N) for block in cell.blocks],
        )

    def longer(self, walk: Walk, length: int) -> Walk:
        """With room for so many steps."""
        wanted = jax.eval_shape(lambda: self.beginning(length))
        return jax.tree.map(
            lambda have, want: jnp.pad(have, [(0, w - h) for h, w in zip(have.shape, want.shape, strict=True)]),
            walk,
            wanted,
        )

    def __call__(self, walk: Walk, t: Array) -> tuple[Walk, list[Moments]]:
        cell, length = self.cell, len(walk.probes[0].values)
        now = _Now(self, walk, t, length)
        for level in cell.levels:
            for place in level:
                for product, _ in cell.units[place].products:
                    number, ago = cell.operand(product)
                    if not ago:
                        now.look_at(number)
            now.draw(level)
        for number in range(len(cell.probes)):
            now.look_at(number)
        return now.after(), now.rows


class _Now:
    """What is found at a step, one after another."""

    def __init__(self, step: _Step, walk: Walk, t: Array, length: int):
        self.step, self.cell, self.walk, self.t, self.length = step, step.cell, walk, t, length
        self.units: list[Draws | None] = [None for _ in self.cell.units]
        self.taus: dict[tuple[int, int], Array] = {}  # of a unit at t and one at all s, (T, N, N)
        self.U: dict[tuple[int, int], Array] = {}  # by state and unit
        self.R = [list(row) for row in walk.R]
        self.probes, self.rows, self.seen = list(walk.probes), list(walk.rows), set[int]()
        self.whitenings = list(walk.whitenings)

    def at(self, array: Array) -> Array:
        """The entry at t."""
        return lax.dynamic_index_in_dim(array, self.t, keepdims=False)

    def put(self, array: Array, entry: Array) -> Array:
        """The array with that entry at t."""
        return lax.dynamic_update_index_in_dim(array, entry, self.t, 0)

    def slopes(self, vector: Vector) -> tuple[Array, list[Array], list[Array]]:
        """A vector, and its derivatives in the states and in the units; scalars are constants."""
        cell, states = self.cell, self.walk.states
        scalars = {
            node: value
            for node, value in cell.evaluated(vector, states, self.units, self.step.known).items()
            if not isinstance(node, Atom | Vector)
        }
        drawn = [place for place, unit in enumerate(self.units) if unit is not None]

        def fn(*leaves: Array) -> Array:
            units: list[Draws | None] = [None for _ in cell.units]
            for place, leaf in zip(drawn, leaves[len(states) :], strict=True):
                units[place] = leaf
            return cell.evaluated(vector, list(leaves[: len(states)]), units, scalars)[vector]

        leaves = (*states, *(unit for unit in self.units if unit is not None))
        value, pushed = jax.linearize(fn, *leaves)
        zeros = [jnp.zeros_like(leaf) for leaf in leaves]
        found = []
        for place, leaf in enumerate(leaves):
            found.append(pushed(*zeros[:place], jnp.ones_like(leaf), *zeros[place + 1 :]))
        in_units = dict(zip(drawn, found[len(states) :], strict=True))
        nothing = jnp.zeros_like(value)
        return value, found[: len(states)], [in_units.get(place, nothing) for place in range(len(cell.units))]

    def look_at(self, number: int) -> None:
        """A probe at this step, with its moments beside all probes of all steps so far."""
        if number in self.seen:
            return
        self.seen.add(number)
        value, in_states, in_units = self.slopes(self.cell.probes[number])
        probe = self.probes[number]
        self.probes[number] = Probe(
            self.put(probe.values, value),
            [self.put(array, slope) for array, slope in zip(probe.in_states, in_states, strict=True)],
            [self.put(array, slope) for array, slope in zip(probe.in_units, in_units, strict=True)],
        )
        if any(first == number for first, _ in self.cell.pairs):
            beside_states, beside_units = self.tau_hats(in_states, in_units)
            for place, (first, second) in enumerate(self.cell.pairs):
                if first == number:
                    self.rows[place] = self.moments(value, in_units, beside_states, beside_units, second)
            for place, (first, second) in enumerate(self.cell.pairs):
                if second == number and first in self.seen and first != number:
                    mirrored = self.rows[self.cell.pairs.index((number, first))]
                    pairs = zip(self.rows[place][:2], mirrored[:2], strict=True)
                    self.rows[place] = Moments(*(self.put(row, self.at(other).T) for row, other in pairs))

    def tau_hats(self, in_states: list[Array], in_units: list[Array]) -> tuple[list[Array], list[Array]]:
        """τ̂ of a vector with the states before all steps, and with the units of all steps, less what is no sample's."""
        cell, states = self.cell, range(len(self.cell.states))
        drawn = [place for place, unit in enumerate(self.units) if unit is not None]
        beside_states = []
        for second in states:
            total = sum(
                (in_states[first][None, :, None] * self.walk.Q[first][second][:-1] for first in states),
                jnp.zeros((), self.step.dtype),
            )
            for unit in drawn:
                total += in_units[unit][None, :, None] * jnp.swapaxes(self.U[second, unit][:-1], 1, 2)
            beside_states.append(total)
        beside_units = [
            sum(
                (in_states[first][None, :, None] * self.R[first][unit] for first in states),
                jnp.zeros((), self.step.dtype),
            )
            for unit in range(len(cell.units))
        ]
        return beside_states, beside_units

    def moments(
        self,
        value: Draws,
        in_units: list[Array],
        beside_states: list[Array],
        beside_units: list[Array],
        second: int,
    ) -> Moments:
        """C and τ of a vector at t and of a probe at all steps, (T, N, N)."""
        probe, count = self.probes[second], self.step.num_samples
        C = highest_einsum("na,sma->snm", value, probe.values) / count
        total: Any = jnp.zeros((), self.step.dtype)
        for hats, slopes in zip((*beside_states, *beside_units), (*probe.in_states, *probe.in_units), strict=True):
            total += hats * slopes[:, None] if hats.ndim else 0.0
        tau = jnp.sum(total, axis=-1) / count if jnp.ndim(total) else jnp.zeros_like(C)
        for (unit, other), of_units in self.taus.items():
            both = highest_einsum("na,sma->snm", in_units[unit], probe.in_units[other]) / count
            tau += both * of_units
        return Moments(C, tau)

    def draw(self, level: list[int]) -> None:
        """The units that can be drawn together."""
        for unit in level:
            block = self.cell.block_of(unit)
            covariances = {}
            for other in block:
                covariances[other], self.taus[unit, other] = self.of_units(unit, other)
            self.draw_given(unit, block, covariances)
        for unit in level:
            for other in self.cell.block_of(unit):
                if (other, unit) in self.taus and other != unit:
                    same = self.at(self.taus[unit, other]).T
                    self.taus[other, unit] = self.put(self.taus[other, unit], same)
        if self.cell.states:
            self.look_back(level)

    def of_units(self, unit: int, other: int) -> tuple[Array, Array]:
        """C and τ of a unit at t and one at all steps, (T, N, N)."""
        nothing = jnp.zeros((self.length, self.step.num_inputs, self.step.num_inputs), self.step.dtype)
        C = tau = nothing
        for a, c in self.cell.units[unit].terms:
            for b, e in self.cell.units[other].terms:
                if isinstance(a, MatMul) and isinstance(b, MatMul):
                    if a.family == b.family:
                        found = self.of_products(a, b)
                        C, tau = C + c * e * found.C, tau + c * e * found.tau
                elif not (isinstance(a, MatMul) or isinstance(b, MatMul)):
                    given = self.step.outside(a, b, self.t)
                    if given is not None:
                        first, second = (self.cut(part) for part in (given.C, given.tau))
                        C, tau = C + c * e * first, tau + c * e * second
        return C, tau

    def cut(self, part: Array | None) -> Array:
        return jnp.zeros((), self.step.dtype) if part is None else part[: self.length]

    def of_products(self, a: MatMul, b: MatMul) -> Moments:
        """C = σ² C(z, z̄) and τ = σ² (C + τ)(z, z̄) of what a matrix reads."""
        (first, ago), (second, _) = self.cell.operand(a), self.cell.operand(b)
        variance = self.step.numbers[a.parameter.std] ** 2
        place = self.cell.pairs.index((first, second))
        C, tau = (self.walk.rows if ago else self.rows)[place][:2]
        if ago:  # the states before the step
            C, tau = (jnp.roll(row, 1, 0).at[0].set(0.0) for row in (C, tau))
        return Moments(variance * C, variance * (C + tau))

    def draw_given(self, unit: int, block: list[int], covariances: dict[int, Array]) -> None:
        """Draws of a unit, given those of its block before."""
        number, N = self.cell.blocks.index(block), self.step.num_inputs
        place, K = block.index(unit), len(block)
        steps = jnp.arange(self.length)[:, None]
        before = (steps < self.t) | ((steps == self.t) & (jnp.arange(K) < place)[None])
        columns = jnp.stack([covariances[other] for other in block], axis=1)  # (T, K, N of t, N of s)
        columns = jnp.where(before[:, :, None, None], columns, 0.0)
        columns = jnp.swapaxes(columns, 2, 3).reshape(-1, N)
        itself = self.at(covariances[unit])
        whitening, noise = self.whitenings[number], self.step.noise[number][: self.length * K * N]
        L = highest_matmul(whitening, columns)
        root, inverse = root_of(itself - highest_matmul(L.T, L), jnp.diagonal(itself))
        row = (self.t * K + place) * N
        fresh = lax.dynamic_slice_in_dim(noise, row, N)
        self.units[unit] = highest_matmul(L.T, noise) + highest_matmul(root.T, fresh)
        below = -highest_matmul(inverse, highest_matmul(L.T, whitening))
        whitening = lax.dynamic_update_slice(whitening, below, (row, jnp.zeros_like(row)))
        self.whitenings[number] = lax.dynamic_update_slice(whitening, inverse, (row, row))

    def look_back(self, level: list[int]) -> None:
        """U: τ̂ of the states after all steps so far with the units of this one, and from it a new column of R."""
        states = range(len(self.cell.states))
        sources = {
            unit: [
                (other, jnp.swapaxes(self.taus[unit, other], 1, 2))
                for other in self.cell.block_of(unit)
                if (unit, other) in self.taus
            ]
            for unit in level
        }

        def step(before: list[list[Array]], here: Any) -> tuple[list[list[Array]], list[list[Array]]]:
            in_states, in_units, taus = here
            after = []
            for state in states:
                row = []
                for number, unit in enumerate(level):
                    total = sum(in_states[state][other][:, None] * before[other][number] for other in states)
                    for (other, _), tau in zip(sources[unit], taus[number], strict=True):
                        total += in_units[state][other][:, None] * tau[:, :, None]
                    row.append(total)
                after.append(row)
            return after, after

        N, S = self.step.num_inputs, self.step.num_samples
        nothing = [[jnp.zeros((N, N, S), self.step.dtype) for _ in level] for _ in states]
        taus = [[tau for _, tau in sources[unit]] for unit in level]
        _, found = lax.scan(step, nothing, (self.walk.step_in_states, self.walk.step_in_units, taus))
        for state in states:
            for number, unit in enumerate(level):
                whole = jnp.concatenate([nothing[state][number][None], found[state][number]])
                self.U[state, unit] = whole
                self.R[state][unit] = self.put(self.R[state][unit], self.at(whole))

    def after(self) -> Walk:
        """What the next step starts from."""
        cell, states, units = self.cell, range(len(self.cell.states)), range(len(self.cell.units))
        found = [self.slopes(cell.body.carries[state.number]) for state in cell.states]
        J, D = [slopes for _, slopes, _ in found], [slopes for *_, slopes in found]
        R = []
        for state in states:
            row = []
            for unit in units:
                total = sum(J[state][other][None, :, None] * self.R[other][unit] for other in states)
                for other in cell.block_of(unit):
                    total += D[state][other][None, :, None] * self.taus[other, unit][..., None]
                row.append(total)
            R.append(row)
        Q = []
        for first in states:
            row = []
            for second in states:
                total = sum(J[first][other][None, :, None] * self.walk.Q[other][second] for other in states)
                for unit in units:
                    total += D[first][unit][None, :, None] * jnp.swapaxes(self.U[second, unit], 1, 2)
                row.append(total)
            # With the state after this step, by the product rule in the second argument.
            for second in states:
                last = sum(J[second][other][None] * self.at(row[other]) for other in states)
                for unit in units:
                    last += D[second][unit][None] * self.at(R[first][unit])
                row[second] = lax.dynamic_update_index_in_dim(row[second], last, self.t + 1, 0)
            Q.append(row)
        return Walk(
            [value for value, *_ in found],
            self.probes,
            R,
            Q,
            self.put_all(self.walk.step_in_states, J),
            self.put_all(self.walk.step_in_units, D),
            self.rows,
            self.whitenings,
        )

    def put_all(self, arrays: list[list[Array]], entries: list[list[Array]]) -> list[list[Array]]:
        """The arrays with those entries at t."""
        return jax.tree.map(self.put, arrays, entries)
