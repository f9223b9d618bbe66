"""Solving with kernels that are too large to factor: preconditioned conjugate gradients.

Only products K v are computed: with a matrix, with tiles, or by `ntk.ntk_vector_product`, which needs no kernel. A
derivative of the solution costs one more solve.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree, Real

from ntk.caches.lifetimes import compiled
from ntk.calls import check_function, of_user
from ntk.checks import (
    MOST_STEPS,
    as_floating,
    as_nonnegative_number,
    as_number,
    as_positive_number,
    check_count,
    check_finite,
    check_key,
    is_concrete,
    shown,
)
from ntk.linalg import highest_matmul

Product = Callable[[Float[Array, "N c"]], Float[Array, "N c"]]
Bound = tuple[tuple[PyTree, ...], dict[str, PyTree]]  # the arguments and keywords of a `Partial`


class Solution(NamedTuple):
    """The result of conjugate gradients. Each field but x has one entry for each column of b.

    Attributes:
        x: The solution, (N,) or (N, c) as b.
        residual: (c,) or (), ‖b − (K + ρ)x‖/‖b‖, computed from x at the end.
        steps: (c,) or (), the number of steps.
        converged: (c,) or (), whether the residual is at most 1.1 times the tolerance. The 10 % are for rounding.
        indefinite: (c,) or (), whether a direction p with pᵀ(K + ρ)p ≤ 0 was found. If so, K + ρ is not positive
            definite, and x is the solution before that step.
    """

    x: Float[Array, "N ..."]
    residual: Float[Array, "..."]
    steps: Int[Array, "..."]
    converged: Bool[Array, "..."]
    indefinite: Bool[Array, "..."]


def conjugate_gradients(
    kernel: Float[ArrayLike, "N N"] | Product,
    b: Float[ArrayLike, "N ..."],
    *,
    ridge: Real[ArrayLike, ""] = 0.0,
    preconditioner: Product | None = None,
    rtol: Real[ArrayLike, ""] = 1e-6,
    max_steps: int = 1000,
) -> Solution:
    """(K + ρI)⁻¹ b by preconditioned conjugate gradients (Hestenes & Stiefel 1952), for all columns of b at once.

    Each step shrinks the error by (√κ − 1)/(√κ + 1), where κ is the condition number after preconditioning. A ridge and
    `nystrom_preconditioner` make κ small. `squared_loss_flow` at t = None solves the same equations by an
    eigendecomposition: f_∞(x) = f_0(x) + K(x, X) (K + ρ)⁻¹ (y − f_0(X)).

    The solver is compiled once for all matrices of a shape. If `kernel` is a `jax.tree_util.Partial` with its arrays as
    arguments, it is compiled once for the function of the `Partial`. For any other function it is compiled at every
    call, unless the call is inside `jax.jit`.

    Args:
        kernel: K, (N, N), or a function v → K v from (N, c) to (N, c) that keeps the dtype.
        b: (N,) or (N, c). A matrix K is cast to the dtype of b.
        ridge: ρ, at least 0.
        preconditioner: v → P⁻¹ v from (N, c) to (N, c), symmetric and positive definite. None means the identity.
        rtol: Tolerance of ‖b − (K + ρ)x‖/‖b‖.
        max_steps: The most steps. Each costs one product with K.

    Returns:
        A `Solution`. A solution that has not converged raises no error: check `converged`. A derivative of x takes one
        more solve, with the same tolerance and number of steps.

    Raises:
        TypeError: An array is not floating-point, `kernel` or `preconditioner` is neither an array nor a function, or a
            function returns another shape or dtype than that of its argument.
        ValueError: A shape does not fit, a value is not finite, a number is out of range, or a function fails.

    Example:
        >>> import jax.numpy as jnp
        >>> from ntk import dynamics
        >>> solution = dynamics.conjugate_gradients(jnp.diag(jnp.array([1.0, 3.0])), jnp.array([1.0, 1.0]), ridge=1.0)
        >>> print(solution.x, solution.steps, solution.converged)
        [0.5  0.25] 2 True
    """
    check_count("max_steps", max_steps, maximum=MOST_STEPS)
    b = as_floating("b", b)
    if b.ndim not in (1, 2) or 0 in b.shape:
        raise ValueError(f"b has shape {b.shape}; expected (N,) or (N, c) with no empty axis.")
    check_finite("b", b)
    tolerance = as_number("rtol", rtol, b.dtype, lambda rtol: 0 < rtol < 1, "a number between 0 and 1")
    rho = as_nonnegative_number("ridge", ridge, b.dtype)
    columns = b.reshape(len(b), -1)
    product = _as_product(kernel, len(b), f"b has {len(b)} rows", b.dtype)
    if preconditioner is not None:
        check_function("preconditioner", preconditioner, "a function v → P⁻¹ v")
    precondition = Partial(_unchanged) if preconditioner is None else preconditioner
    for name, function in (("kernel", product), ("preconditioner", precondition)):
        _check_product(name, function, columns)
    # The arrays are arguments. In a closure they would be constants of the compiled program, and be kept with it.
    if isinstance(product, Partial) and isinstance(precondition, Partial):
        of_kernel, of_preconditioner = ((bound.args, bound.keywords) for bound in (product, precondition))
        functions = product.func, precondition.func
        solution = _compiled_solve(*functions, max_steps, of_kernel, of_preconditioner, columns, rho, tolerance)
    else:
        solution = _solve(product, precondition, columns, rho, tolerance, max_steps)
    return Solution(solution.x.reshape(b.shape), *(field.reshape(b.shape[1:]) for field in solution[1:]))


def nystrom_preconditioner(
    kernel: Float[ArrayLike, "N N"] | Product, num_rows: int, *, rank: int, ridge: Real[ArrayLike, ""], key: jax.Array
) -> Product:
    """A preconditioner for K + ρI from a random sketch of K (Frangella, Tropp & Udell 2023, arXiv:2110.02820).

    `rank` products with K approximate its leading eigenvectors. On their span the preconditioned matrix is nearly a
    multiple of the identity. Let d be the effective dimension of K at ρ. With a rank of 2⌈1.5 d⌉ + 1 the expected
    condition number is below 28 (Theorem 1.1 there).

    Args:
        kernel: K, (N, N), or a function v → K v from (N, c) to (N, c).
        num_rows: N.
        rank: The rank of the sketch, at most N.
        ridge: ρ, positive.
        key: A PRNG key.

    Returns:
        The function v → P⁻¹ v, for `conjugate_gradients`.

    Raises:
        TypeError: The kernel is neither an array nor a function, or the key is not a PRNG key.
        ValueError: A number is out of range, a shape does not fit, or the sketch of K has a negative eigenvalue.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from ntk import dynamics
        >>> k = jnp.diag(10.0 ** -jnp.arange(20.0))
        >>> prepared = dynamics.nystrom_preconditioner(k, 20, rank=5, ridge=1e-3, key=jax.random.key(0))
        >>> plain = dynamics.conjugate_gradients(k, jnp.ones(20), ridge=1e-3)
        >>> better = dynamics.conjugate_gradients(k, jnp.ones(20), ridge=1e-3, preconditioner=prepared)
        >>> bool(better.steps < plain.steps)
        True
    """
    check_count("num_rows", num_rows, maximum=MOST_STEPS)
    check_count("rank", rank)
    check_key(key)
    if rank > num_rows:
        raise ValueError(f"rank is {shown(rank)}; expected at most num_rows = {num_rows}.")
    dtype = jnp.result_type(float) if callable(kernel) else as_floating("kernel", kernel).dtype
    product = _as_product(kernel, num_rows, f"num_rows is {num_rows}", dtype)
    rho = as_positive_number("ridge", ridge, dtype)
    _check_product("kernel", product, jax.ShapeDtypeStruct((num_rows, rank), dtype))
    basis = jnp.linalg.qr(jax.random.normal(key, (num_rows, rank), dtype))[0]
    sketch = product(basis)
    # A small shift keeps the Cholesky factor of a singular kernel's sketch real.
    shift = jnp.finfo(sketch.dtype).eps * num_rows**0.5 * jnp.linalg.norm(sketch)
    shifted = sketch + shift * basis
    core = highest_matmul(basis.T, shifted)
    core = (core + core.T) / 2
    _check_semidefinite(core)
    factor = jnp.linalg.cholesky(core)
    half = jax.scipy.linalg.solve_triangular(factor, shifted.T, lower=True).T
    vectors, roots, _ = jnp.linalg.svd(half, full_matrices=False)
    values = jnp.maximum(roots**2 - shift, 0)
    gains = (values[-1] + rho) / (values + rho) - 1
    return Partial(_preconditioned, vectors, gains)


def _preconditioned(vectors: jax.Array, gains: jax.Array, v: jax.Array) -> jax.Array:
    vectors, gains = vectors.astype(v.dtype), gains.astype(v.dtype)
    return v + highest_matmul(vectors, gains[:, None] * highest_matmul(vectors.T, v))


def _unchanged(v: jax.Array) -> jax.Array:
    return v


def _check_semidefinite(core: jax.Array) -> None:
    """Refuse a concrete sketch QᵀKQ with a negative eigenvalue. It has been shifted by more than rounding."""
    if not is_concrete(core):
        return
    with jax.ensure_compile_time_eval():
        lowest, largest = jax.device_get((jnp.linalg.eigvalsh(core)[0], jnp.max(jnp.abs(core))))
    if not lowest > 0:
        raise ValueError(
            f"kernel has a direction v with vᵀKv/vᵀv = {lowest:.3g}, and entries of its sketch go up to"
            f" {largest:.3g}; expected a positive semidefinite kernel."
        )


def _check_product(name: str, function: Product, columns: jax.Array | jax.ShapeDtypeStruct) -> None:
    given = f"{columns.dtype}{list(columns.shape)}"
    found = of_user(f"{name} of {given}", "a function from (N, c) to (N, c)", jax.eval_shape, function, columns)
    if (getattr(found, "shape", None), getattr(found, "dtype", None)) != (columns.shape, columns.dtype):
        raise TypeError(f"{name} returns {shown(found)} for {given}; expected the same shape and dtype.")


def _as_product(kernel: Float[ArrayLike, "N N"] | Product, num_rows: int, reason: str, dtype: DTypeLike) -> Product:
    if callable(kernel):
        return kernel
    matrix = as_floating("kernel", kernel)
    if matrix.shape != (num_rows, num_rows):
        raise ValueError(f"kernel has shape {matrix.shape}; expected {(num_rows, num_rows)}: {reason}.")
    check_finite("kernel", matrix)
    return Partial(highest_matmul, matrix.astype(dtype))


class _State(NamedTuple):
    x: jax.Array
    residual: jax.Array
    direction: jax.Array
    norm: jax.Array  # rᵀP⁻¹r; this and the fields below are (1, c)
    active: jax.Array
    indefinite: jax.Array
    steps: jax.Array


def _solve(
    product: Product, precondition: Product, b: jax.Array, ridge: jax.Array, rtol: jax.Array, max_steps: int
) -> Solution:
    def apply(v: jax.Array) -> jax.Array:
        return product(v) + ridge * v

    def iterate(apply: Product, b: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        x, *details = _iterate(apply, precondition, b, rtol, max_steps)
        return x, tuple(details)

    # This differentiates the solution, not the iteration.
    x, details = lax.custom_linear_solve(apply, b, iterate, symmetric=True, has_aux=True)
    return Solution(x, *details)


@compiled(owners=2, static=1)
def _compiled_solve(
    product: Callable[..., jax.Array],
    precondition: Callable[..., jax.Array],
    max_steps: int,
    bound: Bound,
    bound_to_precondition: Bound,
    b: jax.Array,
    ridge: jax.Array,
    rtol: jax.Array,
) -> Solution:
    """`_solve` for two functions and the arguments that their `Partial`s bind."""
    of_kernel = functools.partial(product, *bound[0], **bound[1])
    of_preconditioner = functools.partial(precondition, *bound_to_precondition[0], **bound_to_precondition[1])
    return _solve(of_kernel, of_preconditioner, b, ridge, rtol, max_steps)


def _iterate(apply: Product, precondition: Product, b: jax.Array, rtol: jax.Array, max_steps: int) -> Solution:
    """Conjugate gradients for all columns at once. Numbers of single columns are rows (1, c)."""
    scale = jnp.linalg.norm(b, axis=0, keepdims=True)

    def step(state: _State) -> _State:
        image = apply(state.direction)
        curvature = jnp.sum(state.direction * image, axis=0, keepdims=True)
        indefinite = state.active & ~(curvature > 0)
        active = state.active & ~indefinite
        length = jnp.where(active, state.norm / jnp.where(active, curvature, 1), 0)
        x = state.x + length * state.direction
        residual = state.residual - length * image
        solved = precondition(residual)
        norm = jnp.sum(residual * solved, axis=0, keepdims=True)
        turn = jnp.where(active, norm / jnp.where(state.norm > 0, state.norm, 1), 0)
        direction = jnp.where(active, solved + turn * state.direction, state.direction)
        unfinished = jnp.linalg.norm(residual, axis=0, keepdims=True) > rtol * scale
        steps = state.steps + state.active.astype(int)
        return _State(x, residual, direction, norm, active & unfinished, state.indefinite | indefinite, steps)

    first = precondition(b)
    norm, none = jnp.sum(b * first, axis=0, keepdims=True), jnp.zeros(scale.shape, bool)
    start = _State(jnp.zeros_like(b), b, first, norm, scale > 0, none, none.astype(int))
    final = lax.while_loop(lambda state: jnp.any(state.active) & (jnp.max(state.steps) < max_steps), step, start)
    # Rounding makes the residual of the recursion drift from that of x.
    left = jnp.linalg.norm(b - apply(final.x), axis=0, keepdims=True) / jnp.where(scale > 0, scale, 1)
    converged = (left <= 1.1 * rtol) & ~final.indefinite
    return Solution(final.x, left[0], final.steps[0], converged[0], final.indefinite[0])
