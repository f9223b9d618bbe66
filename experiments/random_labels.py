"""True against partly random labels: what tells them apart, and how well networks fit noise.

Some labels of odd and even digits are replaced by fair coins (Zhang, Bengio, Hardt, Recht & Vinyals 2017). Networks are
trained on each mixture; their errors on new digits, the NTK complexity of the labels (Arora et al. 2019), margin bounds
and normalized margins (Bartlett et al. 2017) are recorded. The fit of networks of several widths to coins alone,
(1/m) Σ σ_i sign f(x_i), is a lower estimate of the Rademacher complexity of their class.

    python -m experiments.random_labels --config=configs/random_labels.py --workdir=runs/random_labels

In the workdir: config.json, metrics.jsonl, summary.md, random_labels.png and random_labels.pdf. The same workdir goes
on where it stopped, also with fractions, widths or seeds added or left out.
"""

from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict
from tqdm import tqdm

import ntk
from bounds.kernels.ntk_measures import ntk_complexity
from bounds.networks.margins import classification_margins, normalized_margins, spectral_complexity
from bounds.networks.weights import ntk_weight_matrices
from bounds.reports.summary import report
from experiments.benchmarks.timing import markdown_table
from experiments.common import plots, script
from experiments.common.environment import write_summary
from experiments.common.training import train
from experiments.generalization.binary_tasks import Task, make_task
from ntk.checks import check_count

