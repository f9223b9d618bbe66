"""The limits of scalars: numbers for each input and, where they have position axes, each position."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from ntk.linalg import highest_einsum
from ntk.programs.language.atoms import Atom, Mixed, Moved, One, Transposed
from ntk.programs.language.scalars import Apply, Entry, Moment, Scalar, Scores
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.arrays.indices import equal
from ntk.programs.limit.arrays.plan import Alone, Need, NotOnArrays, Pair, Rule, Tree
from ntk.programs.limit.arrays.values import Values
from ntk.programs.limit.forms import Forms
from ntk.programs.options import fixed_scalars
from ntk.programs.scalar_values import applied_to_each, with_axes


class Factors(NamedTuple):
    """Coefficients, None for 1.

    Attributes:
        coefficients: Each a scalar.
        dependent: Those that depend on the inputs.
        side: Of which side's inputs they are.
    """

    coefficients: list[Scalar | None]
    dependent: list[Scalar]
    side: int

    @property
    def needs(self) -> list[Need]:
        """What is to be computed."""
        return [Need(self.side, Alone(scalar)) for scalar in self.dependent]

    def numbers(self, values: Values, found: Iterator[Tree]) -> list[Tree]:
        """Their values, from those of `needs` where they are among these."""
        computed = {scalar: next(found) for scalar in self.dependent}
        return [
            1.0 if scalar is None else computed[scalar] if scalar in computed else values.numbers[scalar]
            for scalar in self.coefficients
        ]


def factors_of(forms: Forms, coefficients: Sequence[Scalar | None], side: int) -> Factors:
    """Coefficients of one side, to be read by a rule."""
    fixed = fixed_scalars(forms.recording)
    dependent = dict.fromkeys(each for each in coefficients if each is not None and (each not in fixed or each.shape))
    return Factors(list(coefficients), list(dependent), side)


def scalar(forms: Forms, node: Scalar) -> Rule:
    """Its limit, (N, *P); where it does not depend on the inputs, (1, *P) or one number."""
    if node in fixed_scalars(forms.recording):
        return Rule([], lambda values: values.numbers[node][None] if node.shape else values.numbers[node])
    match node:
        case Scores():
            return Rule([], lambda values: values.sides[0][:, node.columns])
        case Moment(vector=vector):
            return Rule([Need(0, Alone(vector))], lambda _, mean: mean)
        case Apply(args=args):
            needs = [Need(0, Alone(arg)) for arg in args]
            return Rule(needs, lambda values, *found: applied_to_each(node, list(found), values.sides[0].dtype))
        case Entry(of=of, place=place):
            return Rule([Need(0, Alone(of))], lambda _, found: found[..., place])
    raise NotOnArrays


def expectation(forms: Forms, vector: Vector) -> Rule:
    """E of a coordinate at each position, (N, *P)."""
    rank = len(vector.shape)
    terms = [(atom, c) for atom, c in vector.terms if not forms.is_centred(atom) or forms.may_diverge(c)]
    factors = factors_of(forms, [c for _, c in terms], 0)
    needs = []
    for atom, _ in terms:
        if product := forms.factors(atom):
            needs.append(Need(0, Pair(*product), equal(rank)))
        elif not (forms.is_centred(atom) or isinstance(atom, One)):
            needs.append(Need(0, Alone(atom)))

    def compute(values: Values, *found: Tree) -> Array:
        means = iter(found[: len(needs)])
        total = jnp.zeros((len(values.sides[0]), *vector.shape), values.sides[0].dtype)
        for (atom, _), c in zip(terms, factors.numbers(values, iter(found[len(needs) :])), strict=True):
            if forms.is_centred(atom):  # Its coefficient may be infinite.
                total += 0.0 * with_axes(c, rank)
            elif isinstance(atom, One):
                total += with_axes(c, rank)
            elif forms.factors(atom):
                C = next(means).C
                total += 0.0 if C is None else with_axes(c, rank) * C
            else:
                mean = next(means)
                total += with_axes(c, rank) * (mean[0] if isinstance(mean, tuple) else mean)
        return total

    return Rule([*needs, *factors.needs], compute)


def mean_of_map(atom: Atom) -> Rule:
    """The means of moved or mixed positions: the map of the means."""
    match atom:
        case Moved(map=move, vector=vector):
            return Rule([Need(0, Alone(vector))], lambda _, mean: move.apply(mean, 1 + move.axis))
        case Transposed(order=order, vector=vector):
            return Rule([Need(0, Alone(vector))], lambda _, mean: jnp.transpose(mean, (0, *(1 + a for a in order))))
        case Mixed(weights=weights, vector=vector):
            return Rule(
                [Need(0, Alone(weights)), Need(0, Alone(vector))],
                lambda _, found, mean: highest_einsum("...pq,...q->...p", with_axes(found, mean.ndim), mean),
            )
    raise NotOnArrays
