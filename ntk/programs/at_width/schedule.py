"""The operations of a recorded program in groups of alike ones, which can be done at the same time."""

from collections.abc import Hashable
from typing import TypeGuard

from ntk.programs.language.atoms import (
    Atom,
    BatchMean,
    Bias,
    Convolve,
    Dropped,
    Embed,
    Entries,
    MatMul,
    Mixed,
    Nonlin,
    Parameter,
    Rearranged,
)
from ntk.programs.language.graph import Node
from ntk.programs.language.loops import Loop, Scanned
from ntk.programs.language.outputs import Features, Output
from ntk.programs.language.scalars import Apply, Entry, Moment, Scalar, Scores
from ntk.programs.language.vectors import PRODUCT, Vector

Kind = tuple[Hashable, ...]


def alike_operations(nodes: tuple[Node, ...]) -> list[list[Node]]:
    """The operations in groups of alike ones, first those that depend on none of the others."""
    levels: dict[Node, int] = {}
    alike: dict[tuple[int, Kind], list[Node]] = {}
    for node in nodes:
        if not isinstance(node, Parameter | Output | Entries):
            levels[node] = 1 + max((levels.get(operand, 0) for operand in operands_of(node)), default=0)
            alike.setdefault((levels[node], _kind(node)), []).append(node)
    return [alike[key] for key in sorted(alike, key=lambda key: key[0])]


def operands_of(node: Node) -> tuple[Node, ...]:
    """The nodes whose values the operation reads."""
    match node:
        case MatMul(parameter=parameter, vector=vector):
            return parameter.std, vector
        case Convolve(parameter=parameter, source=Vector() as source):
            return parameter.std, source
        case Embed(parameter=parameter) | Bias(parameter=parameter) | Convolve(parameter=parameter):
            return (parameter.std,)
        case Loop(initial=initial, reads=reads):
            return *initial, *(read for read in reads if not isinstance(read, Parameter | Entries))
        case Scanned(loop=loop):
            return (loop,)
        case Mixed(weights=weights, vector=vector):
            return weights, vector
        case Rearranged(vector=vector):
            return (vector,)
        case Nonlin(args=args) | Apply(args=args):
            return args
        case Moment(vector=vector):
            return tuple(
                part
                for atom, factor in vector.terms
                for part in (factor, *(atom.args if is_product(atom) else (atom,)))
            )
        case Entry(of=of):
            return (of,)
        case Scores(queries=queries, keys=keys):
            return queries, keys
        case Dropped(keep=keep, vector=vector):
            return keep, vector
        case BatchMean(vector=vector):
            return (vector,)
        case Features(terms=terms):
            return tuple(factor for _, factor in terms)
        case Vector(terms=terms):
            return tuple(part for term in terms for part in term)
    return ()


def _kind(node: Node) -> Kind:
    """What operations have in common that differ only in their operands. Those on fields are left alone."""
    if isinstance(node, Loop) or any(map(_has_axes, (node, *operands_of(node)))):
        return (node,)
    match node:
        case MatMul(parameter=parameter, transposed=transposed):
            return MatMul, parameter, transposed
        case Embed(parameter=parameter):
            return Embed, parameter
        case Nonlin(function=function, args=args):
            return Nonlin, function, tuple(isinstance(arg, Vector) for arg in args)
        case Apply(fn=fn, args=args):
            return Apply, fn, len(args)
        case Moment(vector=vector):
            return Moment, tuple(is_product(atom) for atom, _ in vector.terms)
        case Entry(place=place):
            return Entry, place
        case BatchMean():
            return (BatchMean,)
        case Vector(terms=terms):
            return Vector, len(terms)
    return (node,)


def _has_axes(node: Node) -> bool:
    return isinstance(node, Vector | Scalar | Atom) and bool(node.shape)


def is_product(atom: Node) -> TypeGuard[Nonlin]:
    """Whether it is the product of two vectors."""
    return isinstance(atom, Nonlin) and atom.function is PRODUCT
