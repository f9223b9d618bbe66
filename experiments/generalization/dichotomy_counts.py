"""Measurements of `experiments.vc_growth`: dichotomies of random points, and the chain of symmetrization."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import ntk
from bounds.counting import dichotomies, growth
from bounds.networks.pattern_fitting import network_dichotomies
from experiments.common.metrics import Record
from experiments.generalization.symmetrization import simulate_chain

Place = tuple[str, int]  # the name of the measurement, and the number of points

_MOST_FOR_RECTANGLES = 9  # the growth function of rectangles is known up to this number of points


def places(config: ConfigDict) -> list[Place]:
    """Everything that a run measures: classes at numbers of points, and the chain at sample sizes."""
    counted = [(f"half-spaces in R^{dim}", most) for dim, most in enumerate(config.max_points, 1)]
    counted += [("intervals", config.max_points[0]), ("rectangles", _MOST_FOR_RECTANGLES)]
    counted += [("network", config.network.max_points)]
    return [(what, n) for what, most in counted for n in range(1, most + 1)] + [
        ("chain", m) for m in config.sample_sizes
    ]


def measure_place(what: str, n: int, config: ConfigDict) -> Record:
    """The growth function (theory.md 9.2, 9.3) and the counts of dichotomies of n points, or the chain's means."""
    exact = None if what == "chain" else growth_function(what, n)
    return {"what": what, "n": n, "growth_function": exact} | _measured(what, n, config)


def growth_function(what: str, n: int) -> int | None:
    """The exact growth function; None where it is not known.

    Example:
        >>> growth_function("half-spaces in R^2", 4), growth_function("intervals", 3), growth_function("network", 3)
        (14, 7, None)
    """
    if what.startswith("half-spaces"):
        return growth.cover_count(n, int(what[-1]), affine=True)
    if what == "intervals":
        return growth.interval_growth(n)
    return growth.rectangle_growth(n) if what == "rectangles" else None


def _measured(what: str, n: int, config: ConfigDict) -> Record:
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
    counters: dict[str, Callable[[np.ndarray], int]] = {
        "intervals": lambda x: len(dichotomies.interval_dichotomies(x[:, 0])),
        "rectangles": lambda x: len(dichotomies.rectangle_dichotomies(x)),
    }
    counter = counters.get(what, dichotomies.count_linear_dichotomies)
    return {"counts": [counter(x) for x in samples]}
