"""The report of `experiments.training_dynamics`: exponents in the width, a table, and two figures."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.typing import ColorType
from ml_collections import ConfigDict

from experiments.common import plots
from experiments.common.environment import write_summary
from experiments.common.metrics import Record
from experiments.common.power_law import Exponent, fit_exponent
from experiments.common.tables import markdown_table
from experiments.dynamics.runs import Problem, ensemble_loss, limit_kernels, recorded_steps

Records = dict[tuple[str, int], Record]
NAMES = {"ntk": "NTK", "standard": "standard", "mup": "maximal update"}
# The figure ends at this share of the initial error. Smaller shares are of order 1/n, like the movement of the kernel.
_LEAST = 0.02
# Movements of a network, and its distances from predictions.
MEASURES = {
    "drift": "$\\|\\Theta_T-\\Theta_0\\|/\\|\\Theta_0\\|$",
    "movement": "$\\|w_T-w_0\\|/\\|w_0\\|$",
    "to_linearized": "from own linearization",
    "to_limit": "from the infinite-width prediction",
}
# Exponents in the width according to theory. Those of Θ and of outputs are for networks with one output (Dyer & Gur-Ari
# 2020; Yang & Hu 2021). A hidden weight matrix moves by order 1 in NTK parameterization, where its norm is of order n;
# by order 1 in maximal update, where its norm is √n; and by order 1/√n in the standard one, where its norm is √n.
# Kernels at the start deviate by 1/√n (theory.md 5.4).
THEORY = {
    "ntk": {"drift": -1.0, "movement": -1.0, "to_linearized": -1.0, "to_limit": -0.5},
    "standard": {"drift": -1.0, "movement": -1.0, "to_linearized": -1.0, "to_limit": -0.5},
    "mup": {"drift": 0.0, "movement": -0.5, "to_linearized": 0.0},
}
# The same for weights that read the input instead of a hidden layer.
MOVEMENT_OF_INPUT_WEIGHTS = {"ntk": -0.5, "standard": -1.5, "mup": 0.0}


def write_report(workdir: Path, config: ConfigDict, problem: Problem, records: Records) -> str:
    """Write summary.md and both figures; return the summary."""
    exponents = {
        (name, measure): fit_exponent(
            np.array(config.widths),
            _over_widths(records, config, name, measure),
            confidence=config.confidence,
            num_resamples=config.num_resamples,
            seed=config.seed,
        )
        for name in config.parameterizations
        for measure in MEASURES
        if (name, measure) != ("mup", "to_limit")
    }
    with plots.style():
        _draw_trajectories(workdir / "trajectories", config, problem, records)
        _draw_drift(workdir / "drift", config, records, exponents)
    summary = _summary(config, problem, records, exponents)
    return write_summary(workdir / "summary.md", summary)


def theory(config: ConfigDict, name: str, measure: str) -> float:
    """The exponent of a measure in a parameterization according to theory."""
    if measure == "movement" and config.network.kind == "MLP" and config.network.get("depth") == 1:
        return MOVEMENT_OF_INPUT_WEIGHTS[name]
    return THEORY[name][measure]


def _over_widths(records: Records, config: ConfigDict, name: str, measure: str) -> Float[np.ndarray, "widths seeds"]:
    return np.array([records[name, width][measure] for width in config.widths])


def _summary(config: ConfigDict, problem: Problem, records: Records, exponents: dict[tuple[str, str], Exponent]) -> str:
    labels = {
        "drift": "kernel drift",
        "movement": "movement of the last weights before the read-out",
        "to_linearized": "distance from own linearization",
        "to_limit": "distance from the infinite-width prediction",
    }
    rows = []
    for (name, measure), exponent in exponents.items():
        medians = np.median(_over_widths(records, config, name, measure), axis=1)
        interval = f"[{_digits(exponent.low)}, {_digits(exponent.high)}]"
        rows.append(
            [
                NAMES[name],
                labels[measure],
                _digits(exponent.value),
                interval,
                f"{theory(config, name, measure):g}",
                *(f"{value:.2e}" for value in medians),
            ]
        )
    percent = f"{100 * config.confidence:g} % interval"
    header = ["parameterization", "measure", "exponent", percent, "theory", *(f"n={width}" for width in config.widths)]
    heading = (
        f"{_title(config)}.\nExponents in the width n, and medians over {config.num_seeds} networks. The exponents of"
        " theory are for n → ∞. In standard parameterization input weights have a share of order d/n in training,"
        f" with d = {problem.x.shape[-1]}."
    )
    widest = config.widths[-1]
    ends = [
        [
            NAMES[name],
            *(f"{np.median(np.array(record[key])[:, -1]):.3f}" for key in ("loss", "loss_test", "error_test")),
            f"{np.median(record['alignment_before']):.3f} to {np.median(record['alignment']):.3f}",
        ]
        for name in config.parameterizations
        for record in [records[name, widest]]
    ]
    ends_table = markdown_table(
        ["parameterization", "training loss", "test loss", "test error", "alignment of kernel and labels"],
        ends,
    )
    return f"{heading}\n\n{markdown_table(header, rows)}\n\nAfter {config.steps} steps at n={widest}:\n\n{ends_table}"


def _draw_trajectories(stem: Path, config: ConfigDict, problem: Problem, records: Records) -> None:
    figure, panels = plots.make_figure(4, size=(7.8, 6.6), columns=2)
    figure.suptitle(f"{_title(config)}, NTK parameterization")
    steps = recorded_steps(config)
    _draw_losses(panels[0], config, problem, records, steps)
    _draw_outputs(panels[1], config, records, steps)
    if config.loss == "squared":
        _draw_decay(panels[2], config, records, steps)
    else:
        _draw_errors(panels[2], config, records, steps)
    _draw_spectrum(panels[3], config, problem, records)
    plots.describe(figure, plots.band_sentence(config.quantiles, "networks"), "Outputs are those of one network.")
    plots.save_figure(figure, stem)


def _draw_losses(axes: Axes, config: ConfigDict, problem: Problem, records: Records, steps: np.ndarray) -> None:
    for width, (color, line) in _looks(config.widths).items():
        values = np.array(records["ntk", width]["loss"]).T
        low, median, high = np.quantile(values, [config.quantiles[0], 0.5, config.quantiles[1]], axis=1)
        axes.fill_between(steps, low, high, color=color, alpha=0.1, linewidth=0)
        axes.plot(steps, median, line, color=color, label=f"$n={width}$")
    if config.loss == "squared":
        predicted, label = ensemble_loss(problem, config), "$n=\\infty$, mean"
    else:
        widest = records["ntk", config.widths[-1]]["loss_predicted"]
        predicted, label = np.median(widest, axis=0), "by $\\Theta_\\infty$"
    axes.plot(steps, predicted, color="black", linestyle=plots.LINE_OF_LIMIT, label=label)
    axes.set_xscale("symlog", linthresh=1)
    axes.set(yscale="log", xlabel="Step", ylabel="Training loss", title="Loss: networks and prediction")
    axes.legend(loc="lower left", handlelength=2.4)


def _draw_outputs(axes: Axes, config: ConfigDict, records: Records, steps: np.ndarray) -> None:
    record = records["ntk", config.widths[-1]]
    kinds = {"outputs": ("-", "network"), "linearized": (":", "its linearization"), "predicted": ("--", "its limit")}
    for point in range(config.num_shown):
        color = plots.PALETTE[point % len(plots.PALETTE)]
        for kind, (line, label) in kinds.items():
            values = np.array(record[kind])[0, :, point]
            axes.plot(steps, values, line, color=color, label=label if point == 0 else None)
    axes.set_xscale("symlog", linthresh=1)
    axes.set(xlabel="Step", ylabel="$f_t(x)$", title=f"Outputs on test digits, $n={config.widths[-1]}$")
    axes.legend(loc="best")


def _draw_decay(axes: Axes, config: ConfigDict, records: Records, steps: np.ndarray) -> None:
    record = records["ntk", config.widths[-1]]
    left, linear = (np.median(np.array(record[name]), axis=0) for name in ("left", "left_linear"))
    apart = steps % config.every == 0
    for index, (number, (color, line)) in enumerate(_looks(config.directions).items()):
        axes.plot(steps[apart], left[apart, index], ".", color=color, markersize=4)
        axes.plot(steps, linear[:, index], line, color=color, label=f"$i={number + 1}$")
    axes.plot([], [], ".", color="0.35", label="networks")
    shown = steps[: 1 + int(np.argmax(linear[:, -1] < _LEAST) or len(steps) - 1)]
    axes.set(yscale="log", xlim=(0, shown[-1]), ylim=(_LEAST, 1.5), xlabel="Step", ylabel="Share of the error left")
    axes.set_title(f"Along eigenvectors of $\\Theta_0$, $n={config.widths[-1]}$")
    axes.legend(title="$(1-\\eta\\lambda_i)^t$", loc="upper right", handlelength=2.4)


def _draw_errors(axes: Axes, config: ConfigDict, records: Records, steps: np.ndarray) -> None:
    for width, (color, line) in _looks(config.widths).items():
        values = 100 * np.median(np.array(records["ntk", width]["error_test"]), axis=0)
        axes.plot(steps, values, line, color=color, label=f"$n={width}$")
    axes.set_xscale("symlog", linthresh=1)
    axes.set(xlabel="Step", ylabel="Test error, %", title="Error on test digits, median")
    axes.legend()


def _draw_spectrum(axes: Axes, config: ConfigDict, problem: Problem, records: Records) -> None:
    numbers = np.arange(1, config.num_train + 1)
    for width, (color, line) in _looks(config.widths).items():
        values = np.median(np.array(records["ntk", width]["spectrum"]), axis=0)
        axes.plot(numbers, values, line, color=color, label=f"$n={width}$")
    limit = np.asarray(jnp.linalg.eigvalsh(limit_kernels(problem, "ntk")[0]))[::-1]
    axes.plot(numbers, limit, color="black", linestyle=plots.LINE_OF_LIMIT, label="$n=\\infty$")
    axes.set(xscale="log", yscale="log", xlabel="Number $i$", title="Eigenvalues of $\\Theta_0$, median")
    axes.set_ylabel("$\\lambda_i$")
    axes.legend(loc="lower left", handlelength=2.4)


def _draw_drift(stem: Path, config: ConfigDict, records: Records, exponents: dict[tuple[str, str], Exponent]) -> None:
    figure, panels = plots.make_figure(4, size=(7.8, 6.6), columns=2)
    figure.suptitle(f"{_title(config)}: what training changes, against width")
    widths = np.array(config.widths)
    titles = {"drift": "Movement of the kernel", "movement": "Movement of the weights"}
    for axes, measure in zip(panels, ("drift", "movement", "to_linearized"), strict=False):
        for number, name in enumerate(config.parameterizations):
            exponent = exponents[name, measure]
            label = f"{NAMES[name]}: {_digits(exponent.value)} ({theory(config, name, measure):g})"
            plots.plot_band(
                axes,
                widths,
                _over_widths(records, config, name, measure),
                quantiles=config.quantiles,
                color=plots.PALETTE[number],
                marker=plots.MARKERS[number],
                label=label.replace("-", "\N{MINUS SIGN}"),
            )
        plots.use_log_axes(axes, "Width $n$")
        low, high = np.log10(axes.get_ylim())
        axes.set(ylim=(10 ** np.floor(low), 10 ** np.ceil(high)))
        axes.set(ylabel=MEASURES[measure], title=titles.get(measure, "Distance from own linearization"))
        axes.legend(title="Exponent (theory)", loc="best")
    panels[2].set_ylabel("Largest over time, on test points")
    for number, name in enumerate(config.parameterizations):
        color, marker = plots.PALETTE[number], plots.MARKERS[number]
        before, after = (
            np.median(_over_widths(records, config, name, key), axis=1) for key in ("alignment_before", "alignment")
        )
        panels[3].plot(widths, before, ":", color=color, marker=marker, markerfacecolor="w")
        panels[3].plot(widths, after, color=color, marker=marker, markeredgewidth=0, label=NAMES[name])
    panels[3].plot([], [], ":", color="0.35", marker="o", markerfacecolor="w", label="before training")
    panels[3].set_xscale("log", base=2)
    panels[3].set(xlabel="Width $n$", ylabel="Alignment with the labels", title="Kernel alignment after training")
    panels[3].legend(loc="best")
    plots.describe(figure, plots.band_sentence(config.quantiles, "networks"))
    plots.save_figure(figure, stem)


def _looks(curves: Sequence[int]) -> dict[int, tuple[ColorType, str]]:
    """Colour and line of every ordered curve."""
    return dict(zip(curves, zip(plots.sequence_colors(len(curves)), cycle(plots.LINES)), strict=True))


def _digits(value: float) -> str:
    """Two digits after the point, and no minus before a zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def _title(config: ConfigDict) -> str:
    fields = dict(config.network)
    kind = fields.pop("kind")
    arguments = ", ".join(f"{name}={value}" for name, value in fields.items())
    loss = config.loss.replace("_", " ")
    loss = f"{loss} loss" if loss == "squared" else loss
    return f"{kind}({arguments}) on {config.num_train} images of {config.dataset}, {loss}"
