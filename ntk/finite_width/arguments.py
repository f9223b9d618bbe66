"""The arguments of every function of a model f(params, x). They are checked here, and become one object."""

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PyTree

from ntk.caches.lifetimes import kept_with
from ntk.calls import check_function, check_hashable, of_user
from ntk.checks import as_arrays, check_flag, check_results, is_concrete, shown
from ntk.dtypes import at_least_float32
from ntk.finite_width.functions import ModelFunction, batch_of_one
from ntk.finite_width.trained import trained_leaves
from ntk.jaxprs import Program, aval_of, equations
from ntk.networks import Description
from ntk.tiles import num_inputs
from ntk.trees import ParamFilter, Params, check_filter, leaf_paths


@dataclass(frozen=True)
class Arguments:
    """A model with its parameters and inputs, as `checked_arguments` found them.

    Attributes:
        f: The function f(params, x) → (N, …outputs).
        params: Its parameters, a pytree of arrays and numbers.
        trained: Which of their leaves are trained.
        x1: Inputs (N1, …), a pytree of arrays.
        x2: Inputs (N2, …) of the other side. None if there is one side only.
        output: Shape and dtype of the output of one input.
        names: The names of x1 and x2 in messages.
    """

    f: ModelFunction
    params: Params
    trained: tuple[int, ...]
    x1: PyTree
    x2: PyTree
    output: jax.ShapeDtypeStruct
    names: tuple[str, str]

    @property
    def arrays(self) -> tuple[PyTree, PyTree, PyTree]:
        """The arrays that a compiled function takes: params, x1 and x2."""
        return self.params, self.x1, self.x2

    @property
    def other(self) -> PyTree:
        """The inputs of the second side, which may be those of the first."""
        return self.x1 if self.x2 is None else self.x2

    def check_result(self, name: str, result: PyTree) -> None:
        """Refuse a pytree of results that are not finite, and say whether an argument or the dtype is at fault."""
        given = {"params": self.params, self.names[0]: self.x1}
        if self.x2 is not None:
            given[self.names[1]] = self.x2

        def arguments() -> dict[str, PyTree]:
            return functools.reduce(operator.or_, (_floating_leaves(of, tree) for of, tree in given.items()))

        check_results(_floating_leaves(name, result), arguments)


def checked_arguments(
    f: ModelFunction,
    params: Params,
    x1: PyTree,
    x2: PyTree,
    *,
    param_filter: ParamFilter | None = None,
    batch_dependent: bool = False,
    names: tuple[str, str] = ("x1", "x2"),
) -> Arguments:
    """Check the arguments that all functions of a model have in common.

    Args:
        f: The function.
        params: Its parameters.
        x1: Inputs of the first side.
        x2: Inputs of the second side. None means those of the first side.
        param_filter: Chooses the trained leaves by path. None means all.
        batch_dependent: Whether rows of f may depend on other rows of x.
        names: The names of x1 and x2 in messages.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A shape does not fit, no leaf is trained, or rows of f depend on other rows of x and
            `batch_dependent` is False.
    """
    check_flag("batch_dependent", batch_dependent)
    trained = checked_trained(f, params, param_filter)
    same = x2 is None or x2 is x1
    x1 = _checked_inputs(names[0], x1)
    output = _checked_output(f, params, x1, names[0], batch_dependent)
    if same:
        return Arguments(f, params, trained, x1, None, output, names)
    x2 = _checked_inputs(names[1], x2)
    structure1: PyTree = jax.tree.structure(x1)
    if jax.tree.structure(x2) != structure1:
        message = f"{names[1]} has the structure {shown(jax.tree.structure(x2))}; expected {shown(structure1)} as"
        raise ValueError(f"{message} {names[0]}.")
    output2 = _checked_output(f, params, x2, names[1], batch_dependent)
    if output2.shape != output.shape:
        raise ValueError(
            f"f returns outputs of shape {output2.shape} for {names[1]}; expected {output.shape} as for {names[0]}."
        )
    return Arguments(f, params, trained, x1, x2, output, names)


def checked_trained(f: ModelFunction, params: Params, param_filter: ParamFilter | None = None) -> tuple[int, ...]:
    """Which leaves of the parameters are trained. The function, the parameters and the filter are checked."""
    if param_filter is not None:
        check_filter(param_filter)
    check_model_function(f)
    return trained_leaves(f, params, param_filter)


