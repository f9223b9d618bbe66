"""The spectrum of a kernel on a sphere, degree by degree (theory.md 7.3 and 7.4)."""

import math
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float

from ntk.checks import check_choice, check_count, shown
from ntk.learning_curves.gegenbauer import angles, degeneracy, polynomials
from ntk.learning_curves.taylor import monomial_eigenvalues, taylor_coefficients
from ntk.networks import MLP
from ntk.programs import ProgramKernels, TensorProgram
from ntk.readings import infinite_kernels

# The order of the Taylor series. Its composition takes about a tenth of a second a layer.
ORDER = 200
# Roundings of the kernel, a polynomial and a weight, in units of ε. Those of NumPy's weights are the largest.
ROUNDINGS = 64

Estimates = tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]  # numbers and their errors


@dataclass(frozen=True)
class ZonalSpectrum:
    """The eigenvalues of a zonal kernel for inputs that are uniform on the sphere ξ·ξ = d of R^d.

    Attributes:
        dim: d.
        eigenvalues: λ_0, …, λ_K, (K+1,). The eigenfunctions of λ_k are the spherical harmonics of degree k.
        degeneracies: How many harmonics there are of each degree, a tuple of K + 1 exact integers.
        error: An estimate of the error of each eigenvalue, (K+1,).
        trace: K(ξ, ξ), a scalar: the sum of all eigenvalues with their degeneracies.
    """

    dim: int
    eigenvalues: Float[np.ndarray, " K1"]
    degeneracies: tuple[int, ...]
    error: Float[np.ndarray, " K1"]
    trace: float

    @property
    def power(self) -> Float[np.ndarray, " K1"]:
        """The part N(d, k) λ_k of the trace that each degree has, (K+1,)."""
        return np.array([float(count) for count in self.degeneracies]) * self.eigenvalues

    @property
    def tail(self) -> float:
        """The part of the trace in degrees above K. `learning_curve` may add it to the ridge (theory.md 7.5)."""
        return max(self.trace - float(self.power.sum()), 0.0)


def zonal_spectrum(net: MLP | TensorProgram, dim: int, max_degree: int, *, kernel: str = "ntk") -> ZonalSpectrum:
    """The eigenvalues of an infinite network's kernel on the sphere (theory.md 7.3, 7.4).

    Inputs are uniform on the sphere ξ·ξ = d. The kernel is then a function of the angle between two inputs. Each
    eigenvalue is an integral over this angle, by Gauss-Legendre quadrature with two numbers of nodes. Its rounding is
    that of the kernel, divided by the square root of the degeneracy. For an MLP the eigenvalue also follows from a
    Taylor series without cancellation, which converges quickly in high dimensions. Of the two, the result is the one
    whose error estimate is smaller.

    This function runs on the host, in float64.

    Args:
        net: An `ntk.MLP`, or a program that reads inputs (d,) and whose kernel depends on their angle alone.
        dim: d, from 2 to a million.
        max_degree: K, the largest degree, at most 1000.
        kernel: "ntk" or "nngp".

    Returns:
        A `ZonalSpectrum`.

    Raises:
        TypeError: `net` is neither an MLP nor a program.
        ValueError: `dim` or `max_degree` is not such an integer, or the kernel depends on more than the angle.

    Example:
        >>> import ntk
        >>> spectrum = ntk.zonal_spectrum(ntk.MLP(depth=0), dim=10, max_degree=3)  # ξ·ξ̄/d: degree 1 alone
        >>> spectrum.degeneracies, spectrum.eigenvalues.round(6).tolist()
        ((1, 10, 54, 210), [0.0, 0.1, 0.0, 0.0])
    """
    if not isinstance(net, MLP | TensorProgram):
        raise TypeError(f"net is {shown(net)}; expected an ntk.MLP or an ntk.tensor_program, whose kernel is zonal.")
    check_count("dim", dim, minimum=2, maximum=10**6)
    check_count("max_degree", max_degree, minimum=0, maximum=1000)
    check_choice("kernel", kernel, ("ntk", "nngp"))
    with jax.enable_x64(True):
        trace, eigenvalues, error = _by_quadrature(net, dim, max_degree, kernel)
        if isinstance(net, MLP):
            of_series, error_of_series = _by_series(net, dim, max_degree, kernel, trace)
            better = error_of_series < error
            eigenvalues, error = np.where(better, of_series, eigenvalues), np.where(better, error_of_series, error)
    degeneracies = tuple(degeneracy(dim, k) for k in range(max_degree + 1))
    return ZonalSpectrum(dim, np.maximum(eigenvalues, 0.0), degeneracies, error, trace)


