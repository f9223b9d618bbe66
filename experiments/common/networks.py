"""Networks from the `network` part of a config, and images in the form in which each network reads them."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

import ntk
from experiments.data.images import as_coarse_images, as_coarse_sequences, as_sequences, as_vectors
from ntk.checks import check_choice


class Kind(NamedTuple):
    """A kind of network: how it is made of the fields of a config, and in which form it reads images."""

    make: Callable[..., Any]
    reads: Callable[[np.ndarray], np.ndarray]

    @property
    def fields(self) -> list[str]:
        """The names that `make` takes."""
        if isinstance(self.make, ntk.TensorProgram):
            return [*self.make.numbers, *self.make.choices]
        return list(inspect.signature(self.make).parameters)


def mixture(parts: tuple[str, ...] = ("mlp", "residual_mlp"), weights: tuple[float, ...] | None = None) -> Any:
    """`ntk.architectures.mixture` of programs that read vectors, by their names, with the options they have.

    Example:
        >>> mixture(("mlp", "mlp"), weights=(0.3, 0.7)).numbers["mixture_weight_2"]
        0.7
    """
    for part in parts:
        check_choice("a part of network.kind='mixture'", part, PROGRAMS[as_vectors])
    return ntk.architectures.mixture(*(getattr(ntk.architectures, part) for part in parts), weights=weights)


KINDS: dict[str, Kind] = {"MLP": Kind(ntk.MLP, as_vectors), "RNN": Kind(ntk.RNN, as_sequences)}
# Programs are compiled position by position: they read images of half the size.
PROGRAMS: dict[Callable[[np.ndarray], np.ndarray], tuple[str, ...]] = {
    as_vectors: ("mlp", "residual_mlp", "tied_mlp", "batch_norm_mlp"),
    as_coarse_sequences: (
        "rnn",
        "bidirectional_rnn",
        "lstm",
        "gru",
        "layer_norm_gated_rnn",
        "cnn_1d",
        "self_attention",
        "transformer",
    ),
    as_coarse_images: ("cnn_2d",),
}
KINDS |= {name: Kind(getattr(ntk.architectures, name), reads) for reads, names in PROGRAMS.items() for name in names}
KINDS["mixture"] = Kind(mixture, as_vectors)


def build_network(fields: ConfigDict) -> Any:
    """The network that a config describes: a class of `ntk` or a program of `ntk.architectures`, and its fields.

    Raises:
        ValueError: if the kind is unknown, a field is foreign to it, or a value is out of range.
        TypeError: if a required field is missing.

    Example:
        >>> build_network(ConfigDict({"kind": "MLP", "depth": 2, "activation": "erf"})).depth
        2
        >>> build_network(ConfigDict({"kind": "lstm", "u_std": 2.0})).numbers["u_std"]
        2.0
    """
    arguments = dict(fields)
    kind = arguments.pop("kind", None)
    check_choice("network.kind", kind, KINDS)
    for name in arguments:
        check_choice(f"a field of network.kind={kind!r}", name, KINDS[kind].fields)
    return KINDS[kind].make(**arguments)


def network_inputs(
    kind: str, images: Float[np.ndarray, "images height width channels"]
) -> Float[np.ndarray, "images ..."]:
    """Images as that kind of network reads them: vectors, sequences of rows, or images; programs at half the size.

    Example:
        >>> images = np.zeros((5, 8, 8, 1))
        >>> [network_inputs(kind, images).shape for kind in ("MLP", "RNN", "transformer", "cnn_2d")]
        [(5, 64), (5, 8, 8), (5, 4, 4), (5, 4, 4, 1)]
    """
    return KINDS[kind].reads(images)
