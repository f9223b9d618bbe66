"""The benchmark of sweeps: a small run, and refusals."""

import functools

import jax
import pytest
from small_runs import small_config

from experiments import benchmark_sweep

SMALL = {"widths": (4,), "num_members": 2 * jax.device_count(), "num_train": 50, "num_steps": 3, "budget_seconds": 0.01}
small = functools.partial(small_config, SMALL, "benchmark_sweep")


@pytest.mark.slow
def test_a_run_prints_the_ratios(tmp_path, capsys):
    benchmark_sweep.main(small(), tmp_path)
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "summary.md").read_text()
    cells = printed.splitlines()[-3].split("|")[1:-1]
    assert int(cells[0]) == 4
    assert all(float(cell) > 0 for cell in cells)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"widths": (0,)}, "widths is 0; expected an integer of at least 1"),
        ({"num_steps": 0}, "num_steps is 0; expected an integer of at least 1"),
    ],
)
def test_refusals(changes, sentence, tmp_path):
    with pytest.raises(SystemExit, match=sentence):
        benchmark_sweep.main(small(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
