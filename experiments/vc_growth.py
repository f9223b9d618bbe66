"""Growth functions by counting, against Cover and Sauer; shattering in the plane; the symmetrization of the proof.

Counts the dichotomies of random points exactly for half-spaces, rectangles and intervals, and from below, by training,
for a small ReLU network. Draws every dichotomy of three points and of four in the plane. Simulates the chain
E sup(E − Ê) ≤ 2 R_m of the Rademacher bound (`experiments.generalization.symmetrization`).

    python -m experiments.vc_growth --config=configs/vc_growth.py --workdir=runs/vc_growth

In the workdir: config.json, metrics.jsonl, summary.md, and growth, shattering and chain as PNG and PDF. The same
workdir goes on where it stopped.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

import ntk
from bounds.counting import dichotomies, growth
from bounds.networks.pattern_fitting import network_dichotomies
from experiments.common import script
from experiments.generalization.symmetrization import simulate_chain
from experiments.generalization.vc_report import write_report
from ntk.checks import check_count

Place = tuple[str, int]  # what is measured, and at how many points

_MOST_FOR_RECTANGLES = 9  # of which the growth function is known


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: with a sentence that names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"max_points": {"2": 3}, "network": {}, "num_draws": 1}))
        Traceback (most recent call last):
        ...
        ValueError: num_draws is 1; expected an integer of at least 2.
    """
    check_count("num_draws", config.num_draws, minimum=2)
    check_count("num_placements", config.num_placements)
    check_count("seed", config.seed, minimum=0)
    for dim, most in config.max_points.items():
        if dim not in ("1", "2", "3"):
            raise ValueError(f"max_points has the dimension {dim!r}; expected 1, 2 or 3.")
        check_count(f"max_points.{dim}", most)
    for name in ("width", "max_points", "steps", "restarts"):
        check_count(f"network.{name}", config.network.get(name))
    for m in config.sample_sizes:
        check_count("sample_sizes", m)
    if not 0 <= config.noise < 0.5:
        raise ValueError(f"noise is {config.noise!r}; expected a number from 0 to 1/2, 1/2 excluded.")


def places(config: ConfigDict) -> list[Place]:
    """Everything to be measured."""
    counted = [(f"half-spaces in R^{dim}", most) for dim, most in sorted(config.max_points.items())]
    counted += [("intervals", config.max_points["1"]), ("rectangles", _MOST_FOR_RECTANGLES)]
    counted += [("network", config.network.max_points)]
    return [(what, n) for what, most in counted for n in range(1, most + 1)] + [
        ("chain", m) for m in config.sample_sizes
    ]


def measure(what: str, n: int, config: ConfigDict) -> dict[str, Any]:
    """The counts of dichotomies of n points at each placement, or the chain's means at n points."""
    key = jax.random.key(config.seed)
    if what == "chain":
        draws = np.asarray(simulate_chain(key, n, config.noise, config.num_draws), float)
        errors = draws.std(axis=1, ddof=1) / np.sqrt(config.num_draws)
        return {"means": draws.mean(axis=1).tolist(), "standard_errors": errors.tolist()}
    rng = np.random.default_rng([config.seed, n])
    if what == "network":
        model = ntk.finite(ntk.MLP(depth=1, activation="relu"), config.network.width)
        x = jnp.asarray(rng.standard_normal((n, 2)), jnp.float32)
        found = network_dichotomies(model, x, key, steps=config.network.steps, restarts=config.network.restarts)
        return {"counts": [len(found)]}
    dim = {"intervals": 1, "rectangles": 2}.get(what) or int(what[-1])
    samples = rng.standard_normal((config.num_placements, n, dim))
    counters = {
        "intervals": lambda x: len(dichotomies.interval_dichotomies(x[:, 0])),
        "rectangles": lambda x: len(dichotomies.rectangle_dichotomies(x)),
    }
    counter = counters.get(what, dichotomies.count_linear_dichotomies)
    return {"counts": [int(counter(x)) for x in samples]}


def growth_function(what: str, n: int) -> int | None:
    """The exact growth function, where it is known.

    Example:
        >>> growth_function("half-spaces in R^2", 4), growth_function("intervals", 3), growth_function("network", 3)
        (14, 7, None)
    """
    if what.startswith("half-spaces"):
        return growth.cover_count(n, int(what[-1]), affine=True)
    if what == "intervals":
        return growth.interval_growth(n)
    return growth.rectangle_growth(n) if what == "rectangles" else None


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
    with script.opened(workdir, config) as (workdir, metrics):
        wanted = places(config)
        done = {(record["what"], record["n"]) for record in metrics.records}
        logging.info("%d counts and simulations, %d made before", len(wanted), len(done))
        remaining = [place for place in wanted if place not in done]
        for what, n in tqdm(remaining, desc="counts", initial=len(done), total=len(wanted)):
            exact = None if what == "chain" else growth_function(what, n)
            metrics.append({"what": what, "n": n, "growth_function": exact} | measure(what, n, config))
        print(write_report(workdir, config, metrics.records))


if __name__ == "__main__":
    script.run(main, "configs/vc_growth.py")
