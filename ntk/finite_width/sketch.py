"""The empirical NTK estimated from derivatives in random directions, for models whose Jacobians are too large.

For a direction r of parameters with E r rᵀ = 1, E (J1 r)(J2 r)ᵀ = J1 J2ᵀ = Θ. Each J r is one forward pass with its
derivative. Memory: one direction at a time, and num_projections · (N1 + N2) · (outputs) derivatives.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ntk.caches.lifetimes import compiled
from ntk.checks import check_choice, check_count, check_key
from ntk.finite_width.arguments import check_kernels, checked_inputs, checked_trained
from ntk.finite_width.functions import ModelFunction, Values, batch_of_one, loops_refused, of_trained
from ntk.finite_width.rules.contraction import at_least_float32
from ntk.finite_width.trained import ParamFilter
from ntk.finite_width.vector_products import OfValues, jacobian_times


def _signs(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    # jax.random.rademacher draws float64 numbers where x64 is on, whatever the dtype.
    return 2 * jax.random.bernoulli(key, jnp.float32(0.5), shape).astype(dtype) - 1


_DRAWS: dict[str, Callable[..., jax.Array]] = {"gaussian": jax.random.normal, "rademacher": _signs}

# So many inputs have the exact norm of their gradients computed, by one backward pass for every output.
_NUM_CHECKED = 3

_einsum = functools.partial(jnp.einsum, precision=lax.Precision.HIGHEST)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["ntk", "standard_error", "norm_check"], meta_fields=[]
)
@dataclass(frozen=True)
class SketchedNTK:
    """An estimate of the empirical NTK, or under `jax.vmap` a stack of them.

    Attributes:
        ntk: (N1, N2), an unbiased estimate of Θ averaged over outputs. Symmetric and positive semidefinite for x2=None.
        standard_error: (N1, N2), of each entry, from the spread over directions.
        norm_check: (min(3, N1),), for the first inputs of x1 the estimate of ‖∇f‖² averaged over outputs less its
            exact value, in standard errors: of order one when all is well. An entry is 0 where the two agree.
    """

    ntk: Float[Array, "*batch N1 N2"]
    standard_error: Float[Array, "*batch N1 N2"]
    norm_check: Float[Array, "*batch M"]


def sketched_ntk(
    f: ModelFunction,
    params: Any,
    x1: Any,
    x2: Any = None,
    *,
    num_projections: int,
    key: Any,
    kind: str = "gaussian",
    batch_size: int | None = None,
    param_filter: ParamFilter | None = None,
) -> SketchedNTK:
    """A random estimate of the NTK, Θ ≈ (1/K) Σ_k (J1 r_k)(J2 r_k)ᵀ over K directions, with its standard error.

    Averaged over all outputs: for f → (N, O) it estimates `empirical_ntk` with its default axes. An entry is a random
    estimate of the trace of A = (1/O) Σ_o ∇f_o(ξ) ∇f_o(ξ̄)ᵀ (Hutchinson 1990), with the variance (‖A‖² + tr A²)/K for
    Gaussian directions, and less by 2 Σ_p A_pp²/K for signs (Avron & Toledo 2011). So the standard error is at most
    √(2 Θ(ξ, ξ) Θ(ξ̄, ξ̄)/K).

    Args:
        f: f(params, x) → (N, …outputs), each row a function of the same row of x. Anything pure: Flax, plain JAX.
        params: A pytree; which of its leaves are trained is told as in `empirical_ntk`.
        x1: Inputs, an array (N1, …) or a pytree of arrays with that leading axis.
        x2: The other inputs; None means `x1`.
        num_projections: K, at least 2. The error falls like K^{-1/2}.
        key: A PRNG key. Equal keys give equal directions, whatever the inputs and the batch size.
        kind: "gaussian" or "rademacher" (random signs), the distribution of each coordinate of r.
        batch_size: Inputs on which f is evaluated at once; None for all of them.
        param_filter: Chooses the trained leaves by path, such as 'params/Dense_0/kernel'; None for all.

    Returns:
        `SketchedNTK`.

    Raises:
        TypeError: f is not a function or does not return a floating-point array, or the key is not one.
        ValueError: A number, the kind or a shape is not as above, no parameter is chosen, or a row of f depends on
            other rows of x. Too large a result.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> def f(params, x):
        ...     return x @ params
        >>> x = jnp.eye(3)[:2]  # Θ is the identity
        >>> sketch = sketched_ntk(f, jnp.ones(3), x, num_projections=10_000, key=jax.random.key(0))
        >>> bool(jnp.all(jnp.abs(sketch.ntk - jnp.eye(2)) < 4 * sketch.standard_error))
        True
        >>> print(sketch.standard_error.round(2))  # √(2/K) on the diagonal, √(1/K) off it
        [[0.01 0.01]
         [0.01 0.01]]
    """
    check_count("num_projections", num_projections, minimum=2, maximum=2**31 - 1)
    check_choice("kind", kind, tuple(_DRAWS))
    check_key(key)
    if batch_size is not None:
        check_count("batch_size", batch_size)
    trained = checked_trained(f, params, param_filter)
    x1, x2 = checked_inputs(f, params, x1, x2)
    result = _sketched(f, num_projections, kind, batch_size, trained, params, x1, x2, key)
    check_kernels("sketch", vars(result), params, x1=x1, x2=x2)
    return result


@compiled(static=4)
def _sketched(
    f: ModelFunction,
    num_projections: int,
    kind: str,
    batch_size: int | None,
    trained: tuple[int, ...],
    params: Any,
    x1: Any,
    x2: Any,
    key: jax.Array,
) -> SketchedNTK:
    of_values, values = of_trained(f, params, trained)
    # All leaves in one vector: one program draws them, however many there are.
    flat, as_values = ravel_pytree(values)
    sides = (x1,) if x2 is None else (x1, x2)

    def derivatives(key: jax.Array) -> list[jax.Array]:
        r = as_values(_DRAWS[kind](key, flat.shape, flat.dtype))
        products = [jacobian_times(of_values, values, x, r, batch_size) for x in sides]
        return [at_least_float32(product.reshape(len(product), -1)) for product in products]

    features = lax.map(derivatives, jax.random.split(key, num_projections))
    # (N, K, O): the derivatives of each input.
    features1, features2 = (jnp.moveaxis(feature, 0, 1) for feature in (features[0], features[-1]))

    first = jax.tree.map(lambda leaf: leaf[:_NUM_CHECKED], x1)
    exact = lax.map(lambda x: _mean_squared_norm(of_values, values, x), first)
    norm, norm_error = _mean_and_error(jnp.mean(features1[: len(exact)] ** 2, axis=-1), axis=1)
    # Where every direction says the same, both sides are as uncertain as their rounding.
    scale = jnp.maximum(norm_error, 10 * jnp.finfo(exact.dtype).eps * exact)
    deviation = jnp.where(norm == exact, 0, (norm - exact) / jnp.where(scale == 0, 1, scale))

    def row(feature: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _mean_and_error(_einsum("ko,nko->kn", feature, features2) / feature.shape[-1], axis=0)

    estimate, standard_error = lax.map(row, features1)
    return SketchedNTK(ntk=estimate, standard_error=standard_error, norm_check=deviation)


def _mean_squared_norm(of_values: OfValues, values: Values, x: Any) -> jax.Array:
    """‖∇f‖² of one input, averaged over its outputs, whose gradients are computed one after the other."""
    outputs, pull_back = jax.vjp(lambda values: of_values(values, batch_of_one(x)).ravel(), values)

    def squared_norm(i: jax.Array) -> jax.Array:
        with loops_refused():
            (gradients,) = pull_back(jax.nn.one_hot(i, outputs.size, dtype=outputs.dtype))
        return functools.reduce(jnp.add, [jnp.sum(at_least_float32(gradient) ** 2) for gradient in gradients])

    return jnp.mean(lax.map(squared_norm, jnp.arange(outputs.size)))


def _mean_and_error(samples: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    variance = jnp.var(samples, axis, ddof=1) / samples.shape[axis]
    # The square root has no derivative at 0, where an input without a gradient is.
    some = variance > 0
    return jnp.mean(samples, axis), jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1)), 0)
