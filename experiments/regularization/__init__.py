"""Regularizers for any training loop, and sweeps that train many networks in one compiled program."""
