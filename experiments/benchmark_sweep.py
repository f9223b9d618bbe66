"""A sweep in one program against a Python loop of jitted steps, one member after the other.

Trains the same networks (members) of each width in four ways, with one evaluation at the end: in a Python loop; side by
side under `jax.vmap`; one after the other under `jax.lax.map`; and as in `experiments.regularization_sweep`, in blocks
that are spread over all devices, where every CPU core is a device. The times do not include compilation.

    python -m experiments.benchmark_sweep --config=configs/benchmark_sweep.py --workdir=runs/benchmark_sweep

In the workdir: config.json and summary.md.
"""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from experiments.benchmarks.sweep import measure
from experiments.benchmarks.timing import machine
from experiments.common import script
from experiments.common.environment import write_summary
from experiments.common.tables import markdown_table
from experiments.data.images import as_vectors, load_data
from experiments.regularization.samples import draw_samples
from experiments.regularization.training import use_all_cores
from ntk.checks import check_count


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

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


def main(config: ConfigDict, workdir: Path) -> None:
    """Measure every width that `config` lists, print the table and write it into `workdir`."""
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


if __name__ == "__main__":
    script.run(main, "configs/benchmark_sweep.py", go_on="the same command starts anew")
