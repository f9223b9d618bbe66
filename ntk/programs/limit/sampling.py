"""Sampled coordinates of a program, for the expectations that have no closed form (theory.md 3.2, 3.5).

All inputs are drawn together. The results y₁, y₂, … of one matrix are Gaussian with the covariance σ² E z z̄ of what it
reads, which may depend on earlier results; so each is drawn given those before it.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ntk.linalg import highest_matmul, highest_tensordot
from ntk.programs.language.atoms import BatchMean, Dropped, Gaussian, Nonlin, One, Tap
from ntk.programs.language.graph import Node
from ntk.programs.language.scalars import Scalar, Value
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.demand import Rule
from ntk.programs.limit.draws.conditioning import draw_given
from ntk.programs.limit.moments import Moments, PairsOfInputs, same_masks
from ntk.programs.scalar_values import beside_draws


class Sampler:
    """Draws of the coordinates of all vectors for one batch of inputs; each rule is one for `Demand`.

    Attributes:
        pairs: The moments of the batch with itself, of which the covariances are taken.
        normals: (S, G·N), independent standard normal variables, N for each Gaussian vector of the program.
        batch_sizes: How many inputs belong to each batch, for batch means.
    """

    def __init__(self, pairs: PairsOfInputs, normals: Float[Array, "S D"], batch_sizes: tuple[int, ...]):
        self.pairs, self.batch_sizes = pairs, batch_sizes
        self.forms = pairs.forms
        self.num_inputs = len(pairs.own[0].x)
        drawn = self.forms.drawn
        self.zeros = jnp.zeros((len(normals), self.num_inputs), normals.dtype)
        blocks = jnp.split(normals, len(drawn), axis=1) if drawn else []
        self.noise = dict(zip(drawn, blocks, strict=True))

    def product(self, moments: Moments, a: Vector, b: Vector) -> Rule:
        """E a b̄ as an average over samples."""
        return moments.average(*(yield [(self.coordinates, a), (self.coordinates, b)]))

    def expectation(self, vector: Vector) -> Rule:
        """E of a coordinate of each input."""
        return jnp.mean((yield [(self.coordinates, vector)])[0], axis=0)

    def tangent(self, moments: Moments, a: Vector, b: Vector) -> Rule:
        """τ(a, b) = Σ over Gaussian y, ȳ of E[∂a/∂y ∂b/∂ȳ] τ(y, ȳ)."""
        slopes1, slopes2 = yield [(self.slopes, a), (self.slopes, b)]
        total = moments.zeros()
        for family in {gaussian.family: None for gaussian in slopes1}:
            group1, group2 = ([y for y in slopes if y.family == family] for slopes in (slopes1, slopes2))
            if not group2 or (isinstance(group1[0], Tap) and group1[0].name not in moments.sources):
                continue
            taus = yield [(moments.atom_tangent, y1, y2) for y1 in group1 for y2 in group2]
            rows = [taus[start : start + len(group2)] for start in range(0, len(taus), len(group2))]
            J1 = jnp.concatenate([slopes1[y] for y in group1], axis=-1)
            J2 = jnp.concatenate([slopes2[y] for y in group2], axis=-1)
            total += self._contracted(J1, jnp.block(rows), J2)
        return total

    def _contracted(self, J1: Array, taus: Array, J2: Array) -> Array:
        """Σ over y, ȳ, and over the inputs that they belong to, of E[∂a/∂y ∂b/∂ȳ] τ(y, ȳ)."""
        num_samples, num_inputs = len(J1), self.num_inputs
        if self.forms.couples_inputs:
            moved = highest_tensordot(J1, taus, axes=1)
            return highest_tensordot(moved, J2, axes=([0, 2], [0, 2])) / num_samples
        moment = highest_matmul(J1.T, J2) / num_samples
        blocks = (moment * taus).reshape(-1, num_inputs, moment.shape[1] // num_inputs, num_inputs)
        return jnp.sum(blocks, axis=(0, 2))

    def slopes(self, vector: Vector) -> Rule:
        """By Gaussian vector y, ∂x_i/∂y_i (S, N); or ∂x_i/∂y_a (S, N, N) where inputs are coupled."""
        gaussians, draws, scalars = yield from self._draws(vector)
        values, pullback = jax.vjp(lambda *draws: self._evaluate(vector, gaussians, draws, scalars), *draws)
        if not self.forms.couples_inputs:
            return dict(zip(gaussians, pullback(jnp.ones_like(values)), strict=True))
        one_each = jnp.broadcast_to(
            jnp.eye(self.num_inputs, dtype=values.dtype)[:, None], (self.num_inputs, *values.shape)
        )
        by_output = jax.vmap(pullback, out_axes=1)(one_each)
        return dict(zip(gaussians, by_output, strict=True))

    def coordinates(self, vector: Vector) -> Rule:
        """Draws of a coordinate of the vector for each input, (S, N)."""
        gaussians, draws, scalars = yield from self._draws(vector)
        return self._evaluate(vector, gaussians, draws, scalars)

    def _draws(self, vector: Vector) -> Rule:
        """What the vector is a function of: its Gaussian vectors, draws of them, and its scalars."""
        gaussians = self.forms.gaussians(vector)
        draws = yield [(self.draw, gaussian) for gaussian in gaussians]
        nodes = [node for node in self.forms.composition(vector) if isinstance(node, Scalar)]
        scalars = yield [(self.pairs.own[0].scalar, node) for node in nodes]
        return gaussians, [values for values, *_ in draws], dict(zip(nodes, map(beside_draws, scalars), strict=True))

    def _evaluate(
        self, vector: Vector, gaussians: list[Gaussian], draws: Sequence[Array], scalars: dict[Node, Value]
    ) -> Array:
        """The vector's coordinates at draws of its Gaussian vectors, as one coordinate-wise function of them."""
        values: dict[Node, PyTree] = dict(zip(gaussians, draws, strict=True))
        values.update(scalars)
        for node in self.forms.composition(vector):
            match node:
                case One():
                    values[node] = self.zeros + 1.0
                case Nonlin(function=function, args=args):
                    values[node] = function.fn(*(values[arg] for arg in args))
                case Dropped(vector=inner, keep=keep):
                    values[node] = jnp.where(self._uniform(node) < values[keep], values[inner] / values[keep], 0.0)
                case BatchMean(vector=inner):
                    values[node] = self._batch_mean(values[inner])
                case Vector(terms=terms):
                    values[node] = sum((values[factor] * values[atom] for atom, factor in terms), self.zeros)
        return values[vector]

    def _uniform(self, node: Dropped) -> Float[Array, "S N"]:
        """Uniform numbers for masks, the same where an input stands twice to be met with itself."""
        x = self.pairs.own[0].x
        return jax.scipy.special.ndtr(self.noise[node])[:, jnp.argmax(same_masks(x, x), axis=1)]

    def _batch_mean(self, values: Float[Array, "S N"]) -> Float[Array, "S N"]:
        ends = [sum(self.batch_sizes[: number + 1]) for number in range(len(self.batch_sizes))]
        batches = jnp.split(values, ends[:-1], axis=1)
        means = [jnp.broadcast_to(jnp.mean(batch, axis=1, keepdims=True), batch.shape) for batch in batches]
        return jnp.concatenate(means, axis=1)

    def draw(self, y: Gaussian) -> Rule:
        """Draws of y (S, N), given those of its family before it, and what they are all `Drawn` of."""
        if isinstance(y, Tap):
            return self.zeros, None
        family = [other for other in self.forms.drawn if isinstance(other, Gaussian) and other.family == y.family]
        earlier = family[: family.index(y)]
        covariances = yield [(self.pairs.covariance, other, y) for other in (*earlier, y)]
        before = (yield [(self.draw, earlier[-1])])[0][1] if earlier else None
        return draw_given(before, covariances, self.noise[y])
