"""The arguments of every function of a model f(params, x): looked at before anything is computed."""

import functools
import operator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ntk.caches.lifetimes import kept_with
from ntk.checks import check_results, is_concrete, shown
from ntk.finite_width.functions import ModelFunction, batch_of_one, num_inputs, of_user
from ntk.finite_width.rules.contraction import at_least_float32
from ntk.finite_width.trained import trained_leaves
from ntk.jaxprs import equations
from ntk.networks import Description
from ntk.trees import leaf_paths


def checked_trained(f: Any, params: Any, param_filter: Any = None) -> tuple[int, ...]:
    """Which leaves of the parameters are trained, after a look at the function and all of them."""
    if param_filter is not None and not callable(param_filter):
        raise TypeError(f"param_filter is {shown(param_filter)}; expected a function of a path such as 'params/w'.")
    check_function(f)
    return trained_leaves(f, params, param_filter)


def checked_inputs(
    f: ModelFunction, params: Any, x1: Any, x2: Any, *, batch_dependent: bool = False
) -> tuple[Any, Any]:
    """The inputs of both sides as arrays, None for the second where it is the first.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A shape is not what is expected, or rows of f depend on other rows of x unless they may.
    """
    same = x2 is None or x2 is x1
    x1 = checked_batch("x1", f, params, x1, batch_dependent)
    if same:
        return x1, None
    x2 = check_inputs("x2", x2)
    structures: list[Any] = [jax.tree.structure(x) for x in (x1, x2)]
    if structures[0] != structures[1]:
        raise ValueError(f"x2 has the structure {shown(structures[1])}; expected {shown(structures[0])} as x1.")
    x2 = checked_batch("x2", f, params, x2, batch_dependent)
    outputs1, outputs2 = (check_outputs(f, params, x) for x in (x1, x2))
    if outputs2 != outputs1:
        raise ValueError(f"f returns outputs of shape {outputs2} for x2; expected {outputs1} as for x1.")
    return x1, x2


def checked_batch(name: str, f: ModelFunction, params: Any, x: Any, batch_dependent: bool = False) -> Any:
    """The inputs of one side, for which f returns a row each; errors as for `checked_inputs`."""
    x = check_inputs(name, x)
    check_outputs(f, params, x, name)
    if not batch_dependent:
        check_inputs_apart(f, params, x)
    return x


def check_function(f: Any) -> None:
    """Refuse what is not a function f(params, x) with a hash, and say how to make one of a model."""
    name = type(f).__name__
    if isinstance(f, nnx.Module):
        raise TypeError(
            f"f is an NNX module, {name}; expected a function of its state. After graph, state = nnx.split(model) pass"
            " f = lambda state, x: nnx.merge(graph, state)(x) with params = state."
        )
    if isinstance(f, nn.Module) or (not callable(f) and callable(getattr(f, "apply", None))):
        raise TypeError(f"f is a model, {name}; expected its method `apply`, with params = model.init(key, x).")
    if isinstance(f, Description):
        raise TypeError(f"f is a description, {name}; expected ntk.finite(net, width).apply, or another function.")
    if not callable(f):
        raise TypeError(f"f is {shown(f)}; expected a function f(params, x).")
    try:
        hash(f)
    except TypeError:
        message = f"f is {shown(f)}, which has no hash; expected a function or a method, to compile it once."
        raise TypeError(message) from None


def check_inputs(name: str, x: Any) -> Any:
    """A pytree of arrays with one leading axis of inputs in common."""
    try:
        x = jax.tree.map(jnp.asarray, x)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} is {shown(x)}; expected an array or a pytree of arrays.") from None
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(x)}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        shapes = [leaf.shape for leaf in jax.tree.leaves(x)]
        raise ValueError(f"{name} has shapes {shapes}; expected arrays with one leading axis of inputs in common.")
    return x


def check_outputs(f: ModelFunction, params: Any, x: Any, name: str = "x") -> tuple[int, ...]:
    """The shape of one input's output; refused where f does not return one floating-point row for each input.

    `name` is what messages call x.
    """
    leaves, structure = jax.tree.flatten((params, x))
    avals = tuple(map(jax.typeof, leaves))
    kept, key = kept_with(f), (_outputs, structure, avals, name)
    if key not in kept:
        kept[key] = _outputs(f, structure, avals, name)
    whole = kept[key]
    called = f"f(params, {name})"
    if not isinstance(whole, jax.ShapeDtypeStruct) or whole.shape[:1] != (num_inputs(x),):
        raise ValueError(
            f"{called} returns {shown(whole)} for {num_inputs(x)} inputs; expected one array with a row for each."
        )
    if 0 in whole.shape:
        raise ValueError(f"{called} returns outputs of shape {whole.shape[1:]}; expected at least one output.")
    if not jnp.issubdtype(whole.dtype, jnp.floating):
        raise TypeError(f"{called} has dtype {whole.dtype}; expected a real floating-point array.")
    return whole.shape[1:]


