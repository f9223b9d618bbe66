"""ReLU networks of bounded Frobenius norms: complexities from below by ascent, from above in closed form."""

import itertools
import math
from dataclasses import dataclass, replace
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Real

from bounds.arrays import as_data, as_stack, euclidean_norm
from bounds.rademacher.classes import Data, pytree_of, set_fields
from ntk.checks import MOST_STEPS, check_count, check_key, check_nonnegative
from ntk.linalg import highest_matmul

Number = TypeVar("Number", float, jax.Array)
Ascent = tuple[list[jax.Array], list[jax.Array], jax.Array]  # the network, the best one so far, and its value


@pytree_of(data=["x", "radii", "key"], meta=["width", "num_steps", "num_restarts"])
@dataclass(frozen=True)
class NetworkBall:
    """ReLU networks x ↦ W_L φ(… φ(W_1 x)) without biases, with one output and ‖W_j‖_F ≤ M_j (Golowich et al. 2018).

    The problem is not convex. Projected gradient ascent starts from a few random networks, and the best network that it
    meets is taken. This is **a lower estimate** of the supremum, and so are the complexities made of it. The upper
    bound is Theorem 1 of Golowich, Rakhlin & Shamir, (1/m) ΠM_j (√(2 ln 2 · L) + 1) √Σ‖x_i‖², for networks of any width
    (theory.md 11.6).

    The gradient in x is that of the network that was found. At the supremum this is the gradient of the supremum, by
    the envelope theorem.

    Attributes:
        x: The sample, (m, d), float32 or float64.
        radii: (L,), M_1, …, M_L, one for each of the L weight matrices.
        key: A PRNG key for the networks from which the ascents start.
        width: The width of the hidden layers that are tried. With two matrices a single neuron attains the supremum.
        num_steps: How many steps an ascent takes.
        num_restarts: How many ascents there are for each sign vector.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import NetworkBall, empirical_rademacher, rademacher_upper_bound
        >>> x = jax.random.normal(jax.random.key(0), (50, 3), jnp.float32)
        >>> ball = NetworkBall(x, jnp.array([1.0, 2.0]), jax.random.key(1))
        >>> estimate, standard_error = empirical_rademacher(ball, jax.random.key(2), num_draws=50)
        >>> print(f"{rademacher_upper_bound(ball) / estimate:.0f}")  # how far apart they are
        3
    """

    x: Data
    radii: Data
    key: Data
    width: int = 8
    num_steps: int = 100
    num_restarts: int = 4

    def __post_init__(self) -> None:
        for name in ("width", "num_steps", "num_restarts"):
            check_count(name, getattr(self, name), maximum=MOST_STEPS)
        set_fields(self, x=as_stack("x", self.x, "(m, d)"), radii=as_stack("radii", self.radii, "(L,)"))

    @property
    def num_samples(self) -> int:
        """The sample's size m."""
        return int(self.x.shape[0])

    @property
    def entries_per_draw(self) -> int:
        """The activations of all restarts and their gradients."""
        return 2 * self.num_restarts * self.num_samples * self.width * int(self.radii.shape[0])

    def checked(self) -> "NetworkBall":
        """The class with its data as arrays; bad data is refused."""
        x = as_data("x", self.x, "(m, d)")
        radii = as_data("radii", self.radii, "(L,)")
        check_nonnegative("radii", radii)
        check_key(self.key)
        return replace(self, x=x, radii=radii.astype(x.dtype))

    def supremum(self, signs: Real[Array, " m"]) -> Float[Array, ""]:
        """The largest (1/m) Σ σ_i f(x_i) that the ascents met, at least 0, for signs (m,); a scalar."""
        signs = signs.astype(self.x.dtype)
        # Networks of unit norms are enough: f is homogeneous in each matrix.
        fixed = lax.stop_gradient((self.x, signs))
        weights, values = jax.vmap(lambda start: self._ascend(start, *fixed))(self._starts())
        best = jax.tree.map(lambda w: w[jnp.argmax(values)], weights)
        return jnp.prod(self.radii) / self.num_samples * jnp.maximum(_correlation(best, self.x, signs), 0)

    @property
    def is_lower_estimate(self) -> bool:
        """True: the supremum may be larger than what is found."""
        return True

    def largest_value(self) -> Float[Array, ""]:
        """ΠM_j max_i ‖x_i‖; a scalar."""
        return jnp.prod(self.radii) * jnp.max(euclidean_norm(self.x, axis=1))

    def upper_bound(self) -> Float[Array, ""]:
        """(1/m) ΠM_j (√(2 ln 2 · L) + 1) √Σ‖x_i‖² (theory.md 11.6); a scalar."""
        product, data_norm = jnp.prod(self.radii), euclidean_norm(self.x)
        return golowich_complexity(product, len(self.radii), data_norm, self.num_samples)

    def _starts(self) -> list[jax.Array]:
        """Random weights of norm one, (restarts, in, out) for each layer."""
        depth = self.radii.shape[0]
        sizes = [self.x.shape[1], *[self.width] * (depth - 1), 1]
        ends = list(itertools.accumulate(math.prod(pair) for pair in itertools.pairwise(sizes)))
        numbers = jax.random.normal(self.key, (self.num_restarts, ends[-1]), self.x.dtype)
        layers = zip(jnp.split(numbers, ends[:-1], axis=1), itertools.pairwise(sizes), strict=True)
        return [jax.vmap(_on_sphere)(layer.reshape(-1, *pair)) for layer, pair in layers]

    def _ascend(self, start: list[jax.Array], x: jax.Array, signs: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        """The best network of one ascent, and its Σ σ_i f(x_i)."""

        def step(state: Ascent, rate: jax.Array) -> tuple[Ascent, None]:
            weights, best, best_value = state
            value, gradients = jax.value_and_grad(_correlation)(weights, x, signs)
            better = value > best_value
            best = jax.tree.map(lambda new, old: jnp.where(better, new, old), weights, best)
            moved = [_into_ball(w + rate * _on_sphere(g)) for w, g in zip(weights, gradients, strict=True)]
            return (moved, best, jnp.where(better, value, best_value)), None

        # Steps from one radius down to a hundredth of it.
        rates = jnp.logspace(0, -2, self.num_steps, dtype=x.dtype)
        (_, best, best_value), _ = lax.scan(step, (start, start, jnp.asarray(-jnp.inf, x.dtype)), rates)
        return best, best_value


def golowich_complexity(product: Number, depth: int, data_norm: Number, num_samples: int) -> Number:
    """(1/m) ΠM_j (√(2 ln 2 · L) + 1) ‖X‖_F of L matrices, from the product of their norms (theory.md 11.6)."""
    return (math.sqrt(2 * math.log(2) * depth) + 1) * product * data_norm / num_samples


def _correlation(weights: list[jax.Array], x: jax.Array, signs: jax.Array) -> jax.Array:
    """Σ σ_i f(x_i) of a ReLU network with weights (in, out)."""
    for w in weights[:-1]:
        x = jax.nn.relu(highest_matmul(x, w))
    return highest_matmul(signs, highest_matmul(x, weights[-1])[:, 0])


def _on_sphere(w: jax.Array) -> jax.Array:
    norm = euclidean_norm(w)
    return w / jnp.where(norm > 0, norm, 1)


def _into_ball(w: jax.Array) -> jax.Array:
    return w / jnp.maximum(euclidean_norm(w), 1)
