"""The activations that have a name, with closed forms of their dual maps."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ntk.duals import closed_forms as forms
from ntk.duals.activations import Activation
from ntk.duals.quadrature import ScalarFunction
from ntk.duals.smoothing import LOGISTIC_ACCURACY, logistic_mixture


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

NAMED = {
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
