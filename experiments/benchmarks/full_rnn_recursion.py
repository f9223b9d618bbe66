"""The NTK of an infinitely wide RNN over all pairs of times, in NumPy and float64: the reference of a benchmark.

The recursion runs forward for C and then backward for D (theory.md section 2; Yang 2020), for all pairs of inputs at
once. One step is one time t, with a row of all r ≤ t. The other half follows by exchanging both inputs.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

import ntk
from ntk.checks import check_choice

Row = Float[np.ndarray, "r N N"]
Maps = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def relu_maps(q11: np.ndarray, q12: np.ndarray, q22: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """C and Ċ of ReLU (Cho & Saul 2009)."""
    scale = np.sqrt(q11 * q22)
    angle = np.arccos(np.clip(q12 / scale, -1.0, 1.0))
    dot = (np.pi - angle) / (2 * np.pi)
    return scale * np.sin(angle) / (2 * np.pi) + q12 * dot, dot


def erf_maps(q11: np.ndarray, q12: np.ndarray, q22: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """C and Ċ of erf (Williams 1997)."""
    product = (1 + 2 * q11) * (1 + 2 * q22)
    C = 2 / np.pi * np.arcsin(2 * q12 / np.sqrt(product))
    return C, 4 / np.pi / np.sqrt(product - 4 * q12**2)


# The maps, and their operations per entry. An arithmetic operation, a root and an inverse sine count as one each.
MAPS: dict[str, tuple[Maps, int]] = {"relu": (relu_maps, 12), "erf": (erf_maps, 11)}
_FORWARD, _BACKWARD = 4, 6  # operations per entry, without the maps and the products of inputs


def rnn_ntk(net: ntk.RNN, x: Float[np.ndarray, "N T d"]) -> Float[np.ndarray, "N N"]:
    """Θ = Σ + Σ_{t,r} D^{t,r} K^{t,r} between all sequences of one batch.

    Raises:
        ValueError: The activation is not in `MAPS`.

    Example:
        >>> x = np.ones((2, 1, 3))
        >>> rnn_ntk(ntk.RNN(activation="relu", w_std=0.0, b_std=0.0), x).round(3)
        array([[1., 1.], [1., 1.]])
    """
    check_choice("net.activation", net.activation.name, MAPS)
    maps, _ = MAPS[net.activation.name]
    x = np.asarray(x, np.float64) / np.sqrt(x.shape[-1])
    num_inputs, num_steps, _ = x.shape
    own = _variances(net, maps, x)
    pooling = np.full(num_steps, 1.0 / num_steps) if net.pooling == "mean" else np.eye(num_steps)[-1]

    K: list[Row] = []
    C: list[Row] = []
    dot: list[Row] = []
    for t in range(num_steps):
        products = x[:, t] @ x[:, : t + 1].transpose(1, 2, 0)
        row = net.u_std**2 * products + net.b_std**2
        if t:
            row[1:] += net.w_std**2 * C[-1]
        moments = maps(own[t][:, None], row, own[: t + 1, None, :])
        for rows, entries in zip((K, C, dot), (row, *moments), strict=True):
            rows.append(entries)

    theta = np.zeros((num_inputs, num_inputs))
    arriving: Row = np.zeros_like(K[-1])
    for t in reversed(range(num_steps)):
        read_out = net.v_std**2 * pooling[t] * pooling[: t + 1, None, None]
        D = (read_out + arriving) * dot[t]
        theta += _both_halves(read_out * C[t] + D * K[t])
        arriving = net.w_std**2 * D[1:]
    return theta


def operations(net: ntk.RNN, num_inputs: int, num_steps: int, num_features: int) -> int:
    """The number of arithmetic operations of `rnn_ntk`.

    Example:
        >>> operations(ntk.RNN(activation="erf"), num_inputs=1, num_steps=1, num_features=2)
        25
    """
    entries = num_inputs**2 * num_steps * (num_steps + 1) // 2
    return entries * (2 * num_features + MAPS[net.activation.name][1] + _FORWARD + _BACKWARD)


def _variances(net: ntk.RNN, maps: Maps, x: Float[np.ndarray, "N T d"]) -> Float[np.ndarray, "T N"]:
    """K^{t,t} between every sequence and itself."""
    K, C = [], np.zeros(len(x))
    for step in x.swapaxes(0, 1):
        K.append(net.w_std**2 * C + net.u_std**2 * np.sum(step**2, axis=-1) + net.b_std**2)
        C = maps(K[-1], K[-1], K[-1])[0]
    return np.stack(K)


def _both_halves(row: Row) -> Float[np.ndarray, "N N"]:
    """The sum over the pairs (t, r) with r ≤ t and over the exchanged pairs (r, t)."""
    before = row[:-1].sum(axis=0)
    return row[-1] + before + before.T
