"""The gradient independence assumption where it fails: its answer, the corrected one, and networks of finite width.

In y = 1ᵀ(h²)²/n with h² = W²x¹ and x¹ = W¹ξ + 1 the gradient dx¹ = n ∇_{x¹} y = 2W²ᵀW²x¹ holds W² together with its
transpose. At ξ = 0 its coordinates have mean 2 and second moment 8 + 4/n, where the assumption has 0 and 4 (Yang 2020,
arXiv:2006.14548, section 6). The NTKs of three such programs are held against both limits: `ntk.corrected_kernels`
with the correction Ż, and without.

    python -m experiments.gia --config=configs/gia.py --workdir=runs/gia

In the workdir: config.json, metrics.jsonl, summary.md, gia.png and gia.pdf. The same workdir goes on where it stopped,
also with widths added or left out.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jaxtyping import Array, Float
from ml_collections import ConfigDict
from tqdm import tqdm

import ntk
from experiments.benchmarks.timing import markdown_table
from experiments.common import plots, script
from experiments.common.environment import write_summary
from experiments.common.power_law import fit_exponent
from experiments.convergence.kernel_errors import member_keys
from experiments.data.images import as_vectors, load_data
from ntk.checks import check_count
from ntk.programs import CorrectedKernels, corrected_kernels

MAY_CHANGE = ("widths", "data_dir")
GRADIENT = "gradient of averaged squares"
Records = list[dict[str, Any]]


@ntk.tensor_program
def averaged_squares(net: Any, x: Any) -> Any:
    """The example of the source: y = 1ᵀ(W²x¹)²/n with x¹ = W¹ξ + 1."""
    x1 = net.watch("x1", net.input_matrix("w1") @ x + 1.0)
    h = net.matrix("w2") @ x1
    return (h * h).mean()


@ntk.tensor_program
def averaged_relu(net: Any, x: Any) -> Any:
    """A ReLU network that is averaged instead of read out: y = 1ᵀφ(W³φ(W²φ(W¹ξ)))/n."""
    phi = net.phi("relu")
    z = phi(net.input_matrix("w1", 2.0**0.5) @ x)
    for layer in (2, 3):
        z = phi(net.matrix(f"w{layer}", 2.0**0.5) @ z)
    return z.mean()


@ntk.tensor_program
def transposed(net: Any, x: Any) -> Any:
    """An autoencoder of tied weights: f = v·φ(Wᵀφ(Wφ(Uξ)))."""
    phi, w = net.phi("relu"), net.matrix("w", 2.0**0.5)
    return net.output("v") @ phi(w.T @ phi(w @ phi(net.input_matrix("u", 2.0**0.5) @ x)))


PROGRAMS = {
    "averaged squares": averaged_squares,
    "averaged ReLU network": averaged_relu,
    "W with its transpose": transposed,
}


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: with a sentence that names the field, its value and what is expected.

    Example:
        >>> check_config(ConfigDict({"widths": (32,)}))
        Traceback (most recent call last):
        ...
        ValueError: widths is (32,); expected at least two widths in increasing order.
    """
    script.check_axis("widths", config.widths, "widths")
    check_count("num_seeds", config.num_seeds, minimum=2)
    check_count("samples", config.samples)
    check_count("seed", config.seed, minimum=0)


def gradient_moments(width: int, keys: Array) -> dict[str, list[float]]:
    """Mean and second moment of the coordinates of dx¹ at ξ = 0, one network for each key.

    Example:
        >>> moments = gradient_moments(64, member_keys(0, 64, 8))
        >>> bool(1 < np.mean(moments["mean"]) < 3), bool(6 < np.mean(moments["second_moment"]) < 10)
        (True, True)
    """
    model, x = ntk.finite(averaged_squares, width), jnp.zeros((1, 1))

    def moments(key: Array) -> tuple[Array, Array]:
        params = model.init(key, x)
        dx = width * jax.grad(lambda tap: model.trace(params, x, {"x1": tap})[0][0])(jnp.zeros((1, width)))
        return jnp.mean(dx), jnp.mean(dx**2)

    mean, second = jax.jit(lambda keys: jax.lax.map(moments, keys))(keys)
    return {"mean": mean.tolist(), "second_moment": second.tolist()}


def kernel_errors(
    program: ntk.TensorProgram, x: Array, limits: dict[str, CorrectedKernels], width: int, keys: Array
) -> dict[str, list[float]]:
    """Relative Frobenius distances of Θ, or of nΘ of an average, to each limit, one network for each key."""
    model = ntk.finite(program, width)

    def errors(key: Array) -> dict[str, Array]:
        theta = ntk.empirical_ntk(model.apply, model.init(key, x), x)
        distances = {}
        for name, limit in limits.items():
            scaled = width * theta if limit.averaged else theta
            distances[name] = jnp.linalg.norm(scaled - limit.ntk) / jnp.linalg.norm(limit.ntk)
        return distances

    return {name: found.tolist() for name, found in jax.jit(lambda keys: jax.lax.map(errors, keys))(keys).items()}


