"""The kernels of a program, as the limit and as networks of finite width have them."""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Limits(NamedTuple):
    """The kernels between two batches of inputs, (N1, N2) each; C and D of a field with positions P (N1, N2, *P).

    Attributes:
        ntk: Θ.
        nngp: Σ.
        C: By name, second moments E x x̄ of the watched vectors.
        D: By name, second moments of dx = √n ∇_x f. D is empty where the program takes batch means, as gradients then
            differ for each pair of outputs, and where scores are random.

    Where only the NTK is asked for, C and D are both empty.
    """

    ntk: Float[Array, "N1 N2"]
    nngp: Float[Array, "N1 N2"]
    C: dict[str, Float[Array, "N1 N2 ..."]]
    D: dict[str, Float[Array, "N1 N2 ..."]]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["ntk", "nngp", "C", "D", "standard_error"],
    meta_fields=["samples", "joint", "one_batch"],
)
@dataclass(frozen=True)
class ProgramKernels:
    """The kernels between two batches of inputs, as `infinite` and `measured` find them.

    Attributes:
        ntk: Θ, (N1, N2).
        nngp: Σ, (N1, N2).
        C: By name, second moments E x x̄ of the vectors that the program watches, (N1, N2). Of a field with position
            axes P they are those at equal positions, (N1, N2, *P), and 0 where one side has no such position.
        D: By name, second moments of dx = √n ∇_x f, (N1, N2) or (N1, N2, *P). It is empty if there are batch means or
            random scores.
        standard_error: `Limits` of the same shapes, the standard error of every entry. It is 0 where exact.
        samples: The number of samples, 0 where exact.
        joint: Whether all inputs were sampled together. Kernels of one batch are then positive semi-definite, and the
            other inputs of a call change an entry within its standard error. If False, each pair of inputs, of tiles or
            of lengths was sampled by itself.
        one_batch: Whether both sides are the same inputs.
    """

    ntk: Array
    nngp: Array
    C: dict[str, Array]
    D: dict[str, Array]
    standard_error: Limits
    samples: int
    joint: bool
    one_batch: bool

    @property
    def smallest_eigenvalue(self) -> Array:
        """The smallest eigenvalue of the NTK of one batch. It is negative beyond rounding only if `joint` is False.

        Raises:
            ValueError: The kernels are those between two batches.
        """
        if not self.one_batch:
            raise ValueError(f"ntk is {self.ntk.shape} between two batches; expected that of one, x2 left out.")
        return jnp.linalg.eigvalsh(self.ntk)[0]
