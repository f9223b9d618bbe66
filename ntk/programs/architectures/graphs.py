"""Convolutional networks over the nodes of a graph."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from jax.typing import ArrayLike

from ntk.checks import MOST_STEPS, as_numpy, check_choice, check_count
from ntk.duals import ActivationLike
from ntk.programs.architectures.blocks import check_axes, product
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.program import TensorProgram, tensor_program
from ntk.programs.language.scalars import Number
from ntk.programs.language.vectors import Vector


@runtime_checkable
class Sparse(Protocol):
    """A sparse matrix of SciPy or of `jax.experimental.sparse`."""

    def todense(self) -> ArrayLike:
        """All of its entries."""


Adjacency: TypeAlias = tuple[tuple[float, ...], ...]


def gcn(adjacency: ArrayLike | Sequence[object] | Sparse, *, normalization: str = "symmetric") -> TensorProgram:
    """Convolutions over a graph (Kipf & Welling 2017, arXiv:1609.02907; their NTK: Du et al. 2019, arXiv:1905.13192).

        hˡ_p = Σ_q Â_pq (σ_w/√n) Wˡxˡ⁻¹_q + σ_b bˡ,   xˡ_p = φ(hˡ_p)   at P nodes p,   x⁰ = ξ with d for n
        f = (σ_v/√n) v·(1/P)Σ_p x^L_p   (pooling "mean")   or   f = (σ_v/√n) v·Σ_p x^L_p   ("sum")

    Inputs are (N, P, d): features of the nodes of the one graph. Everything has a closed form. The limit looks at all
    P² pairs of nodes, so that a sparse adjacency is made a dense one.

    Args:
        adjacency: A, (P, P), an array or a sparse matrix.
        normalization: "symmetric" for Â = D^(−1/2) (A + I) D^(−1/2) with the degrees D of A + I, "none" for Â = A.

    Returns:
        The program. Its options are `depth` (L, 2), `activation` (φ, "relu"), `pooling` ("mean"), and `w_std`, `b_std`
        and `v_std` (1, 0 and 1).

    Raises:
        TypeError: `adjacency` does not hold numbers.
        ValueError: It is not square, or holds a number that is not finite; a node of A + I has no positive degree, or
            the normalization is unknown. Where the program is read: `depth` is not a positive integer, `pooling` is
            unknown, or an input has another number of nodes.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> net = ntk.architectures.gcn(jnp.array([[0, 1], [1, 0]]))(depth=1)
        >>> print(f"{ntk.infinite_ntk(net, jnp.array([[[1.0], [1.0]]]))[0, 0]:.2f}")  # two nodes that are equal
        1.00
    """
    check_choice("normalization", normalization, ("symmetric", "none"))
    dense = adjacency.todense() if isinstance(adjacency, Sparse) else adjacency
    table = as_numpy("adjacency", dense, "a square matrix of real numbers").astype(float)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.size or not np.all(np.isfinite(table)):
        raise ValueError(f"adjacency has shape {table.shape}; expected a square matrix of finite numbers.")
    if normalization == "symmetric":
        table = _normalized(table)
    return graph_convolutions(adjacency=tuple(tuple(row) for row in table.tolist()))


def _normalized(table: np.ndarray) -> np.ndarray:
    """D^(−1/2) (A + I) D^(−1/2)."""
    table = table + np.eye(len(table))
    degrees = table.sum(axis=1)
    if not np.all(degrees > 0):
        raise ValueError(f"adjacency has the degrees {degrees - 1}; expected more than -1 with normalization.")
    return table / np.sqrt(np.multiply.outer(degrees, degrees))


@tensor_program
def graph_convolutions(
    net: Net,
    x: Input,
    *,
    adjacency: Adjacency = ((1.0,),),
    depth: int = 2,
    activation: ActivationLike = "relu",
    pooling: str = "mean",
    w_std: Number = 1.0,
    b_std: Number = 0.0,
    v_std: Number = 1.0,
) -> Output:
    """The program of `gcn`, with Â as rows of numbers.

    Raises:
        ValueError: `depth` is not a positive integer, `pooling` is unknown, or x has not the nodes of Â.
    """
    check_axes(x, "nodes", "entries")
    check_count("depth", depth, maximum=MOST_STEPS)
    check_choice("pooling", pooling, ("mean", "sum"))
    if len(x) != len(adjacency):
        raise ValueError(f"an input has {len(x)} nodes; expected {len(adjacency)}, as the adjacency has.")
    table, phi = net.table(adjacency), net.phi(activation)
    z: Vector | Input = x
    for layer in range(1, depth + 1):
        z = phi(table @ product(net, f"w{layer}", z, w_std) + net.bias(f"b{layer}", b_std))
    assert isinstance(z, Vector)
    return net.output("v", v_std) @ z.pooled() * (len(x) if pooling == "sum" else 1)
