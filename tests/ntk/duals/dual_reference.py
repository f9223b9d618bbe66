"""Reference dual maps in 50 digits, the covariances they are asked at, and how far float inputs determine them.

Every map takes (q11, q12, q22) as mpf and returns the pair E φ(u)φ(ū), E φ'(u)φ'(ū).
"""

import csv
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from mpmath import mp, mpf

mp.dps = 50
REFERENCES = Path(__file__).parent / "references.csv"
Map = Callable[[mpf, mpf, mpf], tuple[mpf, mpf]]

VARIANCES = (1e-8, 0.3, 1.0, 10.0, 1e4, 1e8)
KINKED = ("relu", "leaky_relu", "abs", "sign", "step")
LOGISTIC = ("tanh", "sigmoid", "silu", "softplus")
CORRELATIONS = (0.0, 1e-6, 0.5, -0.5, 0.9, -0.9, 0.999999, -0.999999)
# q12² = q11·q22 holds exactly, in float32 too.
UNEQUAL_SINGULAR = ((2.0, 4.0, 8.0), (1.0, 1e4, 1e8), (1e8, 1e6, 1e4), (2.0**-27, 1.0, 2.0**27))


def _angle(q11: mpf, q12: mpf, q22: mpf) -> mpf:
    return mp.acos(max(-1, min(1, q12 / mp.sqrt(q11 * q22))))


def _arc_cosine(q11: mpf, q12: mpf, q22: mpf) -> tuple[mpf, mpf]:
    """Orders 1 and 0 of Cho & Saul (2009), eq. 6 and 4, for E relu·relu and E step·step."""
    angle = _angle(q11, q12, q22)
    order_one = mp.sin(angle) + (mp.pi - angle) * mp.cos(angle)
    return mp.sqrt(q11 * q22) * order_one / (2 * mp.pi), (mp.pi - angle) / (2 * mp.pi)


def _two_slopes(left: mpf) -> Map:
    """relu(x) - left·relu(-x): the mirrored half sees correlation -ρ against the other."""

    def dual(q11: mpf, q12: mpf, q22: mpf) -> tuple[mpf, mpf]:
        same, opposite = _arc_cosine(q11, q12, q22), _arc_cosine(q11, -q12, q22)
        return (
            (1 + left**2) * same[0] - 2 * left * opposite[0],
            (1 + left**2) * same[1] + 2 * left * opposite[1],
        )

    return dual


def _determinant(q11: mpf, q12: mpf, q22: mpf) -> mpf:
    """det(I + 2Q), so that E exp(-u² - ū²) = det^(-1/2)."""
    # Multiplied out: (1 + 2·q11)(1 + 2·q22) would round away the 1 at the largest variances.
    return 1 + 2 * (q11 + q22) + 4 * (q11 * q22 - q12**2)


def _erf(q11: mpf, q12: mpf, q22: mpf) -> tuple[mpf, mpf]:
    """Williams (1997), eq. 11."""
    sine = 2 * q12 / mp.sqrt((1 + 2 * q11) * (1 + 2 * q22))
    return 2 / mp.pi * mp.asin(sine), 4 / mp.pi / mp.sqrt(_determinant(q11, q12, q22))


def _gaussian(q11: mpf, q12: mpf, q22: mpf) -> tuple[mpf, mpf]:
    """φ' = -2x·exp(-x²); under the tilted Gaussian, of covariance Q(I + 2Q)^(-1), E uū = q12/det."""
    determinant = _determinant(q11, q12, q22)
    return 1 / mp.sqrt(determinant), 4 * q12 / determinant ** mpf("1.5")


def _waves(q11: mpf, q12: mpf, q22: mpf) -> tuple[mpf, mpf]:
    """E sin u sin ū and E cos u cos ū, from the characteristic functions of u - ū and u + ū."""
    # expm1 keeps the difference where both are nearly 1.
    difference, total = mp.expm1(-(q11 + q22) / 2 + q12), mp.expm1(-(q11 + q22) / 2 - q12)
    return (difference - total) / 2, 1 + (difference + total) / 2


def _exp(q11: mpf, q12: mpf, q22: mpf) -> tuple[mpf, mpf]:
    value = mp.exp((q11 + q22) / 2 + q12)
    return value, value


CLOSED_FORMS: dict[str, Map] = {
    "identity": lambda q11, q12, q22: (q12, mpf(1)),
    "relu": _two_slopes(mpf(0)),
    "leaky_relu": _two_slopes(mpf(1) / 10),
    "abs": _two_slopes(mpf(-1)),
    "erf": _erf,
    "sin": _waves,
    "cos": lambda q11, q12, q22: _waves(q11, q12, q22)[::-1],
    "exp": _exp,
    "sign": lambda q11, q12, q22: (1 - 2 * _angle(q11, q12, q22) / mp.pi, mpf(0)),
    "step": lambda q11, q12, q22: (_arc_cosine(q11, q12, q22)[1], mpf(0)),
    "gaussian": _gaussian,
    "square": lambda q11, q12, q22: (q11 * q22 + 2 * q12**2, 4 * q12),
    # Isserlis: E u³ū³ and 9 E u²ū².
    "cube": lambda q11, q12, q22: (9 * q11 * q12 * q22 + 6 * q12**3, 9 * (q11 * q22 + 2 * q12**2)),
}


class Expected(NamedTuple):
    """Values of a map, their natural scales, and their change when one input moves by one rounding."""

    values: tuple[mpf, mpf]
    scales: tuple[mpf, mpf]
    changes: tuple[mpf, mpf]


def exact(q11: float, q12: float, q22: float) -> tuple[mpf, mpf, mpf]:
    """The same numbers in mpmath, without rounding."""
    return mpf(float(q11)), mpf(float(q12)), mpf(float(q22))


