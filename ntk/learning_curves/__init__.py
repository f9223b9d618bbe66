"""Spectra of kernels on a sphere, and the errors of kernel regression that a spectrum or a sample predicts."""

from ntk.learning_curves.from_samples import kernel_alignment_risk, leave_one_out_residuals
from ntk.learning_curves.ridge import LearningCurve, learning_curve
from ntk.learning_curves.zonal import ZonalSpectrum, zonal_spectrum

__all__ = [
    "LearningCurve",
    "ZonalSpectrum",
    "kernel_alignment_risk",
    "learning_curve",
    "leave_one_out_residuals",
    "zonal_spectrum",
]
