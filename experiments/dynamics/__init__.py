"""Training dynamics against the predictions of kernels."""
