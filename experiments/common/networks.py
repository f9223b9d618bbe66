"""Networks from the `network` part of a config, keys for random networks, and images in the form that networks read."""

import inspect
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ml_collections import ConfigDict

import ntk
from experiments.data.images import as_coarse_images, as_coarse_sequences, as_sequences, as_vectors
from ntk.checks import check_choice

Reader = Callable[[np.ndarray], np.ndarray]

# Every program of `ntk.architectures` that needs no graph, and how it reads images. Some programs are compiled position
# by position, so all of them read images of half the size.
PROGRAMS: dict[str, Reader] = {
    "mlp": as_vectors,
    "residual_mlp": as_vectors,
    "tied_mlp": as_vectors,
    "batch_norm_mlp": as_vectors,
    "rnn": as_coarse_sequences,
    "bidirectional_rnn": as_coarse_sequences,
    "lstm": as_coarse_sequences,
    "gru": as_coarse_sequences,
    "layer_norm_gated_rnn": as_coarse_sequences,
    "state_space": as_coarse_sequences,
    "cnn_1d": as_coarse_sequences,
    "cnn_2d": as_coarse_images,
    "wide_resnet": as_coarse_images,
    "densenet": as_coarse_images,
    "mlp_mixer": as_coarse_sequences,
    "self_attention": as_coarse_sequences,
    "transformer": as_coarse_sequences,
    "deep_equilibrium": as_vectors,
    "mixture": as_vectors,
}
_PARTS = [name for name, reads in PROGRAMS.items() if reads is as_vectors and name != "mixture"]


Network: TypeAlias = ntk.MLP | ntk.RNN | ntk.TensorProgram


class Kind(NamedTuple):
    """A kind of network: how it is made of the fields of a config, and in which form it reads images."""

    make: Callable[..., Network]
    reads: Reader

    @property
    def fields(self) -> list[str]:
        """The names that `make` takes."""
        if isinstance(self.make, ntk.TensorProgram):
            return [*self.make.numbers, *self.make.choices]
        return list(inspect.signature(self.make).parameters)


def mixture(
    parts: tuple[str, ...] = ("mlp", "residual_mlp"), weights: tuple[float, ...] | None = None
) -> ntk.TensorProgram:
    """`ntk.architectures.mixture` of programs that read vectors, given by their names; each keeps its default options.

    Example:
        >>> mixture(("mlp", "mlp"), weights=(0.3, 0.7)).numbers["mixture_weight_2"]
        0.7
    """
    for part in parts:
        check_choice("a part of network.kind='mixture'", part, _PARTS)
    return ntk.architectures.mixture(*(getattr(ntk.architectures, part) for part in parts), weights=weights)


KINDS: dict[str, Kind] = {
    "MLP": Kind(ntk.MLP, as_vectors),
    "RNN": Kind(ntk.RNN, as_sequences),
    **{name: Kind(getattr(ntk.architectures, name), reads) for name, reads in PROGRAMS.items()},
    "mixture": Kind(mixture, as_vectors),
}


def build_network(fields: ConfigDict) -> Network:
    """The network that a config describes: a class of `ntk` or a program of `ntk.architectures`, and its fields.

    Raises:
        ValueError: The kind is unknown, the kind has no such field, or a value is out of range.
        TypeError: A required field is missing.

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
    """Images as that kind of network reads them: vectors, sequences of rows, or images. Programs read half the size.

    Example:
        >>> images = np.zeros((5, 8, 8, 1))
        >>> [network_inputs(kind, images).shape for kind in ("MLP", "RNN", "transformer", "cnn_2d")]
        [(5, 64), (5, 8, 8), (5, 4, 4), (5, 4, 4, 1)]
    """
    return KINDS[kind].reads(images)


def member_keys(seed: int, width: int, num_seeds: int) -> Array:
    """One PRNG key per random network. Each key depends only on the seed, the width and the network's own number.

    So the network of a seed stays the same in a resumed run, with another list of widths, and with more networks.

    Example:
        >>> bool(jnp.array_equal(member_keys(0, 32, 8)[:4], member_keys(0, 32, 4)))
        True
    """
    key = jax.random.fold_in(jax.random.key(seed), width)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_seeds))
