"""Function classes on a sample: an empirical complexity depends only on the values of the functions there.

A class G holds the data of its sample S = (z_1, …, z_m). For given signs σ it computes the supremum of
(1/m) Σ σ_i g(z_i) over g, on which theory.md 11.1 rests. Each class is a frozen dataclass and a pytree of its data, so
that `jax.vmap` and `jax.grad` of estimates work over samples. Arrays with additional leading axes make a stack of
classes for `jax.vmap`. Shapes are checked when a class is made, and values when it is used.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Real

from bounds.arrays import as_data, as_gram, as_gram_stack, as_radius, as_stack, euclidean_norm, square_root
from ntk.checks import as_nonnegative_number, check_choice
from ntk.linalg import highest_matmul

T = TypeVar("T")
Data: TypeAlias = Any  # a JAX array where a class computes; while JAX rebuilds a pytree, anything
Fields = tuple[object, ...]


def pytree_of(data: list[str], meta: list[str]) -> Callable[[type[T]], type[T]]:
    """Register a dataclass as a pytree that JAX rebuilds without the checks of the constructor.

    JAX puts tracers, shapes, stacks or None into pytrees. The constructor would refuse some of these.

    Args:
        data: The names of the fields that are leaves.
        meta: The names of the fields that are static.
    """

    def register(cls: type[T]) -> type[T]:
        def with_keys(self: T) -> tuple[tuple[tuple[jax.tree_util.GetAttrKey, object], ...], Fields]:
            leaves = tuple((jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in data)
            return leaves, tuple(getattr(self, name) for name in meta)

        def flatten(self: T) -> tuple[Fields, Fields]:
            return tuple(getattr(self, name) for name in data), tuple(getattr(self, name) for name in meta)

        def unflatten(fixed: Fields, leaves: Iterable[object]) -> T:
            made = object.__new__(cls)
            for name, value in zip([*data, *meta], [*leaves, *fixed], strict=True):
                object.__setattr__(made, name, value)
            return made

        jax.tree_util.register_pytree_with_keys(cls, with_keys, unflatten, flatten)
        return cls

    return register


def set_fields(instance: object, **fields: object) -> None:
    """Set fields of a frozen dataclass in its constructor."""
    for name, value in fields.items():
        object.__setattr__(instance, name, value)


@runtime_checkable
class FunctionClass(Protocol):
    """What estimates need of a class. Any pytree with these properties and methods can be estimated.

    A class whose supremum is only approached from below has a property `is_lower_estimate` that is True.
    """

    @property
    def num_samples(self) -> int:
        """The sample's size m."""

    @property
    def entries_per_draw(self) -> int:
        """How many numbers one supremum holds in memory; the batches of draws are sized by it."""

    def checked(self) -> "FunctionClass":
        """The class with its data as arrays of one dtype; bad data is refused."""

    def supremum(self, signs: Real[Array, " m"]) -> Float[Array, ""]:
        """The supremum of (1/m) Σ σ_i g(z_i) over the class, for signs (m,) of ±1; a scalar."""

    def upper_bound(self) -> Float[Array, ""]:
        """A closed form that is at least the empirical Rademacher complexity; a scalar."""

    def largest_value(self) -> Float[Array, ""]:
        """At least |g(z_i)| for every g and every i; a scalar."""


@pytree_of(data=["x", "radius"], meta=["norm"])
@dataclass(frozen=True)
class LinearBall:
    """Linear functions x ↦ w·x with ‖w‖_p ≤ B (Mohri et al. 2018, Theorems 5.10 and 11.15; Kakade et al. 2008).

    The supremum is (B/m) ‖Σ σ_i x_i‖_q with the dual norm, 1/p + 1/q = 1. Its mean is at most (B/m) √Σ‖x_i‖² for
    p = 2, (B/m) max_j ‖x_·j‖₂ √(2 ln 2d) for p = 1, by Massart's lemma, and (B/m) Σ_j ‖x_·j‖₂ for p = ∞
    (theory.md 11.4).

    Attributes:
        x: The sample, (m, d), float32 or float64. A feature of ones gives the functions a bias.
        radius: B, a scalar.
        norm: p: 1, 2 or math.inf.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import LinearBall
        >>> ball = LinearBall(jnp.array([[3.0, 0.0], [0.0, 4.0]]), radius=2.0)
        >>> print(ball.supremum(jnp.array([1, -1])), ball.upper_bound())  # the same for all signs
        5.0 5.0
    """

    x: Data
    radius: Data = 1.0
    norm: int | float = 2

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, (1, 2, math.inf))
        set_fields(self, x=as_stack("x", self.x, "(m, d)"), radius=as_radius("radius", self.radius))

    @property
    def num_samples(self) -> int:
        """The sample's size m."""
        return int(self.x.shape[0])

    @property
    def entries_per_draw(self) -> int:
        """The signs and their products with the features."""
        return sum(self.x.shape)

    def checked(self) -> "LinearBall":
        """The class with its data as arrays; bad data is refused."""
        x = as_data("x", self.x, "(m, d)")
        return replace(self, x=x, radius=as_nonnegative_number("radius", self.radius, x.dtype))

    def supremum(self, signs: Real[Array, " m"]) -> Float[Array, ""]:
        """(B/m) ‖Σ σ_i x_i‖_q for signs (m,); a scalar."""
        correlation = highest_matmul(signs.astype(self.x.dtype), self.x)
        dual_norms: dict[float, Callable[[jax.Array], jax.Array]] = {
            1: lambda v: jnp.max(jnp.abs(v)),
            2: euclidean_norm,
            math.inf: lambda v: jnp.sum(jnp.abs(v)),
        }
        result: Float[Array, ""] = self.radius / self.num_samples * dual_norms[self.norm](correlation)
        return result

    def largest_value(self) -> Float[Array, ""]:
        """B max_i ‖x_i‖_q; a scalar."""
        dual = {1: math.inf, 2: 2, math.inf: 1}[self.norm]
        norms = euclidean_norm(self.x, axis=1) if dual == 2 else jnp.linalg.norm(self.x, dual, 1)
        result: Float[Array, ""] = self.radius * jnp.max(norms)
        return result

    def upper_bound(self) -> Float[Array, ""]:
        """The closed form for this norm; a scalar."""
        columns = euclidean_norm(self.x, axis=0)
        norms = {
            1: jnp.max(columns) * math.sqrt(2 * math.log(2 * self.x.shape[1])),
            2: euclidean_norm(columns),
            math.inf: jnp.sum(columns),
        }
        result: Float[Array, ""] = self.radius / self.num_samples * norms[self.norm]
        return result


