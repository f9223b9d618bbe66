"""One step of a sampled loop: what is drawn, and how second moments and τ̂ go on (theory.md 3.13 and 3.14).

For each sample, τ̂(u, v) = Σ ∂u/∂y ∂v/∂ȳ τ(y, ȳ) over Gaussian y, ȳ is bilinear and has the product rule in each
argument; τ of two vectors is its mean. So states carry τ̂ with them: at step t, for all steps s before,

    R: τ̂(cᵗ, gˢ),   U: τ̂(cˢ, gᵗ),   Q: τ̂(cᵗ, cˢ)   for states c and units g.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ntk.linalg import highest_einsum, highest_matmul
from ntk.programs.language.atoms import Atom, MatMul
from ntk.programs.language.graph import Node
from ntk.programs.language.scalars import Value
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.draws.conditioning import root_of
from ntk.programs.limit.loops.cells import Cell, Draws

_Table = list[list[Array]]


class Rows(NamedTuple):
    """C and τ of a vector at one step and another at all steps, (T, N, N) each."""

    C: Array
    tau: Array


Outside = Callable[[Atom, Atom, Array], Rows | None]  # of two vectors, the first at a step, the second at all


class Given(NamedTuple):
    """What all steps are given.

    Attributes:
        cell: What a step computes.
        numbers: The values of scalars that do not depend on the inputs; and ησ² of the parameters whose learning rates
            are given.
        scalars: The values of all that are computed outside the loop.
        outside: The moments of the Gaussian vectors that the loop reads; None where they are 0.
        noise: By block, standard normal variables (T·K·N, S), K for the units of the block.
        num_inputs: N.
    """

    cell: Cell
    numbers: dict[Node, Value]
    scalars: dict[Node, Array]
    outside: Outside
    noise: list[Array]
    num_inputs: int

    @property
    def num_samples(self) -> int:
        """S."""
        return self.noise[0].shape[1]

    def zeros(self, *shape: int) -> Array:
        """In the dtype of the draws."""
        return jnp.zeros(shape, self.noise[0].dtype)


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
        rows: By pair of probes, the first at the last step and the second at all.
        whitenings: By block, the matrix that would find the normals of all draws.
    """

    states: list[Draws]
    probes: list[Probe]
    R: list[list[Array]]
    Q: list[list[Array]]
    step_in_states: list[list[Array]]
    step_in_units: list[list[Array]]
    rows: list[Rows]
    whitenings: list[Array]


