"""Margin bounds of trained networks with every constant: the norms and the margin may depend on the sample.

Both hold for i.i.d. points and networks without biases, one-sided, with probability at least 1 − δ over the sample, for
all networks of an architecture and all margins γ > 0 at once. Norms and γ are rounded to a grid, and the confidence has
a union bound over the grid (theory.md 12.8). An architecture is the activation and the shapes of the weights.
"""

import math
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from bounds.arrays import as_host_array
from bounds.checks import Real, Reals, as_delta, as_nonnegative, as_positive, as_scalar
from bounds.concentration.union import round_up
from bounds.networks.margins import complexity_of_norms, ramp
from bounds.networks.weights import host_matrices
from bounds.rademacher.networks import golowich_complexity
from ntk.trees import Params

SPECTRAL_CEILING = 8.0  # the complexity of `spectral_margin_bound` if covering by one function is best


class MarginBound(NamedTuple):
    """An upper bound on the probability of error and the three parts that add up to it.

    Attributes:
        bound: The sum of the parts. It is vacuous from 1 on.
        margin_risk: The mean ramp loss of the training margins, at most the share of margins below γ.
        complexity: The part that depends on the norms of the network.
        confidence: The part that depends on δ, with the union bound over norms and margins.
    """

    bound: float
    margin_risk: float
    complexity: float
    confidence: float

    @classmethod
    def of_parts(
        cls, margins: np.ndarray, gamma: float, complexity: float, delta: float, log_share: float
    ) -> "MarginBound":
        """The bound from training margins. Its share of δ in the union bound is e^{−log_share}."""
        if not math.isfinite(complexity + log_share):
            raise ValueError(
                f"gamma is {gamma:.3g}, and norms divided by it leave the range of float64; expected a larger one."
            )
        confidence = 3 * math.sqrt((math.log(2 / delta) + log_share) / (2 * len(margins)))
        with np.errstate(over="ignore"):
            risk = float(np.mean(ramp(margins, gamma)))
        return cls(risk + complexity + confidence, risk, complexity, confidence)


def golowich_margin_bound(
    margins: Shaped[ArrayLike, " m"], weights: Params, x: Shaped[ArrayLike, "m d"], gamma: Real, delta: Real
) -> MarginBound:
    """The probability that y f(x) ≤ 0, for ReLU networks f with one output, by their Frobenius norms.

        P(y f ≤ 0) ≤ mean ramp_γ + 2 C (√(2 ln 2 · L) + 1) ‖X‖_F/m + 3 √(ln(2/(p_C δ))/(2m)),

    where C is the product of the L matrices' Frobenius norms divided by γ, rounded up on a grid of ratio 1.1, with the
    share p_C of the union bound (theory.md 12.6). It combines Theorem 1 of Golowich, Rakhlin & Shamir 2018 with the
    contraction and the Rademacher bound of Mohri et al. 2018, Lemma 5.7 and Theorem 3.3. Activations are
    positive-homogeneous and 1-Lipschitz, like relu.

    Args:
        margins: y f(x) on the sample, (m,).
        weights: The matrices (in, out) of the network, in a tree of Flax Linen or NNX, in a list, or as
            `WeightMatrices`. For an `ntk.MLP` pass those of `ntk_weight_matrices`, which include its scales.
        x: The sample's inputs, (m, d).
        gamma: γ > 0, the margin.
        delta: δ in (0, 1).

    Returns:
        `MarginBound`.

    Raises:
        TypeError: An argument is not a real array, or is traced by JAX.
        ValueError: A shape does not fit, a number is out of its range, no order of the matrices fits or several do, or
            the network has biases, convolutions or more than one output.

    Example:
        >>> import numpy as np
        >>> from bounds.networks.margin_bounds import golowich_margin_bound
        >>> x = np.array([[1.0, 0.0], [0.0, 1.0]] * 5000)
        >>> weights = [np.array([[1.0], [1.0]]) / np.sqrt(2)]
        >>> print(f"{golowich_margin_bound(x.sum(1) / np.sqrt(2), weights, x, gamma=0.5, delta=0.05).bound:.3f}")
        0.156
    """
    matrices = host_matrices("weights", weights)
    if matrices[-1].shape[1] != 1:
        raise ValueError(f"weights has {matrices[-1].shape[1]} outputs; expected 1, whose sign is the class.")
    values, data_norm = _sample(margins, x, len(matrices[0]))
    gamma, delta = as_scalar(as_positive, "gamma", gamma), as_scalar(as_delta, "delta", delta)
    product = math.prod(float(np.linalg.norm(w)) for w in matrices)
    scale, log_share = round_up(max(product / gamma, 1e-12))
    complexity = 2 * golowich_complexity(scale, len(matrices), data_norm, len(values))
    return MarginBound.of_parts(values, gamma, complexity, delta, log_share)


