"""Margins of classifiers, and the complexities of weights by which they are normalized."""

from types import ModuleType
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Shaped

from bounds.arrays import as_data, as_labels, euclidean_norm
from bounds.networks.norms import layer_norms
from bounds.networks.weights import dense_matrices, in_one_dtype, layer_matrices, matrices_of
from bounds.rademacher.networks import golowich_complexity
from ntk.checks import as_floating, as_positive_number, check_nonnegative, check_representable, is_concrete
from ntk.dtypes import common_dtype
from ntk.trees import Params

SomeArray = TypeVar("SomeArray", np.ndarray, jax.Array)


def classification_margins(outputs: Shaped[ArrayLike, "N ..."], labels: Shaped[ArrayLike, " N"]) -> Float[Array, " N"]:
    """How clearly each point is classified: f(x)_y − max_{j≠y} f(x)_j, or y f(x) for one output; ≤ 0 is an error.

    Stated in theory.md 12.5.

    Args:
        outputs: (N, C) of C ≥ 2 classes, or (N,), float32 or float64.
        labels: (N,): classes 0, …, C − 1 as integers; for one output −1 and 1, of any dtype.

    Returns:
        (N,).

    Raises:
        TypeError: outputs is not of float32 or float64.
        ValueError: A shape or a label does not fit, classes are not integers, or an output is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.networks.margins import classification_margins
        >>> print(classification_margins(jnp.array([[0.0, 3.0, 1.0], [2.0, 0.0, 0.0]]), jnp.array([1, 2])))
        [ 2. -2.]
    """
    return margins_of("outputs", outputs, "labels", labels)


def margins_of(argument: str, outputs: object, labels_argument: str, labels: object) -> Float[Array, " N"]:
    """`classification_margins`, whose messages call the arguments by the given names."""
    outputs = as_floating(argument, outputs)
    binary = outputs.ndim == 1
    outputs = as_data(argument, outputs, "(N,)" if binary else "(N, C)")
    labels = as_labels(labels_argument, labels, "(N,)")
    if labels.shape != outputs.shape[:1]:
        raise ValueError(
            f"{labels_argument} has shape {labels.shape}; expected {outputs.shape[:1]}, one for each row of {argument}."
        )
    if not binary and (outputs.shape[1] < 2 or not jnp.issubdtype(labels.dtype, jnp.integer)):
        raise ValueError(
            f"{argument} has shape {outputs.shape} and {labels_argument} dtype {labels.dtype}; expected two classes or"
            " more with integer labels, or (N,) with labels -1 and 1."
        )
    if is_concrete(labels):
        values = np.asarray(labels)
        allowed = np.abs(values) == 1 if binary else (values >= 0) & (values < outputs.shape[1])
        if not allowed.all():
            expected = "-1 or 1" if binary else f"classes from 0 to {outputs.shape[1] - 1}"
            raise ValueError(f"{labels_argument} holds {values[~allowed][0]}; expected {expected}.")
    result: Float[Array, " N"] = _margins(outputs, labels)
    return result


def ramp_risk(margins: Shaped[ArrayLike, " N"], gamma: ArrayLike) -> Float[Array, ""]:
    """The mean of the ramp loss min(1, max(0, 1 − margin/γ)), stated in theory.md 12.5.

    It lies between the share of margins ≤ 0 and the share of margins < γ.

    Args:
        margins: (N,), float32 or float64.
        gamma: γ > 0.

    Returns:
        A scalar in [0, 1].

    Raises:
        TypeError: margins is not of float32 or float64.
        ValueError: margins is not (N,) or is not finite, or γ is not a positive number.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.networks.margins import ramp_risk
        >>> print(ramp_risk(jnp.array([-1.0, 0.5, 1.0, 3.0]), 2.0))  # (1 + 0.75 + 0.5 + 0)/4
        0.5625
    """
    margins = as_data("margins", margins, "(N,)")
    return jnp.mean(ramp(margins, as_positive_number("gamma", gamma, margins.dtype)))


def ramp(margins: SomeArray, gamma: SomeArray | float) -> SomeArray:
    """min(1, max(0, 1 − margin/γ)) (theory.md 12.5) of arrays of JAX or of NumPy."""
    return (1 - margins / gamma).clip(0, 1)


