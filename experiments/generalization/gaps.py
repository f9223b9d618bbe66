"""The bounds and measures of one trained classifier, and its errors on the sample and on new points."""

import math

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

import ntk
from bounds.reports.summary import report
from experiments.common.metrics import Record
from experiments.generalization.binary_tasks import Task
from experiments.generalization.training import train


def measure_gap(task: Task, n: int, seed: int, config: ConfigDict) -> Record:
    """Train once on N points.

    Returns:
        "train_error", "error" on new points, "guessing_error" (of always naming the most frequent label), and every
        row of `bounds.report` by name: "bounds", and "measures", which are None where they are infinite.
    """
    sample, test = task.draw(seed, n)
    prior = task.init(seed)
    x, labels = jnp.asarray(sample.x), jnp.asarray(sample.labels)
    params = train(task.apply, prior, x, labels, steps=config.steps, learning_rate=config.learning_rate)
    gram = ntk.infinite_ntk(task.network, x) if isinstance(task.network, ntk.MLP) else None
    found = report(
        task.apply,
        params,
        x,
        labels,
        x_test=jnp.asarray(test.x),
        labels_test=jnp.asarray(test.labels),
        delta=config.delta,
        network=task.network,
        gram=gram,
        ridge=0.0 if gram is None else config.ridge * float(jnp.trace(gram)) / n,
        prior=prior,
        sigmas=config.sigmas,
        num_draws=config.num_draws,
        key=jax.random.key(seed),
    )
    return {
        "train_error": found.train_error,
        "error": task.error(params, test),
        "guessing_error": found.guessing_error,
        "bounds": {row.name: row.value for row in found.bounds},
        # JSON has no infinity. NTK complexity is infinite where the kernel is singular.
        "measures": {row.name: row.value if math.isfinite(row.value) else None for row in found.measures},
    }
