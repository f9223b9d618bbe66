"""Networks with positions, as tensor programs and as layers of neural-tangents, with random inputs for both."""

import math
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple  # layers of neural-tangents state no type

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import ntk
from experiments.benchmarks.comparison import largest_difference, record_of, run_in_turns
from experiments.benchmarks.timing import compile_program
from experiments.common.metrics import Record
from ntk.checks import check_choice, check_count

# neural-tangents loses half of the digits of float32 where the correlation is 1, through the arccosine of ReLU.
TOLERANCE = 1e-3
SAMPLES = 4096  # of networks with gates
DEPTH = 2  # layers of all networks but the WideResNet
W_STD, B_STD = math.sqrt(2.0), 0.1


class Cell(NamedTuple):
    """One network of the benchmark: the arguments of `build_workload`."""

    kind: str
    size: int
    num_inputs: int


class Workload(NamedTuple):
    """A network at inputs.

    Attributes:
        net: The program.
        x: Its inputs, (N, …), float32.
        kernel_fn: The same NTK of these inputs by neural-tangents; None if it does not have the layers.
    """

    net: ntk.TensorProgram
    x: jax.Array
    kernel_fn: Callable[[jax.Array], jax.Array] | None = None


def cells(config: ConfigDict) -> list[Cell]:
    """Every network of the config.

    Example:
        >>> cells(ConfigDict({"networks": {"cnn_mean": ((8, 4), (16, 2))}}))
        [Cell(kind='cnn_mean', size=8, num_inputs=4), Cell(kind='cnn_mean', size=16, num_inputs=2)]
    """
    return [Cell(kind, *each) for kind in KINDS if kind in config.networks for each in config.networks[kind]]


def build_workload(kind: str, *, size: int, num_inputs: int, seed: int = 0) -> Workload:
    """One network of `KINDS`, and random inputs for it.

    Args:
        kind: "cnn_mean" and "cnn_flatten" (2 convolutions 3×3, ReLU, images of 3 channels), "wide_resnet" (a stem and
            3 residual blocks, two of which halve the image, global mean), "transformer" (2 blocks, 16 features), "lstm"
            and "gru" (16 features, mean of the states) or "graph" (2 convolutions over one random graph, ReLU, 16
            features, mean over nodes).
        size: The side of an image; the number of positions, or of nodes.
        num_inputs: N.
        seed: The seed of the inputs and of the graph.

    Raises:
        ValueError: kind is not one of these, or a number is not a positive integer.

    Example:
        >>> build_workload("cnn_mean", size=8, num_inputs=4).x.shape
        (4, 8, 8, 3)
    """
    check_choice("kind", kind, KINDS)
    for name, value in (("size", size), ("num_inputs", num_inputs)):
        check_count(name, value)
    return KINDS[kind](size, num_inputs, np.random.default_rng(seed))


def measure(workload: Workload, *, budget_seconds: float, max_runs: int) -> Record:
    """Time, compile time and memory of both programs, and the distance between their kernels.

    Args:
        workload: The network.
        budget_seconds: Time for the runs of each program. Every program runs at least once.
        max_runs: The most runs of each program.

    Raises:
        ArithmeticError: The kernels do not agree.
    """
    net, x, kernel_fn = workload
    functions: dict[str, Callable[[jax.Array], jax.Array]] = {
        "ours": lambda x: ntk.infinite_ntk(net, x, samples=SAMPLES)
    }
    if kernel_fn is not None:
        functions["neural_tangents"] = kernel_fn
    with jax.default_matmul_precision("highest"):
        programs = {name: compile_program(function, x) for name, function in functions.items()}
    measured = run_in_turns(programs, budget_seconds=budget_seconds, max_runs=max_runs)
    found: Record = {name: record_of(program, measured[name].seconds) for name, program in programs.items()}
    if kernel_fn is not None:
        references = [measured["neural_tangents"].result]
        found["difference"] = largest_difference(measured["ours"].result, references, TOLERANCE)
    return found


def _stax_wide_resnet(stax: ModuleType) -> Any:
    layers = [_stax_convolution(stax)]
    for stride in (1, 2, 2):
        branch = stax.serial(stax.Relu(), _stax_convolution(stax, stride), stax.Relu(), _stax_convolution(stax))
        layers += [stax.FanOut(2), stax.parallel(branch, _stax_convolution(stax, stride)), stax.FanInSum()]
    return stax.serial(*layers, stax.GlobalAvgPool(), stax.Dense(1, 1.0, None))


