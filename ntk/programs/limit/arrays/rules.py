"""How C and τ of two fields follow from those of what they are made of (theory.md 3.2 to 3.6 and 3.11)."""

from collections.abc import Callable, Sequence
from typing import overload

import jax.numpy as jnp
from jaxtyping import Array

from ntk.infinite_width.moments import OwnMoments, own_moments
from ntk.programs.language.atoms import (
    Atom,
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
    Tap,
    Transposed,
)
from ntk.programs.language.loops import Scanned
from ntk.programs.language.scalars import Scalar, Value
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.arrays.indices import Indices, Named, equal
from ntk.programs.limit.arrays.loops import along, last_step, mean_of_scanned, sampled, scanned
from ntk.programs.limit.arrays.meetings import beside_a_loop, meeting
from ntk.programs.limit.arrays.plan import (
    Alone,
    Along,
    Field,
    Key,
    Mark,
    Meeting,
    Moments,
    Need,
    NotOnArrays,
    Pair,
    Rule,
    Tree,
)
from ntk.programs.limit.arrays.positions import at_equal, convolved, mixed, moved, transposed, where_equal
from ntk.programs.limit.arrays.scalars import expectation, factors_of, mean_of_map, scalar
from ntk.programs.limit.arrays.values import Values
from ntk.programs.limit.expectations import mean_of, product_of, product_with_itself
from ntk.programs.limit.forms import Forms


def rule_of(forms: Forms, key: Key, indices: Indices, own: bool) -> Rule:
    """The rule for the moments of two vectors, atoms or entries of the input; or for a scalar or the means of a vector.

    Args:
        forms: What is known of the program.
        key: Of what.
        indices: Which positions are equal.
        own: Whether the moments are those of each input with itself.

    Raises:
        NotOnArrays: No rule gives this.
    """
    match key:
        case Alone(of=Scalar() as of):
            return scalar(forms, of)
        case Alone(of=Vector() as of):
            return expectation(forms, of)
        case Alone(of=Nonlin() as of):
            return _means(forms, of)
        case Alone(of=Scanned() as of) if of.loop in forms.sampled_loops:
            return Rule([], lambda values: values.sampled[of].mean)
        case Alone(of=Scanned() as of):
            return mean_of_scanned(rule_of, forms, of)
        case Alone(of=Dropped() as of):
            return Rule([Need(0, Alone(of.vector))], lambda _, mean: mean)
        case Along(loop=loop):
            return along(rule_of, forms, loop)
        case Meeting():
            return meeting(rule_of, forms, key, indices, own)
        case Alone(of=Atom() as of):
            return mean_of_map(of)
        case Mark(of=of):
            return Rule([], lambda values: values.marks.of(of))
        case Pair():
            return _moments(forms, key, indices, own)
    raise NotOnArrays


