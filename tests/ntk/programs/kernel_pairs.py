"""C and Θ of a field, carried forward together in NumPy: what a layer with fresh weights does to both.

Independent of the library, which goes backward with D.
"""

from dataclasses import dataclass

import numpy as np


def relu_maps(K, own1, own2):
    """E φφ̄ and E φ'φ̄' of ReLU (Cho & Saul 2009), of covariances K between variances own1 and own2."""
    product = np.sqrt(np.multiply.outer(own1, own2))
    rho = np.clip(K / product, -1, 1)
    angle = np.arccos(rho)
    return product * (np.sin(angle) + (np.pi - angle) * rho) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


@dataclass
class Pair:
    """Second moments C and tangent kernels Θ, (N·P, N·P), of all positions of all inputs."""

    C: np.ndarray
    ntk: np.ndarray

    def __add__(self, other):
        """The sum with a field of independent weights."""
        return Pair(self.C + other.C, self.ntk + other.ntk)

    def __mul__(self, factor):
        return Pair(factor * self.C, factor * self.ntk)

    def dense(self, w_std, b_std=0.0):
        """After a matrix of its own and a bias that all positions share."""
        C = w_std**2 * self.C + b_std**2
        return Pair(C, C + w_std**2 * self.ntk)

    def relu(self):
        C, slope = relu_maps(self.C, np.diagonal(self.C), np.diagonal(self.C))
        return Pair(C, slope * self.ntk)

    def mapped(self, M):
        """After sums over positions with weights M."""
        return Pair(M @ self.C @ M.T, M @ self.ntk @ M.T)

    def scaled(self, epsilon=0.0):
        """Divided by the root of the mean of squares, which is the variance of what has mean zero."""
        scale = np.diag((np.diagonal(self.C) + epsilon) ** -0.5)
        return self.mapped(scale)

    def pooled(self, num_inputs):
        """The output, a mean over the positions of each input with a weight of standard deviation 1."""
        C, ntk = (each.reshape(num_inputs, -1, num_inputs, each.shape[1] // num_inputs) for each in (self.C, self.ntk))
        C, ntk = C.mean((1, 3)), ntk.mean((1, 3))
        return Pair(C, C + ntk)


def embedded(x, u_std=1.0):
    """An input matrix at each position of inputs (N, P, d)."""
    flat = x.reshape(-1, x.shape[-1])
    C = u_std**2 * flat @ flat.T / x.shape[-1]
    return Pair(C, C)
