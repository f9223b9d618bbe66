"""The empirical NTK estimated from derivatives in random directions, for models whose Jacobians are too large.

A random direction r of parameters with E r rᵀ = 1 has E (J1 r)(J2 r)ᵀ = J1 J2ᵀ = Θ. Each J r is one forward pass with
its derivative. Memory holds one direction at a time, and num_projections · (N1 + N2) · (outputs) derivatives.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key, PyTree, UInt32

from ntk.caches.lifetimes import compiled
from ntk.checks import check_choice, check_count, check_key
from ntk.dtypes import at_least_float32, common_dtype
from ntk.finite_width.arguments import checked_arguments
from ntk.finite_width.functions import ModelFunction, Values, batch_of_one, loops_refused, of_trained
from ntk.finite_width.vector_products import OfValues, jacobian_times
from ntk.linalg import highest_einsum
from ntk.trees import ParamFilter, Params


def _signs(key: Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "..."]:
    # jax.random.rademacher draws float64 numbers where x64 is on, whatever the dtype.
    return 2 * jax.random.bernoulli(key, jnp.float32(0.5), shape).astype(dtype) - 1


_DRAWS: dict[str, Callable[..., Array]] = {"gaussian": jax.random.normal, "rademacher": _signs}

# The number of inputs whose gradients get their exact norm, by one backward pass for every output.
_NUM_CHECKED = 3


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["ntk", "standard_error", "norm_check"], meta_fields=[]
)
@dataclass(frozen=True)
class SketchedNTK:
    """An estimate of the empirical NTK, or under `jax.vmap` a stack of them.

    Attributes:
        ntk: (N1, N2), an unbiased estimate of Θ averaged over outputs. Symmetric and positive semidefinite for x2=None.
        standard_error: (N1, N2), the standard error of each entry, from the spread over directions.
        norm_check: (min(3, N1),). For the first inputs of x1, the error of the estimate of ‖∇f‖² (averaged over
            outputs) in units of its standard error. If the estimate is right, these numbers are of order one.
    """

    ntk: Float[Array, "*batch N1 N2"]
    standard_error: Float[Array, "*batch N1 N2"]
    norm_check: Float[Array, "*batch M"]


def sketched_ntk(
    f: ModelFunction,
    params: Params,
    x1: PyTree,
    x2: PyTree = None,
    *,
    num_projections: int,
    key: Key[Array, ""] | UInt32[ArrayLike, " words"],
    kind: str = "gaussian",
    batch_size: int | None = None,
    param_filter: ParamFilter | None = None,
) -> SketchedNTK:
    """A random estimate of the NTK over K directions, Θ ≈ (1/K) Σ_k (J1 r_k)(J2 r_k)ᵀ (theory.md 5.6).

    The NTK is averaged over all outputs. For f → (N, O) that is `empirical_ntk` with its default axes. An entry is a
    random estimate of the trace of A = (1/O) Σ_o ∇f_o(ξ) ∇f_o(ξ̄)ᵀ (Hutchinson 1990). Its variance is (‖A‖² + tr A²)/K
    for Gaussian directions, and 2 Σ_p A_pp²/K less for signs (Avron & Toledo 2011). So the standard error is at most
    √(2 Θ(ξ, ξ) Θ(ξ̄, ξ̄)/K).

    Args:
        f: f(params, x) → (N, …outputs), each row a function of the same row of x, as `empirical_ntk` takes it.
        params: A pytree of arrays. `empirical_ntk` says which of its leaves are trained.
        x1: Inputs, an array (N1, …) or a pytree of arrays with that leading axis.
        x2: The other inputs. None means `x1`.
        num_projections: K, at least 2. The error falls like K^{-1/2}.
        key: A PRNG key. Equal keys give equal directions, whatever the inputs and the batch size.
        kind: "gaussian" or "rademacher" (random signs), the distribution of each coordinate of r.
        batch_size: How many inputs f is evaluated on at once. None means all.
        param_filter: Chooses the trained leaves by path, such as 'params/Dense_0/kernel'. None means all.

    Returns:
        `SketchedNTK`.

    Raises:
        TypeError: f is not a function or does not return a floating-point array, or `key` is not a PRNG key.
        ValueError: A number, the kind or a shape is not as above, no parameter is chosen, a row of f depends on other
            rows of x, or the result is too large for its dtype.

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
    arguments = checked_arguments(f, params, x1, x2, param_filter=param_filter)
    result = _sketched(f, num_projections, kind, batch_size, arguments.trained, *arguments.arrays, key)
    arguments.check_result("sketch", vars(result))
    return result


