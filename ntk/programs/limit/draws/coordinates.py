"""One coordinate of every vector of a program, forward and backward, drawn many times: NETSOR⊤ (theory.md 3.10).

This is the program at finite width (`ntk.programs.at_width`) with draws in place of coordinates, and backpropagation
written out. Only a product with a matrix would mix coordinates; it is drawn (Yang 2020, Tensor Programs III,
arXiv:2009.10685):

    Z^{Wx} = Ẑ^{Wx} + Ż^{Wx},   Ż^{Wx} = σ_W² Σ_k Z^{y_k} E[∂Z^x/∂Ẑ^{Wᵀy_k}]   over the earlier products Wᵀy_k

Ẑ is Gaussian with covariance σ_W² E Z^x Z^x̄, independent of what Wᵀ gives; Ż is what x has from that. The gradient
independence assumption is Ż = 0.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ntk.decomposition import gram, unit_scaled
from ntk.linalg import highest_einsum
from ntk.programs.language.atoms import Bias, Embed, MatMul, Nonlin, One, Parameter, Tap
from ntk.programs.language.graph import Node
from ntk.programs.language.outputs import Features
from ntk.programs.language.program import Recording
from ntk.programs.language.scalars import Apply, Constant, Entry, Moment, Option, Value
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.draws.conditioning import Drawn, draw_given, root_of
from ntk.programs.scalar_values import applied_to_each, beside_draws


class _Product(NamedTuple):
    """A product with a matrix: what it reads, Ẑ, and what the draws of its family are made of."""

    read: Array
    hat: Array
    drawn: Drawn


def num_variables(recording: Recording, num_inputs: int) -> int:
    """How many standard normal variables `Coordinates` needs."""
    products = sum(isinstance(node, MatMul) for node in recording.nodes)
    embeddings = sum(isinstance(node, Embed) for node in recording.nodes)
    return num_inputs * (2 * products + embeddings) + len(recording.parameters)


class Coordinates:
    """Draws (S, N) of a coordinate of each vector for N inputs, and of the gradient there.

    With output weights f = √n θ for a mean θ over coordinates, else f = θ; gradients are d• = n ∇_• θ.

    Attributes:
        values: Of each node; of scalars their limits, () or (N,).
        gradients: Of each node that θ depends on.
    """

    def __init__(
        self,
        recording: Recording,
        normals: Float[Array, "S D"],
        numbers: dict[str, Array],
        x: Float[Array, "N F"],
        assume_gia: bool,
    ):
        self.recording, self.normals, self.numbers, self.x = recording, normals, numbers, x
        self.assume_gia = assume_gia
        self.values: dict[Node, PyTree] = {}
        self.gradients: dict[Node, Array] = {}
        self._zeros, self._taken = jnp.zeros((len(normals), len(x)), x.dtype), 0
        self._products: dict[tuple[Parameter, bool], list[_Product]] = {}
        self._entries = {weight: self._zeros + self._noise(1) for weight in recording.parameters.values()}
        for node in recording.nodes:
            self.values[node] = self._value(node)
        self._start_backward()
        for node in reversed(recording.nodes):
            if node in self.gradients:
                self._pull_back(node, self.gradients[node])

    @property
    def theta(self) -> Float[Array, " N"]:
        """θ of each input."""
        output = self.recording.output
        if not output.readouts:
            return self._zeros[0] + self.values[output.offset]
        # A read-out of the input is finite, and θ has 1/√n of it.
        return jnp.mean(sum((self._weight(v) * self.values[x] for v, x in output.vectors), self._zeros), axis=0)

    def moment(self, a: Array, b: Array) -> Float[Array, "N1 N2"]:
        """E a b̄ of draws, for all pairs of inputs."""
        return gram(a.T, b.T) / len(self.normals)

    def gradient(self, node: Node) -> Array:
        """The gradient there, 0 where θ does not depend on it."""
        return self.gradients.get(node, self._zeros)

    def _value(self, node: Node) -> Value | None:
        """The node's draws, or its limit, from those of its parts."""
        values = self.values
        match node:
            case Constant(value=value):
                return value
            case Option(name=name):
                return self.numbers[name]
            case Moment(vector=vector):
                return jnp.mean(values[vector], axis=0)
            case Apply(args=args):
                return applied_to_each(node, [values[arg] for arg in args], self.x.dtype)
            case Entry(of=of, place=place):
                return values[of][..., place]
            case One():
                return self._zeros + 1.0
            case Tap():
                return self._zeros
            case MatMul(parameter=parameter, transposed=transposed, vector=vector):
                return self._product(parameter, transposed, values[vector])
            case Embed(parameter=parameter, entries=entries):
                return self._embedding(parameter, unit_scaled(self.x[:, jnp.array(entries)]))
            case Features(terms=terms):
                return node.of_each(self.x, [values[factor] for _, factor in terms])
            case Bias(parameter=parameter):
                return beside_draws(values[parameter.std]) * self._entries[parameter]
            case Nonlin(function=function, args=args):
                return function.fn(*(beside_draws(values[arg]) for arg in args))
            case Vector(terms=terms):
                return sum((beside_draws(values[factor]) * values[atom] for atom, factor in terms), self._zeros)
        return None

    def _product(self, parameter: Parameter, transposed: bool, z: Float[Array, "S N"]) -> Float[Array, "S N"]:
        """Draws of (σ/√n) W z, or of (σ/√n) Wᵀz, given all products with that matrix before."""
        family = self._products.setdefault((parameter, transposed), [])
        opposite = self._products.get((parameter, not transposed), [])
        variance = self.values[parameter.std] ** 2
        covariances = [variance * self.moment(read, z) for read in (*(before.read for before in family), z)]
        hat, drawn = draw_given(family[-1].drawn if family else None, covariances, self._noise(len(self.x)))
        family.append(_Product(z, hat, drawn))
        if self.assume_gia or not opposite:
            return hat
        slopes = _slopes(z, jnp.stack([before.hat for before in opposite]))
        return hat + variance * sum(before.read * slope[None] for before, slope in zip(opposite, slopes, strict=True))

    def _embedding(self, parameter: Parameter, part: Float[Array, "N d"]) -> Float[Array, "S N"]:
        family = self._products.setdefault((parameter, False), [])
        variance = self.values[parameter.std] ** 2
        reads = [*(before.read for before in family), part]
        covariances = [variance * overlap(parameter, read, part) for read in reads]
        hat, drawn = draw_given(family[-1].drawn if family else None, covariances, self._noise(len(part)))
        family.append(_Product(part, hat, drawn))
        return hat

    def _weight(self, weight: Parameter) -> Array:
        """σ v + μ of an output weight."""
        std, mean = (beside_draws(self.values[number]) for number in (weight.std, weight.mean))
        return std * self._entries[weight] + mean

    def _noise(self, count: int) -> Float[Array, "S count"]:
        """Standard normal variables that nothing else is made of."""
        self._taken += count
        return self.normals[:, self._taken - count : self._taken]

    def _add(self, node: Node, gradient: Array) -> None:
        self.gradients[node] = self.gradients[node] + gradient if node in self.gradients else gradient

    def _start_backward(self) -> None:
        """The gradient where it begins: n ∇_x mean(v∘x) = v, or 1 for the average itself."""
        for weight, x in self.recording.output.vectors:
            self._add(x, self._weight(weight))
        if not self.recording.output.readouts:
            self._add(self.recording.output.offset, jnp.ones_like(self._zeros[0]))

    def _pull_back(self, node: Node, d: Array) -> None:
        """Add what a node's gradient gives to its parts; what scalars have from all coordinates is their mean."""
        values = self.values
        match node:
            case Moment(vector=vector):
                self._add(vector, self._zeros + beside_draws(d))
            case Apply(args=args):
                for arg, gradient in self._pulled_back(
                    lambda *at: applied_to_each(node, list(at), self.x.dtype), args, d
                ):
                    self._add(arg, gradient)
            case Entry(of=of, place=place) if jnp.ndim(values[of]) == 2:
                self._add(of, jnp.zeros_like(values[of]).at[:, place].set(d))
            case Nonlin(function=function, args=args):
                for arg, gradient in self._pulled_back(lambda *at: function.fn(*map(beside_draws, at)), args, d):
                    self._add(arg, gradient if isinstance(arg, Vector) else gradient / len(self.normals))
            case MatMul(parameter=parameter, transposed=transposed, vector=vector):
                self._add(vector, self._product(parameter, not transposed, d))
            case Vector(terms=terms):
                for atom, factor in terms:
                    self._add(atom, beside_draws(values[factor]) * d)
                    self._add(factor, jnp.mean(d * values[atom], axis=0))

    def _pulled_back(self, fn: Callable[..., Value], args: tuple[Node, ...], d: Array) -> list[tuple[Node, Array]]:
        """The arguments that depend on the input, and what a function's gradient gives to each."""
        moving = [arg for arg in dict.fromkeys(args) if jnp.ndim(self.values[arg])]
        if not moving:
            return []

        def of_moving(*moved: Array) -> Value:
            found = dict(zip(moving, moved, strict=True))
            return fn(*(found.get(arg, self.values[arg]) for arg in args))

        _, pullback = jax.vjp(of_moving, *(self.values[arg] for arg in moving))
        return list(zip(moving, pullback(d), strict=True))


def overlap(parameter: Parameter, part1: Float[Array, "N1 d"], part2: Float[Array, "N2 d"]) -> Float[Array, "N1 N2"]:
    """ξ·ξ̄/d of what an input matrix reads, given over √d; of tokens of an embedding, 1 where they are equal."""
    return (part1 == part2.T).astype(part1.dtype) if parameter.is_looked_up else gram(part1, part2)


def _slopes(z: Float[Array, "S N"], hats: Float[Array, "K S N"]) -> Float[Array, "K N"]:
    """E[∂z/∂Ẑ_k] of each input, which for Gaussian Ẑ is the regression of z on them (Stein).

    It needs no derivative, and is right where z jumps, as the derivative of a ReLU does.
    """
    centred = hats - jnp.mean(hats, axis=1, keepdims=True)
    covariance = highest_einsum("ksn,lsn->nkl", centred, centred)
    with_z = highest_einsum("ksn,sn->nk", centred, z)
    _, inverse = jax.vmap(lambda moments: root_of(moments, jnp.diagonal(moments)))(covariance)
    return highest_einsum("nlk,nlm,nm->kn", inverse, inverse, with_z)
