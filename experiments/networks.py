"""Networks from the `network` part of a config, and images in the form in which each network reads them."""

import dataclasses

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

import ntk
from experiments.data import as_sequences, as_vectors
from ntk.checks import check_choice
from ntk.inputs import Network

KINDS: dict[str, type[Network]] = {"MLP": ntk.MLP, "RNN": ntk.RNN}


def build_network(fields: ConfigDict) -> Network:
    """The network that a config describes: its `kind`, and the fields of that class of `ntk`.

    Raises:
        ValueError: if the kind is unknown, a field is foreign to it, or a value is out of range.
        TypeError: if a required field is missing.

    Example:
        >>> build_network(ConfigDict({"kind": "MLP", "depth": 2, "activation": "erf"})).depth
        2
    """
    arguments = dict(fields)
    kind = arguments.pop("kind", None)
    check_choice("network.kind", kind, KINDS)
    known = [field.name for field in dataclasses.fields(KINDS[kind])]
    for name in arguments:
        check_choice(f"a field of network.kind={kind!r}", name, known)
    return KINDS[kind](**arguments)


def network_inputs(
    net: Network, images: Float[np.ndarray, "images height width channels"]
) -> Float[np.ndarray, "images ..."]:
    """Images as vectors (N, d) for an MLP, as sequences of rows (N, T, d) for an RNN.

    Example:
        >>> images = np.zeros((5, 8, 8, 1))
        >>> network_inputs(ntk.MLP(depth=2), images).shape, network_inputs(ntk.RNN(), images).shape
        ((5, 64), (5, 8, 8))
    """
    return as_sequences(images) if isinstance(net, ntk.RNN) else as_vectors(images)
