"""Taylor polynomials of a model in its parameters (theory.md 5.7)."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ntk.checks import check_count, shown
from ntk.finite_width.arguments import checked_trained
from ntk.finite_width.functions import Values, of_trained
from ntk.finite_width.trained import leaf_dtypes
from ntk.trees import Params


def linearize(f: Callable[..., PyTree], params: Params) -> Callable[..., PyTree]:
    """The model f_lin(θ, x) = f(θ₀, x) + ∇f(θ₀, x)·(θ − θ₀), linear in θ, about θ₀ = `params` (Lee et al. 2019).

    Its NTK is the NTK of f at θ₀, and does not change in training. The model is `taylor_expand(f, params, 1)`, which
    documents the arguments and the results.

    Args:
        f: f(params, *args, **kwargs).
        params: θ₀, a pytree of arrays.

    Returns:
        A function of the same arguments as f.

    Raises:
        TypeError: f is not a function, params has complex leaves, or f does not return floating-point arrays.
        ValueError: params has no trained leaf. The model is called with parameters that do not fit `params`.

    Example:
        >>> import jax.numpy as jnp
        >>> def f(params, x):
        ...     return jnp.sin(params * x)
        >>> f_lin = linearize(f, 0.0)
        >>> print(f_lin(0.5, jnp.array([1.0, 2.0])))  # cos(0)·θx
        [0.5 1. ]
    """
    return taylor_expand(f, params, 1)


def taylor_expand(f: Callable[..., PyTree], params: Params, degree: int) -> Callable[..., PyTree]:
    """The Taylor polynomial Σ_{k ≤ degree} ∂ᵏf(θ₀, x)[θ − θ₀, …]/k! of a model in θ, about θ₀ = `params`.

    The directional derivatives are exact: they are nested derivatives in forward mode. One more degree takes up to
    three times the time. The polynomial is not compiled; `jax.jit` compiles it.

    Args:
        f: f(params, *args, **kwargs), a pure function to an array, or a pytree of arrays, of floating-point numbers.
        params: θ₀, a pytree. Leaves that are not trained (see `empirical_ntk`) are constants of the polynomial.
        degree: An integer of at least 0.

    Returns:
        A function of the same arguments as f, with results of the same shapes. Its parameters must have the structure,
        shapes and dtypes of `params`. It reads their trained leaves, and takes all other leaves from `params`.

    Raises:
        TypeError: f is not a function, params has complex leaves, or f does not return floating-point arrays.
        ValueError: The degree is not as above, or params has no trained leaf. The polynomial is called with parameters
            that do not fit `params`.

    Example:
        >>> import jax.numpy as jnp
        >>> def f(params, x):
        ...     return jnp.exp(params * x)
        >>> quadratic = taylor_expand(f, 0.0, 2)
        >>> print(quadratic(1.0, jnp.array([1.0, 2.0])))  # 1 + x + x²/2
        [2.5 5. ]
    """
    trained = checked_trained(f, params)
    check_count("degree", degree, minimum=0)
    of_values, center = of_trained(f, params, trained)

    reference = params

    def polynomial(params: Params, /, *args: PyTree, **kwargs: PyTree) -> PyTree:
        step = [value - at for value, at in zip(_trained_like(reference, trained, params), center, strict=True)]
        terms = _derivatives(lambda values: of_values(values, *args, **kwargs), step, degree)(center)
        return jax.tree.map(lambda *leaves: _sum_over_factorials(leaves), *terms)

    return polynomial


def _derivatives(f: Callable[[Values], PyTree], step: Values, degree: int) -> Callable[[Values], list[PyTree]]:
    """The function that returns f and its first `degree` derivatives in the direction of `step`."""
    if degree == 0:
        return lambda values: [f(values)]
    lower = _derivatives(f, step, degree - 1)

    def derivatives(values: Values) -> list[PyTree]:
        known, slopes = jax.jvp(lower, (values,), (step,))
        return [*known, slopes[-1]]

    return derivatives


def _sum_over_factorials(terms: tuple[PyTree, ...]) -> Float[Array, "..."]:
    """Σ_k terms[k]/k!."""
    if not jnp.issubdtype(jnp.result_type(terms[0]), jnp.floating):
        raise TypeError(f"f returns dtype {jnp.result_type(terms[0])}; expected real floating-point arrays.")
    return sum((term / float(math.factorial(k)) for k, term in enumerate(terms[1:], start=1)), terms[0])


def _trained_like(reference: PyTree, trained: tuple[int, ...], params: Params) -> Values:
    """The trained leaves of params. Their structure, shapes and dtypes must be those of the reference."""
    leaf_dtypes(params)
    found: PyTree = jax.tree.structure(params)
    if found != (expected := jax.tree.structure(reference)):
        message = f"params has the structure {shown(found)}; expected {shown(expected)} as where f was expanded."
        raise ValueError(message)
    leaves, references = jax.tree.leaves(params), jax.tree.leaves(reference)
    values = []
    for i in trained:
        value, like = jnp.asarray(leaves[i]), jnp.asarray(references[i])
        if (value.shape, value.dtype) != (like.shape, like.dtype):
            raise ValueError(
                f"params has a leaf {value.dtype} of shape {value.shape}; expected {like.dtype} of shape {like.shape}"
                " as where f was expanded."
            )
        values.append(value)
    return values
