"""Kernels at finite width against their limits."""
