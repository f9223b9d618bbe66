"""Second moments C of a program's vectors, and their tangent kernels τ, in the limit (theory.md 3.2 to 3.6).

For vectors x of ξ and x̄ of ξ̄, C(x, x̄) = E x x̄ and τ(x, x̄) is the NTK of a coordinate of x:

    τ(Wz, Wz̄) = σ² (ηC(z, z̄) + τ(z, z̄)),   τ(Uξ, Uξ̄) = ησ² ξ·ξ̄/d,   τ(b, b̄) = ησ²,
    τ(φ(u), ψ(ū)) = E φ'(u)ψ'(ū) τ(u, ū) for Gaussian u, ū,   both bilinear, with scalars as constants.

with the learning rate η of each parameter, which is 1 if none is given. So Θ = σ_v² (ηC + τ) of what an output weight
reads. This is the sum over D^{y,ȳ} of theory.md 3.8 from the inputs' end: D^{y,ȳ} is the derivative of Θ in τ(y, ȳ).
"""

import abc
import functools
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntk.decomposition import gram, unit_scaled
from ntk.infinite_width.moments import Fingerprint, OwnMoments, fingerprints, same_inputs
from ntk.learning_rates import Rates
from ntk.programs.language.atoms import (
    MASK_COLUMNS,
    Atom,
    Dropped,
    Embed,
    Gaussian,
    MatMul,
    Nonlin,
    One,
    Parameter,
    Tap,
)
from ntk.programs.language.outputs import Features
from ntk.programs.language.scalars import Apply, Constant, Entry, Moment, Option, Scalar, Value
from ntk.programs.language.vectors import Vector, single
from ntk.programs.limit.demand import Call, Rule
from ntk.programs.limit.expectations import mean_of, product_of, product_with_itself
from ntk.programs.limit.forms import Forms
from ntk.programs.scalar_values import applied_to_each

if TYPE_CHECKING:  # A sampler takes its covariances from moments.
    from ntk.programs.limit.sampling import Sampler


