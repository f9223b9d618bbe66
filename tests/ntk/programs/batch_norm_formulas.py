"""Batch norm before ReLU as integrals over products of Gaussians (Yang 2020, arXiv:2006.14548), in NumPy.

With u = h − mean over the batch, x_i = √B relu(u_i)/|u| has the derivatives √B 1(u_i > 0)(G/|u| − uuᵀ/|u|³)_ia, where G
takes the mean away. 1/|u|^2k is the integral of s^(k−1) e^(−s|u|²)/Γ(k) over s > 0; under e^(−s|u|²), N(0, K) becomes
det(I + 2sK)^(−1/2) N(0, K(I + 2sK)⁻¹), and Gaussian moments with factors u follow by parts, ∂relu(u) = 1(u > 0) and
∂1(u > 0) = δ(u).
"""

import numpy as np


def relu_moments(A):
    """E relu(u)relu(w), E 1(u > 0)1(w > 0) and E relu(u)δ(w) of all pairs of variables with covariance A (…, m, m)."""
    own = np.sqrt(np.diagonal(A, axis1=-2, axis2=-1))
    product = own[..., :, None] * own[..., None, :]
    rho = np.clip(A / product, -1.0, 1.0)
    angle, sine = np.arccos(rho), np.sqrt(1.0 - rho**2)
    relu = product * (sine + (np.pi - angle) * rho) / (2 * np.pi)
    step = (np.pi - angle) / (2 * np.pi)
    delta = own[..., :, None] * sine / (2 * np.pi * own[..., None, :])
    return relu, step, delta


def half_line(order):
    """Nodes and weights for an integral over s > 0, algebraic at 0 and ∞: s = (a/(1 − a))² with Gauss–Legendre in a."""
    a, weights = np.polynomial.legendre.leggauss(order)
    a, weights = (a + 1) / 2, weights / 2
    return (a / (1 - a)) ** 2, weights * 2 * a / (1 - a) ** 3


def centring(size):
    return np.eye(size) - 1 / size


def damped(K, D):
    """The covariance K(I + 2DK)⁻¹ for diagonals D (…, m), and det(I + 2DK)^(−1/2)."""
    B = np.eye(len(K)) + 2 * D[..., None] * K
    return K @ np.linalg.inv(B), np.linalg.det(B) ** -0.5


def diagonal(A):
    return np.diagonal(A, axis1=-2, axis2=-1)


def one_batch(K, order=160):
    """E x xᵀ and E JKJᵀ of x = relu(batch norm(h)), J = ∂x/∂h, h ~ N(0, K)."""
    G = centring(len(K))
    K = G @ K @ G
    s, weights = half_line(order)
    A, det = damped(K, np.outer(s, np.ones(len(K))))
    V, P, Q = relu_moments(A)
    KA, AKA = K @ A, A @ K @ A
    M = np.swapaxes(KA, 1, 2) * P + diagonal(KA)[:, None, :] * Q
    N = np.trace(KA, axis1=1, axis2=2)[:, None, None] * V + 2 * AKA * P
    N += diagonal(AKA)[:, None, :] * Q + np.swapaxes(diagonal(AKA)[:, None, :] * Q, 1, 2)
    s, weights = s[:, None, None], (weights * det)[:, None, None]
    JKJ = P * K - s * (M + np.swapaxes(M, 1, 2)) + s**2 / 2 * N
    return len(K) * np.sum(weights * V, axis=0), len(K) * np.sum(weights * JKJ, axis=0)


def two_batches(K, size, order=40):
    """As `one_batch` between the first `size` inputs and the others, each normalized by itself; K is of them all."""
    G = np.zeros_like(K)
    G[:size, :size], G[size:, size:] = centring(size), centring(len(K) - size)
    K = G @ K @ G
    nodes, weights = half_line(order)
    s, t = (grid.ravel() for grid in np.meshgrid(nodes, nodes))
    weight = np.outer(weights, weights).ravel() / np.sqrt(s * t) / np.pi
    A, det = damped(K, np.concatenate([np.outer(s, np.ones(size)), np.outer(t, np.ones(len(K) - size))], axis=1))
    V, P, Q = (moment[:, :size, size:] for moment in relu_moments(A))
    R = np.swapaxes(relu_moments(A)[2], 1, 2)[:, :size, size:]
    K, Auu, Auw, Aww = K[:size, size:], A[:, :size, :size], A[:, :size, size:], A[:, size:, size:]
    Awu = np.swapaxes(Auw, 1, 2)
    M1 = (Auu @ K) * P + diagonal(K.T @ Auw)[:, None, :] * Q
    M2 = (K @ Aww) * P + diagonal(K @ Awu)[:, :, None] * R
    N = np.trace(K.T @ Auw, axis1=1, axis2=2)[:, None, None] * V
    N += (Auu @ K @ Aww + np.swapaxes(Awu @ K @ Awu, 1, 2)) * P
    N += diagonal(Auu @ K @ Awu)[:, :, None] * R + diagonal(Awu @ K @ Aww)[:, None, :] * Q
    s, t, weight = (values[:, None, None] for values in (s, t, weight * det))
    JKJ = P * K - 2 * s * M1 - 2 * t * M2 + 4 * s * t * N
    scale = np.sqrt(size * (A.shape[1] - size))
    return scale * np.sum(weight * V, axis=0), scale * np.sum(weight * JKJ, axis=0)
