"""Lipschitz constants of networks in Euclidean norm, from above and from below."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from bounds import batches
from bounds.arrays import euclidean_norm, scale_of, square_root
from bounds.calls import shapes_returned
from bounds.networks import trees
from bounds.networks.weights import WeightMatrices, in_one_dtype, matrices_of
from ntk.caches.lifetimes import compiled
from ntk.checks import MOST_STEPS, as_floating, as_nonnegative_number, check_count, check_finite, check_representable
from ntk.linalg import highest_matmul
from ntk.trees import Params

Pair = tuple[jax.Array, jax.Array]  # an input x and a direction v
Ascent = tuple[jax.Array, jax.Array, Pair, jax.Array]  # x and v, the best pair so far, and its value


def lipschitz_upper_bound(params: Params, activation_lipschitz: ArrayLike = 1.0) -> Float[Array, ""]:
    """Π‖W_j‖_σ, at least the Lipschitz constant of a chain of dense and convolutional layers (theory.md 12.2).

    A convolution whose kernel has k positions reads each input in at most k patches, for any stride. Its norm is
    therefore at most √k times that of its matrix. The bound does not hold for transposed convolutions, normalization,
    attention or branches.

    Args:
        params: The weights of dense layers, (in, out), and of convolutions, (…, in, out), and their biases: a tree of
            Flax Linen or NNX, a list, or `WeightMatrices`.
        activation_lipschitz: The constant of the activation between layers: 1 for relu, tanh or max pooling.

    Returns:
        A scalar. Spectral norms are roots of the largest eigenvalue of WᵀW, up to rounding. The power iteration of
        `bounds.spectral_norm` is not used, since its result may be too small.

    Raises:
        TypeError: A matrix is not of float32 or float64.
        ValueError: No leaf is a matrix, a matrix is not finite, a leaf is neither matrix nor bias, such as the scale of
            a normalization, the constant is negative, or the result leaves the range.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.networks.lipschitz import lipschitz_upper_bound
        >>> print(f"{lipschitz_upper_bound([jnp.diag(jnp.array([1.0, 3.0])), jnp.ones((2, 2))]):.4f}")
        6.0000
    """
    weights = in_one_dtype(matrices_of("params", params))
    others = [name for name in weights.ignored if not trees.is_bias(name)]
    if others:
        raise ValueError(f"params has {', '.join(others)}; expected weights and biases alone, in a chain of layers.")
    constant = as_nonnegative_number("activation_lipschitz", activation_lipschitz, weights.matrices[0].dtype)
    result: Float[Array, ""] = _upper_bound(weights, constant)
    check_representable(lipschitz_upper_bound=result)
    return result


def lipschitz_lower_estimate(
    f: Callable[[Params, jax.Array], jax.Array],
    params: Params,
    x: Shaped[ArrayLike, "N ..."],
    num_steps: int = 30,
    step_size: ArrayLike = 0.1,
) -> Float[Array, ""]:
    """The largest ‖J(x)‖_σ that ascents from given inputs find; J is the Jacobian of a differentiable f in its input.

    Each step improves the direction v by one power iteration on JᵀJ and moves x along the gradient of ‖J(x) v‖. Where
    that gradient is zero, as inside a linear region of a ReLU network, x moves along v. The result is **a lower
    estimate**: it is at most the Lipschitz constant (theory.md 12.2 is an upper bound).

    Args:
        f: Takes (params, a batch (N, …)) and returns outputs (N,) or (N, …), each of one input alone. It is compiled
            once for each function object, and the program lives as long as the object. Define it once, not anew for
            each call.
        params: The first argument of f, a pytree of arrays and numbers.
        x: Inputs from which the ascents start, (N, …), float32 or float64.
        num_steps: How many steps each ascent takes.
        step_size: The length of the first step in x. The steps shrink to nothing.

    Returns:
        A scalar, differentiable in params at the x and v that were found.

    Raises:
        TypeError: f is not a function, or x is not of float32 or float64.
        ValueError: x is empty or not finite, f does not return one output for each input, num_steps is
            below 1, or step_size is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.networks.lipschitz import lipschitz_lower_estimate
        >>> w, x = jnp.array([3.0, 4.0]), jnp.array([[0.3, 0.0]])
        >>> print(f"{lipschitz_lower_estimate(lambda w, x: jnp.tanh(x @ w), w, x):.2f}")  # 5, at x = 0
        5.00
    """
    x = as_floating("x", x)
    if x.dtype not in (jnp.float32, jnp.float64):
        raise TypeError(f"x has dtype {x.dtype}; expected float32 or float64.")
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"x has shape {x.shape}; expected (N, …) with no empty axis.")
    check_finite("x", x)
    check_count("num_steps", num_steps, maximum=MOST_STEPS)
    shape = shapes_returned("f", f, {"params": params, "x": x})
    if not isinstance(shape, tuple) or shape[:1] != (len(x),):
        raise ValueError(
            f"f returns {shape} for x {x.shape}; expected one array ({len(x)}, …), an output for each input."
        )
    result = _lower_estimate(f, num_steps, params, x, as_nonnegative_number("step_size", step_size, x.dtype))
    check_representable(lipschitz_lower_estimate=result)
    return result


@jax.jit
def _upper_bound(weights: WeightMatrices, constant: jax.Array) -> jax.Array:
    spectral = jnp.stack([_spectral_norm(w) for w in weights.matrices])
    patches = jnp.sqrt(jnp.asarray(weights.patch_sizes, spectral.dtype))
    return jnp.prod(spectral * patches) * constant ** (len(spectral) - 1)


def _spectral_norm(w: jax.Array) -> jax.Array:
    scale = scale_of(w)
    narrow = w / scale if w.shape[0] >= w.shape[1] else w.T / scale
    gram = highest_matmul(narrow.T, narrow)
    return jnp.squeeze(scale) * square_root(jnp.linalg.eigvalsh(gram)[-1])


@compiled(static=1)
def _lower_estimate(
    f: Callable[[Params, jax.Array], jax.Array], num_steps: int, params: Params, x: jax.Array, step_size: jax.Array
) -> jax.Array:
    def stretch(params: Params, x: jax.Array, v: jax.Array) -> jax.Array:
        """‖J(x) v‖ for one input."""
        return euclidean_norm(jax.jvp(lambda x: f(params, x[None])[0], (x,), (v,))[1])

    def ascend(x: jax.Array, v: jax.Array) -> tuple[Pair, jax.Array]:
        def step(state: Ascent, rate: jax.Array) -> tuple[Ascent, None]:
            x, v, best, best_value = state
            pushed = jax.jvp(f_of_one, (x,), (v,))[1]
            v = _unit(jax.vjp(f_of_one, x)[1](pushed)[0], v)
            value, gradient = jax.value_and_grad(stretch, argnums=1)(fixed, x, v)
            better = value > best_value
            best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (x, v), best)
            moved = x + rate * _unit(gradient, v)
            return (moved, v, best, jnp.where(better, value, best_value)), None

        start = (x, v, (x, v), jnp.asarray(-1, x.dtype))
        rates = step_size * jnp.linspace(1, 0, num_steps, endpoint=False, dtype=x.dtype)
        (_, _, best, value), _ = lax.scan(step, start, rates)
        return best, value

    def f_of_one(x: jax.Array) -> jax.Array:
        return f(fixed, x[None])[0]

    fixed = lax.stop_gradient(params)
    x = lax.stop_gradient(x)
    directions = jax.random.normal(jax.random.key(0), x.shape, x.dtype)
    numbers = batches.numbers_made(jax.grad(stretch, argnums=1), fixed, x[0], directions[0])
    size = batches.batch_size(numbers, len(x))
    found, values = lax.map(lambda pair: ascend(pair[0], _unit(pair[1], pair[1])), (x, directions), batch_size=size)
    best_x, best_v = jax.tree.map(lambda leaf: leaf[jnp.argmax(values)], found)
    return stretch(params, best_x, best_v)


def _unit(direction: jax.Array, otherwise: jax.Array) -> jax.Array:
    norm = euclidean_norm(direction)
    return jnp.where(norm > 0, direction / jnp.where(norm > 0, norm, 1), otherwise)