@compiled(static=4)
@loops_refused()
def _sketched(
    f: ModelFunction,
    num_projections: int,
    kind: str,
    batch_size: int | None,
    trained: tuple[int, ...],
    params: Params,
    x1: PyTree,
    x2: PyTree,
    key: Key[Array, ""] | UInt32[ArrayLike, " words"],
) -> SketchedNTK:
    of_values, values = of_trained(f, params, trained)
    sides = (x1,) if x2 is None else (x1, x2)

    def derivatives(key: Array) -> list[Float[Array, "_ O"]]:
        r = _direction(_DRAWS[kind], key, values)
        products = [jacobian_times(of_values, values, x, r, batch_size) for x in sides]
        return [at_least_float32(product.reshape(len(product), -1)) for product in products]

    features = lax.map(derivatives, jax.random.split(key, num_projections))
    # (N, K, O): the derivatives of each input.
    features1, features2 = (jnp.moveaxis(feature, 0, 1) for feature in (features[0], features[-1]))

    first = jax.tree.map(lambda leaf: leaf[:_NUM_CHECKED], x1)
    exact = lax.map(lambda x: _mean_squared_norm(of_values, values, x), first)
    norm, norm_error = _mean_and_error(jnp.mean(features1[: len(exact)] ** 2, axis=-1), axis=1)
    # If all directions give the same number, the error is that of rounding.
    scale = jnp.maximum(norm_error, 10 * jnp.finfo(exact.dtype).eps * exact)
    deviation = jnp.where(norm == exact, 0, (norm - exact) / jnp.where(scale == 0, 1, scale))

    def row(feature: Float[Array, "K O"]) -> tuple[Float[Array, " N2"], Float[Array, " N2"]]:
        return _mean_and_error(highest_einsum("ko,nko->kn", feature, features2) / feature.shape[-1], axis=0)

    estimate, standard_error = lax.map(row, features1)
    return SketchedNTK(ntk=estimate, standard_error=standard_error, norm_check=deviation)


def _direction(draw: Callable[..., Array], key: Array, values: Values) -> Values:
    """A random direction in the space of parameters. One draw serves all leaves."""
    sizes = [value.size for value in values]
    flat = draw(key, (sum(sizes),), common_dtype(*values))
    parts = jnp.split(flat, np.cumsum(sizes)[:-1])
    return [part.reshape(value.shape).astype(value.dtype) for part, value in zip(parts, values, strict=True)]


def _mean_squared_norm(of_values: OfValues, values: Values, x: PyTree) -> Float[Array, ""]:
    """‖∇f‖² of one input, averaged over its outputs. Their gradients are computed one after the other."""
    outputs, pull_back = jax.vjp(lambda values: of_values(values, batch_of_one(x)).ravel(), values)

    def squared_norm(i: Int[Array, ""]) -> Float[Array, ""]:
        (gradients,) = pull_back(jax.nn.one_hot(i, outputs.size, dtype=outputs.dtype))
        return functools.reduce(jnp.add, [jnp.sum(at_least_float32(gradient) ** 2) for gradient in gradients])

    return jnp.mean(lax.map(squared_norm, jnp.arange(outputs.size)))


def _mean_and_error(samples: Float[Array, "..."], axis: int) -> tuple[Float[Array, "*rest"], Float[Array, "*rest"]]:
    """The mean along an axis and its standard error, from independent samples."""
    variance = jnp.var(samples, axis, ddof=1) / samples.shape[axis]
    # The square root has no derivative at 0, and the variance is 0 for an input without a gradient.
    some = variance > 0
    return jnp.mean(samples, axis), jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1)), 0)