def _moments(forms: Forms, key: Pair, indices: Indices, own: bool) -> Rule:
    match key:
        case (Vector(), _) | (_, Vector()):
            return _bilinear(forms, key, indices)
        case (Moved() as p, Moved() as q) if not own and (rule := last_step(rule_of, forms, p, q, indices)):
            return rule
        case (Moved(), _) | (_, Moved()):
            return moved(key, indices)
        case (Mixed(), _) | (_, Mixed()):
            return mixed(key, indices)
        case (Dropped(), _) | (_, Dropped()):
            return _dropped(key, indices)
        case (Transposed(), _) | (_, Transposed()):
            return transposed(key, indices)
        case _ if any(isinstance(field, Scanned) and field.loop in forms.sampled_loops for field in key):
            return sampled(forms, key, indices, own)
        case Scanned(), Scanned():
            return scanned(rule_of, forms, key, indices, own)
        case (Scanned(), Atom()) | (Atom(), Scanned()):
            return beside_a_loop(rule_of, forms, key, indices)
        case Entries(), Entries():
            return Rule([], lambda values: Moments(values.gram(key.a, key.b, indices), None))
        case Embed() as p, Embed() as q:
            return _embedded(p, q, indices)
        case One(), One():
            return Rule([], lambda values: Moments(values.filled(None, key, indices) + 1.0, None))
        case Tap() as p, Tap():
            return _tapped(p, key, indices)
        case Bias(parameter=parameter), Bias():
            return _bias(parameter, key, indices)
        case MatMul(vector=z1) as p, MatMul(vector=z2):
            return _product(p.parameter, Need(0, Pair(z1, z2), indices), lambda _, moment: moment)
        case Convolve() as p, Convolve() as q if _same_offsets(p, q):
            sources, windows = Pair(p.source, q.source), (p.windows, q.windows)
            if p.shared:
                return _product(p.parameter, *convolved(windows, sources, indices))
            have = at_equal(p, q, indices)
            need, mean = convolved(windows, sources, have)
            return _product(
                p.parameter, need, lambda values, moment: where_equal(values, mean(values, moment), have, indices)
            )
        case Nonlin() as p, Nonlin() as q:
            return _nonlinear(forms, p, q, indices, own)
        case One(), Nonlin() as q:
            return _mean_beside_one(q, 1, key, indices)
        case Nonlin() as p, One():
            return _mean_beside_one(p, 0, key, indices)
        case Nonlin() as p, Atom() as g:
            u = forms.unary(p)[1]
            return _stein(p, 0, Pair(u, g), indices)
        case Atom() as g, Nonlin() as q:
            u = forms.unary(q)[1]
            return _stein(q, 1, Pair(g, u), indices)
    raise NotOnArrays


def _same_offsets(p: Convolve, q: Convolve) -> bool:
    """Whether they read alike, and so by the same rule at any two positions."""
    if p.shared != q.shared or len(p.windows) != len(q.windows):
        return False
    if p.source.shape == q.source.shape:
        return p.windows == q.windows
    offsets = [[(each.size, each.stride, each.dilation, each.circular) for each in one.windows] for one in (p, q)]
    return offsets[0] == offsets[1]


def _means(forms: Forms, p: Nonlin) -> Rule:
    """(E φ(u), E φ'(u), E u φ(u)/E u²)."""
    phi, u = forms.unary(p)
    mean, itself, indices = forms.recording.once(mean_of, phi), Pair(u, u), equal(len(p.shape))
    return Rule([Need(0, itself, indices)], lambda values, K: mean(_variance(values, K, itself)))


def _bilinear(forms: Forms, key: Pair, indices: Indices) -> Rule:
    """Σ over atoms p of a and q of b of their coefficients and the moments of p and q."""
    terms1, terms2 = (_terms(field) for field in key)
    parts = [(p, c, q, e) for p, c in terms1 for q, e in terms2 if not _vanishes(forms, p, q)]
    needs = [Need(0, Pair(p, q), indices) for p, _, q, _ in parts]
    factors = [factors_of(forms, [c for _, c, _, _ in parts], 1), factors_of(forms, [e for *_, e in parts], 2)]
    needs_of_factors = [need for found in factors for need in found.needs]

    def compute(values: Values, *found: Tree) -> Moments:
        moments, rest = found[: len(parts)], iter(found[len(parts) :])
        columns = [
            [values.beside(number, indices, side) for number in each.numbers(values, rest)]
            for side, each in enumerate(factors)
        ]
        weights = [_times(c, e) for c, e in zip(*columns, strict=True)]
        return Moments(
            *(
                _sum([_times(weight, part) for weight, part in zip(weights, each, strict=True) if part is not None])
                for each in ([moment.C for moment in moments], [moment.tau for moment in moments])
            )
        )

    return Rule(needs + needs_of_factors, compute)


def _terms(field: Field) -> tuple[tuple[Atom | Entries, Scalar | None], ...]:
    """Atoms and their coefficients, None for 1."""
    return field.terms if isinstance(field, Vector) else ((field, None),)


