"""Regularizers for any training loop, and sweeps over them in one compiled program."""