def _by_quadrature(
    net: MLP | TensorProgram, dim: int, max_degree: int, kernel: str
) -> tuple[float, Float[np.ndarray, " K1"], Float[np.ndarray, " K1"]]:
    """The trace, and the integrals over the angle with two numbers of nodes."""
    # The density of the angle is about 1/√d wide, and the polynomial has K zeros. Powers of 2, so that most spectra
    # compile the same kernel.
    fewer = 2 ** math.ceil(math.log2(200 + 3 * max_degree + 16 * int(dim**0.5)))
    rules = [angles(dim, nodes) for nodes in (fewer, 2 * fewer)]
    values, error_of_values = _of_angles(net, dim, kernel, np.concatenate([theta for theta, _ in rules] + [[0.0]]))
    found, bounds_of_error = [], []
    for (theta, weights), start in zip(rules, (0, fewer), strict=True):
        part = slice(start, start + len(theta))
        weighted = np.stack([weights * P for P in polynomials(dim, max_degree, np.cos(theta))])
        found.append(weighted @ values[part])
        rounding = ROUNDINGS * np.finfo(float).eps * np.abs(values[part])
        bounds_of_error.append(np.abs(weighted) @ (rounding + error_of_values[part]))
    return float(values[-1]), found[1], np.abs(found[1] - found[0]) + bounds_of_error[1]


def _of_angles(net: MLP | TensorProgram, dim: int, kernel: str, theta: Float[np.ndarray, " M"]) -> Estimates:
    """The kernel of two inputs at each angle, and its standard errors if it is sampled."""
    if isinstance(net, MLP):
        # It depends on ξ·ξ̄/d alone, so two dimensions show all of it.
        return _in_plane(net, np.eye(2), kernel, theta)
    values, error = _in_plane(net, np.eye(2, dim), kernel, theta)
    another_plane = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, 2)))[0].T
    few = np.linspace(0, len(theta) - 1, 9).astype(int)
    others, error_of_others = _in_plane(net, another_plane, kernel, theta[few])
    if (np.abs(others - values[few]) > 1e-8 * np.abs(values).max() + 6 * (error[few] + error_of_others)).any():
        raise ValueError("the kernel of net depends on more than the angle between inputs; expected a zonal one.")
    return values, error


def _in_plane(
    net: MLP | TensorProgram, axes: Float[np.ndarray, "2 d"], kernel: str, theta: Float[np.ndarray, " M"]
) -> Estimates:
    """The kernel of √d times the first axis and of the inputs that are turned from it by θ towards the second."""
    first, second = axes.shape[1] ** 0.5 * axes
    k = infinite_kernels(net, first[None], np.outer(np.cos(theta), first) + np.outer(np.sin(theta), second))
    error = getattr(k.standard_error, kernel)[0] if isinstance(k, ProgramKernels) else np.zeros(len(theta))
    return np.asarray(getattr(k, kernel))[0], np.asarray(error)


def _by_series(net: MLP, dim: int, max_degree: int, kernel: str, trace: float) -> Estimates:
    """The sums over Taylor coefficients. Their error is infinite if the series does not give the kernel's values.

    Hermite coefficients of a function with a kink away from 0 are not accurate.
    """
    order = max(ORDER, 2 * max_degree)
    a = taylor_coefficients(net, order)[0 if kernel == "nngp" else 1]
    c = np.stack([monomial_eigenvalues(dim, k, order) for k in range(max_degree + 1)])
    theta = np.linspace(np.pi / 3, 2 * np.pi / 3, 7)
    values, _ = _of_angles(net, dim, kernel, theta)
    differs = np.abs(np.polynomial.polynomial.polyval(np.cos(theta), a) - values).max()
    if not differs < 1e-12 * trace:
        return np.zeros(max_degree + 1), np.full(max_degree + 1, np.inf)
    # The coefficients beyond the order add up to what is missing of the trace. Each of them is multiplied by at most
    # the largest c of its degree beyond the order.
    missing = abs(trace - float(a.sum()))
    beyond = np.array([_largest_beyond(dim, k, order) for k in range(max_degree + 1)])
    eigenvalues = c @ a
    return eigenvalues, missing * beyond + order * np.finfo(float).eps * eigenvalues


def _largest_beyond(dim: int, degree: int, order: int) -> float:
    """max c_m over m > order. As a function of m, c_m rises to one maximum and falls."""
    return float(monomial_eigenvalues(dim, degree, 4 * order)[order + 1 :].max())
