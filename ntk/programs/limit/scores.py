"""Kernels of programs with scores q_i·k_j/√n, which stay random: means over draws of them (theory.md 3.22 to 3.24).

Given its scores, an input is one of a program with closed forms. So drawn scores follow its entries as more columns.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from ntk.caches.lifetimes import compiled
from ntk.learning_rates import Rates
from ntk.linalg import highest_einsum, highest_matmul
from ntk.programs.language.atoms import Moved, Transposed
from ntk.programs.language.graph import reachable
from ntk.programs.language.loops import Loop
from ntk.programs.language.positions import Shape
from ntk.programs.language.scalars import Scores
from ntk.programs.language.vectors import Vector
from ntk.programs.limit.arrays.indices import all_pairs
from ntk.programs.limit.arrays.kernels import fixed_values, is_on_arrays, limits_of, own_values, plan_of
from ntk.programs.limit.arrays.plan import Pair, Plan, plan
from ntk.programs.limit.arrays.rules import rule_of
from ntk.programs.limit.arrays.values import Known, Values
from ntk.programs.limit.draws.conditioning import root_of
from ntk.programs.limit.draws.points import Points, scrambled_normals
from ntk.programs.limit.evaluation import Averages, averages
from ntk.programs.limit.forms import Forms
from ntk.programs.results import Limits

_BATCH = 16  # draws at a time


def check_scores(forms: Forms) -> None:
    """Refuse programs of which the scores have no Gaussian limit, or the kernels given the scores no closed form."""
    read: dict[Scores, tuple[frozenset[object], frozenset[object]]] = {}
    for scores in forms.scores:
        if scores not in forms.recording.nodes:
            raise ValueError(f"scores are computed in a loop at {scores.line}; expected them outside of loops.")
        if any(isinstance(node, Scores) for node in reachable([scores.queries, scores.keys])):
            raise ValueError(
                f"queries or keys depend on other random scores at {scores.line}; expected one layer of them."
            )
        of_queries, of_keys = _families(forms, scores.queries), _families(forms, scores.keys)
        read[scores] = of_queries, of_keys
        atoms = [atom for z in (scores.queries, scores.keys) for atom, _ in z.terms]
        if not all(map(forms.is_centred, atoms)) or of_queries & of_keys:
            raise ValueError(
                f"scores are not of products with different matrices at {scores.line}; expected queries and keys with"
                " matrices of their own: these scores have no Gaussian limit."
            )
        for of_queries2, of_keys2 in (pair for other, pair in read.items() if other is not scores):
            both = (of_queries & of_queries2 and of_keys & of_keys2, of_queries & of_keys2 and of_keys & of_queries2)
            if any(both):
                raise ValueError(f"scores at {scores.line} share both matrices with others; expected one at most.")
    own = frozenset().union(*(families for pair in read.values() for families in pair))
    for node in forms.recording.nodes:
        passes_on = isinstance(node, Scores | Vector | Loop | Moved | Transposed)
        if not passes_on and any(isinstance(part, Vector) and _families(forms, part) & own for part in node.parts):
            raise ValueError(f"a matrix of random scores is used at {node.line}; expected it in scores alone.")
    offset = forms.recording.output.offset
    if any(isinstance(node, Scores) for node in reachable([offset])):
        raise ValueError(f"the output is not a product with an output weight at {offset.line}, but random scores.")
    if forms.has_masks or forms.recording.has_two_shapes or not is_on_arrays(forms):
        raise ValueError(
            f"the program has random scores at {forms.scores[0].line}; expected one with closed forms besides, without"
            " dropout, and inputs of one shape."
        )


def _families(forms: Forms, vector: Vector) -> frozenset[object]:
    return frozenset().union(*(forms.families(atom) for atom, _ in vector.terms))


def num_scores(forms: Forms) -> int:
    """How many scores an input has."""
    return max(-int(scores.columns.min()) for scores in forms.scores)


def _plan_of_scores(forms: Forms) -> Plan:
    """What leads to the moments of queries and of keys, for all pairs of positions."""
    fields = [z for scores in forms.scores for z in (scores.queries, scores.keys)]
    return plan(functools.partial(rule_of, forms), {Pair(z, z): all_pairs(1, 1) for z in fields}, [])


@compiled(static=1)
def limits_of_scores(
    forms: Forms,
    only_ntk: bool,
    points: Points,
    numbers: dict[str, Array],
    x1: Float[Array, "N1 F"],
    x2: Float[Array, "N2 F"] | None,
    rates: Rates | None = None,
) -> Averages:
    """Means over scores of all inputs together, and over directions of what moves them."""
    x = x1 if x2 is None else jnp.concatenate([x1, x2])
    rows, columns = slice(len(x1)), slice(0 if x2 is None else len(x1), None)
    roots = _roots(forms, numbers, x, rates)
    step = float(jnp.finfo(x.dtype).eps) ** 0.25

    def given(normals: Float[Array, "two N K"]) -> Limits:
        scores, moved = (_times_roots(forms, normals[place], roots[place]) for place in range(2))
        limits = _given_scores(forms, only_ntk, numbers, jnp.concatenate([x, scores], axis=1), rates)
        sides = jnp.concatenate([jnp.concatenate([x, scores + sign * step * moved], axis=1) for sign in (1, -1)])
        nngp = _given_scores(forms, True, numbers, sides, rates).nngp.reshape(2, len(x), 2, len(x))
        of_scores = (nngp[0, :, 0] - nngp[0, :, 1] - nngp[1, :, 0] + nngp[1, :, 1]) / (2.0 * step) ** 2
        limits = limits._replace(ntk=limits.ntk + of_scores, D={})
        return jax.tree.map(lambda kernel: kernel[rows, columns], limits)

    def replicate(key: Array) -> Limits:
        normals = scrambled_normals(points.directions, key, x.dtype)
        draws = normals.reshape(len(normals), 2, len(x), -1)
        return jax.tree.map(lambda each: jnp.mean(each, axis=0), lax.map(given, draws, batch_size=_BATCH))

    return averages(lax.map(replicate, points.keys))


def _times_roots(
    forms: Forms, normals: Float[Array, "N K"], roots: list[Float[Array, "NPQ NPQ"]]
) -> Float[Array, "N K"]:
    """Gaussian numbers in the columns of each of the scores, from roots of covariances of all inputs."""
    found = normals
    for scores, root in zip(forms.scores, roots, strict=True):
        columns = scores.columns.ravel()
        drawn = highest_matmul(normals[:, columns].reshape(-1), root)
        found = found.at[:, columns].set(drawn.reshape(len(normals), -1))
    return found


def _roots(
    forms: Forms, numbers: dict[str, Array], x: Float[Array, "N F"], rates: Rates | None
) -> tuple[list[Float[Array, "NPQ NPQ"]], list[Float[Array, "NPQ NPQ"]]]:
    """Of all scores of all inputs: roots of the covariances, and of the tangent kernels (theory.md 3.22)."""
    steps, indices = forms.recording.once(_plan_of_scores, forms), all_pairs(1, 1)
    own = own_values(forms, steps.own[0], numbers, x)
    known = Known(own, {step.key: step.indices for step in steps.own[0]})
    values = Values(fixed_values(forms, numbers, x, rates), (x, x), (known, known))
    found = values.follow(steps.cross)

    def moments_of(z: Vector) -> list[Array]:
        key = Pair(z, z)
        return [values.filled(part, key, indices) for part in found.of(key, indices)[:2]]

    def times(of_queries: Array, of_keys: Array, shape: Shape) -> Float[Array, "NPQ NPQ"]:
        size = len(x) * math.prod(shape)
        return highest_einsum("ijpr,ijqs->ipqjrs", of_queries, of_keys).reshape(size, size)

    def root(matrix: Float[Array, "M M"]) -> Float[Array, "M M"]:
        return root_of(matrix, jnp.diagonal(matrix))[0]

    covariances, tangents = [], []
    for scores in forms.scores:
        (Cq, tau_q), (Ck, tau_k) = moments_of(scores.queries), moments_of(scores.keys)
        covariances.append(root(times(Cq, Ck, scores.shape)))
        tangents.append(root(times(tau_q, Ck, scores.shape) + times(Cq, tau_k, scores.shape)))
    return covariances, tangents


def _given_scores(
    forms: Forms, only_ntk: bool, numbers: dict[str, Array], x: Float[Array, "N F"], rates: Rates | None
) -> Limits:
    """The kernels of inputs that are followed by their scores."""
    steps = plan_of(forms)
    own = own_values(forms, steps.own[0], numbers, x)
    known = Known(own, {step.key: step.indices for step in steps.own[0]})
    fixed = fixed_values(forms, numbers, x, rates)
    return limits_of(forms, only_ntk, steps.cross, fixed, (x, x), (known, known))
