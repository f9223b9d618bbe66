"""An activation: the scalar function together with its two dual maps."""

import functools
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from ntk.caches.lifetimes import compiled
from ntk.checks import check_finite, check_nonnegative, check_representable, is_concrete, shown
from ntk.dtypes import common_dtype
from ntk.duals import closed_forms as forms
from ntk.duals.quadrature import ScalarFunction

Entries = Real[ArrayLike, "..."]


@jax.tree_util.register_static
@dataclass(frozen=True)
class Activation:
    """A scalar function φ with E φ(u)φ(ū) and E φ'(u)φ'(ū) for (u, ū) ~ N(0, [[q11, q12], [q12, q22]]).

    `ntk.activation` makes one. A variable of variance zero is the constant 0. φ'(0) is the derivative that JAX takes.

    Attributes:
        name: The name in messages and plots.
        fn: φ, coordinate-wise on arrays of any shape.
        dual_map: E φφ̄ without checks, for arrays of one dtype.
        dual_derivative_map: E φ'φ̄' without checks, for arrays of one dtype.
        accuracy: The error of the maps beyond rounding, relative to their natural scale √(E φ(u)²·E φ(ū)²).
        refined: If the maps are quadratures, the same activation with more nodes.

    Example:
        >>> import ntk
        >>> relu = ntk.activation("relu")
        >>> float(relu.dual(1.0, 1.0, 1.0)), float(relu.dual_derivative(1.0, 0.0, 1.0))
        (0.5, 0.25)
    """

    name: str
    fn: ScalarFunction = field(repr=False)
    dual_map: forms.DualMap = field(repr=False)
    dual_derivative_map: forms.DualMap = field(repr=False)
    accuracy: float = field(default=0.0, repr=False)
    refined: "Activation | None" = field(default=None, repr=False)

    def dual(self, q11: Entries, q12: Entries, q22: Entries) -> Float[jax.Array, "..."]:
        """E φ(u)φ(ū), the C-map (theory.md 4.1).

        Args:
            q11: Variance of u.
            q12: Covariance of u and ū.
            q22: Variance of ū. The three arguments broadcast against each other.

        Returns:
            An array of the broadcast shape, in the dtype of the arguments.

        Raises:
            TypeError: An argument is not an array of real numbers.
            ValueError: A variance is negative, |q12| exceeds √(q11·q22), the shapes do not broadcast, or the result is
                too large for the dtype.

        Example:
            >>> import ntk
            >>> print(ntk.activation("sin").dual(1e-4, 0.0, 1.0))
            0.0
        """
        value = _evaluate(self, "dual_map", *_covariance(q11, q12, q22))
        check_representable(dual=value)
        return value

    def dual_derivative(self, q11: Entries, q12: Entries, q22: Entries) -> Float[jax.Array, "..."]:
        """E φ'(u)φ'(ū), the D-map (theory.md 4.1).

        Args:
            q11: Variance of u.
            q12: Covariance of u and ū.
            q22: Variance of ū. The three arguments broadcast against each other.

        Returns:
            An array of the broadcast shape, in the dtype of the arguments.

        Raises:
            TypeError: An argument is not an array of real numbers.
            ValueError: A variance is negative, |q12| exceeds √(q11·q22), the shapes do not broadcast, or the result is
                too large for the dtype.

        Example:
            >>> import ntk
            >>> print(ntk.activation("identity").dual_derivative(2.0, 1.0, 2.0))
            1.0
        """
        value = _evaluate(self, "dual_derivative_map", *_covariance(q11, q12, q22))
        check_representable(dual_derivative=value)
        return value

    def error_estimate(
        self, q11: Entries, q12: Entries, q22: Entries
    ) -> tuple[Float[jax.Array, "*shape"], Float[jax.Array, "*shape"]]:
        """Estimated absolute errors of `dual` and `dual_derivative`.

        The estimate of a closed form is its rounding plus `accuracy`, times the natural scale. The estimate of a
        quadrature adds the difference to the `refined` rule.

        Args:
            q11: Variance of u.
            q12: Covariance of u and ū.
            q22: Variance of ū. The three arguments broadcast against each other.

        Returns:
            Two arrays of the broadcast shape, in the dtype of the arguments.

        Raises:
            TypeError: An argument is not an array of real numbers.
            ValueError: A variance is negative, |q12| exceeds √(q11·q22), or the shapes do not broadcast.

        Example:
            >>> import ntk
            >>> error, _ = ntk.activation("erf").error_estimate(1.0, 0.5, 1.0)
            >>> bool(error < 1e-6)
            True
        """
        q11, q12, q22 = _covariance(q11, q12, q22)
        relative = self.accuracy + 8.0 * float(jnp.finfo(q12.dtype).eps)

        def error(attribute: str) -> jax.Array:
            evaluate = functools.partial(_evaluate, self, attribute)
            estimate = relative * jnp.sqrt(evaluate(q11, q11, q11)) * jnp.sqrt(evaluate(q22, q22, q22))
            if self.refined is not None:
                refined = _evaluate(self.refined, attribute, q11, q12, q22)
                estimate += jnp.abs(evaluate(q11, q12, q22) - refined)
            return estimate

        return error("dual_map"), error("dual_derivative_map")


def _covariance(q11: ArrayLike, q12: ArrayLike, q22: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The three entries as floating-point arrays of one dtype, refused if they are not a covariance."""
    entries = [_real(name, q) for name, q in (("q11", q11), ("q12", q12), ("q22", q22))]
    dtype = common_dtype(*entries)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    try:
        rank = len(jnp.broadcast_shapes(*(q.shape for q in entries)))
    except ValueError:
        shapes = ", ".join(str(q.shape) for q in entries)
        raise ValueError(f"q11, q12, q22 have shapes {shapes}; expected shapes that broadcast.") from None
    q11, q12, q22 = (q.astype(dtype).reshape((1,) * (rank - q.ndim) + q.shape) for q in entries)
    if is_concrete(q11, q12, q22):
        check_nonnegative("q11", q11)
        check_nonnegative("q22", q22)
        check_finite("q12", q12)
        found, largest = np.broadcast_arrays(np.asarray(q12), np.sqrt(q11) * np.sqrt(q22))
        allowed = np.abs(found) <= (1 + 100 * jnp.finfo(dtype).eps) * largest
        if not np.all(allowed):
            first = np.argmin(allowed)
            raise ValueError(
                f"q12 is {found.flat[first]}; expected a covariance of at most sqrt(q11*q22) = {largest.flat[first]}."
            )
    return q11, q12, q22


def _real(name: str, q: ArrayLike) -> jax.Array:
    try:
        array = jnp.asarray(q)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} is {shown(q)}; expected a real number or array.") from None
    if not jnp.issubdtype(array.dtype, jnp.floating) and not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{name} is {shown(q)}; expected a real number or array.")
    return array


@compiled(static=1)
def _evaluate(act: Activation, attribute: str, q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
    value = getattr(act, attribute)(q11, q12, q22)
    # If a variance has overflowed, the formula gives ∞ − ∞ and the map is ∞. NaN is the mark of bad input alone.
    overflowed = (jnp.isinf(q11) | jnp.isinf(q22)) & jnp.isnan(value)
    value = jnp.where(overflowed, jnp.inf, value)
    value = jnp.where(jnp.isnan(q11) | jnp.isnan(q12) | jnp.isnan(q22), jnp.nan, value)
    return jnp.broadcast_to(value, jnp.broadcast_shapes(q11.shape, q12.shape, q22.shape))
