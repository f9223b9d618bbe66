"""Spectra and similarities of kernels against NumPy and closed forms, also where kernels are singular or zero."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from refusals import assert_refused, rows
from tolerances import CLOSED_FORM, SAME_FORMULA, SOLVED

from ntk.spectra import (
    alignment,
    condition_number,
    effective_dimension,
    effective_rank,
    eigenvalues,
    kernel_distance,
    target_alignment,
)


def gram(num_inputs=6, rank=6, seed=0):
    x = np.random.default_rng(seed).normal(size=(num_inputs, rank))
    return x @ x.T


def with_spectrum(spectrum, seed=0):
    """A kernel with the given eigenvalues and random eigenvectors."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(spectrum), len(spectrum))))
    kernel = q * np.asarray(spectrum) @ q.T
    return (kernel + kernel.T) / 2


SPECTRUM = np.array([5.0, 2.0, 1.0, 0.5, 1e-3])
Y = np.random.default_rng(1).normal(size=6)

# Every function, as one of a kernel alone.
OF_A_KERNEL = {
    "eigenvalues": eigenvalues,
    "effective_rank": effective_rank,
    "effective_dimension": lambda kernel: effective_dimension(kernel, jnp.asarray(0.3, kernel.dtype)),
    "condition_number": condition_number,
    "alignment": lambda kernel: alignment(kernel, jnp.asarray(gram(seed=2), kernel.dtype)),
    "alignment-uncentered": lambda kernel: alignment(kernel, jnp.asarray(gram(seed=2), kernel.dtype), centered=False),
    "target_alignment": lambda kernel: target_alignment(kernel, jnp.asarray(Y, kernel.dtype)),
    "kernel_distance": lambda kernel: kernel_distance(kernel, jnp.asarray(gram(seed=2), kernel.dtype)),
}


def centered(kernel):
    H = np.eye(len(kernel)) - 1 / len(kernel)
    return H @ kernel @ H


def cosine(kernel1, kernel2):
    return np.sum(kernel1 * kernel2) / (np.linalg.norm(kernel1) * np.linalg.norm(kernel2))


# A kernel of size 6 is known to 6 ε of its norm in float64, and so are its eigenvalues.
TOLERANCE = 1e-13


def test_eigenvalues_are_those_it_was_made_of():
    np.testing.assert_allclose(eigenvalues(with_spectrum(SPECTRUM)), SPECTRUM, rtol=0, atol=5 * TOLERANCE)
    np.testing.assert_allclose(eigenvalues(np.array([[-2.0, 0.0], [0.0, 1.0]])), [1.0, -2.0], rtol=TOLERANCE)


def test_asymmetry_of_rounding_is_averaged_out():
    kernel = gram()
    noise = 1e-4 * np.random.default_rng(3).normal(size=kernel.shape)
    expected = np.linalg.eigvalsh(kernel + (noise + noise.T) / 2)[::-1]
    np.testing.assert_allclose(eigenvalues(kernel + noise), expected, rtol=0, atol=100 * TOLERANCE)


def test_effective_rank():
    p = SPECTRUM / SPECTRUM.sum()
    expected = np.prod(p**-p)
    np.testing.assert_allclose(effective_rank(with_spectrum(SPECTRUM)), expected, rtol=100 * TOLERANCE)
    # m equal eigenvalues of any size, and zeros.
    for m in (1, 2, 5):
        kernel = with_spectrum([1e-20] * m + [0.0] * (5 - m))
        # An eigenvalue off by ε adds -ε log ε.
        np.testing.assert_allclose(effective_rank(kernel), m, rtol=1e-12)


def test_effective_dimension_is_the_trace():
    for ridge in (1e-6, 0.3, 1e6):
        for kernel in (gram(), gram(rank=2)):
            expected = np.trace(kernel @ np.linalg.inv(kernel + ridge * np.eye(6)))
            # The inverse is known to ε times a condition number of up to 1e8.
            np.testing.assert_allclose(effective_dimension(kernel, ridge), expected, rtol=1e-7)
    # Of six eigenvalues four are roundings, here over a ridge of 1e-9.
    np.testing.assert_allclose(effective_dimension(gram(rank=2), 1e-9), 2, rtol=1e-5)


