"""Counts of dichotomies against the formulas of Cover and Sauer; shattering in the plane; symmetrization, simulated.

Counts the dichotomies of random points: exactly for half-spaces, rectangles and intervals, and from below, by training,
for a small ReLU network. Draws every dichotomy of three points and of four in the plane. Simulates the chain
E sup(E − Ê) ≤ 2 R_m of the Rademacher bound (`experiments.generalization.symmetrization`).

    python -m experiments.vc_growth --config=configs/vc_growth.py --workdir=runs/vc_growth

In the workdir: config.json, metrics.jsonl, summary.md, and growth, shattering and chain as PNG and PDF. A rerun in the
same workdir resumes.
"""

from pathlib import Path

from ml_collections import ConfigDict

from experiments.common import script
from experiments.generalization.dichotomy_counts import measure_place, places
from experiments.generalization.vc_report import write_report
from ntk.checks import check_count


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"max_points": (4, 3), "network": {}, "num_draws": 1}))
        Traceback (most recent call last):
        ...
        ValueError: num_draws is 1; expected an integer of at least 2.
    """
    check_count("num_draws", config.num_draws, minimum=2)
    check_count("num_placements", config.num_placements)
    check_count("seed", config.seed, minimum=0)
    if not 1 <= len(config.max_points) <= 3:
        raise ValueError(
            f"max_points is {config.max_points!r}; expected a number of points in one to three dimensions."
        )
    for most in config.max_points:
        check_count("max_points", most)
    for name in ("width", "max_points", "steps", "restarts"):
        check_count(f"network.{name}", config.network.get(name))
    for m in config.sample_sizes:
        check_count("sample_sizes", m)
    if not 0 <= config.noise < 0.5:
        raise ValueError(f"noise is {config.noise!r}; expected a number from 0 to 1/2, 1/2 excluded.")


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
    with script.opened(workdir, config) as (workdir, metrics):
        records = metrics.complete(
            places(config),
            lambda record: (record["what"], record["n"]),
            lambda place: measure_place(*place, config),
            "counts",
        )
        print(write_report(workdir, config, list(records.values())))


if __name__ == "__main__":
    script.run(main, "configs/vc_growth.py")
