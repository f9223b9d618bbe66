"""Self-attention, alone and in the transformer of the paper."""

import numpy as np

from ntk.checks import MOST_STEPS, check_choice, check_count, check_flag
from ntk.duals import ActivationLike
from ntk.programs.architectures.blocks import check_axes, layer_norm, pooled, product
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.program import tensor_program
from ntk.programs.language.scalars import Number, Scalar
from ntk.programs.language.vectors import Vector


@tensor_program
def self_attention(
    net: Net,
    x: Input,
    *,
    scaling: str = "1/n",
    heads: int = 1,
    pooling: str = "mean",
    u_std: Number = 1.0,
    qk_std: Number = 1.0,
    w_std: Number = 1.0,
    v_std: Number = 1.0,
) -> Output:
    """Self-attention with matrices of its own for queries, keys and values (Vaswani et al. 2017, arXiv:1706.03762).

        x_i = (σ_u/√d) Uξ^i,   q_i = (σ_qk/√n) Q x_i,   k_i = (σ_qk/√n) K x_i,   w_i = (σ_w/√n) W x_i
        a_ij = softmax_j(q_i·k_j / n),   y_i = x_i + Σ_j a_ij w_j,   f = (σ_v/√n) v·(1/T)Σ_i y_i

    Q and K are independent, so q_i·k_j/n goes to 0. In the limit attention is uniform, a_ij = 1/T, and Q and K add
    nothing to the NTK. Everything has a closed form. With `scaling="1/sqrt(n)"` the scores q_i·k_j/√n stay random
    (theory.md 3.22). Kernels are then means over the scores, with standard errors, and outputs are Gaussian given the
    scores alone. With H heads Σ_j a_ij w_j is the sum of Σ_j a^h_ij w^h_j/√H over heads of their own Q, K and W. Inputs
    are (N, T, d).

    Args:
        net: What the program is given.
        x: One input.
        scaling: "1/n" or "1/sqrt(n)".
        heads: H.
        pooling: "mean" over positions, or "last".
        u_std: σ_u.
        qk_std: σ_qk.
        w_std: σ_w.
        v_std: σ_v.

    Raises:
        ValueError: `scaling` or `pooling` is unknown, or `heads` is not a positive integer.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> x = jnp.array([[[1.0], [2.0], [3.0]]])
        >>> k = ntk.infinite_kernels(ntk.architectures.self_attention, x)
        >>> print(f"{k.nngp[0, 0]:.2f}")  # the embedding of the mean of x, and W of it
        8.00
        >>> random = ntk.architectures.self_attention(scaling="1/sqrt(n)", heads=2)
        >>> k = ntk.infinite_kernels(random, x, samples=256)
        >>> k.samples, bool(k.nngp[0, 0] > 8)
        (256, True)
    """
    check_choice("scaling", scaling, ("1/n", "1/sqrt(n)"))
    check_count("heads", heads, maximum=MOST_STEPS)
    check_axes(x, "positions", "entries")
    states = net.input_matrix("u", u_std) @ x
    z = states
    for head in range(heads):
        part = net if heads == 1 else net.scope(str(head))
        queries, keys, values = (
            part.matrix(name, std) @ states for name, std in (("q", qk_std), ("k", qk_std), ("w", w_std))
        )
        scores = (queries[:, None] * keys[None]).mean() if scaling == "1/n" else net.scores(queries, keys)
        z = z + net.softmax(scores) @ values / heads**0.5
    return net.output("v", v_std) @ pooled(z, pooling)


@tensor_program
def transformer(
    net: Net,
    x: Input,
    *,
    depth: int = 1,
    activation: ActivationLike = "relu",
    pooling: str = "mean",
    causal: bool = False,
    normalized: bool = True,
    u_std: Number = 1.0,
    w_std: Number = 1.0,
    b_std: Number = 0.0,
    v_std: Number = 1.0,
    epsilon: Number = 0.0,
) -> Output:
    """The transformer of Yang 2020 (arXiv:2006.14548, appendix): L blocks, one vector for queries, keys and values.

        kˡ_i = (σ_u/√n) Uˡxˡ⁻¹_i   (k¹_i = (σ_u/√d) U¹ξ^i),   aˡ_ij = softmax_j(kˡ_i·kˡ_j / n)
        zˡ_i = LN(kˡ_i + Σ_j aˡ_ij kˡ_j)
        xˡ_i = LN(zˡ_i + (σ_w/√n) W²ˡφ((σ_w/√n) W¹ˡzˡ_i + σ_b b¹ˡ) + σ_b b²ˡ),   f = (σ_v/√n) v·(1/T)Σ_i x^L_i

    In LN(z) = (z − μ)/√(s² + ε) the mean μ and the variance s² are over coordinates. Scores are averages over
    coordinates. So they have limits, and everything has a closed form. With `causal` a position looks at j ≤ i only,
    and without `normalized` LN(z) = z. Inputs are (N, T, d).

    Args:
        net: What the program is given.
        x: One input.
        depth: L.
        activation: φ, as for `ntk.activation`.
        pooling: "mean" over positions, or "last".
        causal: Whether positions look at themselves and those before them, and not at all.
        normalized: Whether there is layer norm.
        u_std: σ_u.
        w_std: σ_w.
        b_std: σ_b.
        v_std: σ_v.
        epsilon: ε. Where it is 0 no input may be zero.

    Raises:
        TypeError: `causal` or `normalized` is not a boolean.
        ValueError: `depth` is not a positive integer, or `pooling` is neither "last" nor "mean".

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> k = ntk.infinite_kernels(ntk.architectures.transformer, jnp.array([[[1.0], [-1.0]]]))
        >>> k.samples, bool(0 < k.nngp[0, 0] < 1)
        (0, True)
    """
    check_axes(x, "positions", "entries")
    check_count("depth", depth, maximum=MOST_STEPS)
    check_flag("causal", causal)
    check_flag("normalized", normalized)
    phi, mask = net.phi(activation), np.tril(np.ones((len(x), len(x)), bool)) if causal else None
    states: Vector | Input = x
    for layer in range(1, depth + 1):
        W1, W2 = (net.matrix(f"w{number}_{layer}", w_std) for number in (1, 2))
        b1, b2 = (net.bias(f"b{number}_{layer}", b_std) for number in (1, 2))
        keys = product(net, f"u{layer}", states, u_std)
        z = keys + _attention(net, keys, keys, mask=mask) @ keys
        z = layer_norm(net, z, epsilon) if normalized else z
        states = z + W2 @ phi(W1 @ z + b1) + b2
        states = layer_norm(net, states, epsilon) if normalized else states
    assert isinstance(states, Vector)
    return net.output("v", v_std) @ pooled(states, pooling)


def _attention(net: Net, queries: Vector, keys: Vector, mask: np.ndarray | None = None) -> Scalar:
    """softmax_j(q_i·k_j/n), for all positions i, and j of the mask."""
    return net.softmax((queries[:, None] * keys[None]).mean(), mask)