@cache
def natural_scales(dual: Map, q11: mpf, q22: mpf) -> tuple[mpf, mpf]:
    """sqrt(E φ(u)² · E φ(ū)²), and the same with φ'."""
    first, second = dual(q11, q11, q11), dual(q22, q22, q22)
    return mp.sqrt(first[0] * second[0]), mp.sqrt(first[1] * second[1])


def changes_under_rounding(dual: Map, q11: mpf, q12: mpf, q22: mpf, dtype: str) -> tuple[mpf, mpf]:
    """Largest change of both maps when one input moves by one rounding and the matrix remains a covariance."""
    rounding = mpf(float(np.finfo(dtype).eps)) / 2
    center = dual(q11, q12, q22)
    largest = [mpf(0), mpf(0)]
    for factor in (1 - rounding, 1 + rounding):
        for moved in ((q11 * factor, q12, q22), (q11, q12 * factor, q22), (q11, q12, q22 * factor)):
            if moved[1] ** 2 <= moved[0] * moved[2]:
                largest = [max(e, abs(m - v)) for e, m, v in zip(largest, dual(*moved), center, strict=True)]
    return largest[0], largest[1]


@cache
def stored() -> dict[tuple[str, str, float, float, float], tuple[mpf, mpf, mpf, mpf]]:
    """Rows of references.csv by (name, dtype, q11, q12, q22): both maps and their changes under rounding."""
    with REFERENCES.open(newline="") as file:
        return {
            (name, dtype, *map(float.fromhex, inputs)): tuple(map(mpf, numbers))
            for name, dtype, *inputs, dual, derivative, dual_change, derivative_change in [*csv.reader(file)][1:]
            for numbers in [(dual, derivative, dual_change, derivative_change)]
        }


@cache
def expected(name: str, q11: float, q12: float, q22: float, dtype: str) -> Expected:
    """What the maps of a name should return for inputs of this dtype; from the file where they have no closed form."""
    if name in CLOSED_FORMS:
        dual, arguments = CLOSED_FORMS[name], exact(q11, q12, q22)
        scales = natural_scales(dual, arguments[0], arguments[2])
        return Expected(dual(*arguments), scales, changes_under_rounding(dual, *arguments, dtype))
    value, derivative, *changes = stored()[name, dtype, q11, q12, q22]
    first, second = stored()[name, dtype, q11, q11, q11], stored()[name, dtype, q22, q22, q22]
    scales = mp.sqrt(first[0] * second[0]), mp.sqrt(first[1] * second[1])
    return Expected((value, derivative), scales, (changes[0], changes[1]))


def covariances(dtype: str, largest: float = np.inf) -> Iterator[tuple[float, float, float]]:
    """(q11, q12, q22) representable in `dtype`: every pair of variances and correlation, then ρ = ±1 exactly."""
    round_to = np.dtype(dtype).type
    pairs = list(combinations_with_replacement([v for v in VARIANCES if v <= largest], 2))
    for index, pair in enumerate(pairs):
        q11, q22 = map(round_to, pair if index % 2 else pair[::-1])
        for correlation in CORRELATIONS:
            q12 = round_to(correlation * np.sqrt(float(q11) * float(q22)))
            assert Fraction(float(q12)) ** 2 <= Fraction(float(q11)) * Fraction(float(q22))
            yield float(q11), float(q12), float(q22)
    singular = list(UNEQUAL_SINGULAR)
    for variance in (*VARIANCES, 2.0, 8.0, 2.0**-27, 2.0**27):
        q = float(round_to(variance))
        singular.append((q, q, q))
    for q11, q12, q22 in singular:
        if max(q11, q22) <= largest:
            yield q11, q12, q22
            yield q11, -q12, q22


# φ written out anew, for what is checked against a plain quadrature or the definition.
FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "identity": lambda x: 1.0 * x,
    "relu": lambda x: jnp.maximum(x, 0.0),
    "leaky_relu": lambda x: jnp.maximum(x, 0.1 * x),
    "abs": lambda x: jnp.sqrt(x**2),
    "erf": jax.scipy.special.erf,
    "tanh": jnp.tanh,
    "sigmoid": lambda x: (1.0 + jnp.tanh(x / 2.0)) / 2.0,
    "gelu": lambda x: x * jax.scipy.stats.norm.cdf(x),
    "silu": lambda x: x * (1.0 + jnp.tanh(x / 2.0)) / 2.0,
    "softplus": lambda x: jnp.logaddexp(x, 0.0),
    "sin": jnp.sin,
    "cos": jnp.cos,
    "exp": jnp.exp,
    "sign": lambda x: jnp.where(x == 0, 0.0, x / jnp.abs(x)),
    "step": lambda x: jnp.where(x > 0, 1.0, 0.0),
    "gaussian": lambda x: jnp.exp(-x * x),
    "square": lambda x: x * x,
    "cube": lambda x: x * x * x,
}


@cache
def trapezoid(f: Callable, g: Callable, q11: float, q12: float, q22: float) -> float:
    """E f(u)g(ū) for analytic f and g by the trapezoidal rule in two independent standard normals.

    The error is exp(-2π·d/h) where d is the distance of the nearest pole of f(√q·z) from the real line: at q = 10
    and h = 0.09, 1e-15 for tanh (pole at iπ/2) and less for the others; what is left is rounding, near 1e-14.
    """
    spacing = 0.09
    z = jnp.arange(-13.0, 13.0, spacing)
    weights = spacing * jnp.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    u = np.sqrt(q11) * z[:, None]
    other = q12 / np.sqrt(q11) * z[:, None] + np.sqrt(q22 - q12**2 / q11) * z[None]
    return float(weights @ (f(u) * g(other)) @ weights)
