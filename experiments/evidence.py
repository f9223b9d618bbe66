"""Hyperparameters of a Gaussian process by its marginal likelihood, with gradients through the kernel."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import ntk
from ntk import dynamics

# Positive numbers by name, as their logarithms.
Logs = dict[str, Array]
# No standard deviation is driven below this: at 0 its logarithm has no value.
_SMALLEST = 1e-3


class Evidence(NamedTuple):
    """Where gradient ascent on the marginal likelihood ended.

    Attributes:
        numbers: Hyperparameters by name.
        history: (steps,), ln p(y) per target along the way.
    """

    numbers: dict[str, float]
    history: Float[np.ndarray, " steps"]


def maximize_evidence(
    kernel: Callable[[Logs], Array], start: dict[str, float], y: Array, *, steps: int, learning_rate: float
) -> Evidence:
    """Gradient ascent (Adam) on ln p(y) in the logarithms of all hyperparameters, as one compiled program.

    Args:
        kernel: From logarithms to the prior covariance (N, N).
        start: Where to start, by name; "noise" is the variance of the observation noise, the others are for the kernel.
        y: (N, O), of the dtype of the kernel.
        steps: How many.
        learning_rate: Of Adam.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 1))
        >>> found = maximize_evidence(
        ...     lambda logs: jnp.zeros((50, 50)), {"noise": 1.0}, jnp.asarray(3 * x), steps=200, learning_rate=0.1
        ... )
        >>> bool(abs(found.numbers["noise"] / np.mean((3 * x) ** 2) - 1) < 1e-2)  # what is left is noise
        True
    """
    optimizer = optax.adam(learning_rate)

    def loss(logs: Logs) -> Array:
        return -dynamics.log_marginal_likelihood(kernel(logs), y, ridge=jnp.exp(logs["noise"])) / y.size

    def step(state: tuple[Logs, Any], _: None) -> tuple[tuple[Logs, Any], Array]:
        logs, moments = state
        value, gradient = jax.value_and_grad(loss)(logs)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(logs, updates), moments), -value

    first = {name: jnp.log(jnp.asarray(max(value, _SMALLEST), y.dtype)) for name, value in start.items()}
    run = jax.jit(lambda logs: jax.lax.scan(step, (logs, optimizer.init(logs)), length=steps))
    (logs, _), history = run(first)
    return Evidence({name: float(jnp.exp(value)) for name, value in logs.items()}, np.asarray(history))


def standard_deviations(net: Any) -> dict[str, float]:
    """Those of a description, by name; none of a program, whose limit may be sampled.

    Example:
        >>> standard_deviations(ntk.MLP(depth=1, w_std=1.5))
        {'w_std': 1.5, 'b_std': 1.0, 'v_std': 1.0}
    """
    if isinstance(net, ntk.TensorProgram):
        return {}
    names = [field.name for field in dataclasses.fields(net) if field.name.endswith("_std")]
    return {name: float(getattr(net, name)) for name in names}


def with_standard_deviations(net: Any, numbers: dict[str, Any]) -> Any:
    """The description with those of `numbers` that are standard deviations.

    Example:
        >>> with_standard_deviations(ntk.MLP(depth=1), {"w_std": 2.0, "noise": 0.1}).w_std
        2.0
    """
    return dataclasses.replace(net, **{name: value for name, value in numbers.items() if name.endswith("_std")})