def normalized_margins(
    margins: Shaped[ArrayLike, " N"], complexity: ArrayLike, x: Shaped[ArrayLike, "N d"]
) -> Float[Array, " N"]:
    """Margins times N/(R ‖X‖_F), comparable between networks and data sets (Bartlett et al. 2017, section 2).

    Stated in theory.md 12.5. The paper plots their distribution: the further right it lies, the better a network may be
    expected to generalize.

    Args:
        margins: (N,), float32 or float64.
        complexity: R, such as `spectral_complexity`.
        x: Inputs, (N, d); their Frobenius norm is ‖X‖_F.

    Returns:
        (N,).

    Raises:
        TypeError: margins or x is not of float32 or float64.
        ValueError: A shape does not fit, an entry is not finite, or the complexity is not a positive number.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.networks.margins import normalized_margins
        >>> print(normalized_margins(jnp.array([1.0, -1.0]), 4.0, jnp.array([[1.0, 0.0], [0.0, 0.0]])))
        [ 0.5 -0.5]
    """
    margins, x = as_data("margins", margins, "(N,)"), as_data("x", x, "(N, d)")
    if len(margins) != len(x):
        raise ValueError(f"margins has {len(margins)} entries; expected {len(x)} as x has rows.")
    dtype = common_dtype(margins, x)
    margins, x = margins.astype(dtype), x.astype(dtype)
    complexity = as_positive_number("complexity", complexity, dtype)
    # One division at a time: the product of the divisors may leave the range of the dtype where the result does not.
    result: Float[Array, " N"] = margins / complexity / (euclidean_norm(x) / len(x))
    check_representable(normalized_margins=result)
    if is_concrete(result) and bool(jnp.any((result == 0) & (margins != 0))):
        raise ValueError(f"normalized_margins falls below the range of {result.dtype}; expected larger margins.")
    return result


def spectral_complexity(
    weights: Params, references: Params = None, activation_lipschitz: Shaped[ArrayLike, "*L"] = 1.0
) -> Float[Array, ""]:
    """Πρ_i‖A_i‖_σ (Σ_i (‖A_iᵀ − M_iᵀ‖_{2,1}/‖A_i‖_σ)^{2/3})^{3/2} (Bartlett, Foster & Telgarsky 2017, equation 1.2).

    Stated in theory.md 12.4. It is a measure; `spectral_margin_bound` is the bound that contains it. The paper's A is
    (out, in), so ‖Aᵀ‖_{2,1} sums one Euclidean norm per output unit. The computation has no quotients, so that
    a layer may be zero. Biases do not count, and a convolution counts by its matrix.

    Args:
        weights: The weights of dense layers, (in, out), and of convolutions, (…, in, out): a tree of Flax Linen or NNX,
            a list, or `WeightMatrices`.
        references: M_i, of the same structure, such as the weights at initialization; None for zeros.
        activation_lipschitz: ρ_i, for the activation that follows each layer, one number or (L,).

    Returns:
        A scalar.

    Raises:
        TypeError: A matrix is not of float32 or float64.
        ValueError: No leaf is a matrix, a matrix is not finite, no order makes them layers of a network, references or
            activation_lipschitz does not fit, or the result leaves the range of the dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.networks.margins import spectral_complexity
        >>> weights = [jnp.diag(jnp.array([3.0, 4.0])), jnp.array([[2.0], [0.0]])]
        >>> print(f"{spectral_complexity(weights):.3f}")  # (14^(2/3) + 8^(2/3))^(3/2)
        30.720
    """
    weights = layer_matrices("weights", weights)
    norms = layer_norms(weights)
    spectral, distances = norms.spectral, norms.l21
    if references is not None:
        references = in_one_dtype(matrices_of("references", references))
        shapes, expected = ([w.shape for w in group.matrices] for group in (references, weights))
        if shapes != expected:
            raise ValueError(f"references has matrices of shapes {shapes}; expected {expected} as weights has.")
        dtype = common_dtype(weights.matrices[0], references.matrices[0])
        spectral = spectral.astype(dtype)
        pairs = zip(weights.matrices, references.matrices, strict=True)
        distances = jnp.stack([_distance(w.astype(dtype), m.astype(dtype)) for w, m in pairs])
    check_nonnegative("activation_lipschitz", activation_lipschitz)
    constants = jnp.asarray(activation_lipschitz, spectral.dtype)
    if constants.shape not in ((), spectral.shape):
        raise ValueError(f"activation_lipschitz has shape {constants.shape}; expected () or {spectral.shape}.")
    result: Float[Array, ""] = _complexity(spectral, distances, constants)
    check_representable(spectral_complexity=result)
    return result