@overload
def _times(c: Value, moment: Array) -> Array: ...
@overload
def _times(c: Value, moment: Value) -> Value: ...
def _times(c: Value, moment: Value) -> Value:
    """c·moment. Coefficients that are 1, as most are, cost nothing."""
    return moment if isinstance(c, float) and c == 1.0 else c * moment


def _sum(terms: Sequence[Array]) -> Array | None:
    return sum(terms[1:], terms[0]) if terms else None


def _vanishes(forms: Forms, p: Atom | Entries, q: Atom | Entries) -> bool:
    """Whether C and τ of two atoms are 0 whatever the inputs are: where one is centred and they share no parameter."""
    return (
        not (isinstance(p, Entries) or isinstance(q, Entries))
        and (forms.is_centred(p) or forms.is_centred(q))
        and not (forms.families(p) & forms.families(q))
    )


def _product(parameter: Parameter, need: Need, mean: Callable[[Values, Array], Array]) -> Rule:
    """C = σ² C(z, z̄) and τ = σ² (ηC + τ)(z, z̄), or their means over the offsets of a convolution."""

    def compute(values: Values, z: Moments) -> Moments:
        C, tau = (None if moment is None else mean(values, moment) for moment in (z.C, z.tau))
        variance, trained = values.variance(parameter), values.trained_variance(parameter)
        sources = [factor * moment for factor, moment in ((trained, C), (variance, tau)) if moment is not None]
        return Moments(None if C is None else variance * C, _sum(sources))

    return Rule([need], compute)


def _embedded(p: Embed, q: Embed, indices: Indices) -> Rule:
    """C = σ² ξ·ξ̄/d, and τ = ησ² ξ·ξ̄/d; of looked up tokens σ² and ησ² where they are equal."""

    def compute(values: Values) -> Moments:
        product = values.equal if p.parameter.is_looked_up else values.gram
        return values.embedded(p.parameter, product(p.source, q.source, indices))

    return Rule([], compute)


def _dropped(key: Pair, indices: Indices) -> Rule:
    """The moments without masks, over the keep rate at equal positions with the same mask (theory.md 3.20)."""
    a, b = (field.vector if isinstance(field, Dropped) else field for field in key)
    site = key.a if key.a is key.b else None

    def compute(values: Values, z: Moments) -> Moments:
        if not isinstance(site, Dropped):
            return Moments(z.C, z.tau)
        gain = 1.0 / values.numbers[site.keep] - 1.0

        def masked(moment: Array | None) -> Array | None:
            if moment is None:
                return None
            met = Named(moment * values.same_masks(moment.ndim), indices.names)
            for p, q in zip(*indices.sides, strict=True):
                met = met if p == q else met.where_equal(p, q)
            return moment + gain * values.where_no_offset(met.array, indices)

        return Moments(masked(z.C), masked(z.tau))

    return Rule([Need(0, Pair(a, b), indices)], compute)


def _bias(parameter: Parameter, key: Pair, indices: Indices) -> Rule:
    """C = σ², and τ = ησ²; if the bias has positions, at equal ones."""

    def compute(values: Values) -> Moments:
        ones = Named(values.filled(None, key, indices) + 1.0, indices.names)
        for p, q in zip(*indices.sides, strict=True):
            ones = ones if p == q else ones.where_equal(p, q)
        array = values.where_no_offset(ones.array, indices)
        return Moments(values.variance(parameter) * array, values.trained_variance(parameter) * array)

    return Rule([], compute)


def _tapped(tap: Tap, key: Pair, indices: Indices) -> Rule:
    """C = 0; τ is what is added to it at equal positions."""

    def compute(values: Values) -> Moments:
        if tap.name not in values.sources:
            return Moments(None, None)
        have = at_equal(key.a, key.b, indices)
        return Moments(None, where_equal(values, values.sources[tap.name], have, indices))

    return Rule([], compute)


