"""Mixtures: programs of any architectures, side by side on one input."""

import weakref
from collections.abc import Hashable, Sequence

import numpy as np

from ntk.checks import as_numpy, shown
from ntk.programs.language.inputs import Input
from ntk.programs.language.net import Net
from ntk.programs.language.outputs import Output
from ntk.programs.language.program import Network, TensorProgram
from ntk.programs.language.scalars import Scalar

Parts = tuple[tuple[Network, tuple[str, ...]], ...]  # functions, and the names of their options
_ALIVE: weakref.WeakValueDictionary[Parts, Network] = weakref.WeakValueDictionary()


def mixture(*programs: TensorProgram, weights: Sequence[float] | None = None) -> TensorProgram:
    """The program whose kernels are weighted sums of those of others: Σ_k p_k Θ_k.

        f = Σ_k √p_k f_k   with parameters of its own for each f_k

    The programs are counted from 1. The parameters of the k-th are called "k/name", its options `name_k`, and p_k is
    the option `mixture_weight_k`. All programs read the same inputs.

    Args:
        programs: Any architectures.
        weights: p_k, not negative. Left out, they are equal and sum to 1.

    Returns:
        The mixture as a `TensorProgram`.

    Raises:
        TypeError: One of `programs` is not a tensor program, or `weights` does not hold numbers.
        ValueError: `programs` is empty, or `weights` has another length or an entry that is negative or not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> x = jnp.array([[1.0, 2.0], [0.5, -1.0]])
        >>> parts = ntk.architectures.mlp(depth=0), ntk.architectures.mlp(depth=1)
        >>> net = ntk.architectures.mixture(*parts, weights=(0.25, 0.75))
        >>> first, second = (ntk.infinite_ntk(part, x) for part in parts)
        >>> bool(jnp.allclose(ntk.infinite_ntk(net, x), 0.25 * first + 0.75 * second))
        True
    """
    for program in programs:
        if not isinstance(program, TensorProgram):
            raise TypeError(f"programs holds {shown(program)}; expected tensor_programs.")
    if not programs:
        raise ValueError("programs is empty; expected at least one tensor_program.")
    shares = [1.0 / len(programs)] * len(programs) if weights is None else _shares(weights, len(programs))
    numbered = list(enumerate(programs, start=1))
    numbers = {f"mixture_weight_{k}": share for k, share in enumerate(shares, start=1)}
    numbers |= {f"{name}_{k}": value for k, part in numbered for name, value in part.numbers.items()}
    choices = {f"{name}_{k}": value for k, part in numbered for name, value in part.choices.items()}
    parts = tuple((part.fn, (*part.numbers, *part.choices)) for part in programs)
    return TensorProgram(_side_by_side(parts), numbers, choices)


def _shares(weights: Sequence[float], count: int) -> list[float]:
    numbers = as_numpy("weights", weights, f"{count} numbers that are not negative")
    if numbers.shape != (count,) or not np.all((numbers >= 0) & np.isfinite(numbers)):
        raise ValueError(f"weights is {shown(weights)}; expected {count} finite numbers that are not negative.")
    return [float(number) for number in numbers]


def _side_by_side(parts: Parts) -> Network:
    """One function for the same parts, so that the mixture is recorded once."""
    found = _ALIVE.get(parts)
    if found is None:

        def mixture(net: Net, x: Input, **options: Hashable) -> Output | Scalar:
            outputs = []
            for k, (fn, names) in enumerate(parts, start=1):
                share = options[f"mixture_weight_{k}"]
                assert isinstance(share, Scalar)
                output = fn(net.scope(str(k)), x, **{name: options[f"{name}_{k}"] for name in names})
                outputs.append(output * net.needs_nonnegative(f"mixture_weight_{k}", share) ** 0.5)
            return sum(outputs[1:], outputs[0])

        _ALIVE[parts] = found = mixture
    return found
