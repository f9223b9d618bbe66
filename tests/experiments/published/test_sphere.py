"""Learning curves on the sphere: errors of a fit against a fit on test points, files of a run."""

import math

import numpy as np
import pytest
from small_runs import command_line, records_of, small_config
from tolerances import PEER

import ntk
from experiments.published import sphere
from experiments.published.comparisons import Comparison, comparison_table


@pytest.mark.slow
def test_errors_of_a_draw_add_up_to_the_error_at_new_points():
    """The sum over degrees is E (f − f*)², here by Monte Carlo with the library's kernel."""
    dim, size, net = 4, 5, ntk.MLP(depth=3, w_std=math.sqrt(2), b_std=0.0)
    degrees = sphere._errors_of_a_draw(np.random.default_rng(0), dim, size)
    rng = np.random.default_rng(0)  # the same draw again
    points = rng.normal(size=(size + sphere.TEACHERS, dim))
    points *= dim**0.5 / np.linalg.norm(points, axis=1, keepdims=True)
    signs = rng.choice([-1.0, 1.0], sphere.TEACHERS)
    new = np.random.default_rng(1).normal(size=(1000, dim))
    new *= dim**0.5 / np.linalg.norm(new, axis=1, keepdims=True)
    of_all = np.asarray(ntk.infinite_ntk(net, np.concatenate([points, new]), points))
    target = of_all[:, size:] @ signs
    fitted = of_all[:, :size] @ np.linalg.solve(of_all[:size, :size], target[:size])
    errors = (fitted - target)[len(points) :] ** 2
    # Beyond the standard error, the degrees from 30 on have 1 % of the trace.
    assert abs(errors.mean() - degrees.sum()) < 4 * errors.std() / 1000**0.5 + 0.01 * errors.mean()


def test_the_prediction_starts_at_the_power_of_the_teacher_and_learns_low_degrees_first():
    first, *_, last = sphere.predicted_errors(10, (1, 100, 1000))
    of = sphere.spectrum(10)
    power = sphere.TEACHERS * of.eigenvalues * of.power
    np.testing.assert_allclose(first[5:], power[5:], rtol=0.2)  # one sample adds the variance of one coefficient
    assert np.all(np.diff(last[:4] / power[:4]) > 0)
    assert comparison_table([Comparison("x", "none", None, 1.0)]).count("–") == 3


def test_published_errors_are_read(tmp_path):
    assert sphere.published_errors("", 10) is None
    assert sphere.published_errors(str(tmp_path), 7) is None
    (tmp_path / "sphere").mkdir()
    for part, scale in (("all", 1.0), ("std", 0.1)):
        table = scale * np.arange(15 * 30.0).reshape(15, 30)
        lines = [",".join(["", *map(str, range(30))])] + [
            f"{i},{','.join(map(str, row))}" for i, row in enumerate(table)
        ]
        (tmp_path / "sphere" / f"{part}_errs_lamb0.000000_d10.csv").write_text("\n".join(lines))
    found = sphere.published_errors(str(tmp_path), 10)
    np.testing.assert_allclose(found.mean[2, 3], 63.0, rtol=PEER["float64"])
    np.testing.assert_allclose(found.error[14, 29], 44.9, rtol=PEER["float64"])


def test_a_run_leaves_its_files(tmp_path):
    arguments = ("published", "--config=configs/published_sphere.py", f"--workdir={tmp_path}", "--config.dims=4,")
    assert command_line(*arguments, "--config.sizes=(2, 8)", "--config.num_draws=3").status == 0
    assert {"summary.md", "sphere.png", "sphere.pdf"} <= {file.name for file in tmp_path.iterdir()}
    assert [record["num_samples"] for record in records_of(tmp_path)] == [2, 8]
    assert sphere.places(small_config({}, "published_sphere"))[0] == (10, 1)
