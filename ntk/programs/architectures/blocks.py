"""What several architectures are made of: affine maps of a state and a step, read-outs over positions."""

from collections.abc import Sequence

from ntk.checks import check_choice
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.scalars import Number
from ntk.programs.language.vectors import Vector


def check_axes(x: Input, *axes: str) -> None:
    """Refuse an input that has not the axes of these names."""
    if len(x.shape) != len(axes):
        raise ValueError(f"an input has shape {x.shape}; expected axes of {', '.join(axes)}.")


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