class Moments(abc.ABC):
    """C and τ between the vectors of two sides; each rule is one for `Demand`.

    Attributes:
        forms: What is known of the program.
        own: The moments of each side's inputs with themselves.
        sampler: Where an expectation that has no closed form is taken. It is not there where all have one.
        sources: By the name of a watched vector, what is added to τ of it, so that a derivative can be taken there.
    """

    forms: Forms
    own: tuple["OwnInputs", "OwnInputs"]
    sampler: "Sampler"
    sources: dict[str, Array]

    @abc.abstractmethod
    def zeros(self) -> Array:
        """Zero for every pair."""

    @abc.abstractmethod
    def spread(self, value: Value, side: int) -> Value:
        """What one side has for each of its inputs, to broadcast against pairs."""

    @abc.abstractmethod
    def gram(self, part1: Array, part2: Array) -> Array:
        """The products ξ·ξ̄ of parts of the inputs."""

    @abc.abstractmethod
    def equal(self, tokens1: Array, tokens2: Array) -> Array:
        """Which tokens are equal, given as (N, 1)."""

    @abc.abstractmethod
    def same_masks(self) -> Array:
        """1 where both inputs are one, with the same masks, else 0."""

    @abc.abstractmethod
    def average(self, draws1: Array, draws2: Array) -> Array:
        """E x x̄ from draws of both."""

    def product(self, a: Vector, b: Vector) -> Rule:
        """C(a, b) = E a b̄."""
        if self.forms.has_closed_form(a) and self.forms.has_closed_form(b):
            return (yield from self._bilinear(self.atom_product, a, b))
        return (yield [(self.sampler.product, self, a, b)])[0]

    def features_product(self, a: Features, b: Features) -> Rule:
        """ξ·ξ̄/d of linear combinations of parts of the inputs."""
        return self.gram(*(yield [(self.own[0].features, a), (self.own[1].features, b)]))

    def tangent(self, a: Vector, b: Vector) -> Rule:
        """τ(a, b)."""
        if self.forms.has_closed_form(a) and self.forms.has_closed_form(b):
            return (yield from self._bilinear(self.atom_tangent, a, b))
        return (yield [(self.sampler.tangent, self, a, b)])[0]

    def _bilinear(self, rule: Callable[..., Rule], a: Vector, b: Vector) -> Rule:
        """Σ over atoms p of a and q of b of their coefficients and `rule(p, q)`."""
        tangent = rule == self.atom_tangent
        terms = [(p, c, q, e) for p, c in a.terms for q, e in b.terms if not self._no_moment(p, q, tangent)]
        keys = [[(rule, p, q), (self.own[0].scalar, c), (self.own[1].scalar, e)] for p, c, q, e in terms]
        values = iter((yield [key for group in keys for key in group]))
        products = [
            _times(self.spread(c, 0), self.spread(e, 1), m) for m, c, e in zip(values, values, values, strict=True)
        ]
        return functools.reduce(operator.add, products) if products else self.zeros()

    def _no_moment(self, p: Atom, q: Atom, tangent: bool) -> bool:
        """Whether C or τ of two atoms is 0 whatever the inputs are."""
        if isinstance(p, One) or isinstance(q, One):
            return tangent or isinstance(p, Gaussian) or isinstance(q, Gaussian)
        if not tangent and isinstance(p, Nonlin | Dropped) and isinstance(q, Nonlin | Dropped):
            return False
        shared = self.forms.families(p) & self.forms.families(q)
        taps = (origin for origin, _ in shared if isinstance(origin, str))
        return len(shared) == sum(not tangent or name not in self.sources for name in taps)

    def atom_product(self, p: Atom, q: Atom) -> Rule:
        """C(p, q) of two atoms."""
        match p, q:
            case (Dropped(), _) | (_, Dropped()):
                return (yield from self._dropped(self.product, p, q))
            case One(), One():
                return self.zeros() + 1.0
            case Gaussian(), Gaussian():
                return (yield [(self.covariance, p, q)])[0]
            case Nonlin(), Nonlin():
                return (yield [(self.nonlinear, p, q)])[0][0]
            case One(), Nonlin():
                ((mean, *_),) = yield [(self.own[1].mean, q)]
                return self.zeros() + self.spread(mean, 1)
            case Nonlin(), One():
                ((mean, *_),) = yield [(self.own[0].mean, p)]
                return self.zeros() + self.spread(mean, 0)
        return (yield from self._stein(self.product, p, q))

    def atom_tangent(self, p: Atom, q: Atom) -> Rule:
        """τ(p, q) of two atoms."""
        match p, q:
            case (Dropped(), _) | (_, Dropped()):
                return (yield from self._dropped(self.tangent, p, q))
            case Tap(name=name), Tap():
                return self.sources[name]
            case MatMul(vector=z1), MatMul(vector=z2):
                # Of one matrix all or none are sampled, as their covariances are: so their sum is semi-definite.
                sampled = self.forms.is_sampled(p.family)
                variance, trained, C, tau = yield [
                    (self.own[0].variance, p.parameter),
                    (self.own[0].trained_variance, p.parameter),
                    (self.read_product, p, q),
                    (self.sampler.tangent, self, z1, z2) if sampled else (self.tangent, z1, z2),
                ]
                return trained * C + variance * tau
            case Gaussian(), Gaussian():
                trained, C = yield [(self.own[0].trained_variance, p.parameter), (self.read_product, p, q)]
                return trained * C
            case Nonlin(), Nonlin():
                u1, u2 = self.forms.unary(p)[1], self.forms.unary(q)[1]
                (_, slope), tau = yield [(self.nonlinear, p, q), (self.tangent, u1, u2)]
                return slope * tau
        return (yield from self._stein(self.tangent, p, q))

    def _dropped(self, rule: Callable[..., Rule], p: Atom, q: Atom) -> Rule:
        """The moments without masks, over the keep rate if both have the same mask (theory.md 3.20)."""
        (moment,) = yield [(rule, *(each.vector if isinstance(each, Dropped) else single(each) for each in (p, q)))]
        if p is not q or not isinstance(p, Dropped):
            return moment
        (keep,) = yield [(self.own[0].scalar, p.keep)]
        return moment * (1.0 + self.same_masks() * (1.0 / keep - 1.0))

    def _stein(self, rule: Callable[..., Rule], p: Atom, q: Atom) -> Rule:
        """Of a Gaussian g and φ(u): E g φ(u) = E g u · E u φ(u)/E u², and τ(g, φ(u)) = τ(g, u) E φ'(u)."""
        if isinstance(p, Nonlin):
            first, second, side, nonlin = self.forms.unary(p)[1], single(q), 0, p
        else:
            assert isinstance(q, Nonlin)
            first, second, side, nonlin = single(p), self.forms.unary(q)[1], 1, q
        moment, (_, slope, regression) = yield [(rule, first, second), (self.own[side].mean, nonlin)]
        return moment * self.spread(slope if rule == self.tangent else regression, side)

    def covariance(self, p: Gaussian, q: Gaussian) -> Rule:
        """Cov(p, q) of two Gaussian vectors of one family."""
        variance, C = yield [(self.own[0].variance, p.parameter), (self.read_product, p, q)]
        return variance * C

    def read_product(self, p: Gaussian, q: Gaussian) -> Rule:
        """C of what two Gaussian vectors of one family read: their covariance over σ². Of a bias it is 1."""
        match p, q:
            case MatMul(vector=z1), MatMul(vector=z2):
                if self.forms.is_sampled(p.family):
                    return (yield [(self.sampler.product, self, z1, z2)])[0]
                return (yield [(self.product, z1, z2)])[0]
            case Embed(entries=entries1), Embed(entries=entries2):
                parts = yield [(self.own[0].part, entries1), (self.own[1].part, entries2)]
                return self.equal(*parts) if p.parameter.is_looked_up else self.gram(*parts)
        return self.zeros() + 1.0

    def nonlinear(self, p: Nonlin, q: Nonlin) -> Rule:
        """(E φ(u)ψ(ū), E φ'(u)ψ'(ū)) for functions of one Gaussian vector each."""
        (phi, u1), (psi, u2) = self.forms.unary(p), self.forms.unary(q)
        (K,) = yield [(self.product, u1, u2)]
        K1, K2 = yield [(self.own[0].variance_of, u1), (self.own[1].variance_of, u2)]
        return (
            yield Call(self.forms.recording.once(product_of, phi, psi), (self.spread(K1, 0), K, self.spread(K2, 1)))
        )


