"""A program with fields as one without: each position of a field is a vector of its own.

What is read so costs as much as there are positions, or pairs of them. It needs no rule for positions, and is therefore
the reading that all rules are held against.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

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
    Parameter,
    Rearranged,
    Tap,
    Transposed,
)
from ntk.programs.language.functions import OfNumbers
from ntk.programs.language.graph import Graph, Node
from ntk.programs.language.inputs import Input
from ntk.programs.language.loops import Loop, Scanned
from ntk.programs.language.net import BatchNeed, Net
from ntk.programs.language.outputs import Output, as_output
from ntk.programs.language.positions import AxisMap, Repeat, Shape
from ntk.programs.language.program import Recording, Side, recorded
from ntk.programs.language.scalars import Apply, Constant, Entry, Moment, Option, Scalar, Table, Width
from ntk.programs.language.vectors import Vector, combination, single, zeros
from ntk.programs.language.weights import Matrix

Values = np.ndarray  # of vectors or scalars, one for each position
Results = TypeVar("Results")


def unrolled(recording: Recording) -> Recording:
    """The recording with a vector for each position; itself where no vector has positions."""
    if not any(isinstance(node, Vector | Scalar) and node.shape for node in recording.nodes):
        return recording
    return recording.once(_unrolled, recording)


def _unrolled(recording: Recording) -> Recording:
    unrolling = _Unrolling(recording)
    sides = [unrolling.side(side) for side in dict.fromkeys(recording.sides)]
    net = unrolling.net
    net.needs += [BatchNeed(need.rank, unrolling.number(need.unless), need.line) for need in recording.needs]
    net.nonnegative += [(name, unrolling.number(scalar)) for name, scalar in recording.nonnegative]
    return recorded(net, sides)


def with_fields(recording: Recording, results: Results) -> Results:
    """Kernels of the unrolled recording, in which those of a watched field are together: arrays (…, *P)."""

    def together(found: Array | dict[str, Array]) -> Array | dict[str, Array]:
        if not isinstance(found, dict) or not found:
            return found
        return {name: of_field(found, name, z1.shape, z2.shape) for name, (z1, z2) in recording.watched_twice.items()}

    def of_field(found: dict[str, Array], name: str, shape1: Shape, shape2: Shape) -> Array:
        shape = tuple(map(min, shape1, shape2))
        parts = [found[name_at(name, place)] for place in np.ndindex(shape)]
        return jnp.stack(parts, axis=-1).reshape(*parts[0].shape, *shape)

    return jax.tree.map(together, results, is_leaf=lambda node: isinstance(node, dict))


class _Unrolling:
    """The nodes of a new graph for each node of a recorded one: arrays of them, with its axes."""

    def __init__(self, recording: Recording):
        self.graph = Graph()
        self.net = Net(self.graph)
        self.values: dict[Node, Values] = {}
        self.results: dict[Loop, list[list[Values]]] = {}  # of each step
        self.steps: tuple[int, ...] = ()  # of the loops that are under way
        for node in recording.nodes:
            self.graph.line = node.line
            self._add(node)

    def number(self, scalar: Scalar) -> Scalar:
        """A scalar without axes."""
        return self.values[scalar].item()

    def side(self, side: Side) -> Side:
        """What the program gives for inputs of one shape."""
        watched = {
            name_at(name, place): (self.graph.make(Tap, name_at(name, place)), self.values[vector].item(*place))
            for name, (_, vector) in side.watched.items()
            for place in np.ndindex(vector.shape)
        }
        return Side(self.output(side.output), watched)

    def output(self, output: Output) -> Output:
        """Σ over read-outs; of a field there is a weight for each position, and the sum is divided by √P."""
        self.graph.line = output.line
        total = as_output(self.graph, self.number(output.offset))
        for weight, features in output.features:
            v = self.net.output(weight.name, self.number(weight.std), self.number(weight.mean))
            for entries, factor in features.terms:
                total = total + self.number(factor) * (v @ Input(np.array(entries)))
        for weight, vector in output.vectors:
            values = self.values[vector]
            for place in np.ndindex(values.shape):
                v = self.net.output(name_at(weight.name, place), self.number(weight.std), self.number(weight.mean))
                total = total + (v @ values[place]) / values.size**0.5
        return total

    def _add(self, node: Node) -> None:
        """The node, if it has values; a loop, all of its steps."""
        if isinstance(node, Loop):
            self._run(node)
        elif isinstance(
            node,
            Vector | Scalar | BatchMean | Bias | Convolve | Dropped | Embed | MatMul | Rearranged | Nonlin | One | Tap,
        ):
            self.values[node] = self._of(node)

    def _run(self, loop: Loop) -> None:
        """One step after another, with the same parameters."""
        body, states = loop.body, [self.values[z] for z in loop.initial]
        self.results[loop] = []
        for step in range(body.length):
            self.values.update(zip(body.states, states, strict=True))
            for read in body.fields:
                self.values[read] = self.values[read.vector][step, ...]
            self.steps = (*self.steps, step)
            for node in body.nodes:
                self._add(node)
            self.steps = self.steps[:-1]
            states = [self.values[carry] for carry in body.carries]
            self.results[loop].append([self.values[out] for out in body.outs])

    def _of(self, node: Node) -> Values:
        match node:
            case Constant(value=value):
                return _array([self.graph.make(Constant, value)], ())
            case Option(name=name):
                return _array([self.net.option(name)], ())
            case Width():
                return _array([self.net.width], ())
            case Moment(vector=vector):
                return _each(lambda z: z.mean(), self.values[vector])
            case Table(array=array):
                return _array([self.graph.make(Constant, float(number)) for number in array.ravel()], node.shape)
            case Apply(over=over) if over:
                return self._over(node, [self.values[arg] for arg in node.args])
            case Apply(fn=fn, args=args):
                return _each(lambda *args: self.graph.make(Apply, fn, args), *(self.values[arg] for arg in args))
            case Entry(of=of, place=place):
                return _each(lambda of: self.graph.make(Entry, of, place), self.values[of])
            case One():
                return _array([single(self.graph.make(One)) for _ in np.ndindex(node.shape)], node.shape)
            case Bias(parameter=parameter, axes=axes):
                biases = (self._parameter(parameter, name_at(parameter.name, place)) for place in np.ndindex(axes))
                return _array([single(self.graph.make(Bias, bias)) for bias in biases], axes)
            case Tap(name=name, axes=axes):
                taps = (self.graph.make(Tap, name_at(name, place)) for place in np.ndindex(axes))
                return _array(map(single, taps), axes)
            case Embed(parameter=parameter, source=source):
                U = self._parameter(parameter)
                rows = source.places.reshape(-1, source.places.shape[-1])
                return _array([self._embedded(U, row) for row in rows], node.shape)
            case MatMul(parameter=parameter, transposed=transposed, vector=vector):
                W = Matrix(self._parameter(parameter), transposed)
                return _each(lambda z: W @ z, self.values[vector])
            case Convolve():
                return self._convolved(node)
            case Scanned(loop=loop, number=number):
                return np.stack([results[number] for results in self.results[loop]])
            case Mixed(weights=weights, vector=vector):
                return _contracted(self.graph, self.values[weights], self.values[vector])
            case Moved(map=move, vector=vector):
                return self._moved(move, self.values[vector])
            case Transposed(order=order, vector=vector):
                return np.transpose(self.values[vector], order)
            case Nonlin(function=function, args=args):
                return _each(function, *(self.values[arg] for arg in args))
            case Dropped(vector=vector, keep=keep, site=site):
                zs, rate = self.values[vector], self.number(keep)
                masks = ((*site, *self.steps, *position) for position in np.ndindex(zs.shape))
                dropped = (self.graph.make(Dropped, z, rate, mask) for z, mask in zip(zs.flat, masks, strict=True))
                return _array(map(single, dropped), zs.shape)
            case BatchMean(vector=vector):
                return _each(lambda z: z.batch_mean(), self.values[vector])
            case Vector(terms=terms, shape=shape):
                factors = [self.values[part] for term in terms for part in term]
                if not factors:
                    return _array([zeros(self.graph) for _ in np.ndindex(shape)], shape)
                return _each(
                    lambda *parts: combination(self.graph, *zip(parts[1::2], parts[::2], strict=True)), *factors
                )
        raise TypeError(f"{type(node).__name__} has no positions.")

    def _parameter(
        self, parameter: Parameter, name: str | None = None, kind: str | None = None, share: int = 1
    ) -> Parameter:
        std, mean = self.number(parameter.std) / share**0.5, self.number(parameter.mean)
        return self.net.parameter(name or parameter.name, kind or parameter.kind, std, mean, parameter.fan_in)

    def _embedded(self, parameter: Parameter, places: Int[np.ndarray, " d"]) -> Vector:
        """U ξ at one position."""
        return single(self.graph.make(Embed, parameter, self.graph.make(Entries, tuple(places.tolist()))))

    def _convolved(self, node: Convolve) -> Values:
        """The sums over offsets, each with a matrix of its own; if positions do not share it, each at each of them."""
        parameter, source = node.parameter, node.source
        offsets = list(np.ndindex(tuple(window.size for window in node.windows)))
        kind = "input_matrix" if isinstance(source, Entries) else "matrix"

        def matrix(position: tuple[int, ...], offset: tuple[int, ...]) -> Parameter:
            place = offset if node.shared else (*position, *offset)
            return self._parameter(parameter, name_at(parameter.name, place), kind, len(offsets))

        def product(W: Parameter, place: tuple[int, ...]) -> Vector:
            if isinstance(source, Entries):
                return self._embedded(W, source.places[place])
            return Matrix(W) @ self.values[source][place]

        def at(position: tuple[int, ...]) -> Vector:
            reads = ((matrix(position, o), _read(node, position, o)) for o in offsets)
            return combination(self.graph, *((1.0, product(W, place)) for W, place in reads if place is not None))

        return _array([at(position) for position in np.ndindex(node.shape)], node.shape)

    def _over(self, node: Apply, args: Sequence[Values]) -> Values:
        """A function over axes as one of all the numbers that stand along them, which gives several."""
        every = np.broadcast_arrays(*args)
        shape, taken = every[0].shape[: every[0].ndim - node.over], every[0].shape[every[0].ndim - node.over :]
        rows = zip(*(array.reshape(-1, math.prod(taken)) for array in every), strict=True)
        fn = OfNumbers(node.fn, taken)
        several = [self.graph.make(Apply, fn, tuple(np.concatenate(row))) for row in rows]
        entries = [self.graph.make(Entry, one, place) for one in several for place in range(math.prod(node.axes))]
        return _array(entries, (*shape, *node.axes))

    def _moved(self, move: AxisMap, values: Values) -> Values:
        """Each new position as the linear combination of old ones that the map makes of the unit vectors."""
        axis = move.axis
        size = 1 if isinstance(move, Repeat) else values.shape[axis]
        with jax.ensure_compile_time_eval():
            units = jnp.ones(1) if isinstance(move, Repeat) else jnp.eye(size)
            weights = np.asarray(move.apply(units, 0)).reshape(-1, size)
        old = (values if isinstance(move, Repeat) else np.moveaxis(values, axis, 0)).reshape(size, -1)
        new = [
            combination(self.graph, *((float(row[place]), old[place, rest]) for place in np.flatnonzero(row)))
            for row in weights
            for rest in range(old.shape[1])
        ]
        shape = move.shape(values.shape)
        if len(shape) < values.ndim:
            return _array(new, shape)
        return np.moveaxis(_array(new, (len(weights), *shape[:axis], *shape[axis + 1 :])), 0, axis)


def _contracted(graph: Graph, weights: Values, vectors: Values) -> Values:
    """Σ_q w_pq z_q, position by position."""
    shape = (*vectors.shape[:-1], *weights.shape[-2:])
    weights, vectors = np.broadcast_to(weights, shape), np.broadcast_to(vectors[..., None, :], shape)
    sums = (combination(graph, *zip(weights[p], vectors[p], strict=True)) for p in np.ndindex(shape[:-1]))
    return _array(sums, shape[:-1])


def _read(node: Convolve, position: Iterable[int], offset: Iterable[int]) -> tuple[int, ...] | None:
    """The place of the source that is read at a position for an offset; None where that is padding."""
    place = []
    for p, o, window, size in zip(position, offset, node.windows, node.source.shape, strict=True):
        read = p * window.stride + o * window.dilation - window.before
        if window.circular:
            read %= size
        if not 0 <= read < size:
            return None
        place.append(read)
    return tuple(place)


def _each(fn: Callable[..., object], *arrays: Values) -> Values:
    """Fn at each position of arrays that broadcast."""
    every = np.broadcast_arrays(*arrays)
    return _array([fn(*parts) for parts in zip(*(array.ravel() for array in every), strict=True)], every[0].shape)


def _array(items: Iterable[object], shape: tuple[int, ...]) -> Values:
    listed = list(items)
    array = np.empty(len(listed), object)
    for number, item in enumerate(listed):
        array[number] = item
    return array.reshape(shape)


def name_at(name: str, place: tuple[int, ...]) -> str:
    """The name of the part of a parameter that belongs to one position or offset: w[0, 1]."""
    return f"{name}[{', '.join(map(str, place))}]" if place else name
