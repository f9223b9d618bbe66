"""Benchmarks: times and memory, beside those of other programs."""
