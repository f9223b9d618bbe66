"""Products of Jacobians, and of the NTK made of them, with vectors: no Jacobian and no kernel is formed.

Memory: one tile's forward and backward pass, and one copy of the parameters. Time: one forward and backward pass of x2
and one forward pass with its derivative of x1, whatever the number of outputs.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from ntk.caches.lifetimes import compiled
from ntk.checks import as_floating, check_count, check_finite
from ntk.finite_width.arguments import check_kernels, checked_inputs, checked_trained
from ntk.finite_width.functions import ModelFunction, Values, loops_refused, num_inputs, of_trained
from ntk.finite_width.trained import ParamFilter

# A model as a function of them, (values, x) → (N, …outputs).
OfValues = Callable[[Values, Any], jax.Array]


def ntk_vector_product(
    f: ModelFunction,
    params: Any,
    x1: Any,
    x2: Any,
    v: ArrayLike,
    *,
    batch_size: int | None = None,
    param_filter: ParamFilter | None = None,
) -> jax.Array:
    """Θ(x1, x2) v = J1 (J2ᵀ v) for the whole NTK between all inputs and all outputs (Novak et al. 2022, appendix L).

    For f → (N, O) entry (n, o) is Σ_{m,o'} Θ[n, m, o, o'] v[m, o'] with Θ of `empirical_ntk(…, trace_axes=())`. Nothing
    is averaged over outputs, whereas the default of `empirical_ntk` is. For f → (N,) it is `empirical_ntk(…) @ v`.

    The products are those of f and keep its precision.

    Args:
        f: f(params, x) → (N, …outputs), each row a function of the same row of x. Anything pure: Flax, plain JAX.
        params: A pytree; which of its leaves are trained is told as in `empirical_ntk`.
        x1: Inputs, an array (N1, …) or a pytree of arrays with that leading axis.
        x2: The other inputs, of N2 rows; None means `x1`.
        v: (N2, …outputs), in the dtype of f(params, x2).
        batch_size: Inputs on which f is evaluated at once; None for all of them.
        param_filter: Chooses the trained leaves by path, such as 'params/Dense_0/kernel'; None for all.

    Returns:
        (N1, …outputs).

    Raises:
        TypeError: f is not a function or does not return a floating-point array, or v is not of its dtype.
        ValueError: A shape or the batch size is not as above, no parameter is chosen, a row of f depends on other
            rows of x, v is not finite, or the result is too large for its dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> def f(params, x):
        ...     return x @ params
        >>> x = jnp.array([[1.0, 2.0], [0.0, 1.0]])  # Θ is x·x̄ for an output with itself: [[5, 2], [2, 1]]
        >>> print(ntk_vector_product(f, jnp.ones((2, 3)), x, None, jnp.array([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])))
        [[ 5.  2. 10.]
         [ 2.  1.  4.]]
    """
    if batch_size is not None:
        check_count("batch_size", batch_size)
    trained = checked_trained(f, params, param_filter)
    x1, x2 = checked_inputs(f, params, x1, x2)
    x2 = x1 if x2 is None else x2
    v = as_floating("v", v)
    expected = jax.eval_shape(f, params, x2)
    if v.shape != expected.shape:
        raise ValueError(f"v has shape {v.shape}; expected {expected.shape} as f(params, x2) has.")
    if v.dtype != expected.dtype:
        raise TypeError(f"v has dtype {v.dtype}; expected {expected.dtype} as f(params, x2) has.")
    check_finite("v", v)
    result = _product(f, batch_size, trained, params, x1, x2, v)
    check_kernels("product", result, params, x1=x1, x2=x2)
    return result


@compiled(static=2)
def _product(
    f: ModelFunction,
    batch_size: int | None,
    trained: tuple[int, ...],
    params: Any,
    x1: Any,
    x2: Any,
    v: jax.Array,
) -> jax.Array:
    of_values, values = of_trained(f, params, trained)
    tangents = jacobian_transposed_times(of_values, values, x2, v, batch_size)
    return jacobian_times(of_values, values, x1, tangents, batch_size)


def jacobian_times(of_values: OfValues, values: Values, x: Any, tangents: Values, batch_size: int | None) -> jax.Array:
    """J r of every input and output, (N, …outputs), for a direction r in the space of parameters."""

    def of_tile(rows: jax.Array) -> jax.Array:
        tile = _take(x, rows)
        return jax.jvp(lambda values: of_values(values, tile), (values,), (tangents,))[1]

    products = lax.map(of_tile, _tiles(x, batch_size))
    return products.reshape(-1, *products.shape[2:])[: num_inputs(x)]


def jacobian_transposed_times(
    of_values: OfValues, values: Values, x: Any, v: jax.Array, batch_size: int | None
) -> Values:
    """Jᵀ v = Σ_{n,o} v[n, o] ∇f_o(x_n), in the space of parameters."""
    tiles = _tiles(x, batch_size)
    # A row that only fills the last tile has no weight.
    v = jnp.pad(v, [(0, tiles.size - len(v)), *((0, 0) for _ in v.shape[1:])]).reshape(*tiles.shape, *v.shape[1:])

    def add(total: Values, tile: tuple[jax.Array, jax.Array]) -> tuple[Values, None]:
        rows, weights = tile
        inputs = _take(x, rows)
        with loops_refused():
            (gradients,) = jax.vjp(lambda values: of_values(values, inputs), values)[1](weights)
        return jax.tree.map(jnp.add, total, gradients), None

    return lax.scan(add, jax.tree.map(jnp.zeros_like, values), (tiles, v))[0]


def _tiles(x: Any, batch_size: int | None) -> jax.Array:
    """Row numbers of equal tiles of at most `batch_size` rows, (tiles, rows); the last row fills the last tile."""
    num_rows = num_inputs(x)
    num_tiles = -(-num_rows // (batch_size or num_rows))
    size = -(-num_rows // num_tiles)
    return jnp.minimum(jnp.arange(num_tiles * size), num_rows - 1).reshape(num_tiles, size)


def _take(x: Any, rows: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[rows], x)
