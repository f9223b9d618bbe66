"""Training dynamics against what kernels predict."""
