"""Programs that break the gradient independence assumption: both limits, with and without it, and finite networks.

In y = 1ᵀ(h²)²/n with h² = W²x¹ and x¹ = W¹ξ + 1 the gradient dx¹ = n ∇_{x¹} y = 2W²ᵀW²x¹ holds W² together with its
transpose. At ξ = 0 its coordinates have mean 2 and second moment 8 + 4/n; the assumption gives 0 and 4 (Yang 2020,
arXiv:2006.14548, section 6). The NTKs of three such programs are compared with both limits: `ntk.corrected_kernels`
with the correction Ż, and without it.

    python -m experiments.gia --config=configs/gia.py --workdir=runs/gia

In the workdir: config.json, metrics.jsonl, summary.md, gia.png and gia.pdf. A rerun in the same workdir resumes; widths
may be added or left out.
"""

from pathlib import Path

import jax.numpy as jnp
from ml_collections import ConfigDict

from experiments.common import script
from experiments.convergence.gia_programs import GRADIENT, PROGRAMS, averaged_squares, limits_of, measure_place
from experiments.convergence.gia_report import write_report
from experiments.data.images import as_vectors, load_data
from ntk.checks import check_count

MAY_CHANGE = ("widths", "data_dir")


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.

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


def main(config: ConfigDict, workdir: Path) -> None:
    """Run or resume the experiment that `config` describes in `workdir`."""
    with script.refuse_bad_input():
        check_config(config)
        data = load_data(config.dataset, config.num_inputs, data_dir=config.data_dir, seed=config.seed)
        x = jnp.asarray(as_vectors(data.train_images), jnp.float32)
        limits = {name: limits_of(program, x, config) for name, program in PROGRAMS.items()}
        at_zero = limits_of(averaged_squares, jnp.zeros((1, 1)), config)
    with script.opened(workdir, config, data=data.fingerprint, may_change=MAY_CHANGE) as (workdir, metrics):
        records = metrics.complete(
            [(name, width) for name in (GRADIENT, *PROGRAMS) for width in config.widths],
            lambda record: (record["what"], record["width"]),
            lambda place: measure_place(*place, x, limits, config),
            "measurements",
        )
        print(write_report(workdir, list(records.values()), at_zero, limits, config))


if __name__ == "__main__":
    script.run(main, "configs/gia.py")