def test_condition_number():
    expected = np.linalg.cond(gram(), 2)
    # The smallest eigenvalue is known to ε λ_max.
    np.testing.assert_allclose(condition_number(gram()), expected, rtol=10 * 2.2e-16 * expected)


@pytest.mark.parametrize("rank", [2, 6])
def test_alignments(rank):
    kernel1, kernel2 = gram(rank=rank, seed=0), gram(rank=rank, seed=1)
    raw, expected = cosine(kernel1, kernel2), cosine(centered(kernel1), centered(kernel2))
    np.testing.assert_allclose(alignment(kernel1, kernel2), expected, rtol=TOLERANCE)
    np.testing.assert_allclose(alignment(kernel1, kernel2, centered=False), raw, rtol=TOLERANCE)
    np.testing.assert_allclose(kernel_distance(kernel1, kernel2), 1 - raw, rtol=TOLERANCE / (1 - raw))
    # Invariances: scale; and constants, when centred.
    np.testing.assert_allclose(alignment(kernel1, 1e200 * kernel2), expected, rtol=TOLERANCE)
    np.testing.assert_allclose(alignment(kernel1 + 3.0, kernel2), expected, rtol=10 * TOLERANCE)
    np.testing.assert_allclose(alignment(kernel1, kernel1), 1, rtol=TOLERANCE)


def test_alignment_of_a_large_kernel_that_is_nearly_constant():
    """Its centred part is 10⁻⁴ of it, far above what 10⁶ roundings of float32 amount to."""
    x = np.random.default_rng(0).normal(size=(1000, 10))
    kernel = np.exp(-((x[:, None] - x) ** 2).sum(-1) / (2 * 300**2)).astype("float32")
    y = np.sign(x[:, 0]).astype("float32")
    expected = cosine(centered(kernel.astype(float)), centered(np.outer(y, y).astype(float)))
    # Roundings of 6e-8 of the kernel, over a centred part of 1e-4 of it.
    np.testing.assert_allclose(target_alignment(kernel, y), expected, rtol=1e-3)
    np.testing.assert_allclose(alignment(kernel, kernel), 1, rtol=CLOSED_FORM["float32"])


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3)])
def test_alignment_with_targets(shape):
    kernel, y = gram(), np.random.default_rng(4).normal(size=shape)
    outer = y.reshape(6, -1) @ y.reshape(6, -1).T
    expected = cosine(centered(kernel), centered(outer))
    np.testing.assert_allclose(target_alignment(kernel, y), expected, rtol=TOLERANCE)
    np.testing.assert_allclose(target_alignment(kernel, 1e200 * y), expected, rtol=TOLERANCE)
    np.testing.assert_allclose(target_alignment(kernel, y, centered=False), cosine(kernel, outer), rtol=TOLERANCE)


def test_distance_of_nearly_equal_kernels_keeps_its_digits():
    """Of cosine 1 − 1e-12/2, where 1 minus the cosine itself has four digits left, in float32 none."""
    kernel, other = np.diag([1.0, 0.0]), np.diag([1.0, 1e-6])
    np.testing.assert_allclose(kernel_distance(kernel, other), 5e-13, rtol=SOLVED["float64"])
    found = kernel_distance(kernel.astype("float32"), other.astype("float32"))
    np.testing.assert_allclose(found, 5e-13, rtol=SAME_FORMULA["float32"])


def duplicates():
    kernel = gram(4)
    rows = [0, 1, 1, 2, 3, 3]
    return kernel[np.ix_(rows, rows)]


