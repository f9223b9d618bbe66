"""Learning curves of the NTK on a sphere, degree by degree (Bordelon, Canatar & Pehlevan 2020, arXiv:2002.02561).

A teacher is a sum of kernels at 300 random points with random signs. Kernel regression learns it from N random points.
The error in the harmonics of each degree is measured over random draws, and predicted from the spectrum.
"""

import functools
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict

import ntk
from experiments.common.metrics import Record
from ntk.checks import check_count
from ntk.learning_curves.gegenbauer import polynomials

DEGREES = 30
TEACHERS = 300
SIZES = (1, 2, 4, 6, 10, 17, 26, 42, 66, 104, 163, 257, 404, 636, 1000)
PUBLISHED_DIMS = (10, 100)
# Their kernel matrices have no ridge; this one only keeps the solution from rounding.
RIDGE = 1e-10


class PublishedErrors(NamedTuple):
    """The paper's means over 50 draws, and their standard errors: (sizes, degrees) each."""

    mean: Float[np.ndarray, "S K"]
    error: Float[np.ndarray, "S K"]


def published_errors(data_dir: str, dim: int) -> PublishedErrors | None:
    """The paper's errors at `SIZES`, from DIR/sphere. None without a folder, or for a dimension that the paper has not.

    Raises:
        FileNotFoundError: The folder has no such files.
    """
    if not data_dir or dim not in PUBLISHED_DIMS:
        return None
    files = (Path(data_dir) / "sphere" / f"{part}_errs_lamb0.000000_d{dim}.csv" for part in ("all", "std"))
    return PublishedErrors(*(np.genfromtxt(file, delimiter=",", skip_header=1)[:, 1:] for file in files))


@functools.cache
def spectrum(dim: int) -> ntk.ZonalSpectrum:
    """Of the NTK of three hidden layers of ReLU without biases, whose activations keep their variance."""
    net = ntk.MLP(depth=3, activation="relu", w_std=math.sqrt(2), b_std=0.0)
    return ntk.zonal_spectrum(net, dim, DEGREES - 1)


def predicted_errors(dim: int, sizes: tuple[int, ...]) -> Float[np.ndarray, "S K"]:
    """The mean errors in each degree (theory.md 7.7). The kernel has the first 30 degrees alone, as in the paper."""
    of = spectrum(dim)
    power = TEACHERS * of.eigenvalues * of.power
    return ntk.learning_curve(of.eigenvalues, of.degeneracies, power, np.array(sizes), ridge=RIDGE).mode_mse


def check_config(config: ConfigDict) -> None:
    """Refuse values that nothing else checks.

    Raises:
        ValueError: The sentence names the field, its value and what is expected.
    """
    check_count("num_draws", config.num_draws, minimum=2)
    check_count("seed", config.seed, minimum=0)
    for dim in config.dims:
        check_count("dims", dim, minimum=3)
    for size in config.sizes:
        check_count("sizes", size)


def places(config: ConfigDict) -> list[tuple[int, int]]:
    """Every dimension with every number of samples."""
    return [(dim, size) for dim in config.dims for size in config.sizes]


def place_of(record: Record) -> tuple[int, int]:
    """The dimension and the number of samples of a record."""
    return record["dim"], record["num_samples"]


def measure(place: tuple[int, int], config: ConfigDict) -> Record:
    """The errors in each degree, averaged over draws, with standard errors."""
    dim, size = place
    rng = np.random.default_rng((config.seed, dim, size))
    draws = np.stack([_errors_of_a_draw(rng, dim, size) for _ in range(config.num_draws)])
    error = draws.std(axis=0, ddof=1) / config.num_draws**0.5
    return {"dim": dim, "num_samples": size, "mean": draws.mean(axis=0).tolist(), "error": error.tolist()}


def _errors_of_a_draw(rng: np.random.Generator, dim: int, size: int) -> Float[np.ndarray, " K"]:
    """E_k = λ_k² N(d, k) cᵀ P_k c. The coefficients c are those of the fit, and then those of the teacher times −1."""
    of = spectrum(dim)
    points = rng.normal(size=(size + TEACHERS, dim))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    cosines = np.clip(points @ points.T, -1.0, 1.0)
    of_degrees = np.stack(list(polynomials(dim, DEGREES - 1, cosines)))
    kernel = np.tensordot(of.power, of_degrees, axes=1)
    signs = rng.choice([-1.0, 1.0], TEACHERS)
    targets = kernel[:size, size:] @ signs
    fitted = np.linalg.solve(kernel[:size, :size] + RIDGE * np.eye(size), targets)
    coefficients = np.concatenate([fitted, -signs])
    return of.eigenvalues * of.power * (coefficients @ (of_degrees @ coefficients).T)
