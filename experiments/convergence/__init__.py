"""Kernels of finite width against their limits."""