def output_of(f: ModelFunction, params: Params, x: PyTree, name: str = "x") -> jax.ShapeDtypeStruct:
    """Shape and dtype of the output of one input.

    Args:
        f: The function.
        params: Its parameters.
        x: Inputs (N, …).
        name: The name of x in messages.

    Raises:
        TypeError: The outputs are not floating-point, or f raises a TypeError.
        ValueError: f does not return one row for each input, or raises another error.
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
    return jax.ShapeDtypeStruct(whole.shape[1:], whole.dtype)


def _outputs(f: ModelFunction, structure: PyTree, avals: tuple[PyTree, ...], name: str) -> PyTree:
    params, x = jax.tree.unflatten(structure, avals)
    expected = f"a function of such params and {name}, which have shapes {_shapes(params)} and {_shapes(x)}"
    return of_user(f"f(params, {name})", expected, jax.eval_shape, f, params, x)


def _shapes(tree: PyTree) -> str:
    return shown([leaf.shape for leaf in jax.tree.leaves(tree)])


def check_model_function(f: Callable[..., PyTree]) -> None:
    """Refuse an object that is not a hashable function f(params, x). For a model the message says how to make one."""
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
    check_function("f", f, "a function f(params, x)")
    check_hashable("f", f)


def _checked_inputs(name: str, x: PyTree) -> PyTree:
    """A pytree of arrays with one leading axis of inputs in common."""
    x = as_arrays(name, x)
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(x)}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        shapes = [leaf.shape for leaf in jax.tree.leaves(x)]
        raise ValueError(f"{name} has shapes {shapes}; expected arrays with one leading axis of inputs in common.")
    return x


def _checked_output(
    f: ModelFunction, params: Params, x: PyTree, name: str, batch_dependent: bool
) -> jax.ShapeDtypeStruct:
    """Shape and dtype of the output of one input. The rows of f must be independent, unless `batch_dependent`."""
    output = output_of(f, params, x, name)
    if not batch_dependent:
        _check_rows_apart(f, params, x)
    return output


def _check_rows_apart(f: ModelFunction, params: Params, x: PyTree) -> None:
    """Refuse an f whose rows depend on each other: a few rows are evaluated together, and each of them alone.

    f is evaluated at the parameters and near them. If a gate is zero at the parameters, mixing shows only near them.
    The check needs concrete values. It is made once for every f and every shape.
    """
    if not is_concrete(params, x) or num_inputs(x) == 1:
        return
    kept, seen = kept_with(f), (_check_rows_apart, tuple(map(jax.typeof, jax.tree.leaves((params, x)))))
    if seen in kept:
        return
    rows = np.unique(np.linspace(0, num_inputs(x) - 1, 8).astype(int))
    with jax.ensure_compile_time_eval():
        few = jax.tree.map(lambda leaf: leaf[rows], x)
    # The program is compiled first and called afterwards, so that it also runs while something else is being traced.
    with jax.default_matmul_precision("highest"), jax.disable_jit(False):
        traced = jax.jit(functools.partial(_together_and_alone, f)).trace(params, few, np.float32(0))
        compiled = traced.lower().compile()
    rounding = 8 * min(_largest_eps(traced.jaxpr), 2.0**-6)
    visible = False
    for distance in (0, 0.1):
        outputs, alone = jax.device_get(compiled(params, few, np.float32(distance)))
        if not np.all(np.isfinite(outputs)):
            continue  # if this happens at the parameters, the result is not finite either, and is refused
        spread, largest = np.max(np.abs(outputs - outputs.mean(0))), np.max(np.abs(outputs))
        if np.max(np.abs(outputs - alone)) > max(1e-3, rounding) * spread + rounding * largest:
            raise ValueError(
                "f mixes the inputs of a batch (a row changes when it is evaluated alone); expected a function of each"
                " input by itself, such as batch normalization in evaluation mode; empirical_ntk has"
                " batch_dependent=True."
            )
        visible |= bool(spread > rounding * largest)
    if visible:  # if all rows are equal, mixing cannot be seen
        kept[seen] = True


def _floating_leaves(name: str, tree: PyTree) -> dict[str, PyTree]:
    """The floating-point leaves of a pytree, by the names that messages use."""
    paths = [f"{name} '{path}'" if path else name for path in leaf_paths(tree)]
    leaves = zip(paths, jax.tree.leaves(tree), strict=True)
    return {path: leaf for path, leaf in leaves if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)}


def _together_and_alone(
    f: ModelFunction, params: Params, x: PyTree, distance: Float[Array, ""]
) -> tuple[Float[Array, " N *outputs"], Float[Array, " N *outputs"]]:
    """The outputs of all rows together and of each row alone. The parameters are moved by `distance`, relative to their
    size.
    """

    def moved(leaf: PyTree) -> PyTree:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return leaf
        leaf = jnp.asarray(leaf)
        size = jnp.sqrt(jnp.mean(at_least_float32(leaf) ** 2))
        direction = jnp.cos(jnp.arange(leaf.size, dtype=size.dtype)).reshape(leaf.shape)
        return leaf + (distance.astype(size.dtype) * jnp.where(size > 0, size, 1) * direction).astype(leaf.dtype)

    leaves, structure = jax.tree.flatten(params)
    leaves = [moved(leaf) for leaf in leaves]

    def outputs(x: PyTree) -> Float[Array, " M *outputs"]:
        # Unflattened where it is used: variables of Flax NNX belong to the transformation that they are made in.
        return at_least_float32(f(jax.tree.unflatten(structure, leaves), x))  # NumPy does not know all narrow dtypes

    return outputs(x), jax.vmap(lambda one: outputs(batch_of_one(one))[0])(x)


def _largest_eps(program: Program) -> float:
    """The precision of the narrowest floating-point numbers that a program computes with."""
    dtypes = {aval_of(v).dtype for equation, _ in equations(program.jaxpr) for v in equation.outvars}
    return max((float(jnp.finfo(dtype).eps) for dtype in dtypes if jnp.issubdtype(dtype, jnp.floating)), default=0.0)
