"""Kernel regression, its hyperparameters and its calibration."""
