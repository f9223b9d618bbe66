"""Networks that break the gradient independence assumption: limits with and without it, and kernels at finite width."""

import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

import ntk
from experiments.common.metrics import Record
from experiments.common.networks import member_keys
from ntk.programs import CorrectedKernels, corrected_kernels
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.scalars import Scalar

# The name of the gradient's moments in metrics, beside the names of `PROGRAMS`.
GRADIENT = "gradient of averaged squares"
Limits = dict[str, CorrectedKernels]


@ntk.tensor_program
def averaged_squares(net: Net, x: Input) -> Scalar:
    """The example of Yang 2020: y = 1ᵀ(W²x¹)²/n with x¹ = W¹ξ + 1."""
    x1 = net.watch("x1", net.input_matrix("w1") @ x + 1.0)
    h = net.matrix("w2") @ x1
    return (h * h).mean()


@ntk.tensor_program
def averaged_relu(net: Net, x: Input) -> Scalar:
    """A ReLU network with an average in place of a read-out: y = 1ᵀφ(W³φ(W²φ(W¹ξ)))/n."""
    phi = net.phi("relu")
    z = phi(net.input_matrix("w1", 2.0**0.5) @ x)
    for layer in (2, 3):
        z = phi(net.matrix(f"w{layer}", 2.0**0.5) @ z)
    return z.mean()


@ntk.tensor_program
def transposed(net: Net, x: Input) -> Output:
    """An autoencoder with tied weights: f = v·φ(Wᵀφ(Wφ(Uξ)))."""
    phi, w = net.phi("relu"), net.matrix("w", 2.0**0.5)
    return net.output("v") @ phi(w.T @ phi(w @ phi(net.input_matrix("u", 2.0**0.5) @ x)))


PROGRAMS = {
    "averaged squares": averaged_squares,
    "averaged ReLU network": averaged_relu,
    "W with its transpose": transposed,
}


def gradient_moments(width: int, keys: Array) -> dict[str, list[float]]:
    """Mean and second moment of the coordinates of dx¹ at ξ = 0, for one network per key.

    Example:
        >>> moments = gradient_moments(64, member_keys(0, 64, 8))
        >>> mean, second = (sum(values) / 8 for values in moments.values())
        >>> 1 < mean < 3, 6 < second < 10
        (True, True)
    """
    model, x = ntk.finite(averaged_squares, width), jnp.zeros((1, 1))

    def moments(key: Array) -> tuple[Array, Array]:
        params = model.init(key, x)
        dx = width * jax.grad(lambda tap: model.trace(params, x, {"x1": tap})[0][0])(jnp.zeros((1, width)))
        return jnp.mean(dx), jnp.mean(dx**2)

    mean, second = jax.jit(lambda keys: jax.lax.map(moments, keys))(keys)
    return {"mean": mean.tolist(), "second_moment": second.tolist()}


def kernel_errors(
    program: ntk.TensorProgram, x: Array, limits: Limits, width: int, keys: Array
) -> dict[str, list[float]]:
    """Relative distances (theory.md 5.4) of Θ, or of nΘ for an average, to each limit, for one network per key."""
    model = ntk.finite(program, width)

    def errors(key: Array) -> dict[str, Array]:
        theta = ntk.empirical_ntk(model.apply, model.init(key, x), x)
        distances = {}
        for name, limit in limits.items():
            scaled = width * theta if limit.averaged else theta
            distances[name] = jnp.linalg.norm(scaled - limit.ntk) / jnp.linalg.norm(limit.ntk)
        return distances

    return {name: found.tolist() for name, found in jax.jit(lambda keys: jax.lax.map(errors, keys))(keys).items()}


def limits_of(program: ntk.TensorProgram, x: Array, config: ConfigDict) -> Limits:
    """The limits by name: "corrected" without the assumption, and "gia" with it."""
    return {
        name: corrected_kernels(program, x, samples=config.samples, seed=config.seed, assume_gia=assumed)
        for name, assumed in (("corrected", False), ("gia", True))
    }


def measure_place(what: str, width: int, x: Array, limits: dict[str, Limits], config: ConfigDict) -> Record:
    """The moments of the gradient, or the errors of the kernels of a program, at one width."""
    keys = member_keys(config.seed, width, config.num_seeds)
    if what == GRADIENT:
        measured = gradient_moments(width, keys)
    else:
        measured = kernel_errors(PROGRAMS[what], x, limits[what], width, keys)
    return {"what": what, "width": width} | measured