# Rows of the report. The last is so far from 1 that its covering bound is at its ceiling: it is in the table alone.
ROWS = ("Frobenius norms and margins", "spectral complexity", "spectral norms and margins")
MAY_CHANGE = ("fractions", "widths", "num_seeds")
Records = list[dict[str, Any]]


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: with a sentence that names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"fractions": (0.5, 0.0)}))
        Traceback (most recent call last):
        ...
        ValueError: fractions is (0.5, 0.0); expected increasing numbers from 0 to 1.
    """
    fractions = list(config.fractions)
    if not fractions or fractions != sorted(set(fractions)) or not 0 <= fractions[0] <= fractions[-1] <= 1:
        raise ValueError(f"fractions is {config.fractions!r}; expected increasing numbers from 0 to 1.")
    for name in ("num_train", "num_seeds", "steps"):
        check_count(name, config.get(name))
    for width in config.widths:
        check_count("widths", width)
    if config.task.get("kind") != "digits":
        raise ValueError(f"task.kind is {config.task.get('kind')!r}; expected 'digits', of which the labels are known.")


def measure_mixture(task: Task, fraction: float, seed: int, config: ConfigDict) -> dict[str, Any]:
    """Train on labels of which a fraction are coins; errors, complexities and margins of the network found."""
    sample, test = task.draw(seed, config.num_train)
    rng = np.random.default_rng([seed, config.num_train])
    # The coins are the same for every fraction, and more and more of them are used.
    coins, order = _coins(rng, config.num_train), rng.random(config.num_train)
    x, labels = jnp.asarray(sample.x), jnp.asarray(np.where(order < fraction, coins, sample.labels))
    params = train(task.apply, task.init(seed), x, labels, steps=config.steps, learning_rate=config.learning_rate)
    found = report(task.apply, params, x, labels, delta=config.delta, network=task.network)
    weights = ntk_weight_matrices(task.network, params)
    margins = normalized_margins(classification_margins(task.apply(params, x), labels), spectral_complexity(weights), x)
    with jax.enable_x64(True):  # H has eigenvalues that float32 cannot tell from 0
        H = ntk.infinite_ntk(task.network, jnp.asarray(sample.x, jnp.float64))
        hardness = float(ntk_complexity(H, jnp.asarray(labels, jnp.float64)))
    return {
        "train_error": found.train_error,
        "test_error": task.error(params, test),
        "ntk_complexity": hardness,
        "margins": np.asarray(margins, float).round(6).tolist(),
    } | {row.name: row.value for row in found if row.name in ROWS}


def measure_noise(width: int, seed: int, config: ConfigDict) -> dict[str, Any]:
    """Train a network of that width on coins, and see how many it gets right."""
    task = make_task(ConfigDict(config.task.to_dict() | {"width": width}))
    x = jnp.asarray(task.draw(seed, config.num_train)[0].x)
    coins = jnp.asarray(_coins(np.random.default_rng([seed, width]), config.num_train))
    params = train(task.apply, task.init(seed), x, coins, steps=config.steps, learning_rate=config.learning_rate)
    predictions = np.where(np.asarray(task.apply(params, x)) > 0, 1, -1)
    # With f the class holds −f, and one of the two gets at least half of the coins right.
    return {"fit": abs(float(np.mean(np.asarray(coins) * predictions)))}


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        task = make_task(config.task)
        task.draw(config.seed, config.num_train)
    with script.opened(workdir, config, data=task.data, may_change=MAY_CHANGE) as (workdir, metrics):
        seeds = range(config.seed, config.seed + config.num_seeds)
        wanted = [("fraction", *place) for place in product(config.fractions, seeds)]
        wanted += [("width", *place) for place in product(config.widths, seeds)]
        done = {_place(record) for record in metrics.records} & set(wanted)
        logging.info("%d networks, %d trained before, on %s", len(wanted), len(done), jax.devices())
        remaining = [place for place in wanted if place not in done]
        for what, value, seed in tqdm(remaining, desc="networks", initial=len(done), total=len(wanted)):
            measured = (
                measure_mixture(task, value, seed, config) if what == "fraction" else measure_noise(value, seed, config)
            )
            metrics.append({what: value, "seed": seed} | measured)
        records = [record for record in metrics.records if _place(record) in set(wanted)]
        _draw(workdir / "random_labels", records, config)
        summary = _summary(records, config)
        print(write_summary(workdir / "summary.md", summary))


def _coins(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.choice(np.array([-1, 1], np.float32), count)


def _place(record: dict[str, Any]) -> tuple[str, float, int]:
    what = "fraction" if "fraction" in record else "width"
    return what, record[what], record["seed"]


def _values(records: Records, what: str, places: tuple, name: str) -> np.ndarray:
    """What was measured at each fraction or width, (places, seeds)."""
    return np.array([[record[name] for record in records if record.get(what) == place] for place in places])


def _summary(records: Records, config: ConfigDict) -> str:
    fractions, widths = tuple(config.fractions), tuple(config.widths)
    names = {"train_error": "training error", "test_error": "error on new digits", "ntk_complexity": "NTK complexity"}
    lines = [
        [label, *(f"{value:.3f}" for value in np.mean(_values(records, "fraction", fractions, name), axis=1))]
        for name, label in (names | {name: name for name in ROWS}).items()
    ]
    table = markdown_table(["random labels", *(f"{100 * fraction:g} %" for fraction in fractions)], lines)
    fits = np.mean(_values(records, "width", widths, "fit"), axis=1)
    noise = markdown_table(["width", *map(str, widths)], [["fit of coins", *(f"{fit:.3f}" for fit in fits)]])
    heading = f"{config.num_train} digits, means over {config.num_seeds} seeds."
    return f"{heading}\n\n{table}\n\n{noise}"


def _draw(stem: Path, records: Records, config: ConfigDict) -> None:
    fractions, widths = tuple(config.fractions), tuple(config.widths)
    shares = 100 * np.array(fractions)
    with plots.style():
        figure, panels = plots.make_figure(4, size=(12.5, 3.3))
        for name, label, color, marker in (
            ("test_error", "on new digits", plots.PALETTE[1], "s"),
            ("train_error", "on the sample", plots.PALETTE[0], "o"),
        ):
            values = _values(records, "fraction", fractions, name)
            plots.plot_band(panels[0], shares, values, quantiles=(0, 1), color=color, marker=marker, label=label)
        panels[0].set(xlabel="Random labels, %", ylabel="Error", title="Networks fit any labels")
        panels[0].legend()
        curves = {"ntk_complexity": "NTK complexity", ROWS[0]: f"bound by {ROWS[0]}", ROWS[1]: ROWS[1]}
        for (name, label), color, marker in zip(curves.items(), plots.PALETTE[2:], "D^v", strict=False):
            values = _values(records, "fraction", fractions, name)
            plots.plot_band(panels[1], shares, values, quantiles=(0, 1), color=color, marker=marker, label=label)
        panels[1].set(xlabel="Random labels, %", title="Complexity grows with noise", yscale="log")
        panels[1].legend()
        for fraction, color in zip(fractions, plots.sequence_colors(len(fractions)), strict=True):
            margins = np.sort(_values(records, "fraction", (fraction,), "margins").ravel())
            levels = np.arange(1, len(margins) + 1) / len(margins)
            panels[2].plot(margins, levels, color=color, label=f"{100 * fraction:g} %")
        panels[2].set(xlabel="Margin / (spectral complexity · $\\|X\\|_F/N$)", ylabel="Share of points below")
        panels[2].set_title("Normalized margins shrink")
        panels[2].legend(title="Random")
        fits = _values(records, "width", widths, "fit")
        plots.plot_band(
            panels[3], np.array(widths), fits, quantiles=(0, 1), color=plots.PALETTE[0], marker="o", label="networks"
        )
        panels[3].set_xscale("log", base=2)
        panels[3].set(xlabel="Width", ylim=(0, 1.05), title="Fit of noise, at most the complexity")
        panels[3].set_ylabel("$\\frac{1}{m}\\sum\\sigma_i\\,\\mathrm{sign}\\,f(x_i)$")
        plots.save_figure(figure, stem)


if __name__ == "__main__":
    script.run(main, "configs/random_labels.py")
