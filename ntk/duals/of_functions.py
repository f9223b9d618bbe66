"""Activations from a name, or from a function. The dual maps of a function are quadratures."""

import functools
import math
import warnings
import weakref
from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from ntk.caches.lifetimes import kept_with
from ntk.caches.rebinding import content, copied
from ntk.calls import of_user
from ntk.checks import shown
from ntk.duals.activations import Activation
from ntk.duals.named import NAMED
from ntk.duals.quadrature import (
    FINER,
    TRUNCATION,
    Rule,
    ScalarFunction,
    derivative,
    gaussian_expectation,
    smoothness,
)
from ntk.duals.resolution import relative_error

ActivationLike: TypeAlias = str | ScalarFunction | Activation  # what `activation` takes


def activation(
    name_or_function: ActivationLike,
    *,
    breakpoints: Sequence[float | int] = (0.0,),
) -> Activation:
    """The activation of a name, or of any coordinate-wise JAX function.

    The names are identity, relu, leaky_relu (slope 0.1), abs, erf, tanh, sigmoid, gelu (erf form), silu, softplus, sin,
    cos, exp, sign, step, gaussian (exp(−x²)), square and cube. The maps of a function are quadratures. `error_estimate`
    estimates their error at given variances.

    Named activations have all gradients, of second order too. If a function has a kink, the gradient of its D-map is
    NaN, and so is the gradient of an NTK. At correlations of ±1 the D-map of a kink has infinite slopes. A named
    activation counts them as 0, which is the mean over both sides. Derivatives in directions that keep the correlation
    at ±1 are then exact. Examples are derivatives in hyperparameters, and in an input that is paired with itself.

    Args:
        name_or_function: A name from the list, a function, or an `Activation` (returned as it is).
        breakpoints: For a function, the points where it bends or jumps, and the centres of transitions that are much
            narrower than √q. The accuracy at large variance depends on them.

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
        if name_or_function not in NAMED:
            raise ValueError(f"activation is {shown(name_or_function)}; expected one of {', '.join(sorted(NAMED))}.")
        return NAMED[name_or_function]
    if not callable(name_or_function):
        raise TypeError(f"activation is {shown(name_or_function)}; expected a name or a function of a scalar.")
    act = _of_function(name_or_function, points)
    _warn_if_inaccurate(act, points)
    return act


def check_breakpoints(breakpoints: object) -> tuple[float, ...]:
    """The break points as numbers. Anything but a tuple or list of at least one finite number is refused."""
    if not isinstance(breakpoints, tuple | list) or not breakpoints or not all(map(_is_finite_number, breakpoints)):
        raise ValueError(f"breakpoints is {shown(breakpoints)}; expected a tuple of finite numbers, (0.0,) for none.")
    return tuple(float(point) for point in breakpoints)


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value)


def _warn_if_inaccurate(act: Activation, breakpoints: tuple[float, ...]) -> None:
    """Warn if the rule does not resolve the function. Most often a break point is missing."""
    kept, key = kept_with(act), (relative_error, jnp.result_type(float))
    if key not in kept:
        with jax.ensure_compile_time_eval():
            kept[key] = relative_error(act.fn, breakpoints)
    worst = kept[key]
    if not worst < 1e-4:
        warnings.warn(
            f"the dual maps of activation {act.name} have an estimated relative error of {worst:.0e} at variances from"
            " 0.1 to 10; name the points where it bends or jumps with ntk.activation(fn, breakpoints=(…)).",
            stacklevel=3,
        )


def _of_function(fn: ScalarFunction, breakpoints: tuple[float, ...]) -> Activation:
    """The activation of a function as it is now. A second call returns the same object while both live.

    The activation refers to a copy of the function, so that it does not keep the function alive. A callable object is
    not copied, and its activation lives only as long as other code refers to it.
    """
    kept, key = kept_with(fn), (breakpoints, content(fn))
    found = kept[key]() if key in kept else None
    if found is None:
        copy = copied(fn)
        found = _by_quadrature(copy, breakpoints)
        # If the activation refers to the function itself, a strong reference here would keep both alive for ever.
        # Functions of JAX live for ever anyway.
        module = getattr(fn, "__module__", None) or ""
        kept[key] = (lambda: found) if copy is not fn or module.partition(".")[0] == "jax" else weakref.ref(found)
    return found


def _by_quadrature(fn: ScalarFunction, breakpoints: tuple[float, ...]) -> Activation:
    name = getattr(fn, "__name__", type(fn).__name__)
    # The function is evaluated now, also if this runs inside a transformation such as jax.jit.
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

    return refined(1.0, finer=refined(FINER, finer=None))


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
    if not np.allclose(whole, alone, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise ValueError(f"{expected}, but its values on an array differ from those on its entries.")