def spectral_margin_bound(
    margins: Shaped[ArrayLike, " m"],
    weights: Params,
    x: Shaped[ArrayLike, "m d"],
    gamma: Real,
    delta: Real,
    references: Params = None,
    activation_lipschitz: Reals = 1.0,
) -> MarginBound:
    """The probability of a wrong class, for networks by their spectral and (2,1) norms (Bartlett et al. 2017).

        P(wrong) ≤ mean ramp_γ + 2 inf_α (4α/√m + (12/m) r ln(√m/α)) + 3 √(ln(2/(p δ))/(2m)),
        r = 2 ‖X‖_F √ln(2W²) R/γ,   R = Πρ_i s_i (Σ (b_i/s_i)^{2/3})^{3/2}.

    This is theory.md 12.7. It differs from their Lemma A.8 in these points:

    - α is the best one, 3r/√m, where they take α = 1/m.
    - The confidence has ln(2/δ) in place of ln(1/δ), as in Mohri et al. 2018, Theorem 3.3.
    - s_i ≥ ‖A_i‖_σ, b_i ≥ ‖A_iᵀ − M_iᵀ‖_{2,1} and 1/γ are rounded up on grids. p is their share of the union bound.
    - √ln(2W²) stands where they have the larger ln(2W).
    - The number of terms in Maurey's lemma is rounded up, which makes r larger by √2. A margin is √2-Lipschitz in
      Euclidean norm, where they take 2, which makes r smaller by √2.

    Args:
        margins: f(x)_y − max_{j≠y} f(x)_j on the sample, (m,).
        weights: The L matrices (in, out) of the network, in a tree of Flax Linen or NNX, in a list, or as
            `WeightMatrices`. W is the largest of their dimensions. Activations between them are ρ_i-Lipschitz and 0 at
            0.
        x: The sample's inputs, (m, d).
        gamma: γ > 0, the margin.
        delta: δ in (0, 1).
        references: M_i, matrices chosen before the sample was seen, such as those at initialization; None for zeros.
        activation_lipschitz: ρ_i, one number or (L,).

    Returns:
        `MarginBound`.

    Raises:
        TypeError: An argument is not a real array, or is traced by JAX.
        ValueError: A shape does not fit, a number is out of its range, no order of the matrices fits or several do, or
            the network has biases or convolutions.

    Example:
        >>> import numpy as np
        >>> from bounds.networks.margin_bounds import spectral_margin_bound
        >>> x = np.ones((10_000, 1))
        >>> found = spectral_margin_bound(np.ones(10_000), [np.ones((1, 1))], x, gamma=1.0, delta=0.05)
        >>> print(f"{found.complexity:.2f} {found.confidence:.2f}")  # vacuous, as these bounds are
        1.60 0.06
    """
    matrices = host_matrices("weights", weights)
    depth = len(matrices)
    starts = [np.zeros_like(w) for w in matrices] if references is None else host_matrices("references", references)
    if [w.shape for w in starts] != [w.shape for w in matrices]:
        raise ValueError(
            f"references has matrices of shapes {[w.shape for w in starts]}; expected {[w.shape for w in matrices]} as"
            " weights has."
        )
    constants = as_nonnegative("activation_lipschitz", activation_lipschitz)
    if constants.shape not in ((), (depth,)):
        raise ValueError(f"activation_lipschitz has shape {constants.shape}; expected () or ({depth},).")
    values, data_norm = _sample(margins, x, len(matrices[0]))
    m = len(values)
    inverse_gamma, log_share = round_up(1 / as_scalar(as_positive, "gamma", gamma))
    # R has L + 1 rounded factors. With this ratio they enlarge it by at most 4 for L = 1, and by less for larger L.
    ratio = 1 + 1 / depth
    spectral, distances = np.empty(depth), np.empty(depth)
    for i, (w, start) in enumerate(zip(matrices, starts, strict=True)):
        spectral[i], log_s = round_up(max(float(np.linalg.norm(w, ord=2)), 1e-12), ratio)
        distances[i], log_b = round_up(max(float(np.linalg.norm(w - start, axis=0).sum()), 1e-6 * spectral[i]), ratio)
        log_share += log_s + log_b
    with np.errstate(over="ignore", invalid="ignore"):
        complexity = float(complexity_of_norms(constants * spectral, constants * distances))
    width = max(size for w in matrices for size in w.shape)
    r = 2 * data_norm * math.sqrt(math.log(2 * width**2)) * complexity * inverse_gamma
    delta = as_scalar(as_delta, "delta", delta)
    return MarginBound.of_parts(values, 1 / inverse_gamma, 2 * _dudley(r, m), delta, log_share)


def _dudley(r: float, m: int) -> float:
    """The infimum over 0 < α ≤ √m of 4α/√m + (12/m) r ln(√m/α), of covering numbers with the logarithm (r/ε)²."""
    if not 3 * r < m:  # also where r is infinite or NaN
        return SPECTRAL_CEILING / 2
    return 12 * r / m * (1 + math.log(m / (3 * r))) if r > 0 else 0.0


def _sample(margins: ArrayLike, x: ArrayLike, dim: int) -> tuple[Float[np.ndarray, " m"], float]:
    """The margins, and ‖X‖_F."""
    values, inputs = as_host_array("margins", margins, "(m,)"), as_host_array("x", x, "(m, d)")
    if len(values) != len(inputs):
        raise ValueError(f"margins has {len(values)} entries; expected {len(inputs)} as x has rows.")
    if inputs.shape[1] != dim:
        raise ValueError(f"x has {inputs.shape[1]} features; expected {dim}, the inputs of weights.")
    return values, float(np.linalg.norm(inputs))
