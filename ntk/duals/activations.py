"""An activation: the scalar function together with its two dual maps."""

import functools
import math
import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from ntk.caches.lifetimes import compiled, kept_with
from ntk.caches.rebinding import content, copied
from ntk.calls import of_user
from ntk.checks import check_finite, check_nonnegative, check_representable, is_concrete, shown
from ntk.dtypes import common_dtype
from ntk.duals import closed_forms as forms
from ntk.duals.quadrature import TRUNCATION, Rule, derivative, gaussian_expectation, smoothness
from ntk.duals.smoothing import LOGISTIC_ACCURACY, logistic_mixture

Entries = Real[ArrayLike, "..."]
ScalarFunction = Callable[[jax.Array], jax.Array]  # of each entry alone


@jax.tree_util.register_static
@dataclass(frozen=True)
class Activation:
    """A scalar function φ with E φ(u)φ(ū) and E φ'(u)φ'(ū) for (u, ū) ~ N(0, [[q11, q12], [q12, q22]]).

    `ntk.activation` makes one. A variable of variance zero is the constant 0, and φ'(0) is the one of JAX.

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


ActivationLike: TypeAlias = str | ScalarFunction | Activation  # what `activation` makes an `Activation` of


def activation(
    name_or_function: ActivationLike,
    *,
    breakpoints: Sequence[float | int] = (0.0,),
) -> Activation:
    """The activation of that name, or of any coordinate-wise JAX function.

    Named: identity, relu, leaky_relu (slope 0.1), abs, erf, tanh, sigmoid, gelu (erf form), silu, softplus, sin,
    cos, exp, sign, step, gaussian (exp(−x²)), square, cube. The maps of a function are quadratures; `error_estimate`
    tells how accurate they are at given variances.

    Named activations have all gradients, of second order too. If a function has a kink, the gradient of its D-map is
    NaN, and so is the gradient of an NTK. At correlations of ±1 the D-map of a kink has infinite slopes. A named
    activation counts them as 0, which is the mean over both sides. Derivatives along which the correlation stays ±1 are
    then exact; such are derivatives in hyperparameters, and in an input that meets itself.

    Args:
        name_or_function: A name from the list, a function, or an `Activation` (returned as it is).
        breakpoints: For a function, the points where it bends or jumps, and the centres of transitions that are narrow
            beside √q. The accuracy at large variance depends on them.

    Returns:
        The `Activation`. The same name or function gives the same object.

    Raises:
        ValueError: The name is unknown, the function is not coordinate-wise, or break points are not numbers.
        TypeError: The argument is neither a name nor a function.

    Warns:
        UserWarning: The rule does not resolve the function at variances of order one.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> hard_tanh = ntk.activation(lambda x: jnp.clip(x, -1.0, 1.0), breakpoints=(-1.0, 1.0))
        >>> round(float(hard_tanh.dual_derivative(1.0, 1.0, 1.0)), 4)  # P(|u| < 1)
        0.6827
    """
    points = check_breakpoints(breakpoints)
    if isinstance(name_or_function, str | Activation) and points != (0.0,):
        raise ValueError(f"breakpoints is {shown(breakpoints)}; expected none for an activation that has its maps.")
    if isinstance(name_or_function, Activation):
        return name_or_function
    if isinstance(name_or_function, str):
        if name_or_function not in _NAMED:
            raise ValueError(f"activation is {shown(name_or_function)}; expected one of {', '.join(sorted(_NAMED))}.")
        return _NAMED[name_or_function]
    if not callable(name_or_function):
        raise TypeError(f"activation is {shown(name_or_function)}; expected a name or a function of a scalar.")
    act = _of_function(name_or_function, points)
    _warn_if_inaccurate(act)
    return act


def check_breakpoints(breakpoints: object) -> tuple[float, ...]:
    """Break points as numbers; refused where they are not a tuple or list of at least one finite number."""
    if not isinstance(breakpoints, tuple | list) or not breakpoints or not all(map(_is_finite_number, breakpoints)):
        raise ValueError(f"breakpoints is {shown(breakpoints)}; expected a tuple of finite numbers, (0.0,) for none.")
    return tuple(float(point) for point in breakpoints)


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value)


def _warn_if_inaccurate(act: Activation) -> None:
    """Warn if the rule does not resolve the function. Most often a break point is missing."""
    q = np.array([0.1, 1.0, 1.0, 10.0])
    with jax.ensure_compile_time_eval():
        errors = act.error_estimate(q, q * np.array([0.5, 0.0, 0.9, 0.5]), q)
        scales = act.dual(q, q, q), act.dual_derivative(q, q, q)
        worst = max(float(jnp.max(error / (scale + 1e-30))) for error, scale in zip(errors, scales, strict=True))
    if not worst < 1e-4:
        warnings.warn(
            f"the dual maps of activation {act.name} have an estimated relative error of {worst:.0e} at variances from"
            " 0.1 to 10; name the points where it bends or jumps with ntk.activation(fn, breakpoints=(…)).",
            stacklevel=3,
        )


def _of_function(fn: ScalarFunction, breakpoints: tuple[float, ...]) -> Activation:
    """The activation of a function as it is now. A second call returns the same object while both live.

    The activation refers to a copy of the function, so that it does not keep the function alive. A callable object is
    not copied; its activation lives as long as somebody else holds it.
    """
    kept, key = kept_with(fn), (breakpoints, content(fn))
    found = kept[key]() if key in kept else None
    if found is None:
        copy = copied(fn)
        found = _by_quadrature(copy, breakpoints)
        # An activation that refers to the function itself would keep it alive for ever. Functions of JAX live for ever.
        module = getattr(fn, "__module__", None) or ""
        kept[key] = (lambda: found) if copy is not fn or module.partition(".")[0] == "jax" else weakref.ref(found)
    return found


def _by_quadrature(fn: ScalarFunction, breakpoints: tuple[float, ...]) -> Activation:
    name = getattr(fn, "__name__", type(fn).__name__)
    # The function is looked at here and now, also when a transformation is under way around us.
    with jax.ensure_compile_time_eval():
        _check_coordinate_wise(name, fn)
        kinks = smoothness(fn, breakpoints)
    slope = derivative(fn)

    def refined(refinement: float, finer: Activation | None) -> Activation:
        rule = Rule(breakpoints, kinks, refinement)
        return Activation(
            name,
            fn,
            functools.partial(gaussian_expectation, fn, fn, rule),
            functools.partial(gaussian_expectation, slope, slope, rule._replace(smoothness=kinks - 1)),
            accuracy=TRUNCATION,
            refined=finer,
        )

    return refined(1.0, finer=refined(1.5, finer=None))


def _check_coordinate_wise(name: str, fn: ScalarFunction) -> None:
    probe = jnp.array([[-1.3, 0.2, 0.9], [0.4, -0.6, 2.1]])
    each_alone = "a function that acts on each entry alone"
    expected = f"activation {name} is not coordinate-wise; expected {each_alone}"
    whole = of_user(f"activation {name} of an array of shape {probe.shape}", each_alone, fn, probe)
    alone = of_user(f"activation {name} of one number", each_alone, jax.vmap(jax.vmap(fn)), probe)
    if not isinstance(whole, jax.Array) or not jnp.issubdtype(whole.dtype, jnp.floating):
        raise ValueError(f"{expected}, but it does not return an array of real floating-point numbers.")
    if jnp.shape(whole) != probe.shape:
        raise ValueError(f"{expected}, but it maps shape {probe.shape} to {jnp.shape(whole)}.")
    if not jnp.allclose(whole, alone, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise ValueError(f"{expected}, but its values on an array differ from those on its entries.")


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
    # A variance that has overflowed leaves ∞ − ∞ behind; the map is ∞ then, while NaN stays the mark of bad input.
    overflowed = (jnp.isinf(q11) | jnp.isinf(q22)) & jnp.isnan(value)
    value = jnp.where(overflowed, jnp.inf, value)
    value = jnp.where(jnp.isnan(q11) | jnp.isnan(q12) | jnp.isnan(q22), jnp.nan, value)
    return jnp.broadcast_to(value, jnp.broadcast_shapes(q11.shape, q12.shape, q22.shape))


def _zero(q11: jax.Array, q12: jax.Array, q22: jax.Array) -> jax.Array:
    return jnp.zeros_like(q12)


def _piecewise_linear(name: str, fn: ScalarFunction, left: float, right: float, at_zero: float) -> Activation:
    return Activation(name, fn, *forms.piecewise_linear(left, right, at_zero))


def _smoothed(
    name: str,
    fn: ScalarFunction,
    noise: float,
    dual: Callable[..., jax.Array],
    dual_derivative: Callable[..., jax.Array],
) -> Activation:
    """An activation that is a sign or a gate smoothed by Gaussian noise of variance `noise`."""
    maps = [functools.partial(form, n1=noise, n2=noise) for form in (dual, dual_derivative)]
    return Activation(name, fn, maps[0], maps[1])


def _logistic(
    name: str,
    fn: ScalarFunction,
    dual: Callable[..., jax.Array],
    dual_derivative: Callable[..., jax.Array],
    scale: float = 1.0,
) -> Activation:
    """An activation that is a sign, step, ReLU or gate smoothed by logistic noise."""
    maps = [logistic_mixture(form, scale) for form in (dual, dual_derivative)]
    return Activation(name, fn, maps[0], maps[1], accuracy=LOGISTIC_ACCURACY)


_RELU = _piecewise_linear("relu", jax.nn.relu, 0.0, 1.0, at_zero=0.0)

_NAMED = {
    named.name: named
    for named in (
        Activation("identity", lambda x: x, lambda q11, q12, q22: q12, lambda q11, q12, q22: jnp.ones_like(q12)),
        _RELU,
        _piecewise_linear("leaky_relu", lambda x: jax.nn.leaky_relu(x, 0.1), 0.1, 1.0, at_zero=1.0),
        _piecewise_linear("abs", jnp.abs, -1.0, 1.0, at_zero=1.0),
        _smoothed("erf", jax.lax.erf, 0.5, forms.noisy_sign, forms.noisy_sign_derivative),
        _logistic("tanh", jnp.tanh, forms.noisy_sign, forms.noisy_sign_derivative, scale=0.5),
        _logistic("sigmoid", jax.nn.sigmoid, forms.noisy_step, forms.noisy_step_derivative),
        _smoothed(
            "gelu",
            lambda x: jax.nn.gelu(x, approximate=False),
            1.0,
            forms.noisy_gate,
            forms.noisy_gate_derivative,
        ),
        _logistic("silu", jax.nn.silu, forms.noisy_gate, forms.noisy_gate_derivative),
        _logistic("softplus", jax.nn.softplus, forms.noisy_relu, forms.noisy_step),
        Activation("sin", jnp.sin, forms.sin, forms.cos),
        Activation("cos", jnp.cos, forms.cos, forms.sin),
        Activation("exp", jnp.exp, forms.exp, forms.exp),
        Activation("sign", jnp.sign, forms.noisy_sign, _zero),
        Activation("step", lambda x: jnp.heaviside(x, jnp.zeros_like(x)), _RELU.dual_derivative_map, _zero),
        Activation("gaussian", lambda x: jnp.exp(-(x**2)), forms.gaussian, forms.gaussian_derivative),
        Activation("square", jnp.square, forms.square, lambda q11, q12, q22: 4.0 * q12),
        Activation("cube", lambda x: x**3, forms.cube, lambda q11, q12, q22: 9.0 * forms.square(q11, q12, q22)),
    )
}
