"""Training of classifiers with one output: full-batch Adam on the logistic loss, in one compiled program."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ntk.trees import Params


@functools.partial(jax.jit, static_argnames=("apply", "steps"))
def train(
    apply: Callable[[Params, Array], Float[Array, " N"]],
    params: Params,
    x: Float[Array, "N ..."],
    labels: Float[Array, " N"],
    *,
    steps: int,
    learning_rate: float,
) -> Params:
    """Parameters after `steps` steps of Adam on the mean of ln(1 + e^{−y f(x)}). `jax.vmap` works over any argument.

    Args:
        apply: f(params, x).
        params: The parameters before training.
        x: The inputs.
        labels: y, −1 or 1.
        steps: The number of steps, each on all inputs.
        learning_rate: The learning rate of Adam.

    Example:
        >>> x, labels = jnp.array([[1.0, 3.0], [-2.0, 1.0]]), jnp.array([-1.0, 1.0])
        >>> w = train(lambda w, x: x @ w, jnp.zeros(2), x, labels, steps=50, learning_rate=0.1)
        >>> jnp.sign(x @ w).tolist()
        [-1.0, 1.0]
    """
    optimizer = optax.adam(learning_rate)

    def loss(params: Params) -> Array:
        return jnp.mean(jax.nn.softplus(-labels * apply(params, x)))

    def step(state: tuple[Params, optax.OptState], _: None) -> tuple[tuple[Params, optax.OptState], None]:
        params, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(params), moments)
        return (optax.apply_updates(params, updates), moments), None

    return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)[0][0]