def _outputs(f: ModelFunction, structure: Any, avals: tuple, name: str) -> Any:
    params, x = jax.tree.unflatten(structure, avals)
    expected = f"a function of such params and {name}, which have shapes {_shapes(params)} and {_shapes(x)}"
    return of_user(f"f(params, {name})", expected, jax.eval_shape, f, params, x)


def _shapes(tree: Any) -> str:
    return shown([leaf.shape for leaf in jax.tree.leaves(tree)])


def check_inputs_apart(f: ModelFunction, params: Any, x: Any) -> None:
    """Refuse an f whose rows depend on each other, seen by evaluating a few of them together and alone.

    Evaluated at the parameters and near them: behind a gate of zero the mixing is seen only there. Looked at once for
    every f and shape, with concrete values.
    """
    if not is_concrete(params, x) or num_inputs(x) == 1:
        return
    kept, seen = kept_with(f), (check_inputs_apart, tuple(map(jax.typeof, jax.tree.leaves((params, x)))))
    if seen in kept:
        return
    rows = np.unique(np.linspace(0, num_inputs(x) - 1, 8).astype(int))
    with jax.ensure_compile_time_eval():
        few = jax.tree.map(lambda leaf: leaf[rows], x)
    # Traced and compiled first and called then: run as it stands, also while something else is being traced.
    with jax.default_matmul_precision("highest"), jax.disable_jit(False):
        traced = jax.jit(functools.partial(_together_and_alone, f)).trace(params, few, np.float32(0))
        compiled = traced.lower().compile()
    rounding = 8 * min(_largest_eps(traced.jaxpr), 2.0**-6)
    visible = False
    for distance in (0, 0.1):
        outputs, alone = jax.device_get(compiled(params, few, np.float32(distance)))
        if not np.all(np.isfinite(outputs)):
            continue  # at the parameters: the result will not be finite either, and is refused for it
        spread, largest = np.max(np.abs(outputs - outputs.mean(0))), np.max(np.abs(outputs))
        if np.max(np.abs(outputs - alone)) > max(1e-3, rounding) * spread + rounding * largest:
            raise ValueError(
                "f mixes the inputs of a batch (a row changes when it is evaluated alone); expected a function of each"
                " input by itself, such as batch normalization in evaluation mode; empirical_ntk has"
                " batch_dependent=True."
            )
        visible |= bool(spread > rounding * largest)
    if visible:  # where all rows are alike nothing can be seen
        kept[seen] = True


def check_kernels(name: str, kernels: Any, params: Any, **inputs: Any) -> None:
    """Refuse a pytree of kernels that are not finite, and say whether an argument or the dtype is at fault."""

    def named(name: str, tree: Any) -> dict[str, Any]:
        paths = [f"{name} '{path}'" if path else name for path in leaf_paths(tree)]
        leaves = zip(paths, jax.tree.leaves(tree), strict=True)
        return {path: leaf for path, leaf in leaves if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)}

    def arguments() -> dict[str, Any]:
        return functools.reduce(operator.or_, (named(of, tree) for of, tree in {"params": params, **inputs}.items()))

    check_results(named(name, kernels), arguments)


def _together_and_alone(f: ModelFunction, params: Any, x: Any, distance: Any) -> tuple[jax.Array, jax.Array]:
    """The outputs of all rows together, and of each row alone, at parameters so far away, relative to their size."""

    def moved(leaf: Any) -> Any:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return leaf
        leaf = jnp.asarray(leaf)
        size = jnp.sqrt(jnp.mean(at_least_float32(leaf) ** 2))
        direction = jnp.cos(jnp.arange(leaf.size, dtype=size.dtype)).reshape(leaf.shape)
        return leaf + (distance.astype(size.dtype) * jnp.where(size > 0, size, 1) * direction).astype(leaf.dtype)

    leaves, structure = jax.tree.flatten(params)
    leaves = [moved(leaf) for leaf in leaves]

    def outputs(x: Any) -> jax.Array:
        # Unflattened where it is used: variables of Flax NNX belong to the transformation that they are made in.
        return at_least_float32(f(jax.tree.unflatten(structure, leaves), x))  # NumPy does not know all narrow dtypes

    return outputs(x), jax.vmap(lambda one: outputs(batch_of_one(one))[0])(x)


def _largest_eps(program: Any) -> float:
    """The precision of the narrowest floating-point numbers that a program computes with."""
    dtypes = {v.aval.dtype for equation, _ in equations(program.jaxpr) for v in equation.outvars}
    return max((float(jnp.finfo(dtype).eps) for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)), default=0.0)
