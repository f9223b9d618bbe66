"""Stable learning rates and condition reports, against known spectra and divergence itself."""

import jax.numpy as jnp
import numpy as np
import pytest
from kernel_problems import N, joint_kernel, split, targets
from tolerances import CLOSED_FORM

from ntk import dynamics


def kernel_of(spectrum, dtype=np.float64):
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(len(spectrum), len(spectrum))))[0]
    k = (basis * np.asarray(spectrum)) @ basis.T
    return ((k + k.T) / 2).astype(dtype)


@pytest.mark.parametrize("momentum", [pytest.param(0.0, marks=pytest.mark.slow), 0.9])
def test_learning_rates_above_the_largest_stable_one_diverge(momentum):
    k = split(joint_kernel())[0]
    y = targets()[0]
    largest = dynamics.max_learning_rate(k, momentum=momentum)
    assert float(largest) == pytest.approx(2 * (1 + momentum) / np.linalg.eigvalsh(k)[-1], rel=CLOSED_FORM["float64"])
    below, above = (
        dynamics.squared_loss_descent(k, y, learning_rate=factor * largest, momentum=momentum)
        for factor in (0.99, 1.01)
    )
    assert np.linalg.norm(below(2000) - y) < 1e-3 * np.linalg.norm(y)
    assert np.linalg.norm(above(2000) - y) > 1e3 * np.linalg.norm(y)
    np.testing.assert_array_equal(below(np.inf), y)
    with pytest.raises(ValueError, match=r"t is inf, but steps of learning_rate .* diverge; expected a"):
        above(None)


def test_zero_kernel_is_stable_at_every_rate():
    assert float(dynamics.max_learning_rate(np.zeros((2, 2)))) == np.inf
    report = dynamics.condition_report(np.zeros((2, 2)))
    assert (report.rank, report.digits, report.semidefinite) == (0, 0, True)
    assert "What helps" not in str(report)


def test_report_of_a_regular_kernel():
    report = dynamics.condition_report(kernel_of([1e-3, 0.5, 2.0]), ridge=0.5)
    assert (report.size, report.rank, report.dtype, report.semidefinite) == (3, 3, "float64", True)
    assert report.smallest == pytest.approx(0.501, rel=CLOSED_FORM["float64"])
    assert report.condition_number == pytest.approx(2.5 / 0.501, rel=CLOSED_FORM["float64"])
    # To a tenth of a digit.
    assert report.digits == pytest.approx(-np.log10(2.2e-16 * 5), abs=0.1)
    assert "with a ridge of 0.5" in str(report)
    assert "Solves keep about 15 digits." in str(report)


def test_report_advises_where_digits_are_lost():
    report = dynamics.condition_report(kernel_of([1e-5, 1.0], np.float32))
    assert report.rank == 2
    assert "What helps: float64=True for a kernel computed in float64, or a ridge of at least 0.0001." in str(report)
    # With this ridge three digits are kept.
    again = dynamics.condition_report(kernel_of([1e-5, 1.0], np.float32), ridge=1.2e-4)
    # To a tenth of a digit.
    assert again.digits == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_report_of_a_singular_kernel(dtype):
    report = dynamics.condition_report(kernel_of([0.0, 1.0, 1.0, 3.0], dtype))
    assert (report.rank, report.condition_number, report.digits) == (3, np.inf, 0)
    assert report.semidefinite
    assert "singular up to rounding" in str(report)


def test_an_indefinite_kernel_is_reported_and_refused():
    k = kernel_of([-0.1, 1.0, 2.0])
    report = dynamics.condition_report(k)
    assert not report.semidefinite
    assert "not positive semidefinite" in str(report)
    y = np.ones(3)
    sentence = r"k_train_train has an eigenvalue of -0.1, .* 2; expected a positive semidefinite kernel. What helps"
    for refused in (
        lambda: dynamics.squared_loss_flow(k, y),
        lambda: dynamics.squared_loss_descent(k, y, learning_rate=0.1),
        lambda: dynamics.gp_posterior(k, y),
        lambda: dynamics.squared_loss_flow(k.astype(np.float32), y, float64=True),
    ):
        with pytest.raises(ValueError, match=sentence):
            refused()
    # A ridge above the negative eigenvalue is enough, and rounding is allowed.
    expected = np.linalg.solve(k + 0.2 * np.eye(3), y)
    np.testing.assert_allclose(
        dynamics.squared_loss_flow(k, y, ridge=0.2)(None), k @ expected, rtol=0, atol=CLOSED_FORM["float64"]
    )
    barely = kernel_of([-1e-13, 1.0, 2.0])
    assert jnp.all(jnp.isfinite(dynamics.squared_loss_flow(barely, y)(None)))


def test_kernels_with_output_axes():
    k = split(joint_kernel())[0]
    blocks = np.einsum("nm,op->nmop", k, np.diag([1.0, 2.0]))
    assert dynamics.condition_report(blocks).size == 2 * N
    found = dynamics.max_learning_rate(blocks)
    assert float(found) == pytest.approx(float(dynamics.max_learning_rate(k)) / 2, rel=CLOSED_FORM["float64"])
