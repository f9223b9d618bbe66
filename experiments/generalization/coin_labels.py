"""Networks trained on labels that are partly or entirely fair coins."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import ntk
from bounds.kernels.ntk_measures import ntk_complexity
from bounds.networks.margins import classification_margins, normalized_margins, spectral_complexity
from bounds.networks.weights import ntk_weight_matrices
from bounds.reports.summary import report
from experiments.common.metrics import Record
from experiments.generalization.binary_tasks import Task, make_task
from experiments.generalization.training import train

# Rows of the report that are recorded. The last one is in the table only, since this bound is at its ceiling.
ROWS = ("Frobenius norms and margins", "spectral complexity", "spectral norms and margins")


def measure_mixture(task: Task, fraction: float, seed: int, config: ConfigDict) -> Record:
    """Errors, complexities and margins of a network, trained on labels of which a fraction are fair coins."""
    sample, test = task.draw(seed, config.num_train)
    rng = np.random.default_rng([seed, config.num_train])
    # The coins are the same for every fraction; a larger fraction uses more of them.
    coins, order = _coins(rng, config.num_train), rng.random(config.num_train)
    x, labels = jnp.asarray(sample.x), jnp.asarray(np.where(order < fraction, coins, sample.labels))
    params = train(task.apply, task.init(seed), x, labels, steps=config.steps, learning_rate=config.learning_rate)
    found = report(task.apply, params, x, labels, delta=config.delta, network=task.network)
    weights = ntk_weight_matrices(task.network, params)
    margins = normalized_margins(classification_margins(task.apply(params, x), labels), spectral_complexity(weights), x)
    with jax.enable_x64(True):  # float32 cannot tell the smallest eigenvalues of H from 0
        H = ntk.infinite_ntk(task.network, jnp.asarray(sample.x, jnp.float64))
        hardness = float(ntk_complexity(H, jnp.asarray(labels, jnp.float64)))
    return {
        "train_error": found.train_error,
        "test_error": task.error(params, test),
        "ntk_complexity": hardness,
        "margins": np.asarray(margins, float).round(6).tolist(),
    } | {row.name: row.value for row in found if row.name in ROWS}


def measure_noise(width: int, seed: int, config: ConfigDict) -> Record:
    """Train a network of that width on coins σ. "fit" is |Σ σ_i sign f(x_i)|/m, at most the sup in theory.md 11.1."""
    task = make_task(ConfigDict(config.task.to_dict() | {"width": width}))
    x = jnp.asarray(task.draw(seed, config.num_train)[0].x)
    coins = jnp.asarray(_coins(np.random.default_rng([seed, width]), config.num_train))
    params = train(task.apply, task.init(seed), x, coins, steps=config.steps, learning_rate=config.learning_rate)
    predictions = np.where(np.asarray(task.apply(params, x)) > 0, 1, -1)
    # With f the class contains −f. One of the two gets at least half of the coins right.
    return {"fit": abs(float(np.mean(np.asarray(coins) * predictions)))}


def _coins(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.choice(np.array([-1, 1], np.float32), count)
