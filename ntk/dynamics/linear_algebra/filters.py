"""What training has left of an error after a time t, as a function of the kernel's eigenvalue.

Gradient descent on L = ½ Σ (f − y)² acts along every eigenvector of the kernel by itself. With an eigenvalue μ it
leaves the share q(μ, t) of the error there, and the dual coefficients are g(μ, t) = (1 − q)/μ times the error at the
start: f_t(x) = f_0(x) + Θ(x, X) g(Θ, t) (y − f_0(X)). Both are *spectral filters* (Lo Gerfo, Rosasco, Odone, De Vito &
Verri 2008, "Spectral algorithms for supervised learning").
"""

import jax
import jax.numpy as jnp
from jax import lax

from ntk.checks import MOST_STEPS
from ntk.linalg import highest_matmul

_BITS = MOST_STEPS.bit_length()


def flow(mu: jax.Array, t: jax.Array, learning_rate: jax.Array, momentum: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Q = e^{−ημt} and g = (1 − e^{−ημt})/μ for positive μ; there is no momentum."""
    exponent = learning_rate * mu * t
    return jnp.exp(-exponent), -jnp.expm1(-exponent) / mu


def steps(mu: jax.Array, t: jax.Array, learning_rate: jax.Array, momentum: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Q = (1 − ημ)^t for whole t, and with momentum what the heavy ball leaves (Polyak 1964).

    With the velocity p of optax.sgd, p ← βp + e, e ← e − ημp, a ← a + ηp from (1, 0, 0): q is e and g is a. The matrix
    1 + E of this recursion is raised to the power t by squaring, which is exact at double roots too. What is squared is
    E, (1 + E)² = 1 + (2E + E²), so that a slow mode keeps its digits where 1 − ημ has lost those of ημ: after any
    number of steps q is off by some ε of the error at the start, and g by some ε of itself.
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
        # What is not counted may have overflowed.
        moved = jnp.where(counts, moved + highest_matmul(excess, (start + moved)[..., None])[..., 0], moved)
        more = (count >> bit)[..., None, None] > 1
        return moved, jnp.where(more, 2 * excess + highest_matmul(excess, excess), excess)

    moved, _ = lax.fori_loop(0, _BITS, multiply_in, (jnp.zeros_like(start), single))
    return 1 + moved[..., 0], moved[..., 2]


FILTERS = {"flow": flow, "steps": steps}
