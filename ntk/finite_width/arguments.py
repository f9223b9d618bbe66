"""The arguments of every function of a model f(params, x): looked at before anything is computed."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntk.checks import check_results, is_concrete
from ntk.finite_width.functions import ModelFunction, batch_of_one, leaf_paths, num_inputs


def checked_arguments(
    f: Any, params: Any, x1: Any, x2: Any, param_filter: Any, *, batch_dependent: bool = False
) -> tuple[Any, Any]:
    """The inputs of both sides as arrays, None for the second where it is the first.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A shape is not what is expected, or rows of f depend on other rows of x unless they may.
    """
    if param_filter is not None and not callable(param_filter):
        raise TypeError(f"param_filter is {param_filter!r}; expected a function of a path such as 'params/w'.")
    check_function(f, params)
    x1 = check_inputs("x1", x1)
    x2 = None if x2 is None or x2 is x1 else check_inputs("x2", x2)
    outputs = check_outputs(f, params, x1)
    if x2 is not None:
        structures: list[Any] = [jax.tree.structure(x) for x in (x1, x2)]
        if structures[0] != structures[1]:
            raise ValueError(f"x2 has the structure {structures[1]}; expected {structures[0]} as x1.")
        if (outputs2 := check_outputs(f, params, x2)) != outputs:
            raise ValueError(f"f returns outputs of shape {outputs2} for x2; expected {outputs} as for x1.")
    if not batch_dependent:
        for x in (x1,) if x2 is None else (x1, x2):
            check_inputs_apart(f, params, x)
    return x1, x2


def check_function(f: Any, params: Any) -> None:
    """Refuse what is no function with a hash, and parameters that hold complex or no floating-point leaves."""
    if not callable(f):
        raise TypeError(f"f is {f!r}; expected a function f(params, x).")
    try:
        hash(f)
    except TypeError:
        message = f"f is {f!r}, which has no hash; expected a function or a method, to compile it once."
        raise TypeError(message) from None
    dtypes = [jnp.result_type(leaf) for leaf in jax.tree.leaves(params)]
    if any(jnp.issubdtype(dtype, jnp.complexfloating) for dtype in dtypes):
        raise TypeError("params has complex leaves; expected real ones, such as real and imaginary parts.")
    if not any(jnp.issubdtype(dtype, jnp.floating) for dtype in dtypes):
        raise ValueError(f"params is {params!r}; expected a pytree with at least one floating-point leaf.")


def check_inputs(name: str, x: Any) -> Any:
    """A pytree of arrays with one leading axis of inputs in common."""
    try:
        x = jax.tree.map(jnp.asarray, x)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {x!r}; expected an array or a pytree of arrays.") from None
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(x)}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        shapes = [leaf.shape for leaf in jax.tree.leaves(x)]
        raise ValueError(f"{name} has shapes {shapes}; expected arrays with one leading axis of inputs in common.")
    return x


def check_outputs(f: ModelFunction, params: Any, x: Any) -> tuple[int, ...]:
    """The shape of one input's output; refused where f does not return one floating-point row for each input."""
    leaves, structure = jax.tree.flatten((params, x))
    return _outputs(f, structure, tuple(map(jax.typeof, leaves)))


@functools.lru_cache(maxsize=256)
def _outputs(f: ModelFunction, structure: Any, avals: tuple) -> tuple[int, ...]:
    params, x = jax.tree.unflatten(structure, avals)
    whole = jax.eval_shape(f, params, x)
    if not isinstance(whole, jax.ShapeDtypeStruct) or whole.shape[:1] != (num_inputs(x),):
        raise ValueError(
            f"f returns {whole} for {num_inputs(x)} inputs; expected one array with a row for each of them."
        )
    if 0 in whole.shape:
        raise ValueError(f"f returns outputs of shape {whole.shape[1:]}; expected at least one output.")
    if not jnp.issubdtype(whole.dtype, jnp.floating):
        raise TypeError(f"f(params, x) has dtype {whole.dtype}; expected a real floating-point array.")
    return whole.shape[1:]


def check_inputs_apart(f: ModelFunction, params: Any, x: Any) -> None:
    """Refuse an f whose rows depend on each other, seen by evaluating a few of them together and alone.

    Looked at once for every f and shape, with concrete values.
    """
    if not is_concrete(params, x) or num_inputs(x) == 1:
        return
    seen = _seen(f, tuple(map(jax.typeof, jax.tree.leaves((params, x)))))
    if seen:
        return
    rows = np.unique(np.linspace(0, num_inputs(x) - 1, 8).astype(int))
    with jax.ensure_compile_time_eval():
        few = jax.tree.map(lambda leaf: leaf[rows], x)
    # Compiled first and called then: run as it stands, also while something else is being traced.
    together, alone = jax.device_get(_together_and_alone.lower(f, params, few).compile()(params, few))
    if not np.all(np.isfinite(together)):
        return  # the result will not be finite either, and is refused for it
    # Low-precision products differ by a few per cent between batch sizes; a mean over the batch by far more.
    spread = np.max(np.abs(together - together.mean(0)))
    rounding = 64 * float(jnp.finfo(together.dtype).eps) * np.max(np.abs(together))
    if np.max(np.abs(together - alone)) > 0.05 * spread + rounding:
        raise ValueError(
            "f mixes the inputs of a batch (a row changes when it is evaluated alone); expected a function of each"
            " input by itself, such as batch normalization in evaluation mode; empirical_ntk has batch_dependent=True."
        )
    if spread > rounding:  # where all rows are alike, as with a last layer of zeros, nothing can be seen
        seen.append(True)


def check_kernels(kernels: Any, params: Any, x1: Any, x2: Any) -> None:
    """Refuse a pytree of kernels that are not finite, and say whether an argument or the dtype is at fault."""

    def named(name: str, tree: Any) -> dict[str, Any]:
        paths = [f"{name} '{path}'" if path else name for path in leaf_paths(tree)]
        leaves = zip(paths, jax.tree.leaves(tree), strict=True)
        return {path: leaf for path, leaf in leaves if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)}

    check_results(named("ntk", kernels), lambda: named("params", params) | named("x1", x1) | named("x2", x2))


@functools.lru_cache(maxsize=256)
def _seen(f: ModelFunction, shapes: tuple) -> list[bool]:
    """Remembers what has been looked at."""
    del f, shapes
    return []


@functools.partial(jax.jit, static_argnums=0)
def _together_and_alone(f: ModelFunction, params: Any, x: Any) -> tuple[jax.Array, jax.Array]:
    leaves, structure = jax.tree.flatten(params)

    def of_one_input(x: Any) -> jax.Array:
        # The tree is built here: variables of Flax NNX belong to the transformation in which they are made.
        return f(jax.tree.unflatten(structure, leaves), batch_of_one(x))[0]

    return f(params, x), jax.vmap(of_one_input)(x)
