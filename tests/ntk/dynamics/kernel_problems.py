"""Kernels with targets that the tests of training dynamics share; all NumPy, float64."""

import numpy as np

N, M, OUT = 9, 4, 3


def joint_kernel(seed=0, features=40):
    """A well-conditioned kernel on N training and M test points, of condition number about 20."""
    x = np.random.default_rng(seed).normal(size=(N + M, features)) / features**0.5
    return x @ x.T


def split(kernel):
    """Train-train, test-train, test-test."""
    return kernel[:N, :N], kernel[N:, :N], kernel[N:, N:]


def targets(seed=1, outputs=OUT):
    """Targets and outputs at the start: y, f_0(X), f_0(x)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, outputs)), rng.normal(size=(N, outputs)), rng.normal(size=(M, outputs))


def with_duplicates(kernel):
    """The same with the second training point equal to the first: of rank N − 1 on the training points."""
    rows = np.arange(N + M)
    rows[1] = 0
    return kernel[np.ix_(rows, rows)]