def _nonlinear(forms: Forms, p: Nonlin, q: Nonlin, indices: Indices, own: bool) -> Rule:
    """C = E φ(u)ψ(ū) and τ = E φ'(u)ψ'(ū) τ(u, ū)."""
    (phi, u1), (psi, u2) = forms.unary(p), forms.unary(q)
    at_equal, at_equal2 = equal(len(p.shape)), equal(len(q.shape))
    pair, itself1, itself2 = Pair(u1, u2), Pair(u1, u1), Pair(u2, u2)
    if own and p is q and indices == at_equal:

        def of_each(values: Values, K: Moments) -> Moments:
            _, C, dot = own_moments(phi.activation, _variance(values, K, itself1))
            return Moments(C, None, dot)

        return Rule([Need(0, itself1, at_equal)], of_each)
    # Inputs of two shapes have vectors of their own, which may be one and the same all the same.
    may_meet = p is q or (forms.recording.has_two_shapes and not own and phi is psi and len(p.shape) == len(q.shape))
    product = forms.recording.once(product_with_itself, phi) if may_meet else forms.recording.once(product_of, phi, psi)
    needs = [Need(0, pair, indices), Need(1, itself1, at_equal), Need(2, itself2, at_equal2)]
    if may_meet:
        needs += [Need(1, Mark(p)), Need(2, Mark(q))]
    if may_meet and not own:
        needs += [Need(1, Pair(p, p), at_equal), Need(2, Pair(q, q), at_equal2)]

    def compute(values: Values, K: Moments, K1: Moments, K2: Moments, *of_one_function: Tree) -> Moments:
        q12 = values.filled(K.C, pair, indices)
        variances = [
            _variance(values, moments, itself, side)
            for side, (moments, itself) in enumerate(((K1, itself1), (K2, itself2)))
        ]
        if may_meet:
            marks, own_results = of_one_function[:2], of_one_function[2:]
            results = [(moments.C, moments.dot) for moments in own_results] or [
                own_moments(phi.activation, variance)[1:] for variance in variances
            ]
            both = [
                OwnMoments(*(values.beside(part, indices, side) for part in (variance, *result)))
                for side, (variance, result) in enumerate(zip(variances, results, strict=True))
            ]
            C, dot = product(both[0], q12, both[1], values.same(marks, indices))
        else:
            q11, q22 = (values.beside(variance, indices, side) for side, variance in enumerate(variances))
            C, dot = product(q11, q12, q22)
        return Moments(C, None if K.tau is None else dot * K.tau, dot)

    return Rule(needs, compute)


def _variance(values: Values, K: Moments, itself: Pair, side: int | None = None) -> Array:
    """E u² at each position, not below 0, where rounding may have left it."""
    variance = values.filled(K.C, itself, equal(len(itself.a.shape)), side)
    return jnp.where(variance < 0, 0.0, variance)


def _mean_beside_one(nonlin: Nonlin, side: int, key: Pair, indices: Indices) -> Rule:
    """E φ(u)."""

    def compute(values: Values, means: tuple[Array, Array, Array]) -> Moments:
        return Moments(values.filled(None, key, indices) + values.beside(means[0], indices, side), None)

    return Rule([Need(1 + side, Alone(nonlin))], compute)


def _stein(nonlin: Nonlin, side: int, with_argument: Pair, indices: Indices) -> Rule:
    """Of a centred g and φ(u): E g φ(u) = E g u · E u φ(u)/E u², and τ(g, φ(u)) = τ(g, u) E φ'(u)."""

    def compute(values: Values, g: Moments, means: tuple[Array, Array, Array]) -> Moments:
        _, slope, regression = (values.beside(mean, indices, side) for mean in means)
        return Moments(None if g.C is None else g.C * regression, None if g.tau is None else g.tau * slope)

    return Rule([Need(0, with_argument, indices), Need(1 + side, Alone(nonlin))], compute)
