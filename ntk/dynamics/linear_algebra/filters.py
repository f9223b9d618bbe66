"""The share of an error that is left at time t, as a function of the kernel's eigenvalue.

Gradient descent on L = ½ Σ (f − y)² treats each eigenvector of the kernel separately. Along an eigenvector with the
eigenvalue μ, the error at time t is q(μ, t) times the error at the start, and the dual coefficient is
g(μ, t) = (1 − q)/μ times the error at the start: f_t(x) = f_0(x) + Θ(x, X) g(Θ, t) (y − f_0(X)). Both q and g are
*spectral filters* (Lo Gerfo, Rosasco, Odone, De Vito & Verri 2008, "Spectral algorithms for supervised learning").
"""

import jax
import jax.numpy as jnp
from jax import lax

from ntk.checks import MOST_STEPS
from ntk.linalg import highest_matmul

_BITS = MOST_STEPS.bit_length()


def flow(mu: jax.Array, t: jax.Array, learning_rate: jax.Array, momentum: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The filters of gradient flow, q = e^{−ημt} and g = (1 − e^{−ημt})/μ, for positive μ. `momentum` is not used."""
    exponent = learning_rate * mu * t
    return jnp.exp(-exponent), -jnp.expm1(-exponent) / mu


def steps(mu: jax.Array, t: jax.Array, learning_rate: jax.Array, momentum: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The filters of t steps of descent: q = (1 − ημ)^t, or with momentum the heavy ball (Polyak 1964).

    With the velocity p of optax.sgd, each step is p ← βp + e, e ← e − ημp, a ← a + ηp, from (e, p, a) = (1, 0, 0). Then
    q = e and g = a. The matrix 1 + E of a step is raised to the power t by repeated squaring, which is exact at double
    roots too. The recursion stores E: (1 + E)² = 1 + (2E + E²). If ημ is small, E keeps digits that 1 − ημ loses. After
    any number of steps q has an absolute error of a few ε, and g has a relative error of a few ε.
    """
    mu, t, rate, momentum = jnp.broadcast_arrays(mu, t, learning_rate, momentum)
    zero, one = jnp.zeros_like(mu), jnp.ones_like(mu)
    rows = (
        (-rate * mu, -rate * mu * momentum, zero),
        (one, momentum - 1, zero),
        (rate, rate * momentum, zero),
    )
    single = jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)
    start = jnp.stack([one, zero, zero], axis=-1)
    count = t.astype(jnp.int32)

    def multiply_in(bit: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        moved, excess = carry
        counts = ((count >> bit) & 1).astype(bool)[..., None]
        # A power that is not multiplied in may have overflowed.
        moved = jnp.where(counts, moved + highest_matmul(excess, (start + moved)[..., None])[..., 0], moved)
        more = (count >> bit)[..., None, None] > 1
        return moved, jnp.where(more, 2 * excess + highest_matmul(excess, excess), excess)

    moved, _ = lax.fori_loop(0, _BITS, multiply_in, (jnp.zeros_like(start), single))
    return 1 + moved[..., 0], moved[..., 2]


FILTERS = {"flow": flow, "steps": steps}
