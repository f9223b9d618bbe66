"""What one step of a sampled loop draws and what it computes of it: the body as a coordinate-wise function.

A unit is a sum of Gaussian vectors that the step reads together, such as W h + U ξ + b of a gate. It is drawn as one.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntk.programs.language.atoms import Atom, Gaussian, MatMul, Nonlin, One
from ntk.programs.language.graph import Node
from ntk.programs.language.loops import AtStep, Body, Loop, State
from ntk.programs.language.scalars import Apply, Constant, Entry, Moment, Scalar, is_number
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.arrays.plan import NotOnArrays
from ntk.programs.limit.forms import Forms
from ntk.programs.scalar_values import applied_to_each

Draws = Float[Array, "N S"]  # of a coordinate, for each input


class Unit(NamedTuple):
    """Σ c·G of Gaussian vectors, which is drawn as one.

    Attributes:
        terms: Gaussian vectors and their coefficients.
    """

    terms: tuple[tuple[Atom, float], ...]

    @property
    def products(self) -> list[tuple[MatMul, float]]:
        """The terms that are products with a matrix of the loop."""
        return [(atom, c) for atom, c in self.terms if isinstance(atom, MatMul)]


@dataclass
class Cell:
    """The body of a loop, to be sampled.

    Attributes:
        forms: What is known of the program.
        loop: The loop.
        units: What is drawn at a step, in order.
        blocks: The places of units that may be correlated with each other, in the order in which they are drawn.
        states: The states that the step reads coordinate by coordinate, and not through matrices alone.
        parts: Of each vector with Gaussian terms, the places of its units and their factors.
        probes: The vectors of which moments are taken.
        pairs: The places of two probes whose moments are asked for.
        levels: Places of units that can be drawn together, in order.
    """

    forms: Forms
    loop: Loop
    units: list[Unit] = field(default_factory=list)
    blocks: list[list[int]] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    parts: dict[Vector, list[tuple[int, Scalar]]] = field(default_factory=dict)
    probes: list[Vector] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    levels: list[list[int]] = field(default_factory=list)

    @property
    def body(self) -> Body:
        """The step."""
        return self.loop.body

    def block_of(self, unit: int) -> list[int]:
        """The units that it may be correlated with, itself among them."""
        return next(block for block in self.blocks if unit in block)

    def operand(self, product: MatMul) -> tuple[int, int]:
        """The place of the probe that a matrix reads, and how many steps ago it was computed."""
        state = _state_alone(product.vector)
        vector = product.vector if state is None else self.body.carries[state.number]
        return self.probes.index(vector), int(state is not None)

    def evaluated(
        self, vector: Vector, states: list[Draws], units: list[Draws | None], known: dict[Node, Array]
    ) -> dict[Node, Array]:
        """Draws of a vector, and the values of all that it is made of, from states, units and some scalars."""
        values: dict[Node, Array] = dict(known)
        values.update(zip(self.states, states, strict=True))
        some = [*states, *(unit for unit in units if unit is not None)][0]

        def of(node: Node) -> Array:
            if node not in values:
                values[node] = compute(node)
            return values[node]

        def of_each(node: Node) -> Array:
            return _beside(of(node)) if isinstance(node, Scalar) else of(node)

        def compute(node: Node) -> Array:
            match node:
                case Constant(value=value):
                    return jnp.asarray(value, some.dtype)
                case One():
                    return jnp.ones_like(some)
                case Nonlin(function=function, args=args):
                    return function.fn(*map(of_each, args))
                case Moment(vector=inner):
                    return jnp.mean(of(inner), axis=-1)
                case Apply(args=args):
                    return jnp.asarray(applied_to_each(node, [of(arg) for arg in args], some.dtype))
                case Entry(of=several, place=place):
                    return of(several)[..., place]
                case Vector():
                    total = jnp.zeros_like(some)
                    for place, factor in self.parts.get(node, []):
                        unit = units[place]
                        assert unit is not None
                        total += of_each(factor) * unit
                    for atom, factor in node.terms:
                        if not is_drawn(self.forms, atom):
                            total += of_each(factor) * of(atom)
                    return total
            raise NotOnArrays

        of(vector)
        return values


def cell_of(forms: Forms, loop: Loop, outs: Iterable[Vector]) -> Cell:
    """The body of a loop, to be sampled for the moments of some of its vectors.

    Raises:
        NotOnArrays: No rule gives something that the loop reads or does.
    """
    cell, body = Cell(forms, loop), loop.body
    for node in (*body.nodes, *body.reads):
        if isinstance(node, Atom | Scalar | Vector) and not (_has_rule(forms, node) and not node.shape):
            raise NotOnArrays
    if any(isinstance(node, MatMul) or _depends_on_draws(forms, node) for node in body.reads):
        raise NotOnArrays
    if any(z.terms for z in loop.initial):
        raise NotOnArrays
    vectors = [node for node in body.nodes if isinstance(node, Vector)]
    _find_units(cell, vectors)
    _find_states(cell)
    outs = list(dict.fromkeys(outs))
    cell.probes = list(
        dict.fromkeys([*outs, *(_operand(body, atom) for unit in cell.units for atom, _ in unit.products)])
    )
    wanted = {(cell.probes.index(a), cell.probes.index(b)) for a in outs for b in outs}
    for block in cell.blocks:
        products = [atom for place in block for atom, _ in cell.units[place].products]
        for a in products:
            for b in products:
                if a.family == b.family:
                    if cell.operand(a)[1] != cell.operand(b)[1]:
                        raise NotOnArrays  # A matrix that reads a state and another vector: unequal steps meet.
                    wanted.add((cell.operand(a)[0], cell.operand(b)[0]))
    cell.pairs = sorted(wanted)
    _find_levels(cell)
    return cell


def _has_rule(forms: Forms, node: Node) -> bool:
    return isinstance(node, Vector | Scalar | Nonlin | One | State) or is_drawn(forms, node)


def _depends_on_draws(forms: Forms, node: Node) -> bool:
    """Whether it is a function or a sum, made outside the loop, of Gaussian vectors, which no unit of a step holds."""
    if isinstance(node, Vector):
        return any(forms.families(atom) for atom, _ in node.terms)
    return isinstance(node, Nonlin) and bool(forms.families(node))


def is_drawn(forms: Forms, node: Node) -> bool:
    """Whether it is Gaussian, and part of a unit."""
    if isinstance(node, AtStep):
        return all(forms.is_centred(atom) for atom, _ in node.vector.terms)
    return isinstance(node, Gaussian)


def _operand(body: Body, product: MatMul) -> Vector:
    state = _state_alone(product.vector)
    return product.vector if state is None else body.carries[state.number]


def _state_alone(vector: Vector) -> State | None:
    """The state that the vector is nothing but."""
    if len(vector.terms) == 1:
        ((atom, factor),) = vector.terms
        if isinstance(atom, State) and is_number(factor, 1.0):
            return atom
    return None


def _find_units(cell: Cell, vectors: list[Vector]) -> None:
    """Sums that no other vector reads a part of are units; otherwise each Gaussian vector is one."""
    sums: dict[Vector, tuple[Unit, Scalar] | None] = {}
    for vector in vectors:
        drawn = [(atom, factor) for atom, factor in vector.terms if is_drawn(cell.forms, atom)]
        if not drawn:
            continue
        factors = {factor for _, factor in drawn}
        one = vector.graph.make(Constant, 1.0)
        if len(factors) == 1:
            sums[vector] = Unit(tuple((atom, 1.0) for atom, _ in drawn)), factors.pop()
        elif all(isinstance(factor, Constant) for factor in factors):
            terms = tuple((atom, factor.value) for atom, factor in drawn if isinstance(factor, Constant))
            sums[vector] = Unit(terms), one
        else:
            sums[vector] = None
    whole = {found[0] for found in sums.values() if found is not None}
    atoms = [atom for unit in whole for atom, _ in unit.terms]
    apart = None in sums.values() or len(set(atoms)) < len(atoms)
    for vector in vectors:
        if vector in sums:
            found = sums[vector]
            if apart or found is None:
                drawn = [(atom, factor) for atom, factor in vector.terms if is_drawn(cell.forms, atom)]
                parts = [(Unit(((atom, 1.0),)), factor) for atom, factor in drawn]
            else:
                parts = [found]
            for unit, _ in parts:
                if unit not in cell.units:
                    cell.units.append(unit)
            cell.parts[vector] = [(cell.units.index(unit), factor) for unit, factor in parts]
    families = [frozenset().union(*(cell.forms.families(atom) for atom, _ in unit.terms)) for unit in cell.units]
    blocks: list[list[int]] = []
    for place in range(len(cell.units)):
        near = [block for block in blocks if any(families[place] & families[other] for other in block)]
        blocks = [block for block in blocks if block not in near] + [sorted([place, *itertools.chain(*near)])]
    cell.blocks = sorted(blocks)
    for block in cell.blocks:
        read = [atom for place in block for atom, _ in cell.units[place].terms]
        outside = frozenset().union(*(cell.forms.families(atom) for atom in read if not isinstance(atom, MatMul)))
        if any(isinstance(atom, MatMul) and atom.family in outside for atom in read):
            raise NotOnArrays


def _find_states(cell: Cell) -> None:
    found: set[State] = set()
    for vector in (*cell.body.carries, *cell.body.outs):
        if (state := _state_alone(vector)) is not None:
            found.add(state)
    for node in cell.body.nodes:
        for part in node.parts:
            if isinstance(part, State) and not (isinstance(node, Vector) and _state_alone(node) is not None):
                found.add(part)
            elif isinstance(part, Vector) and not isinstance(node, MatMul) and (state := _state_alone(part)):
                found.add(state)
    cell.states = [state for state in cell.body.states if state in found]


def _find_levels(cell: Cell) -> None:
    """A unit is drawn after those that what its matrices read depends on, and so it stands after them in its block."""
    depth: dict[Node, int] = {}

    def depth_of(node: Node) -> int:
        if node not in depth:
            depth[node] = 0
            if node in cell.body.nodes:
                parts = [depth_of(part) for part in node.parts if not is_drawn(cell.forms, part)]
                units = [level_of(place) for place, _ in cell.parts.get(node, [])] if isinstance(node, Vector) else []
                depth[node] = max([0, *parts, *(unit + 1 for unit in units)])
        return depth[node]

    def level_of(place: int) -> int:
        return max((depth_of(atom.vector) for atom, _ in cell.units[place].products), default=0)

    levels = [level_of(place) for place in range(len(cell.units))]
    cell.levels = [[place for place, level in enumerate(levels) if level == each] for each in sorted(set(levels))]
    cell.blocks = [sorted(block, key=levels.__getitem__) for block in cell.blocks]


def _beside(scalar: Array) -> Array:
    """A scalar of each input, (N,), beside draws (N, S)."""
    return jnp.expand_dims(scalar, -1) if jnp.ndim(scalar) == 1 else scalar
