"""The forward pass of a recorded program at finite width and one input, with alike operations of one level done as one.

Positions of a sequence ask for the same operations on different vectors. Operations that can be done at the same time
become one: one product of a matrix with all its operands, one layer norm of all positions. So the compiled program
grows with the depth of the network and not with the number of positions. A field is one array with its position axes.
"""

import copy
import functools
import math
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PyTree

from ntk.linalg import highest_einsum, highest_matmul
from ntk.programs.at_width.schedule import alike_operations, is_product, operands_of
from ntk.programs.language.atoms import (
    BatchMean,
    Bias,
    Convolve,
    Dropped,
    Embed,
    Entries,
    MatMul,
    Mixed,
    Moved,
    Nonlin,
    One,
    Tap,
    Transposed,
)
from ntk.programs.language.graph import Node
from ntk.programs.language.loops import Loop, Scanned
from ntk.programs.language.outputs import Features
from ntk.programs.language.program import Recording
from ntk.programs.language.scalars import Apply, Constant, Entry, Moment, Option, Scores, Table, Value, Width
from ntk.programs.language.vectors import Vector
from ntk.programs.scalar_values import applied_at_one_input, with_axes

BATCH = "inputs"  # the name of the axis over which a batch mean is taken


class ForwardPass:
    """The values of all nodes of a program at one input of the batch: `passed[node]`.

    Attributes:
        recording: The program.
        numbers: The values of its options.
        params: Its parameters.
        entries: The input.
        width: n.
        taps: By the name of a watched vector, the vector added to it.
        key: Of the masks of dropout; None for none.
    """

    def __init__(
        self,
        recording: Recording,
        numbers: dict[str, Array],
        params: dict[str, Array],
        entries: Float[Array, " F"],
        width: int,
        taps: dict[str, Array],
        key: Array | None = None,
    ):
        self.recording, self.numbers, self.params = recording, numbers, params
        self.entries, self.width, self.taps, self.key = entries, width, taps, key
        self._places: dict[Node, tuple[PyTree, int | None]] = {}  # a value, or a row of an array
        self._run(recording.once(alike_operations, tuple(recording.nodes)))

    def _run(self, groups: list[list[Node]]) -> None:
        """The values of operations in groups of alike ones."""
        for nodes in groups:
            alike = [node for node in nodes if isinstance(node, Vector) and not node.shape]
            values = self._combinations(alike) if alike else self._values(nodes)
            self._places.update({node: (values, None if len(nodes) == 1 else row) for row, node in enumerate(nodes)})

    def __getitem__(self, node: Node) -> PyTree:
        array, row = self._places[node]
        return array if row is None else array[row]

    def results(self) -> tuple[Array, dict[str, Array]]:
        """The output, and the watched vectors by name."""
        output = self[self.recording.output.offset]
        for weight, read in self.recording.output.readouts:
            value, v = self[read], self[weight.std] * self.params[weight.name] + self[weight.mean]
            output += jnp.tensordot(value / value.size**0.5, v, value.ndim)
        return jnp.asarray(output, self.entries.dtype), {
            name: self[vector] + self[tap] for name, (tap, vector) in self.recording.watched.items()
        }

    def _column(self, nodes: Sequence[Node]) -> tuple[PyTree, int | None]:
        """The values of one operand of alike operations. If they differ, also the axis that they are stacked along."""
        if all(node is nodes[0] for node in nodes):
            return self[nodes[0]], None
        starts: dict[int, int] = {}  # by its id, where an array begins in the concatenation of all that are read
        arrays: list[Array] = []
        rows: list[int] = []
        for node in nodes:
            found, row = self._places[node]
            if id(found) not in starts:
                starts[id(found)] = sum(len(array) for array in arrays)
                array = jnp.asarray(found, self.entries.dtype)
                arrays.append(array[None] if row is None else array)
            rows.append(starts[id(found)] + (row or 0))
        stacked = arrays[0] if len(arrays) == 1 else jnp.concatenate(arrays)
        in_order = rows == list(range(len(stacked)))
        return (stacked if in_order else jnp.take(stacked, jnp.array(rows), axis=0, mode="clip")), 0

    def _combinations(self, vectors: Sequence[Vector]) -> Array:
        """Σ c·z for P vectors of equally many terms, (P, n), or (n,) for one. Atoms that all share are one product."""
        total: Array = jnp.zeros((self.width,) if len(vectors) == 1 else (len(vectors), self.width), self.entries.dtype)
        shared: dict[Node, tuple[Node, ...]] = {}
        for terms in zip(*(vector.terms for vector in vectors), strict=True):
            atoms, factors = zip(*terms, strict=True)
            if all(atom is atoms[0] for atom in atoms):
                shared[atoms[0]] = factors
            else:
                total += self._factor(factors) * self._column(atoms)[0]
        if len(shared) <= 2:
            rows = {atom: jnp.expand_dims(self[atom], range(total.ndim - 1)) for atom in shared}
            return total + sum(self._factor(factors) * rows[atom] for atom, factors in shared.items())
        # As one product of matrices, XLA computes it once and not again wherever it is read.
        every, _ = self._column([factor for factors in shared.values() for factor in factors])
        weights = jnp.broadcast_to(jnp.asarray(every, total.dtype), (len(shared) * len(vectors),))
        weights = weights.reshape(len(shared), len(vectors)) if len(vectors) > 1 else weights
        # Sums and averages keep their digits; products with matrices have JAX's default precision.
        return total + highest_matmul(weights.T, self._column(list(shared))[0])

    def _factor(self, factors: Sequence[Node]) -> Value:
        """A number for all vectors, or a column of one for each."""
        value, axis = self._column(factors)
        return value if axis is None else value[:, None]

    def _values(self, nodes: Sequence[Node]) -> PyTree:
        """The values of alike operations, stacked. The value of a single one is not."""
        operands = [self._column(column) for column in zip(*map(operands_of, nodes), strict=True)]
        if isinstance(nodes[0], Embed):
            places = jnp.array([node.source.places for node in nodes if isinstance(node, Embed)])
            operands.append((self.entries[places], 0) if len(nodes) > 1 else (self.entries[places[0]], None))
        operation = functools.partial(self._value, nodes[0])
        values, axes = zip(*operands, strict=True) if operands else ((), ())
        return operation(*values) if len(nodes) == 1 else jax.vmap(operation, in_axes=axes)(*values)

    def _value(self, node: Node, *operands: PyTree) -> PyTree:
        """The value of the node's operation for these operands."""
        dtype = self.entries.dtype
        match node:
            case Constant(value=value):
                return value
            case Option(name=name):
                return self.numbers[name]
            case Width():
                return float(self.width)
            case Moment(vector=vector):
                return self._mean(vector, operands)
            case Apply():
                return applied_at_one_input(node, list(operands))
            case Entry(place=place):
                return operands[0][..., place]
            case Table(array=array):
                return jnp.asarray(array, dtype)
            case One(axes=axes):
                return jnp.ones((*axes, self.width), dtype)
            case Vector():
                rank = len(node.shape)
                parts = (_beside(c, rank) * z for c, z in zip(operands[1::2], operands[::2], strict=True))
                return sum(parts, jnp.zeros((*node.shape, self.width), dtype))
            case Moved(map=move):
                return move.apply(operands[0], move.axis)
            case Transposed(order=order):
                return jnp.transpose(operands[0], (*order, -1))
            case Mixed():
                return highest_matmul(*operands)
            case Convolve():
                return self._convolved(node, *operands)
            case Loop():
                return self._scanned(node)
            case Scanned(number=number):
                return operands[0][number]
            case MatMul(parameter=parameter, transposed=transposed):
                std, z = operands
                W = self.params[parameter.name]
                return std / self.width**0.5 * (z @ (W.T if transposed else W))
            case Embed(parameter=parameter) if parameter.is_looked_up:
                std, tokens = operands
                return std * jnp.take(self.params[parameter.name], tokens[..., 0].astype(int), axis=0)
            case Embed(parameter=parameter):
                std, part = operands
                return std / part.shape[-1] ** 0.5 * (part @ self.params[parameter.name])
            case Features(size=size, terms=terms):
                parts = (self.entries[jnp.array(entries)] for entries, _ in terms)
                return sum(map(operator.mul, operands, parts), jnp.zeros((size,), dtype))
            case Bias(parameter=parameter):
                return operands[0] * self.params[parameter.name]
            case Tap(name=name, axes=axes):
                return self.taps.get(name, jnp.zeros((*axes, self.width), dtype))
            case Nonlin(function=function):
                rank = len(node.shape)
                args = zip(node.args, operands, strict=True)
                return function.fn(*(z if isinstance(arg, Vector) else _beside(z, rank) for arg, z in args))
            case Scores():
                return highest_einsum("pn,qn->pq", *operands) / self.width**0.5
            case Dropped(site=(number, *_)):
                keep, z = operands
                if self.key is None:
                    return z
                mask = jax.random.bernoulli(jax.random.fold_in(self.key, number), keep, z.shape)
                return jnp.where(mask, z / keep, 0.0)
            case BatchMean():
                return lax.pmean(operands[0], BATCH)

    def _mean(self, vector: Vector, operands: Sequence[PyTree]) -> Array:
        total, left = jnp.zeros(vector.shape, self.entries.dtype), iter(operands)
        for atom, _ in vector.terms:
            factor, z = next(left), next(left)
            mean = self._inner_product(z, next(left)) if is_product(atom) else jnp.mean(z, axis=-1)
            total += with_axes(factor, len(vector.shape), lead=0) * mean
        return total

    def _inner_product(self, a: Array, b: Array) -> Array:
        """(1/n) a·b as a product of matrices. As a sum over a∘b, XLA would compute a and b again in each sum."""
        return highest_einsum("...n,...n->...", a, b) / self.width

    def _scanned(self, loop: Loop) -> list[Array]:
        """What the steps of a loop give, (T, *P, n) each."""
        body = loop.body
        groups = self.recording.once(alike_operations, tuple(body.nodes))

        def step(states: list[Array], at: tuple[Array | None, list[Array]]) -> tuple[list[Array], list[Array]]:
            here, (number, parts) = copy.copy(self), at
            if self.key is not None and number is not None:
                here.key = jax.random.fold_in(self.key, number)
            here._places = dict(self._places)
            here._places.update({node: (value, None) for node, value in zip(body.states, states, strict=True)})
            here._places.update({node: (value, None) for node, value in zip(body.fields, parts, strict=True)})
            here._run(groups)
            return [here[carry] for carry in body.carries], [here[out] for out in body.outs]

        every = [self[read.vector] for read in body.fields]
        numbers = None if self.key is None else jnp.arange(body.length)
        return lax.scan(step, [self[z] for z in loop.initial], (numbers, every), length=body.length)[1]

    def _convolved(self, node: Convolve, std: Value, *source: Array) -> Array:
        """(σ/√(kn)) Σ_o W_o z_{sp+o}."""
        z = self.entries[node.source.places] if isinstance(node.source, Entries) else source[0]
        W, windows = self.params[node.parameter.name], node.windows
        factor = std / (math.prod(window.size for window in windows) * z.shape[-1]) ** 0.5
        if not node.shared:
            parts = [z]
            for axis, window in enumerate(windows):
                parts = [shifted for part in parts for shifted in window.reads(part, (axis,))]
            reads = jnp.stack(parts, axis=-2)
            W = W.reshape(*reads.shape, self.width)
            return factor * jnp.einsum("...kc,...kcn->...n", reads, W)
        padding = [window.padding for window in windows]
        if any(window.circular for window in windows):
            z, padding = jnp.pad(z, [*padding, (0, 0)], mode="wrap"), [(0, 0) for _ in windows]
        letters = "XYZUVWABDEFGHJKLM"[: len(windows)]
        found = lax.conv_general_dilated(
            z[None],
            W,
            [window.stride for window in windows],
            padding,
            rhs_dilation=[window.dilation for window in windows],
            dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        )
        return factor * found[0]


def _beside(scalar: Value, rank: int) -> Value:
    """A scalar, of each position if it has axes, to broadcast against vectors with so many position axes."""
    return jnp.expand_dims(with_axes(scalar, rank, lead=0), -1) if jnp.ndim(scalar) else scalar
