"""The recorded graph read at infinite width: moments, expectations, tangent kernels."""
