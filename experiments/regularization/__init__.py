"""Regularizers to take into any training loop, and sweeps over them in one compiled program."""
