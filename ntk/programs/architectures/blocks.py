"""What several architectures are made of: norms, affine maps of a state and a step, read-outs over positions."""

from collections.abc import Sequence

from jax import lax

from ntk.checks import check_choice, shown
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.scalars import Number, Scalar
from ntk.programs.language.vectors import Vector


def layer_norm(net: Net, z: Vector, epsilon: Number = 0.0) -> Vector:
    """(z − μ)/√(s² + ε), with the mean μ and the variance s² over coordinates (Ba, Kiros, Hinton 2016).

    Args:
        net: What the program is given.
        z: A vector.
        epsilon: ε, not negative. Where it is 0 the limit needs a vector that varies.

    Raises:
        TypeError: `net`, `z` or `epsilon` is not what a program works with.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> @ntk.tensor_program
        ... def normalized(net, x):
        ...     return net.output("v") @ ntk.architectures.layer_norm(net, net.input_matrix("u") @ x)
        >>> print(f"{ntk.infinite_kernels(normalized, jnp.array([[3.0, 4.0]])).nngp[0, 0]:.2f}")
        1.00
    """
    _check(net, z)
    centred = z - z.mean()
    return centred * _scale(net, (centred * centred).mean(), epsilon)


def rms_norm(net: Net, z: Vector, epsilon: Number = 0.0) -> Vector:
    """z/√(m + ε), with the mean m of squares over coordinates (Zhang & Sennrich 2019, arXiv:1910.07467).

    Args:
        net: What the program is given.
        z: A vector.
        epsilon: ε, not negative. Where it is 0 the limit needs a vector that is not zero.

    Raises:
        TypeError: `net`, `z` or `epsilon` is not what a program works with.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> @ntk.tensor_program
        ... def normalized(net, x):
        ...     z = net.phi("relu")(net.input_matrix("u") @ x)
        ...     return net.output("v") @ ntk.architectures.rms_norm(net, z)
        >>> print(f"{ntk.infinite_kernels(normalized, jnp.array([[3.0, 4.0]])).nngp[0, 0]:.2f}")
        1.00
    """
    _check(net, z)
    return z * _scale(net, (z * z).mean(), epsilon)


def group_norm(net: Net, z: Vector, epsilon: Number = 0.0) -> Vector:
    """(z − μ)/√(s² + ε), with the mean μ and the variance s² over coordinates and positions (Wu & He 2018).

    Coordinates are one group (arXiv:1803.08494). Each of G groups of n/G coordinates has the same μ and s² as n → ∞,
    so that the limit is the same for all numbers of groups.

    Args:
        net: What the program is given.
        z: A field.
        epsilon: ε, not negative. Where it is 0 the limit needs a field that varies.

    Raises:
        TypeError: `net`, `z` or `epsilon` is not what a program works with.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> @ntk.tensor_program
        ... def normalized(net, x):
        ...     return net.output("v") @ ntk.architectures.group_norm(net, net.input_matrix("u") @ x)
        >>> x = jnp.array([[[3.0, 4.0], [0.0, 2.0]]])  # two positions, of which the mean of squares over them is 1
        >>> print(f"{ntk.infinite_kernels(normalized, x).nngp[0, 0]:.2f}")
        1.00
    """
    _check(net, z)
    centred = z - z.pooled().mean()
    return centred * _scale(net, (centred * centred).pooled().mean(), epsilon)


def _check(net: Net, z: Vector) -> None:
    for name, value, kind in (("net", net, Net), ("z", z, Vector)):
        if not isinstance(value, kind):
            raise TypeError(f"{name} is {shown(value)}; expected the {kind.__name__} of a tensor program.")


def _scale(net: Net, square: Scalar, epsilon: Number) -> Scalar:
    """1/√(square + ε)."""
    return net.scalar(lax.rsqrt)(square + net.needs_nonnegative("epsilon", epsilon))


def check_axes(x: Input, *axes: str) -> None:
    """Refuse an input that has not the axes of these names."""
    if len(x.shape) != len(axes):
        raise ValueError(f"an input has shape {x.shape}; expected axes of {', '.join(axes)}.")


def product(net: Net, name: str, z: Vector | Input, std: Number) -> Vector:
    """(σ/√n) W z of vectors, or (σ/√d) W ξ of the input: the first layer of a network and the others in one line."""
    return net.input_matrix(name, std) @ z if isinstance(z, Input) else net.matrix(name, std) @ z


def affine(net: Net, name: str, state: Vector, step: Input, w_std: Number, u_std: Number, b_std: Number) -> Vector:
    """(σ_w/√n) W s + (σ_u/√d) U ξ + σ_b b, with parameters "w", "u" and "b" followed by the name."""
    W, U = net.matrix(f"w{name}", w_std), net.input_matrix(f"u{name}", u_std)
    return W @ state + U @ step + net.bias(f"b{name}", b_std)


def pooled(states: Vector | Sequence[Vector], pooling: str) -> Vector:
    """The last of the states, or their mean. They are positions of a field, or vectors one by one."""
    check_choice("pooling", pooling, ("last", "mean"))
    if pooling == "last":
        return states[-1]
    if isinstance(states, Vector):
        return states.pooled()
    return sum(states[1:], states[0]) / len(states)


def read_out(net: Net, states: Vector | Sequence[Vector], pooling: str, v_std: Number) -> Output:
    """(σ_v/√n) v·s of the last state, or of the mean of them all."""
    return net.output("v", v_std) @ pooled(states, pooling)
