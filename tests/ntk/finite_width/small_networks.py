"""A small zoo of networks with their data, and the same networks written out by hand in NumPy, one input at a time."""

from typing import NamedTuple

import jax
import numpy as np
from scipy.special import erf, ndtr

import ntk

PHI = {"relu": lambda x: np.maximum(x, 0.0), "erf": erf, "gelu": lambda x: x * ndtr(x), "tanh": np.tanh}
STEP = 1e-5


class Case(NamedTuple):
    """A network, its size and the shapes of its data; lengths past which a sequence does not count."""

    net: ntk.MLP | ntk.RNN
    width: int
    outputs: int | None
    shape1: tuple[int, ...]
    shape2: tuple[int, ...] | None = None
    lengths1: tuple[int, ...] | None = None
    lengths2: tuple[int, ...] | None = None

    def model(self):
        return ntk.finite(self.net, self.width, self.outputs)

    def data(self, dtype="float64"):
        """x1 and x2 (None where there is none)."""
        rng = np.random.default_rng(7)
        x1 = rng.normal(size=self.shape1).astype(dtype)
        return x1, None if self.shape2 is None else rng.normal(size=self.shape2).astype(dtype)

    def params(self, dtype="float64"):
        return normal_params(self.model(), self.data(dtype)[0])

    def lengths(self) -> dict:
        if isinstance(self.net, ntk.MLP):
            return {}
        pairs = {"lengths1": self.lengths1, "lengths2": self.lengths2}
        return {name: np.array(value) for name, value in pairs.items() if value is not None}


def _mlp(activation, depth):
    return ntk.MLP(depth=depth, activation=activation, w_std=1.3, b_std=0.4, v_std=0.8)


def _rnn(activation, pooling):
    return ntk.RNN(activation=activation, w_std=1.2, u_std=0.9, b_std=0.4, v_std=0.8, pooling=pooling)


def normal_params(model, x, seed=3):
    """Standard normal parameters drawn by NumPy; those of float32 are those of float64, rounded."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)


CASES = {
    "mlp-smallest": Case(_mlp("relu", 1), 1, None, (1, 1)),
    "mlp-one-layer": Case(_mlp("gelu", 1), 16, None, (4, 3), (1, 3)),
    "mlp-deep": Case(_mlp("tanh", 4), 8, 1, (5, 3)),
    "mlp-outputs": Case(_mlp("erf", 2), 16, 3, (4, 3), (5, 3)),
    "rnn-smallest": Case(_rnn("relu", "last"), 1, None, (1, 1, 1), (2, 1, 1)),
    "rnn-last": Case(_rnn("tanh", "last"), 16, 3, (3, 4, 2)),
    "rnn-last-ragged": Case(_rnn("erf", "last"), 16, None, (3, 5, 2), (2, 3, 2), (5, 1, 3), (2, 3)),
    "rnn-mean": Case(_rnn("gelu", "mean"), 16, None, (3, 4, 2), (1, 6, 2)),
    "rnn-mean-ragged": Case(_rnn("relu", "mean"), 16, 3, (3, 4, 2), None, (1, 4, 2)),
}


def sequences(x, lengths):
    """The inputs one by one: vectors (d,) for an MLP, sequences (T, d) cut at their lengths for an RNN."""
    return list(x) if lengths is None else [sequence[:length] for sequence, length in zip(x, lengths, strict=True)]


def forward(net, params, x, bump=0.0):
    """Outputs (O,), activations (L or T, n) and what the output weight reads (n,), of one input.

    `bump` (L or T, n) is added to the pre-activations.
    """
    p = {name: np.asarray(value, np.float64) for name, value in params["params"].items()}
    phi, n = PHI[net.activation.name], len(p["v"])
    d, states = x.shape[-1], []
    layers = net.depth if isinstance(net, ntk.MLP) else len(x)
    bump = np.broadcast_to(bump, (layers, n))
    for i in range(layers):
        if isinstance(net, ntk.MLP):
            z = x if i == 0 else states[-1]
            h = net.w_std / np.sqrt(len(z)) * z @ p[f"w{i + 1}"] + net.b_std * p[f"b{i + 1}"]
        else:
            s = np.zeros(n) if i == 0 else states[-1]
            h = net.w_std / np.sqrt(n) * s @ p["w"] + net.u_std / np.sqrt(d) * x[i] @ p["u"] + net.b_std * p["b"]
        states.append(phi(h + bump[i]))
    read = np.mean(states, axis=0) if getattr(net, "pooling", "last") == "mean" else states[-1]
    return np.atleast_1d(net.v_std / np.sqrt(n) * read @ p["v"]), np.array(states), read


def gradients(net, params, x):
    """∇_h f of every output in every pre-activation, (O, L or T, n), by central differences."""
    outputs, states, _ = forward(net, params, x)
    result = np.zeros((len(outputs), *states.shape))
    for index in np.ndindex(states.shape):
        bump = np.zeros(states.shape)
        bump[index] = STEP
        up, down = (forward(net, params, x, sign * bump)[0] for sign in (1, -1))
        result[:, *index] = (up - down) / (2 * STEP)
    return result
