"""Sampled coordinates of a program, for the expectations that have no closed form (THEORY section 3).

All inputs are drawn together. The results y₁, y₂, … of one matrix are Gaussian with the covariance σ² E z z̄ of what it
reads, which may depend on earlier results; so each is drawn given those before it. With ε_k independent and standard,
y_k = Σ_{j<k} L_kjᵀ ε_j + R_kᵀ ε_k: a Cholesky factor that grows by one block at each use, with a root R_k of what is
left, so that singular covariances (an input twice, a vector of zeros) do no harm.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ntk.programs.demand import Rule
from ntk.programs.graph import Node
from ntk.programs.moments import Moments, PairsOfInputs
from ntk.programs.scalars import Scalar
from ntk.programs.vectors import BatchMean, Gaussian, Nonlin, One, Tap, Vector

_HIGHEST = lax.Precision.HIGHEST


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
        self.noise = dict(zip(drawn, jnp.split(normals, len(drawn), axis=1), strict=True))

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
            moved = jnp.tensordot(J1, taus, axes=1, precision=_HIGHEST)
            return jnp.tensordot(moved, J2, axes=([0, 2], [0, 2]), precision=_HIGHEST) / num_samples
        moment = jnp.matmul(J1.T, J2, precision=_HIGHEST) / num_samples
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
        return gaussians, [values for values, *_ in draws], dict(zip(nodes, scalars, strict=True))

    def _evaluate(self, vector: Vector, gaussians: list[Gaussian], draws: Any, scalars: dict[Node, Any]) -> Array:
        """The vector's coordinates at draws of its Gaussian vectors, as one coordinate-wise function of them."""
        nothing = jnp.zeros((len(next(iter(self.noise.values()))), self.num_inputs), self.pairs.own[0].x.dtype)
        values: dict[Node, Any] = dict(zip(gaussians, draws, strict=True))
        values.update(scalars)
        for node in self.forms.composition(vector):
            match node:
                case One():
                    values[node] = nothing + 1.0
                case Nonlin(function=function, args=args):
                    values[node] = function.fn(*(values[arg] for arg in args))
                case BatchMean(vector=inner):
                    values[node] = self._batch_mean(values[inner])
                case Vector(terms=terms):
                    values[node] = sum((values[factor] * values[atom] for atom, factor in terms), nothing)
        return values[vector]

    def _batch_mean(self, values: Float[Array, "S N"]) -> Float[Array, "S N"]:
        ends = [sum(self.batch_sizes[: number + 1]) for number in range(len(self.batch_sizes))]
        batches = jnp.split(values, ends[:-1], axis=1)
        means = [jnp.broadcast_to(jnp.mean(batch, axis=1, keepdims=True), batch.shape) for batch in batches]
        return jnp.concatenate(means, axis=1)

    def draw(self, y: Gaussian) -> Rule:
        """Draws of y, given those of its family before it.

        Returns:
            The draws (S, N); the standard normal variables (S, k·N) that they and the earlier ones are made of; and
            the matrix that would find these from all draws, (k·N, k·N).
        """
        if isinstance(y, Tap):
            return jnp.zeros_like(next(iter(self.noise.values()))), None, None
        family = [other for other in self.forms.drawn if other.family == y.family]
        earlier = family[: family.index(y)]
        covariances = yield [(self.pairs.covariance, other, y) for other in (*earlier, y)]
        left = covariances[-1]
        deviations = jnp.sqrt(jnp.maximum(jnp.diagonal(left), 0.0))
        if not earlier:
            root, inverse = _root(left, deviations)
            return jnp.matmul(self.noise[y], root, precision=_HIGHEST), self.noise[y], inverse
        ((_, noise, whitening),) = yield [(self.draw, earlier[-1])]
        L = jnp.matmul(whitening, jnp.concatenate(covariances[:-1]), precision=_HIGHEST)
        root, inverse = _root(left - jnp.matmul(L.T, L, precision=_HIGHEST), deviations)
        noise = jnp.concatenate([noise, self.noise[y]], axis=1)
        draws = jnp.matmul(noise, jnp.concatenate([L, root]), precision=_HIGHEST)
        below = -jnp.matmul(inverse, jnp.matmul(L.T, whitening, precision=_HIGHEST), precision=_HIGHEST)
        return draws, noise, jnp.block([[whitening, jnp.zeros_like(L)], [below, inverse]])


def _root(
    covariance: Float[Array, "N N"], deviations: Float[Array, " N"]
) -> tuple[Float[Array, "N N"], Float[Array, "N N"]]:
    """R with RᵀR = the covariance, and the pseudo-inverse of Rᵀ.

    Scaled by the standard deviations, so that a small variance beside large ones is no rounding. Eigenvalues that are
    rounding count as 0 in the inverse only.
    """
    deviations = jnp.where(deviations > 0, deviations, 1.0)
    scaled = covariance / deviations / deviations[:, None]
    eigenvalues, vectors = jnp.linalg.eigh((scaled + scaled.T) / 2.0)
    kept = eigenvalues > 10.0 * jnp.finfo(covariance.dtype).eps * jnp.max(eigenvalues)
    positive = eigenvalues > 0
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, eigenvalues, 1.0)), 0.0)

    def matrix(values: Array) -> Array:
        return jnp.matmul(vectors * values, vectors.T, precision=_HIGHEST)

    return matrix(root) * deviations, matrix(jnp.where(kept, 1.0 / jnp.where(kept, root, 1.0), 0.0)) / deviations
