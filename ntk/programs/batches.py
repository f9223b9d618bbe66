"""Batches of inputs, checked for the program that reads them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ntk.checks import as_floating, as_real, check_finite, is_concrete
from ntk.dtypes import common_dtype
from ntk.programs.language.program import Recording, TensorProgram


def as_inputs(name: str, x: ArrayLike) -> jax.Array:
    """A batch of inputs (N, …) as an array of real numbers, of any values."""
    x = as_real(name, x)
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"{name} has shape {x.shape}; expected (N, …), N inputs of at least one axis, none empty.")
    return x


def as_read(recording: Recording, name: str, x: jax.Array) -> jax.Array:
    """A batch of inputs in floating point, tokens in JAX's default dtype.

    Raises:
        TypeError: The program reads numbers, and x is not floating-point; or it reads tokens, and x is not of integers.
        ValueError: A number is not finite, or an embedding has no row for a token.
    """
    lookups = recording.lookups
    if not lookups:
        x = as_floating(name, x)
        check_finite(name, x)
        return x
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(
            f"{name} has dtype {x.dtype}; expected integers: the program looks them up at {lookups[0].line}."
        )
    if is_concrete(x):
        flat = np.asarray(x).reshape(len(x), -1)
        for lookup in lookups:
            tokens, count = flat[:, lookup.entries], lookup.parameter.fan_in or 0
            outside = tokens[(tokens < 0) | (tokens >= count)]
            if outside.size:
                raise ValueError(
                    f"{name} has the token {outside[0]}; expected 0 to {count - 1} at {lookup.line}, where an embedding"
                    f" has {count} rows."
                )
    return x.astype(jnp.result_type(float))


def program_inputs(program: TensorProgram, name: str, x: ArrayLike) -> jax.Array:
    """A batch of inputs (N, …) of a program in floating point."""
    x = as_inputs(name, x)
    return as_read(program.record(x.shape[1:]), name, x)


def program_batches(program: TensorProgram, x1: ArrayLike, x2: ArrayLike | None) -> tuple[jax.Array, jax.Array | None]:
    """Two batches of inputs of one shape and one dtype; None for the second is the first again."""
    x1 = program_inputs(program, "x1", x1)
    if x2 is None:
        return x1, None
    x2 = as_inputs("x2", x2)
    if x2.shape[1:] != x1.shape[1:]:
        raise ValueError(
            f"x2 has inputs of shape {x2.shape[1:]}; expected {x1.shape[1:]} as in x1: these kernels are those of"
            " inputs of one shape."
        )
    x2 = program_inputs(program, "x2", x2)
    dtype = common_dtype(x1, x2)
    return x1.astype(dtype), x2.astype(dtype)
