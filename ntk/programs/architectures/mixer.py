"""Perceptrons across positions and perceptrons at each position, in turns."""

from ntk.checks import MOST_STEPS, check_count
from ntk.duals import ActivationLike
from ntk.programs.architectures.blocks import check_axes, layer_norm
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.program import tensor_program
from ntk.programs.language.scalars import Number
from ntk.programs.language.vectors import Vector


@tensor_program
def mlp_mixer(
    net: Net,
    x: Input,
    *,
    depth: int = 1,
    hidden: int = 4,
    activation: ActivationLike = "gelu",
    u_std: Number = 1.0,
    w_std: Number = 1.0,
    v_std: Number = 1.0,
    epsilon: Number = 1e-6,
) -> Output:
    """The MLP-Mixer (Tolstikhin et al. 2021, arXiv:2105.01601), with weights that are not shared by channels.

        x_p = (σ_u/√d) Uξ_p   at P positions p, such as the patches of an image; then in each of L blocks
        h_s = (σ_w/√(Pn)) Σ_q W¹_sq LN(x_q),   x_p ← x_p + (σ_w/√(Sn)) Σ_s W²_ps φ(h_s)   with S hidden positions s
        x_p ← x_p + (σ_w/√n) W⁴φ((σ_w/√n) W³LN(x_p)),   and f = (σ_v/√n) v·(1/P)Σ_p LN(x_p)

    Each W¹_sq and each W²_ps is a matrix over channels. In the source they are numbers, the same for all channels. As
    n → ∞ these numbers stay random, whether S is finite or not, and the kernel stays random with them: it has no
    limit. With matrices it has one, which does not depend on S. In LN(z) = (z − μ)/√(s² + ε) the mean μ and the
    variance s² are over channels. Inputs are (N, P, d). Everything has a closed form.

    Args:
        net: What the program is given.
        x: One input.
        depth: L.
        hidden: S.
        activation: φ, as for `ntk.activation`.
        u_std: σ_u.
        w_std: σ_w.
        v_std: σ_v.
        epsilon: ε. Where it is 0 no position may be zero.

    Raises:
        ValueError: `depth` or `hidden` is not a positive integer.

    Example:
        >>> import jax
        >>> import ntk
        >>> x = jax.numpy.ones((1, 3, 2))
        >>> params = ntk.finite(ntk.architectures.mlp_mixer(hidden=5), width=8).init(jax.random.key(0), x)
        >>> params["1/tokens_in"].shape  # (S, 1), of windows (1, P), and n by n
        (5, 1, 1, 3, 8, 8)
    """
    check_axes(x, "positions", "entries")
    check_count("depth", depth, maximum=MOST_STEPS)
    check_count("hidden", hidden, maximum=MOST_STEPS)
    phi, z = net.phi(activation), net.input_matrix("u", u_std) @ x
    for layer in range(1, depth + 1):
        block = net.scope(str(layer))
        h = _mixed(block, "tokens_in", layer_norm(net, z, epsilon), hidden, w_std)
        z = z + _mixed(block, "tokens_out", phi(h), len(z), w_std)
        h = block.matrix("channels_in", w_std) @ layer_norm(net, z, epsilon)
        z = z + block.matrix("channels_out", w_std) @ phi(h)
    return net.output("v", v_std) @ layer_norm(net, z, epsilon).pooled()


def _mixed(net: Net, name: str, z: Vector, count: int, std: Number) -> Vector:
    """(σ/√(Pn)) Σ_q W_pq z_q at `count` positions p: windows over all positions that do not share their weights."""
    across = net.convolution(name, (1, len(z)), std, padding="valid", shared=False)
    return (across @ (z[None] + net.zero((count, len(z)))))[:, 0]
