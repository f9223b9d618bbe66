"""The members of one width trained in several ways: by a Python loop, and by one compiled program."""

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from jax.sharding import Mesh
from jaxtyping import Array, PyTree
from ml_collections import ConfigDict

from experiments.benchmarks.timing import time_in_turns
from experiments.regularization.engine import (
    Program,
    State,
    advance,
    evaluate_member,
    init_member,
    member_mesh,
    on_devices,
    start,
    step_member,
)
from experiments.regularization.members import Member, Members, as_arrays
from experiments.regularization.models import MLP
from experiments.regularization.samples import Samples
from experiments.regularization.training import choose_block


def measure(config: ConfigDict, width: int, samples: Samples) -> list[str]:
    """One line of the table: the width, the milliseconds of the loop, and how many times as fast each other way is."""
    program = Program(MLP(outputs=samples.num_classes, width=width), batch_size=config.batch_size)
    strengths = [10 ** (-4 + 3 * index / config.num_members) for index in range(config.num_members)]
    members = [Member("l1", strength, width, 0.1, 0.0, len(samples.x_train), 0) for strength in strengths]
    one_device, all_devices = member_mesh(jax.devices()[:1]), member_mesh()
    each = config.num_members // all_devices.size
    ways: dict[str, Callable[[], PyTree]] = {
        "loop": _loop(program, members, samples, config.num_steps),
        "vmap": _together(program, members, samples, config.num_steps, config.num_members, one_device),
        "map": _together(program, members, samples, config.num_steps, 1, one_device),
        "rule": _together(
            program, members, samples, config.num_steps, min(each, choose_block(program, samples)), all_devices
        ),
    }
    seconds = time_in_turns(ways, budget_seconds=config.budget_seconds, max_runs=config.max_runs)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    logging.info("width %d: %s", width, medians)
    ratios = (f"{medians['loop'] / medians[name]:.2f}" for name in ("vmap", "map", "rule"))
    return [str(width), f"{1e3 * medians['loop']:.0f}", *ratios]


def _loop(program: Program, members: list[Member], samples: Samples, num_steps: int) -> Callable[[], PyTree]:
    """A sweep in a Python loop: one member after the other, by a jitted step."""

    @jax.jit
    def init(member: Members) -> State:
        return init_member(program, member, samples)

    @jax.jit
    def step(state: State, member: Members, number: Array) -> State:
        return step_member(program, state, member, samples, number)

    @jax.jit
    def evaluate(state: State, member: Members) -> PyTree:
        return evaluate_member(program, state, member, samples)

    arrays = as_arrays(members)
    singles = [jax.tree.map(lambda leaf, index=index: leaf[index], arrays) for index in range(len(members))]

    def run() -> None:
        for member in singles:
            state = init(member)
            for number in range(num_steps):
                state = step(state, member, number)
            jax.block_until_ready(evaluate(state, member))

    return run


def _together(
    program: Program, members: list[Member], samples: Samples, num_steps: int, block: int, mesh: Mesh
) -> Callable[[], PyTree]:
    arrays = on_devices(as_arrays(members), mesh)
    options: dict[str, Any] = {"program": program, "block": block, "mesh": mesh}

    def run() -> None:
        state = start(arrays, samples, program=program, mesh=mesh)
        jax.block_until_ready(advance(state, arrays, samples, jnp.int32(0), jnp.int32(num_steps), **options))

    return run