class OwnInputs(Moments):
    """The moments of pairs of vectors of one input, for each input of a batch: shape (N,).

    Attributes:
        x: The inputs' entries, (N, F).
        numbers: The values of the program's options.
        rates: The learning rates of its parameters. None means 1 for all.
    """

    def __init__(self, forms: Forms, x: Float[Array, "N F"], numbers: dict[str, Array], rates: Rates | None = None):
        self.forms, self.x, self.numbers, self.rates = forms, x, numbers, rates
        self.own, self.sources = (self, self), {}
        self.bits = fingerprints(x[..., None])

    def zeros(self) -> Array:
        """Zero for every input."""
        return jnp.zeros(len(self.x), self.x.dtype)

    def spread(self, value: Value, side: int) -> Value:
        """Every pair is one input: nothing to broadcast."""
        return value

    def gram(self, part1: Array, part2: Array) -> Array:
        """ξ·ξ̄ of parts of each input."""
        return jnp.sum(part1 * part2, axis=-1)

    def equal(self, tokens1: Array, tokens2: Array) -> Array:
        """Which two tokens of an input are equal."""
        return (tokens1 == tokens2)[:, 0].astype(tokens1.dtype)

    def same_masks(self) -> Array:
        """Each input is one with itself."""
        return self.zeros() + 1.0

    def average(self, draws1: Array, draws2: Array) -> Array:
        """E x x̄ from draws of both, (S, N) each."""
        return jnp.mean(draws1 * draws2, axis=0)

    def part(self, entries: tuple[int, ...]) -> Rule:
        """ξ/√d of d entries of each input."""
        first, last = entries[0], entries[-1]
        consecutive = entries == tuple(range(first, last + 1))
        part = self.x[:, first : last + 1] if consecutive else self.x[:, jnp.array(entries)]
        return unit_scaled(part)
        yield

    def features(self, read: Features) -> Rule:
        """ξ/√d of a linear combination of parts of each input, (N, d)."""
        return read.of_each(self.x, (yield [(self.scalar, factor) for _, factor in read.terms]))

    def scalar(self, node: Scalar) -> Rule:
        """The limit of a scalar: a number, or one for each input."""
        match node:
            case Constant(value=value):
                return value
            case Option(name=name):
                return self.numbers[name]
            case Moment(vector=vector):
                return (yield [(self.expectation, vector)])[0]
            case Apply(args=args):
                return applied_to_each(node, (yield [(self.scalar, arg) for arg in args]), self.x.dtype)
            case Entry(of=of, place=place):
                return (yield [(self.scalar, of)])[0][..., place]
        raise TypeError(f"{type(node).__name__} has no limit as a scalar.")

    def variance(self, parameter: Parameter) -> Rule:
        """σ²."""
        return (yield [(self.scalar, parameter.std)])[0] ** 2

    def trained_variance(self, parameter: Parameter) -> Rule:
        """ησ²."""
        (std,) = yield [(self.scalar, parameter.std)]
        return std**2 if self.rates is None else self.rates[parameter.name].times_variance(std)

    def expectation(self, vector: Vector) -> Rule:
        """E of a coordinate."""
        if not self.forms.has_closed_mean(vector):
            return (yield [(self.sampler.expectation, vector)])[0]
        total = self.zeros()
        for atom, factor in vector.terms:
            if isinstance(atom, Gaussian) and not self.forms.may_diverge(factor):
                continue
            (c,) = yield [(self.scalar, factor)]
            if isinstance(atom, Gaussian):
                total += 0.0 * c
            elif isinstance(atom, One):
                total += c
            elif factors := self.forms.factors(atom):
                total += c * (yield [(self.product, *factors)])[0]
            elif isinstance(atom, Dropped):
                total += c * (yield [(self.expectation, atom.vector)])[0]
            else:
                total += c * (yield [(self.mean, atom)])[0][0]
        return total

    def mean(self, p: Nonlin) -> Rule:
        """(E φ(u), E φ'(u), E u φ(u)/E u²)."""
        phi, u = self.forms.unary(p)
        (K,) = yield [(self.variance_of, u)]
        return (yield Call(self.forms.recording.once(mean_of, phi), (K,)))

    def variance_of(self, u: Vector) -> Rule:
        """E u², not below 0, where rounding may have left it."""
        (K,) = yield [(self.product, u, u)]
        return jnp.where(K < 0, 0.0, K)

    def fingerprint(self, node: Nonlin) -> Fingerprint:
        """Of all entries that the vector depends on."""
        places = jnp.array(sorted(self.forms.entries(node)), int)
        return jax.tree.map(lambda word: jnp.sum(word[:, places], axis=1, dtype=jnp.uint32), self.bits)


