"""Products of Jacobians with vectors, and products of the NTK with vectors. Neither a Jacobian nor a kernel is formed.

Memory holds the forward and backward pass of one tile, and one copy of the parameters. For any number of outputs, the
time is that of one forward and backward pass over x2, and of one forward pass over x1 with its derivative.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from ntk.caches.lifetimes import compiled
from ntk.checks import as_floating, check_count, check_finite
from ntk.finite_width.arguments import checked_arguments, output_of
from ntk.finite_width.functions import ModelFunction, Values, loops_refused, of_trained
from ntk.tiles import num_inputs
from ntk.trees import ParamFilter, Params

# A model as a function of its trained leaves, (values, x) → (N, …outputs).
OfValues = Callable[[Values, PyTree], Array]


def ntk_vector_product(
    f: ModelFunction,
    params: Params,
    x1: PyTree,
    x2: PyTree,
    v: Float[ArrayLike, " N2 *outputs"],
    *,
    batch_size: int | None = None,
    param_filter: ParamFilter | None = None,
) -> Float[Array, " N1 *outputs"]:
    """Θ(x1, x2) v = J1 (J2ᵀ v) for the NTK between all inputs and outputs (theory.md 5.5; Novak et al. 2022, app. L).

    For f → (N, O) entry (n, o) is Σ_{m,o'} Θ[n, m, o, o'] v[m, o'] with Θ = `empirical_ntk(…, trace_axes=())`. This
    product does not average over outputs, although `empirical_ntk` does by default. For f → (N,) it is
    `empirical_ntk(…) @ v`.

    All matrix products are those of f and its derivatives, at the precision that f has.

    Args:
        f: f(params, x) → (N, …outputs), each row a function of the same row of x, as `empirical_ntk` takes it.
        params: A pytree of arrays. `empirical_ntk` says which of its leaves are trained.
        x1: Inputs, an array (N1, …) or a pytree of arrays with that leading axis.
        x2: The other inputs, with N2 rows. None means `x1`.
        v: (N2, …outputs), in the dtype of f(params, x2).
        batch_size: How many inputs f is evaluated on at once. None means all.
        param_filter: Chooses the trained leaves by path, such as 'params/Dense_0/kernel'. None means all.

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
    arguments = checked_arguments(f, params, x1, x2, param_filter=param_filter)
    v = as_floating("v", v)
    output = output_of(f, params, arguments.other, "x2")
    if v.shape != (expected := (num_inputs(arguments.other), *output.shape)):
        raise ValueError(f"v has shape {v.shape}; expected {expected} as f(params, x2) has.")
    if v.dtype != output.dtype:
        raise TypeError(f"v has dtype {v.dtype}; expected {output.dtype} as f(params, x2) has.")
    check_finite("v", v)
    result = _product(f, batch_size, arguments.trained, params, arguments.x1, arguments.other, v)
    arguments.check_result("product", result)
    return result


@compiled(static=2)
@loops_refused()
def _product(
    f: ModelFunction,
    batch_size: int | None,
    trained: tuple[int, ...],
    params: Params,
    x1: PyTree,
    x2: PyTree,
    v: Float[Array, " N2 *outputs"],
) -> Float[Array, " N1 *outputs"]:
    of_values, values = of_trained(f, params, trained)
    tangents = jacobian_transposed_times(of_values, values, x2, v, batch_size)
    return jacobian_times(of_values, values, x1, tangents, batch_size)


def jacobian_times(
    of_values: OfValues, values: Values, x: PyTree, tangents: Values, batch_size: int | None
) -> Float[Array, " N *outputs"]:
    """J r at every input and output, for a direction r in the space of parameters."""

    def of_tile(rows: Int[Array, " rows"]) -> Float[Array, " rows *outputs"]:
        tile = _take(x, rows)
        return jax.jvp(lambda values: of_values(values, tile), (values,), (tangents,))[1]

    products = lax.map(of_tile, _tiles(x, batch_size))
    return products.reshape(-1, *products.shape[2:])[: num_inputs(x)]


def jacobian_transposed_times(
    of_values: OfValues, values: Values, x: PyTree, v: Float[Array, " N *outputs"], batch_size: int | None
) -> Values:
    """Jᵀ v = Σ_{n,o} v[n, o] ∇f_o(x_n), in the space of parameters."""
    tiles = _tiles(x, batch_size)
    # Rows that fill up the last tile have the weight 0.
    v = jnp.pad(v, [(0, tiles.size - len(v)), *((0, 0) for _ in v.shape[1:])]).reshape(*tiles.shape, *v.shape[1:])

    def add(total: Values, tile: tuple[Int[Array, " rows"], Float[Array, " rows *outputs"]]) -> tuple[Values, None]:
        rows, weights = tile
        inputs = _take(x, rows)
        (gradients,) = jax.vjp(lambda values: of_values(values, inputs), values)[1](weights)
        return jax.tree.map(jnp.add, total, gradients), None

    return lax.scan(add, jax.tree.map(jnp.zeros_like, values), (tiles, v))[0]


def _tiles(x: PyTree, batch_size: int | None) -> Int[Array, "tiles rows"]:
    """Row numbers of equal tiles of at most `batch_size` rows. The last row of x is repeated to fill the last tile."""
    num_rows = num_inputs(x)
    num_tiles = -(-num_rows // (batch_size or num_rows))
    size = -(-num_rows // num_tiles)
    return jnp.minimum(jnp.arange(num_tiles * size), num_rows - 1).reshape(num_tiles, size)


def _take(x: PyTree, rows: Int[Array, " rows"]) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[rows], x)