@pytree_of(data=["gram", "radius"], meta=[])
@dataclass(frozen=True)
class KernelBall:
    """Functions of norm at most B in the space of a kernel (Mohri et al. 2018, Theorem 6.12).

    The supremum is (B/m) √(σᵀKσ), and its mean is at most (B/m) √(tr K) (theory.md 11.5). Any NTK of `ntk` may be K.

    Attributes:
        gram: K, (m, m), symmetric positive semidefinite, float32 or float64. Its symmetry and |K_ij|² ≤ K_ii K_jj are
            checked, its eigenvalues are not. Where σᵀKσ is negative, the supremum is taken as 0.
        radius: B, a scalar.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import KernelBall
        >>> ball = KernelBall(jnp.array([[2.0, 1.0], [1.0, 2.0]]))
        >>> print(f"{ball.supremum(jnp.array([1, 1])):.4f} {ball.upper_bound():.4f}")  # √6/2 and √4/2
        1.2247 1.0000
    """

    gram: Data
    radius: Data = 1.0

    def __post_init__(self) -> None:
        set_fields(self, gram=as_gram_stack("gram", self.gram), radius=as_radius("radius", self.radius))

    @property
    def num_samples(self) -> int:
        """The sample's size m."""
        return int(self.gram.shape[0])

    @property
    def entries_per_draw(self) -> int:
        """The signs and their products with the kernel."""
        return 2 * self.num_samples

    def checked(self) -> "KernelBall":
        """The class with its data as arrays; bad data is refused."""
        gram = as_gram("gram", self.gram)
        return replace(self, gram=gram, radius=as_nonnegative_number("radius", self.radius, gram.dtype))

    def supremum(self, signs: Real[Array, " m"]) -> Float[Array, ""]:
        """(B/m) √(σᵀKσ) for signs (m,); a scalar."""
        signs = signs.astype(self.gram.dtype)
        form = highest_matmul(signs, highest_matmul(signs, self.gram))
        result: Float[Array, ""] = self.radius / self.num_samples * square_root(form)
        return result

    def largest_value(self) -> Float[Array, ""]:
        """B max_i √K_ii; a scalar."""
        result: Float[Array, ""] = self.radius * square_root(jnp.max(jnp.diagonal(self.gram)))
        return result

    def upper_bound(self) -> Float[Array, ""]:
        """(B/m) √(tr K); a scalar."""
        result: Float[Array, ""] = self.radius / self.num_samples * square_root(jnp.trace(self.gram))
        return result


@pytree_of(data=["predictions"], meta=[])
@dataclass(frozen=True)
class FiniteClass:
    """Finitely many functions, given by their values (Massart's lemma: Mohri et al. 2018, Theorem 3.7).

    The supremum is max_u σ·u/m over the rows u of A. Its mean is at most max_u ‖u‖₂ √(2 ln|A|)/m (theory.md 11.3).

    Attributes:
        predictions: A, (F, m): predictions, or losses, of each of the F functions on every point.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.rademacher import FiniteClass
        >>> two = FiniteClass(jnp.array([[1.0, 1.0], [-1.0, -1.0]]))
        >>> print(two.supremum(jnp.array([1, 1])), two.supremum(jnp.array([1, -1])), f"{two.upper_bound():.4f}")
        1.0 0.0 0.8326
    """

    predictions: Data

    def __post_init__(self) -> None:
        set_fields(self, predictions=as_stack("predictions", self.predictions, "(number of functions, m)"))

    @property
    def num_samples(self) -> int:
        """The sample's size m."""
        return int(self.predictions.shape[1])

    @property
    def entries_per_draw(self) -> int:
        """The signs and their products with all functions."""
        return sum(self.predictions.shape)

    def checked(self) -> "FiniteClass":
        """The class with its data as an array; bad data is refused."""
        return replace(self, predictions=as_data("predictions", self.predictions, "(number of functions, m)"))

    def supremum(self, signs: Real[Array, " m"]) -> Float[Array, ""]:
        """max_u σ·u/m for signs (m,); a scalar."""
        return jnp.max(highest_matmul(self.predictions, signs.astype(self.predictions.dtype))) / self.num_samples

    def largest_value(self) -> Float[Array, ""]:
        """The largest |u_i|; a scalar."""
        return jnp.max(jnp.abs(self.predictions))

    def upper_bound(self) -> Float[Array, ""]:
        """max_u ‖u‖₂ √(2 ln|A|)/m; a scalar."""
        num_functions = self.predictions.shape[0]
        largest = jnp.max(euclidean_norm(self.predictions, axis=1))
        return largest * math.sqrt(2 * math.log(num_functions)) / self.num_samples