ONES, ZERO = np.ones((6, 6)), np.zeros((6, 6))
RANK_ONE = np.outer(Y, Y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_singular_kernels_have_the_values_that_are_documented(dtype):
    rank_one, ones, zero, twice = (kernel.astype(dtype) for kernel in (RANK_ONE, ONES, ZERO, duplicates()))
    # Eigenvalues are off by some ε, which the entropy multiplies by up to −log ε.
    tolerance = 200 * float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(effective_rank(rank_one), 1, rtol=tolerance)
    np.testing.assert_allclose(effective_rank(ones), 1, rtol=tolerance)
    assert effective_rank(zero) == 0
    np.testing.assert_allclose(effective_dimension(ones, 2.0), 6 / 8, rtol=tolerance)
    assert effective_dimension(zero, 0.5) == 0
    for kernel in (rank_one, ones, zero, twice):
        assert condition_number(kernel) == np.inf
    assert condition_number(np.eye(3, dtype=dtype)) == 1
    np.testing.assert_allclose(eigenvalues(twice)[4:], 0, rtol=0, atol=tolerance * np.abs(twice).max())
    other = gram(seed=2).astype(dtype)
    for first, second in ((zero, other), (other, zero), (zero, zero)):
        assert alignment(first, second) == 0
        assert alignment(first, second, centered=False) == 0
        assert kernel_distance(first, second) == 1
    # Centred, a constant is nothing; also one with rounding in its entries.
    for constant in (ones, np.full((6, 6), 0.1, dtype), (1 + jnp.finfo(dtype).eps * np.eye(6)).astype(dtype)):
        assert alignment(constant, other) == 0
        assert target_alignment(other, constant[0]) == 0
        assert alignment(constant, other, centered=False) > 0
    np.testing.assert_allclose(kernel_distance(rank_one, 3 * rank_one), 0, rtol=0, atol=tolerance)
    np.testing.assert_allclose(target_alignment(rank_one, Y.astype(dtype)), 1, rtol=tolerance)


def test_one_input():
    one = np.array([[4.0]])
    assert eigenvalues(one)[0] == 4
    assert effective_rank(one) == 1
    assert condition_number(one) == 1
    assert effective_dimension(one, 1.0) == 0.8
    assert alignment(one, one) == 0
    assert alignment(one, one, centered=False) == 1


@pytest.mark.parametrize("name", OF_A_KERNEL)
def test_transformations(name):
    """Under jit and vmap; reverse mode against central differences along a symmetric direction."""
    f = OF_A_KERNEL[name]
    kernels = np.stack([gram(seed=seed) for seed in (0, 5)])
    alone = np.stack([f(kernel) for kernel in kernels])
    # The same operations in another order, and for the condition number their amplification.
    np.testing.assert_allclose(jax.jit(f)(kernels[0]), alone[0], rtol=1e-9)
    np.testing.assert_allclose(jax.vmap(f)(kernels), alone, rtol=SOLVED["float64"])

    def value(kernel):
        return jnp.sum(jnp.sin(f(kernel)))

    direction = gram(seed=6) - gram(seed=7)
    slope = np.sum(jax.grad(value)(jnp.asarray(kernels[0])) * direction)
    up, down = (value(jnp.asarray(kernels[0] + step * direction)) for step in (1e-6, -1e-6))
    # Off by (1e-6)² times a third derivative, which the condition number, 300 here, makes large, and by 1e-16/1e-6.
    assert slope == pytest.approx(float(up - down) / 2e-6, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", OF_A_KERNEL)
def test_gradients_are_finite_where_eigenvalues_are_equal_or_zero(name):
    kernels = jnp.stack([ZERO, ONES, RANK_ONE, np.eye(6), duplicates()])
    gradients = jax.jit(jax.vmap(jax.grad(lambda kernel: jnp.sum(OF_A_KERNEL[name](kernel)))))(kernels)
    assert np.isfinite(gradients).all()


@pytest.mark.parametrize("name", OF_A_KERNEL)
def test_float32_stays_and_lowers_for_every_platform(name):
    f, kernel = OF_A_KERNEL[name], with_spectrum([3.0, 2.0, 1.5, 1.0, 0.8, 0.5])
    found = f(kernel.astype("float32"))
    assert found.dtype == jnp.float32
    # Relative to the largest, and times a condition number of 6.
    np.testing.assert_allclose(found, f(kernel), rtol=1e-5)
    abstract = jax.ShapeDtypeStruct((6, 6), "float32")
    text = export.export(jax.jit(f), platforms=("cpu", "cuda", "tpu"))(abstract).mlir_module()
    assert "callback" not in text
    assert re.findall(r"tensor<[\dx]+xf64>", text) == []


def test_gram_product_of_targets_has_highest_precision():
    text = jax.jit(target_alignment).lower(*(jax.ShapeDtypeStruct(s, "float32") for s in ((6, 6), (6, 3)))).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products
    assert [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line] == []


# Each argument that is a kernel.
TAKES_A_KERNEL = {
    "eigenvalues": lambda ntk, kernel: ntk.eigenvalues(kernel),
    "effective_rank": lambda ntk, kernel: ntk.effective_rank(kernel),
    "effective_dimension": lambda ntk, kernel: ntk.effective_dimension(kernel, 0.3),
    "condition_number": lambda ntk, kernel: ntk.condition_number(kernel),
    "alignment: kernel1": lambda ntk, kernel: ntk.alignment(kernel, gram()),
    "alignment: kernel2": lambda ntk, kernel: ntk.alignment(gram(), kernel),
    "target_alignment": lambda ntk, kernel: ntk.target_alignment(kernel, Y),
    "kernel_distance: kernel1": lambda ntk, kernel: ntk.kernel_distance(kernel, gram()),
    "kernel_distance: kernel2": lambda ntk, kernel: ntk.kernel_distance(gram(), kernel),
}


@pytest.mark.parametrize(
    ("kernel", "exception", "sentence"),
    [
        (np.ones((2, 3)), ValueError, r"has shape \(2, 3\); expected \(N, N\) with N at least 1"),
        (np.ones(4), ValueError, r"has shape \(4,\); expected \(N, N\)"),
        (np.ones((0, 0)), ValueError, r"has shape \(0, 0\); expected \(N, N\)"),
        (np.ones((2, 2), int), TypeError, "has dtype int64; expected a real floating-point array"),
        (np.ones((2, 2), "bfloat16"), TypeError, "has dtype bfloat16; expected float32 or float64"),
        (np.full((2, 2), np.nan), ValueError, "holds 4 entries that are NaN"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), ValueError, "differs from its transpose by 0.5, with entries up to 1"),
    ],
)
@pytest.mark.parametrize("function", TAKES_A_KERNEL)
def test_refused_as_kernels(plain, function, kernel, exception, sentence):
    kernel = jnp.asarray(kernel) if kernel.dtype == jnp.bfloat16 else kernel
    assert_refused(lambda: TAKES_A_KERNEL[function](plain, kernel), exception, rf"^kernel[12]? {sentence}")


@rows(
    [
        (
            "ridge",
            lambda ntk: ntk.effective_dimension(gram(), 0.0),
            ValueError,
            "ridge is 0.0; expected one finite pos",
        ),
        ("ridge", lambda ntk: ntk.effective_dimension(gram(), -1), ValueError, "ridge is -1; expected"),
        ("ridge", lambda ntk: ntk.effective_dimension(gram(), np.nan), ValueError, "ridge is nan; expected"),
        ("ridge", lambda ntk: ntk.effective_dimension(gram(), np.ones(2)), ValueError, r"ridge has shape \(2,\); exp"),
        ("kernel2", lambda ntk: ntk.alignment(gram(), gram(5)), ValueError, r"kernel2 has shape \(5, 5\); expected"),
        ("kernel2", lambda ntk: ntk.kernel_distance(gram(), gram(5)), ValueError, r"kernel2 has shape \(5, 5\); exp"),
        ("y", lambda ntk: ntk.target_alignment(gram(), np.ones(5)), ValueError, r"y has shape \(5,\); expected \(6,"),
        ("y", lambda ntk: ntk.target_alignment(gram(), np.ones((6, 1, 1))), ValueError, r"y has shape \(6, 1, 1\);"),
        ("y", lambda ntk: ntk.target_alignment(gram(), np.ones(6, int)), TypeError, "y has dtype int64; expected a"),
        ("y", lambda ntk: ntk.target_alignment(gram(), np.inf * Y), ValueError, "y holds 6 entries that are NaN or"),
    ]
)
def test_refusals(plain, call, exception, sentence):
    assert_refused(lambda: call(plain), exception, sentence)
