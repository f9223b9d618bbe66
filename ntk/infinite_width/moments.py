"""One step of a forward recursion: from the covariance of pre-activations to the moments of activations."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ntk.duals import Activation


def nonlinearity(
    activation: Activation,
    own1: Float[Array, "..."],
    cross: Float[Array, "*entries"],
    own2: Float[Array, "..."],
    same: Bool[Array, "..."] | None,
) -> tuple[Float[Array, "*entries"], Float[Array, "*entries"]]:
    """C = E φφ̄ and Ċ = E φ'φ̄' for pre-activations of variances `own1`, `own2` and covariance `cross`.

    `same` marks the entries that pair a variable with itself (None when there are none). Their correlation is
    exactly 1; left to itself it would be off by the rounding of a matrix product, and ReLU's Ċ by the square
    root of that.
    """
    if same is not None:
        cross = jnp.where(same, own1, cross)
    return activation.dual(own1, cross, own2), activation.dual_derivative(own1, cross, own2)


def own_moment(activation: Activation, variance: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """C of a variable with itself, E φ(u)²."""
    return activation.dual(variance, variance, variance)