def limits_of(program: ntk.TensorProgram, x: Array, config: ConfigDict) -> dict[str, CorrectedKernels]:
    """The limits without and with the assumption, as they are called in metrics and figure."""
    return {
        name: corrected_kernels(program, x, samples=config.samples, seed=config.seed, assume_gia=assumed)
        for name, assumed in (("corrected", False), ("gia", True))
    }


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        data = load_data(config.dataset, config.num_inputs, data_dir=config.data_dir, seed=config.seed)
        x = jnp.asarray(as_vectors(data.train_images), jnp.float32)
        limits = {name: limits_of(program, x, config) for name, program in PROGRAMS.items()}
        at_zero = limits_of(averaged_squares, jnp.zeros((1, 1)), config)
    with script.opened(workdir, config, data=data.fingerprint, may_change=MAY_CHANGE) as (workdir, metrics):
        wanted = [(name, width) for name in (GRADIENT, *PROGRAMS) for width in config.widths]
        done = {(record["what"], record["width"]) for record in metrics.records} & set(wanted)
        logging.info("%d measurements, %d made before, on %s", len(wanted), len(done), jax.devices())
        remaining = [place for place in wanted if place not in done]
        for what, width in tqdm(remaining, desc="widths", initial=len(done), total=len(wanted)):
            keys = member_keys(config.seed, width, config.num_seeds)
            measured = (
                gradient_moments(width, keys)
                if what == GRADIENT
                else kernel_errors(PROGRAMS[what], x, limits[what], width, keys)
            )
            metrics.append({"what": what, "width": width} | measured)
        summary = _summary(metrics.records, at_zero, limits, config)
        _draw(workdir / "gia", metrics.records, at_zero, config)
        print(write_summary(workdir / "summary.md", summary))


def _values(records: Records, what: str, name: str, config: ConfigDict) -> Float[np.ndarray, "widths seeds"]:
    """What was measured at each width."""
    found = {record["width"]: record[name] for record in records if record["what"] == what}
    return np.array([found[width] for width in config.widths])


def _summary(
    records: Records,
    at_zero: dict[str, CorrectedKernels],
    limits: dict[str, dict[str, CorrectedKernels]],
    config: ConfigDict,
) -> str:
    corrected, gia = at_zero["corrected"], at_zero["gia"]
    last = config.widths[-1]
    rows = []
    for label, name, exact in (("mean of dx¹", "mean", 2.0), ("second moment of dx¹", "second_moment", 8 + 4 / last)):
        moments = [k.gradient_mean["x1"][0] if name == "mean" else k.D["x1"][0, 0] for k in (gia, corrected)]
        values = _values(records, GRADIENT, name, config)[-1]
        error = values.std(ddof=1) / len(values) ** 0.5
        rows.append(
            [label, *(f"{value:z.3f}" for value in moments), f"{exact:.3f}", f"{values.mean():.3f} ± {error:.3f}"]
        )
    header = ["y = 1ᵀ(W²x¹)²/n at ξ = 0", "GIA", "corrected", f"exactly, n = {last}", f"networks, n = {last}"]
    errors = []
    for what in PROGRAMS:
        for name, label in (("gia", "GIA"), ("corrected", "corrected")):
            values = _values(records, what, name, config)
            slope = fit_exponent(np.array(config.widths), values, seed=config.seed)
            limit = limits[what][name]
            own = float(jnp.linalg.norm(limit.standard_error.ntk) / jnp.linalg.norm(limit.ntk))
            medians = (f"{value:.4f}" for value in np.median(values[[0, -1]], axis=1))
            errors.append([f"{what}, {label}", *medians, f"{slope.value:+.3f}", f"{own:.4f}"])
    table = markdown_table(
        ["NTK against the limit", f"n = {config.widths[0]}", f"n = {last}", "slope", "limit's own error"], errors
    )
    heading = (
        f"{config.num_seeds} networks at each width, {config.num_inputs} inputs; relative Frobenius errors, medians."
    )
    return f"{markdown_table(header, rows)}\n\n{heading}\n\n{table}"


def _draw(stem: Path, records: Records, at_zero: dict[str, CorrectedKernels], config: ConfigDict) -> None:
    widths = np.array(config.widths)
    blue, red = plots.PALETTE[:2]
    with plots.style():
        figure, panels = plots.make_figure(2 + len(PROGRAMS), size=(14.5, 3.2))
        for axes, name, title in (
            (panels[0], "mean", "Mean of $dx^1 = 2W^{2\\top}W^2x^1$"),
            (panels[1], "second_moment", "Second moment of $dx^1$"),
        ):
            values = _values(records, GRADIENT, name, config)
            plots.plot_band(axes, widths, values, quantiles=(0.1, 0.9), color="0.2", marker="o", label="networks")
            for label, key, color in (("corrected", "corrected", blue), ("GIA", "gia", red)):
                limit = at_zero[key]
                height = float(limit.gradient_mean["x1"][0] if name == "mean" else limit.D["x1"][0, 0])
                axes.axhline(height, color=color, linestyle="--", label=label)
            if name == "second_moment":
                axes.plot(widths, 8 + 4 / widths, ":", color="0.2", label="$8 + 4/n$")
            axes.set_xscale("log", base=2)
            axes.set(xlabel="Width $n$", title=title)
            axes.legend()
        for axes, what in zip(panels[2:], PROGRAMS, strict=True):
            for name, label, color, marker in (("corrected", "corrected", blue, "o"), ("gia", "GIA", red, "s")):
                values = _values(records, what, name, config)
                plots.plot_band(axes, widths, values, quantiles=(0.1, 0.9), color=color, marker=marker, label=label)
            start = 0.7 * np.median(_values(records, what, "corrected", config)[0])
            plots.plot_guide(axes, widths, start, -0.5, "$n^{-1/2}$")
            plots.use_log_axes(axes, "Width $n$")
            axes.set(title=f"NTK of {what}")
            axes.legend()
        panels[2].set_ylabel("Relative error")
        plots.save_figure(figure, stem)


if __name__ == "__main__":
    script.run(main, "configs/gia.py")