class PairsOfInputs(Moments):
    """The moments of vectors of one batch with those of another, for all pairs of inputs: shape (N1, N2)."""

    def __init__(self, own1: OwnInputs, own2: OwnInputs):
        self.forms, self.own, self.sources = own1.forms, (own1, own2), {}

    def zeros(self) -> Array:
        """Zero for every pair."""
        return jnp.zeros((len(self.own[0].x), len(self.own[1].x)), self.own[0].x.dtype)

    def spread(self, value: Value, side: int) -> Value:
        """As a column or as a row."""
        if jnp.ndim(value) == 0:
            return value
        return jnp.expand_dims(value, -1 if side == 0 else -2)

    def gram(self, part1: Array, part2: Array) -> Array:
        """ξ·ξ̄ of parts of all pairs."""
        return gram(part1, part2)

    def equal(self, tokens1: Array, tokens2: Array) -> Array:
        """Which tokens of two inputs are equal."""
        return (tokens1 == tokens2.T).astype(tokens1.dtype)

    def same_masks(self) -> Array:
        """By the numbers of masks, which are the last columns."""
        return same_masks(self.own[0].x, self.own[1].x)

    def average(self, draws1: Array, draws2: Array) -> Array:
        """E x x̄ from draws of both, (S, N) each."""
        return gram(draws1.T, draws2.T) / len(draws1)

    def nonlinear(self, p: Nonlin, q: Nonlin) -> Rule:
        """The same for any two vectors. If both are one vector of one input, the correlation is exactly 1."""
        if p is not q or self.forms.couples_inputs:
            return (yield from super().nonlinear(p, q))
        phi, u = self.forms.unary(p)
        own = yield [(side.nonlinear, p, p) for side in self.own]
        K, K1, K2 = yield [(self.product, u, u), *((side.variance_of, u) for side in self.own)]
        own1, own2 = (
            jax.tree.map(functools.partial(self.spread, side=side), OwnMoments(K, *moments))
            for side, (K, moments) in enumerate(zip((K1, K2), own, strict=True))
        )
        bits1, bits2 = (
            jax.tree.map(lambda word, side=side: self.spread(word, side), inputs.fingerprint(p))
            for side, inputs in enumerate(self.own)
        )
        same = same_inputs(bits1, bits2)
        return (yield Call(self.forms.recording.once(product_with_itself, phi), (own1, K, own2, same)))


def same_masks(x1: Float[Array, "N1 F"], x2: Float[Array, "N2 G"]) -> Float[Array, "N1 N2"]:
    """1 where the numbers of the inputs' masks are equal, else 0."""
    numbers1, numbers2 = (x[:, -MASK_COLUMNS:] for x in (x1, x2))
    return jnp.all(numbers1[:, None] == numbers2[None], axis=-1).astype(x1.dtype)


def _times(c: Value, e: Value, moment: Array) -> Array:
    """c·e·moment; coefficients that are 1, as most are, cost nothing."""
    both = c * e
    return moment if isinstance(both, float) and both == 1.0 else jnp.multiply(both, moment)
