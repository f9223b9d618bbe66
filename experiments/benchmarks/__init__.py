"""Benchmarks: times and memory, compared with those of other programs."""