class OneStep:
    """What is found at a step, one after another."""

    def __init__(self, given: Given, walk: Walk, t: Array):
        self.given, self.cell, self.walk, self.t = given, given.cell, walk, t
        self.length = len(walk.rows[0].C)  # of the segment
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
            for node, value in cell.evaluated(vector, states, self.units, self.given.scalars).items()
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
                    pairs = zip(self.rows[place], mirrored, strict=True)
                    self.rows[place] = Rows(*(self.put(row, self.at(other).T) for row, other in pairs))

    def tau_hats(self, in_states: list[Array], in_units: list[Array]) -> tuple[list[Array], list[Array]]:
        """τ̂ of a vector with the states before all steps, and with the units of all steps.

        `moments` adds the part of a unit with a unit, in which τ is one number for all samples.
        """
        cell, states = self.cell, range(len(self.cell.states))
        drawn = [place for place, unit in enumerate(self.units) if unit is not None]
        beside_states = []
        for second in states:
            of_states = (in_states[first][None, :, None] * self.walk.Q[first][second][:-1] for first in states)
            of_units = (in_units[unit][None, :, None] * jnp.swapaxes(self.U[second, unit][:-1], 1, 2) for unit in drawn)
            beside_states.append(_sum(itertools.chain(of_states, of_units)))
        beside_units = [
            _sum(in_states[first][None, :, None] * self.R[first][unit] for first in states)
            for unit in range(len(cell.units) if states else 0)
        ]
        return beside_states, beside_units

    def moments(
        self,
        value: Draws,
        in_units: list[Array],
        beside_states: list[Array],
        beside_units: list[Array],
        second: int,
    ) -> Rows:
        """C and τ of a vector at t and of a probe at all steps, (T, N, N)."""
        probe, count = self.probes[second], self.given.num_samples
        C = highest_einsum("na,sma->snm", value, probe.values) / count
        tau = jnp.zeros_like(C)
        if beside_states:
            pairs = zip((*beside_states, *beside_units), (*probe.in_states, *probe.in_units), strict=True)
            tau += jnp.sum(_sum(hats * slopes[:, None] for hats, slopes in pairs), axis=-1) / count
        for (unit, other), of_units in self.taus.items():
            both = highest_einsum("na,sma->snm", in_units[unit], probe.in_units[other]) / count
            tau += both * of_units
        return Rows(C, tau)

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
        C = tau = self.given.zeros(self.length, self.given.num_inputs, self.given.num_inputs)
        for a, c in self.cell.units[unit].terms:
            for b, e in self.cell.units[other].terms:
                if isinstance(a, MatMul) and isinstance(b, MatMul):
                    if a.family == b.family:
                        found = self.of_products(a, b)
                        C, tau = C + c * e * found.C, tau + c * e * found.tau
                elif not (isinstance(a, MatMul) or isinstance(b, MatMul)):
                    given = self.given.outside(a, b, self.t)
                    if given is not None:
                        C += c * e * given.C[: self.length]
                        tau += c * e * given.tau[: self.length]
        return C, tau

    def of_products(self, a: MatMul, b: MatMul) -> Rows:
        """C = σ² C(z, z̄) and τ = σ² (ηC + τ)(z, z̄) of what a matrix reads."""
        (first, ago), (second, _) = self.cell.operand(a), self.cell.operand(b)
        numbers, dtype = self.given.numbers, self.walk.rows[0].C.dtype
        variance = jnp.asarray(numbers[a.parameter.std] ** 2, dtype)
        trained = jnp.asarray(numbers[a.parameter], dtype) if a.parameter in numbers else variance
        place = self.cell.pairs.index((first, second))
        C, tau = (self.walk.rows if ago else self.rows)[place]
        if ago:  # the states before the step
            C, tau = (jnp.roll(row, 1, 0).at[0].set(0.0) for row in (C, tau))
        return Rows(variance * C, trained * C + variance * tau)

    def draw_given(self, unit: int, block: list[int], covariances: dict[int, Array]) -> None:
        """Draws of a unit, given those of its block before."""
        number, N = self.cell.blocks.index(block), self.given.num_inputs
        place, K = block.index(unit), len(block)
        steps = jnp.arange(self.length)[:, None]
        before = (steps < self.t) | ((steps == self.t) & (jnp.arange(K) < place)[None])
        columns = jnp.stack([covariances[other] for other in block], axis=1)  # (T, K, N of t, N of s)
        columns = jnp.where(before[:, :, None, None], columns, 0.0)
        columns = jnp.swapaxes(columns, 2, 3).reshape(-1, N)
        itself = self.at(covariances[unit])
        whitening, noise = self.whitenings[number], self.given.noise[number][: self.length * K * N]
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

        def step(before: _Table, here: tuple[_Table, _Table, _Table]) -> tuple[_Table, _Table]:
            in_states, in_units, taus = here

            def entry(state: int, number: int, unit: int) -> Array:
                of_states = (in_states[state][other][:, None] * before[other][number] for other in states)
                pairs = zip(sources[unit], taus[number], strict=True)
                of_units = (in_units[state][other][:, None] * tau[:, :, None] for (other, _), tau in pairs)
                return _sum(itertools.chain(of_states, of_units))

            after = [[entry(state, number, unit) for number, unit in enumerate(level)] for state in states]
            return after, after

        N, S = self.given.num_inputs, self.given.num_samples
        nothing = [[self.given.zeros(N, N, S) for _ in level] for _ in states]
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

        def with_unit(state: int, unit: int) -> Array:
            of_states = (J[state][other][None, :, None] * self.R[other][unit] for other in states)
            block = cell.block_of(unit)
            of_units = (D[state][other][None, :, None] * self.taus[other, unit][..., None] for other in block)
            return _sum(itertools.chain(of_states, of_units))

        def with_earlier(first: int, second: int) -> Array:
            of_states = (J[first][other][None, :, None] * self.walk.Q[other][second] for other in states)
            of_units = (D[first][unit][None, :, None] * jnp.swapaxes(self.U[second, unit], 1, 2) for unit in units)
            return _sum(itertools.chain(of_states, of_units))

        def with_itself(first: int, second: int) -> Array:
            """With the state after this step, by the product rule in the second argument."""
            of_states = (J[second][other][None] * self.at(Q[first][other]) for other in states)
            of_units = (D[second][unit][None] * self.at(R[first][unit]) for unit in units)
            return _sum(itertools.chain(of_states, of_units))

        R = [[with_unit(state, unit) for unit in units] for state in states]
        Q = [[with_earlier(first, second) for second in states] for first in states]
        last = [[with_itself(first, second) for second in states] for first in states]
        Q = jax.tree.map(lambda row, entry: lax.dynamic_update_index_in_dim(row, entry, self.t + 1, 0), Q, last)
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


def _sum(terms: Iterable[Array]) -> Array:
    first, *others = terms
    return sum(others, first)