def _stax_convolution(stax: ModuleType, stride: int = 1, b_std: float | None = None) -> Any:
    return stax.Conv(1, (3, 3), (stride, stride), padding="SAME", W_std=W_STD, b_std=b_std)


def _cnn(pooling: str) -> Callable[[int, int, np.random.Generator], Workload]:
    def build(size: int, num_inputs: int, rng: np.random.Generator) -> Workload:
        stax = ntk.load_neural_tangents().stax
        net = ntk.architectures.cnn_2d(depth=DEPTH, pooling=pooling, w_std=W_STD, b_std=B_STD)
        read_out = {"mean": stax.GlobalAvgPool, "flatten": stax.Flatten}[pooling]()
        layers = [_stax_convolution(stax, b_std=B_STD), stax.Relu()] * DEPTH
        theirs = stax.serial(*layers, read_out, stax.Dense(1, 1.0, None))[2]
        return Workload(net, _images(size, num_inputs, rng), lambda x: theirs(x, None, "ntk"))

    return build


def _wide_resnet(size: int, num_inputs: int, rng: np.random.Generator) -> Workload:
    theirs = _stax_wide_resnet(ntk.load_neural_tangents().stax)[2]

    def kernel_fn(x: jax.Array) -> jax.Array:
        with warnings.catch_warnings():
            # neural-tangents cannot see that the branches are independent. Their last convolutions make them so.
            warnings.filterwarnings("ignore", message="`FanIn` layers assume")
            return theirs(x, None, "ntk")

    return Workload(ntk.architectures.wide_resnet(w_std=W_STD), _images(size, num_inputs, rng), kernel_fn)


def _transformer(size: int, num_inputs: int, rng: np.random.Generator) -> Workload:
    net = ntk.architectures.transformer(depth=DEPTH, w_std=W_STD, b_std=B_STD)
    return Workload(net, _normal(rng, num_inputs, size, 16))


def _gated(net: ntk.TensorProgram) -> Callable[[int, int, np.random.Generator], Workload]:
    return lambda size, num_inputs, rng: Workload(net(pooling="mean"), _normal(rng, num_inputs, size, 16))


def _graph(size: int, num_inputs: int, rng: np.random.Generator) -> Workload:
    adjacency = _adjacency(size, rng)
    stax = ntk.load_neural_tangents().stax
    layers = [stax.Dense(1, W_STD, None), stax.Aggregate(1), stax.Relu()] * DEPTH
    theirs = stax.serial(*layers, stax.GlobalAvgPool(), stax.Dense(1, 1.0, None))[2]

    def kernel_fn(x: jax.Array) -> jax.Array:
        pattern = jnp.broadcast_to(jnp.asarray(adjacency, x.dtype), (num_inputs, size, size))
        return theirs(x, None, "ntk", pattern=(pattern, pattern))

    net = ntk.architectures.gcn(adjacency, normalization="none")(depth=DEPTH, w_std=W_STD)
    return Workload(net, _normal(rng, num_inputs, size, 16), kernel_fn)


def _adjacency(size: int, rng: np.random.Generator) -> np.ndarray:
    """D^(-1/2) (A + I) D^(-1/2) of a random graph A, with about ten edges at each node."""
    upper = np.triu(rng.random((size, size)) < 10.0 / size, 1)
    edges = np.asarray(upper + upper.T + np.eye(size), float)
    roots = edges.sum(1) ** -0.5
    return roots[:, None] * edges * roots


def _images(size: int, num_inputs: int, rng: np.random.Generator) -> jax.Array:
    return _normal(rng, num_inputs, size, size, 3)


def _normal(rng: np.random.Generator, *shape: int) -> jax.Array:
    return jnp.asarray(rng.normal(size=shape), jnp.float32)


KINDS: dict[str, Callable[[int, int, np.random.Generator], Workload]] = {
    "cnn_mean": _cnn("mean"),
    "cnn_flatten": _cnn("flatten"),
    "wide_resnet": _wide_resnet,
    "transformer": _transformer,
    "lstm": _gated(ntk.architectures.lstm),
    "gru": _gated(ntk.architectures.gru),
    "graph": _graph,
}
