"""Training of a chunk of members: its size by memory, and checkpoints during training."""

import contextlib
import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg  # noqa: F401  the LAPACK that JAX calls on CPU, loaded before its threads are counted
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree
from threadpoolctl import threadpool_limits

from experiments.regularization.checkpoints import Checkpoints
from experiments.regularization.engine import Program, State, advance, on_devices, start
from experiments.regularization.members import Member, Members, as_arrays
from experiments.regularization.samples import Samples

# On one CPU core, members of width 32 (3,400 parameters) are fastest in blocks of 8, 1.3 times faster than alone.
# Members of width 128 (26,000 parameters) and more are fastest alone, in cache; at width 256 that is 1.5 times faster
# than all at once.
_SMALL = 10_000
_BLOCK = 8


class Plan(NamedTuple):
    """How the members of one shape are trained.

    Attributes:
        program: The static part of the program.
        size: The number of members of a chunk. A smaller chunk is filled with repetitions of its last member.
        block: The number of members that one device trains side by side.
        mesh: The devices.
        advance: `engine.advance`, compiled for chunks of this size.
        peak_bytes: The memory that it takes, on one accelerator or on all CPU devices together.
    """

    program: Program
    size: int
    block: int
    mesh: Mesh
    advance: Callable[..., Any]
    peak_bytes: int

    @property
    def options(self) -> dict[str, Any]:
        """The static arguments of `engine.start` and `engine.advance`."""
        return {"program": self.program, "block": self.block, "mesh": self.mesh}


class Trained(NamedTuple):
    """A chunk after training.

    Attributes:
        first: States before training, with a leading axis of members.
        last: States after training.
        history: The results of `engine.evaluate_member`, (evaluations, members, …).
    """

    first: State
    last: State
    history: dict[str, Any]


def make_plan(program: Program, members: Sequence[Member], samples: Samples, mesh: Mesh, memory_gib: float) -> Plan:
    """Compile a program for as many members at once as memory allows.

    Args:
        program: The static part of the program.
        members: All members of its shape.
        samples: The data.
        mesh: The devices.
        memory_gib: The memory of each accelerator, or of all CPU devices together. If a single member per device needs
            more, it is trained nevertheless, with a warning.
    """
    num_devices, on_cpu = mesh.size, mesh.devices.flat[0].platform == "cpu"
    sharing = num_devices if on_cpu else 1
    each = -(-len(members) // num_devices)
    block = _evenly(each, choose_block(program, samples))
    blocks = all_blocks = -(-each // block)
    while True:
        size = num_devices * block * blocks
        options = {"program": program, "block": block, "mesh": mesh}
        arrays = _padded(members[:size], size, samples, mesh)
        state = _abstract_state(program, arrays, samples, mesh)
        compiled = advance.lower(state, arrays, samples, jnp.int32(0), jnp.int32(0), **options).compile()
        memory: Any = compiled.memory_analysis()
        taken = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
        taken = sharing * (taken - memory.alias_size_in_bytes)
        share = memory_gib * 2**30 / taken
        if share < 1 and block == blocks == 1:
            logging.warning("memory_gib is %g; one member per device takes %.2g.", memory_gib, taken / 2**30)
        if share >= 1 or block == blocks == 1:
            return Plan(program, size, block, mesh, compiled, taken)
        # First shorter chunks. If a single block is too much, fewer members side by side.
        if blocks > 1:
            blocks = _evenly(all_blocks, max(1, min(blocks - 1, int(blocks * share))))
        else:
            block = _evenly(each, max(1, min(block - 1, int(block * share))))


def _evenly(total: int, largest: int) -> int:
    """The size of equal parts of at most `largest`: as few parts as possible, with as few empty places as possible.

    Example:
        >>> _evenly(9, 8), _evenly(5, 100)
        (5, 5)
    """
    return -(-total // -(-total // largest))


def choose_block(program: Program, samples: Samples) -> int:
    """The number of members that one device trains side by side: all on accelerators; on CPU 8 small or 1 large."""
    if jax.default_backend() != "cpu":
        return 2**30
    shapes = jax.eval_shape(program.model.init, jax.random.key(0), samples.x_train[:1])["params"]
    size = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    return _BLOCK if size < _SMALL else 1


def use_all_cores() -> None:
    """Make every CPU core a device, over which members are spread. This has no effect once JAX has started.

    LAPACK then uses one thread for each matrix. More threads would wait for cores that other members use, for up to 20
    times the time of a small SVD.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)
    threadpool_limits(1, user_api="blas")


def train_chunk(
    plan: Plan,
    members: Sequence[Member],
    samples: Samples,
    schedule: Sequence[int],
    folder: Path | None = None,
    progress: Callable[[], object] = lambda: None,
) -> Trained:
    """Train members of one shape, or resume from the last checkpoint.

    Args:
        plan: The plan for their shape.
        members: At most `plan.size` members.
        samples: The data.
        schedule: The steps after which to evaluate and save a checkpoint, increasing from 0. The last ends training.
        folder: The folder of checkpoints of this chunk; None saves no checkpoints.
        progress: Called after each evaluation, and on resuming once for each evaluation in the checkpoint.
    """
    arrays = _padded(members, plan.size, samples, plan.mesh)
    make = functools.partial(start, arrays, samples, program=plan.program, mesh=plan.mesh)
    state = make()
    history: list[PyTree] = []
    with contextlib.nullcontext() if folder is None else Checkpoints(folder) as checkpoints:
        if checkpoints and checkpoints.latest is not None:
            state, history = _restored(plan, checkpoints, arrays, samples)
            for _ in history:
                progress()
        for number in range(len(history), len(schedule)):
            before = schedule[number - 1] if number else 0
            taken = jnp.int32(before), jnp.int32(schedule[number] - before)
            state, record = plan.advance(state, arrays, samples, *taken)
            history.append(jax.device_get(record))
            if checkpoints:
                checkpoints.save(number, (state, _stacked(history)))
            progress()
    return Trained(make(), state, _stacked(history))


def _restored(plan: Plan, checkpoints: Checkpoints, arrays: Members, samples: Samples) -> tuple[State, list[PyTree]]:
    """The state and the history in the last checkpoint."""
    number = (checkpoints.latest or 0) + 1
    state = _abstract_state(plan.program, arrays, samples, plan.mesh)
    record = jax.eval_shape(
        functools.partial(advance, **plan.options), state, arrays, samples, jnp.int32(0), jnp.int32(0)
    )[1]
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((number, *leaf.shape), leaf.dtype), record)
    state, history = checkpoints.restore((state, shapes))
    history = jax.device_get(history)
    return state, [jax.tree.map(lambda leaf, index=index: leaf[index], history) for index in range(number)]


def _abstract_state(program: Program, arrays: Members, samples: Samples, mesh: Mesh) -> State:
    """The shapes, dtypes and shardings of the result of `start`."""
    state = jax.eval_shape(functools.partial(start, program=program, mesh=mesh), arrays, samples)
    place = NamedSharding(mesh, PartitionSpec("members"))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), state)


def _stacked(history: list[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *history)


def _padded(members: Sequence[Member], size: int, samples: Samples, mesh: Mesh) -> Members:
    """Members as arrays on the devices, the last repeated until there are enough."""
    repeated = [*members, *[members[-1]] * (size - len(members))]
    return on_devices(as_arrays(repeated, samples.x_train.dtype), mesh)
