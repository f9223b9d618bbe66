"""A perceptron with batch normalization."""

from typing import Any

from jax import lax

from ntk.checks import check_count
from ntk.programs.language.net import Input, Net, Output
from ntk.programs.language.program import tensor_program
from ntk.programs.language.scalars import Number


@tensor_program
def batch_norm_mlp(
    net: Net,
    x: Input,
    *,
    depth: int = 1,
    activation: Any = "relu",
    w_std: Number = 1.0,
    v_std: Number = 1.0,
    epsilon: Number = 0.0,
) -> Output:
    """A perceptron with batch normalization (Ioffe & Szegedy 2015; Yang 2020, arXiv:2006.14548, appendix).

        h¹ = (σ_w/√d) w¹ξ,   hˡ = (σ_w/√n) wˡxˡ⁻¹,   xˡ = φ((hˡ − μ)/√(s² + ε)),   f = (σ_v/√n) v·x^L

    with μ and s² the mean and the variance of hˡ over the batch, coordinate by coordinate. An output depends on its
    whole batch, and so does the kernel: that of x1 is the kernel of one batch, that of x1 and x2 is between two, each
    normalized by itself. A bias would be subtracted again. Inputs are (N, d). The limit is sampled.

    With ε = 0 gradients have a second moment for batches of at least 4 inputs that span 3 dimensions around their
    mean; their standard errors can be relied on from 6.

    Raises:
        ValueError: `depth` is not a positive integer; or the limit is asked for with ε = 0 and a smaller batch.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> k = ntk.infinite_kernels(ntk.architectures.batch_norm_mlp(activation="identity"), jnp.eye(6), samples=256)
        >>> print(f"{jnp.trace(k.nngp):.2f}")  # Σ_i E (hᵢ − μ)²/s²
        6.00
    """
    check_count("depth", depth)
    phi, rsqrt = net.phi(activation), net.phi(lax.rsqrt)
    net.needs_batch(rank=3, unless=epsilon)
    z: Any = x
    for layer in range(1, depth + 1):
        h = (net.input_matrix("w1", w_std) if layer == 1 else net.matrix(f"w{layer}", w_std)) @ z
        centred = h - h.batch_mean()
        z = phi(centred * rsqrt((centred * centred).batch_mean() + epsilon))
    return net.output("v", v_std) @ z
