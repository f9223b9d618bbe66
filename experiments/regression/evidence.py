"""Hyperparameters of a Gaussian process by its marginal likelihood, with gradients through the kernel."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

import ntk
from experiments.common.networks import Network
from ntk import dynamics

# Positive numbers by name, as their logarithms.
Logs = dict[str, Array]
# The smallest standard deviation at the start, since the logarithm of 0 is not finite.
_SMALLEST = 1e-3


class Evidence(NamedTuple):
    """The result of gradient ascent on the marginal likelihood.

    Attributes:
        numbers: Hyperparameters by name, at the best of all steps.
        history: (steps,), ln p(y) per target at every step.
    """

    numbers: dict[str, float]
    history: Float[np.ndarray, " steps"]


def maximize_evidence(
    kernel: Callable[[Logs], Array], start: dict[str, float], y: Array, *, steps: int, learning_rate: float
) -> Evidence:
    """Gradient ascent (Adam) on ln p(y) (theory.md 6.9) in the logarithms of all hyperparameters, in one program.

    Args:
        kernel: Takes logarithms; returns the prior covariance (N, N).
        start: The first values by name. "noise" is the variance of the observation noise; `kernel` reads the others.
        y: (N, O), of the dtype of the kernel.
        steps: The number of steps.
        learning_rate: The learning rate of Adam.

    Raises:
        FloatingPointError: ln p(y) is not finite at some step.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 1))
        >>> found = maximize_evidence(
        ...     lambda logs: jnp.zeros((50, 50)), {"noise": 1.0}, jnp.asarray(3 * x), steps=200, learning_rate=0.1
        ... )
        >>> bool(abs(found.numbers["noise"] / np.mean((3 * x) ** 2) - 1) < 1e-2)  # the targets are noise
        True
    """
    optimizer = optax.adam(learning_rate)

    def loss(logs: Logs) -> Array:
        return -dynamics.log_marginal_likelihood(kernel(logs), y, ridge=jnp.exp(logs["noise"])) / y.size

    def step(state: tuple[Logs, optax.OptState], _: None) -> tuple[tuple[Logs, optax.OptState], tuple[Array, Logs]]:
        logs, moments = state
        value, gradient = jax.value_and_grad(loss)(logs)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(logs, updates), moments), (-value, logs)

    first = {name: jnp.log(jnp.asarray(max(value, _SMALLEST), y.dtype)) for name, value in start.items()}
    run = jax.jit(lambda logs: jax.lax.scan(step, (logs, optimizer.init(logs)), length=steps))
    history, path = jax.device_get(run(first)[1])
    if not np.isfinite(history).all():
        raise FloatingPointError(
            f"the marginal likelihood is {history[~np.isfinite(history)][0]} in step {np.argmin(np.isfinite(history))};"
            " expected more noise at the start, a smaller evidence_rate, or more samples of a sampled limit."
        )
    best = int(np.argmax(history))
    return Evidence({name: float(np.exp(values[best])) for name, values in path.items()}, history)


def standard_deviations(net: Network) -> dict[str, float]:
    """The standard deviations of a description or of a program, by name.

    Example:
        >>> standard_deviations(ntk.MLP(depth=1, w_std=1.5))
        {'w_std': 1.5, 'b_std': 1.0, 'v_std': 1.0}
        >>> standard_deviations(ntk.architectures.batch_norm_mlp())
        {'w_std': 1.0, 'v_std': 1.0}
    """
    if isinstance(net, ntk.TensorProgram):
        numbers = net.numbers
    else:
        numbers = {field.name: getattr(net, field.name) for field in dataclasses.fields(net)}
    return {name: float(value) for name, value in numbers.items() if name.endswith("_std")}


def with_standard_deviations(net: Network, numbers: Mapping[str, ArrayLike]) -> Network:
    """The description or program with new standard deviations, taken from `numbers`. Other numbers are ignored.

    Example:
        >>> with_standard_deviations(ntk.MLP(depth=1), {"w_std": 2.0, "noise": 0.1}).w_std
        2.0
    """
    stds: dict[str, Any] = {name: value for name, value in numbers.items() if name.endswith("_std")}
    return net(**stds) if isinstance(net, ntk.TensorProgram) else dataclasses.replace(net, **stds)
