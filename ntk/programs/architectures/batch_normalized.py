"""A perceptron with batch normalization."""

from jax import lax

from ntk.checks import MOST_STEPS, check_count
from ntk.duals import ActivationLike
from ntk.programs.architectures.blocks import check_axes, product
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.program import tensor_program
from ntk.programs.language.scalars import Number
from ntk.programs.language.vectors import Vector


@tensor_program
def batch_norm_mlp(
    net: Net,
    x: Input,
    *,
    depth: int = 1,
    activation: ActivationLike = "relu",
    w_std: Number = 1.0,
    v_std: Number = 1.0,
    epsilon: Number = 0.0,
) -> Output:
    """A perceptron with batch normalization (Ioffe & Szegedy 2015; Yang 2020, arXiv:2006.14548, appendix).

        h¹ = (σ_w/√d) w¹ξ,   hˡ = (σ_w/√n) wˡxˡ⁻¹,   xˡ = φ((hˡ − μ)/√(s² + ε)),   f = (σ_v/√n) v·x^L

    where μ and s² are the mean and the variance of hˡ over the batch, coordinate by coordinate. An output depends on
    its whole batch, and so does the kernel. The kernel of x1 is that of one batch. The kernel between x1 and x2 is that
    between two batches, each normalized by itself. A bias is left out, as batch norm would subtract it. Inputs are
    (N, d). The limit is sampled.

    With ε = 0 gradients have a second moment if the batch holds at least 4 inputs that span 3 dimensions around their
    mean. Their standard errors can be relied on from 6 inputs on.

    Args:
        net: What the program is given.
        x: One input.
        depth: L.
        activation: φ, as for `ntk.activation`.
        w_std: σ_w.
        v_std: σ_v.
        epsilon: ε, at least 0.

    Raises:
        ValueError: `depth` is not a positive integer, or ε = 0 and the limit is asked for at a smaller batch.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> k = ntk.infinite_kernels(ntk.architectures.batch_norm_mlp(activation="identity"), jnp.eye(6), samples=256)
        >>> print(f"{jnp.trace(k.nngp):.2f}")  # Σ_i E (hᵢ − μ)²/s²
        6.00
    """
    check_axes(x, "entries")
    check_count("depth", depth, maximum=MOST_STEPS)
    phi, rsqrt = net.phi(activation), net.phi(lax.rsqrt)
    net.needs_batch(rank=3, unless=net.needs_nonnegative("epsilon", epsilon))
    z: Vector | Input = x
    for layer in range(1, depth + 1):
        h = product(net, f"w{layer}", z, w_std)
        centred = h - h.batch_mean()
        z = phi(centred * rsqrt((centred * centred).batch_mean() + epsilon))
    return net.output("v", v_std) @ z
