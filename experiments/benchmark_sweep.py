"""A sweep in one program against a Python loop of jitted steps, one member after the other.

Trains the same members of each width in several ways, all of them with one evaluation at the end: the loop, members
side by side under `jax.vmap`, one after the other under `jax.lax.map`, and as `experiments.regularization_sweep`
does it: blocks by its rule, spread over all devices, every CPU core one of them. Compilations are not counted.

    python -m experiments.benchmark_sweep --config=configs/benchmark_sweep.py --workdir=runs/benchmark_sweep

In the workdir: config.json and summary.md.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from jax.sharding import Mesh
from ml_collections import ConfigDict

from experiments.benchmarks.timing import machine, markdown_table, time_in_turns
from experiments.common import script
from experiments.common.environment import write_summary
from experiments.data.images import as_vectors, load_data
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
from experiments.regularization.samples import Samples, draw_samples
from experiments.regularization.training import choose_block, use_all_cores
from ntk.checks import check_count


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: with a sentence that names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"num_members": 0}))
        Traceback (most recent call last):
        ...
        ValueError: num_members is 0; expected an integer of at least 1.
    """
    for name in ("num_members", "num_steps", "batch_size", "max_runs"):
        check_count(name, config.get(name))
    for width in config.widths:
        check_count("widths", width)
    if config.num_members % jax.device_count():
        raise ValueError(
            f"num_members is {config.num_members}; expected a multiple of {jax.device_count()}, the devices."
        )


def measure(config: ConfigDict, width: int, samples: Samples) -> list[str]:
    """Milliseconds of the loop, and how many times faster the others are."""
    program = Program(MLP(outputs=samples.num_classes, width=width), batch_size=config.batch_size)
    strengths = [10 ** (-4 + 3 * index / config.num_members) for index in range(config.num_members)]
    members = [Member("l1", strength, width, 0.1, 0.0, len(samples.x_train), 0) for strength in strengths]
    one_device, all_devices = member_mesh(jax.devices()[:1]), member_mesh()
    each = config.num_members // all_devices.size
    ways: dict[str, Callable[[], Any]] = {
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


def main(config: ConfigDict, workdir: Path) -> None:
    """Measure every width, print the table and write it."""
    use_all_cores()
    with script.refuse_bad_input():
        check_config(config)
        data = load_data("digits")
        samples = draw_samples(data, (config.num_train, 300, 400), as_vectors)
    with script.opened(workdir, config, data=data.fingerprint) as (workdir, _):
        lines = [measure(config, width, samples) for width in config.widths]
        header = ["width", "loop, ms", "vmap, times faster", "map, times faster", f"rule, {jax.device_count()} devices"]
        summary = (
            f"{config.num_members} members, {config.num_steps} steps on batches of {config.batch_size} and one"
            f" evaluation; {machine()}.\n\n{markdown_table(header, lines)}"
        )
        print(write_summary(workdir / "summary.md", summary))


def _loop(program: Program, members: list[Member], samples: Samples, num_steps: int) -> Callable[[], Any]:
    """What a sweep usually is: for each member, a jitted step again and again."""

    @jax.jit
    def init(member: Members) -> State:
        return init_member(program, member, samples)

    @jax.jit
    def step(state: State, member: Members, number: Any) -> State:
        return step_member(program, state, member, samples, number)

    @jax.jit
    def evaluate(state: State, member: Members) -> Any:
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
) -> Callable[[], Any]:
    arrays = on_devices(as_arrays(members), mesh)
    options: dict[str, Any] = {"program": program, "block": block, "mesh": mesh}

    def run() -> None:
        state = start(arrays, samples, program=program, mesh=mesh)
        jax.block_until_ready(advance(state, arrays, samples, jnp.int32(0), jnp.int32(num_steps), **options))

    return run


if __name__ == "__main__":
    script.run(main, "configs/benchmark_sweep.py", go_on="the same command starts anew")