def golowich_rademacher(weights: Params, x: Shaped[ArrayLike, "m d"]) -> Float[Array, ""]:
    """(1/m) Π‖W_j‖_F (√(2 ln 2 · L) + 1) ‖X‖_F, for the networks with the norms of a given one (theory.md 11.6).

    It is at least R̂_S of all ReLU networks without biases, with one output and L matrices, whose Frobenius norms have
    no larger product (Golowich, Rakhlin & Shamir 2018, Theorem 1). `NetworkBall` approaches R̂_S from below. With
    `contracted_rademacher` the result bounds the complexity of the losses, and with `rademacher_bound` the risk, of
    networks whose norms were fixed beforehand. For a trained network's own norms, use `golowich_margin_bound`.

    Args:
        weights: The weights of dense layers, (in, out): a tree of Flax Linen or NNX, a list, or `WeightMatrices`.
        x: The sample, (m, d), float32 or float64.

    Returns:
        A scalar.

    Raises:
        TypeError: An array is not of float32 or float64.
        ValueError: No leaf is a matrix, a matrix is a convolution, no order of them fits or several do, there is more
            than one output, or an entry is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> from bounds.networks.margins import golowich_rademacher
        >>> from bounds.rademacher import contracted_rademacher
        >>> complexity = golowich_rademacher([jnp.ones((1, 1))], jnp.ones((100, 1)))
        >>> print(f"{contracted_rademacher(complexity, lipschitz=2.0):.4f}")  # 2 (√(2 ln 2) + 1)/√100
        0.4355
    """
    weights, x = dense_matrices("weights", weights), as_data("x", x, "(m, d)")
    sizes = weights.matrices[0].shape[0], weights.matrices[-1].shape[1]
    if sizes != (x.shape[1], 1):
        raise ValueError(f"weights has (inputs, outputs) {sizes}; expected {(x.shape[1], 1)} for x of {x.shape}.")
    dtype = common_dtype(weights.matrices[0], x)
    result: Float[Array, ""] = _golowich([w.astype(dtype) for w in weights.matrices], x.astype(dtype))
    check_representable(golowich_rademacher=result)
    return result


@jax.jit
def _margins(outputs: Float[Array, "N ..."], labels: Shaped[Array, " N"]) -> Float[Array, " N"]:
    if outputs.ndim == 1:
        return labels.astype(outputs.dtype) * outputs
    own = jax.nn.one_hot(labels, outputs.shape[1], dtype=bool)
    right = jnp.sum(jnp.where(own, outputs, 0), axis=1)
    return right - jnp.max(jnp.where(own, -jnp.inf, outputs), axis=1)


def complexity_of_norms(spectral: SomeArray, distances: SomeArray, numpy: ModuleType = np) -> SomeArray:
    """Π s_i (Σ_i (b_i/s_i)^{2/3})^{3/2} (theory.md 12.4), without quotients, so that s_i may be 0.

    Args:
        spectral: s_i, (L,).
        distances: b_i, (L,).
        numpy: numpy or jax.numpy, the module of these arrays.

    Returns:
        An array without axes.
    """
    one = numpy.ones(1, spectral.dtype)
    before = numpy.cumprod(numpy.concatenate([one, spectral[:-1]]))
    after = numpy.cumprod(numpy.concatenate([one, spectral[:0:-1]]))[::-1]
    terms = distances * before * after
    # The powers have no derivative at 0.
    positive = ~(terms <= 0)
    total = numpy.sum(numpy.where(positive, numpy.where(positive, terms, 1) ** (2 / 3), 0))
    result: SomeArray = numpy.where(total > 0, numpy.where(total > 0, total, 1) ** 1.5, total)
    return result


@jax.jit
def _distance(w: Float[Array, "in out"], reference: Float[Array, "in out"]) -> Float[Array, ""]:
    """‖(W − M)ᵀ‖_{2,1}, one norm for each output unit."""
    return jnp.sum(euclidean_norm(w - reference, axis=0))


@jax.jit
def _complexity(
    spectral: Float[Array, " L"], distances: Float[Array, " L"], constants: Float[Array, "*L"]
) -> Float[Array, ""]:
    return complexity_of_norms(spectral * constants, distances * constants, jnp)


@jax.jit
def _golowich(matrices: list[Float[Array, "_ _"]], x: Float[Array, "m d"]) -> Float[Array, ""]:
    product = jnp.prod(jnp.stack([euclidean_norm(w) for w in matrices]))
    return golowich_complexity(product, len(matrices), euclidean_norm(x), len(x))
