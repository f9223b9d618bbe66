"""The plan of `empirical_ntk` for each parameter of a function, with its cost. No kernel is computed."""

from dataclasses import dataclass

import jax
from jaxtyping import PyTree

from ntk.finite_width.arguments import checked_arguments
from ntk.finite_width.functions import ModelFunction
from ntk.finite_width.rules.memory import bytes_per_input
from ntk.finite_width.rules.plan import Family
from ntk.finite_width.task import Task, checked_options, prepared
from ntk.tiles import num_inputs
from ntk.trees import ParamFilter, Params, leaf_paths


@dataclass(frozen=True)
class Row:
    """Parameters whose part of the kernel is computed together.

    Attributes:
        parameters: Their paths.
        uses: The operations in which they are used. Empty for "jacobian".
        rule: "gram": Gram matrices of operands times those of δ. "gradient": gradients from operands and δ.
            "jacobian": gradients from the backward pass. "unused": f does not use them. "constant": they are not
            trained.
        flops: Floating-point operations for one tile, after the forward and backward pass.
        bytes: Bytes of memory for one tile, beside operands and δ.
    """

    parameters: tuple[str, ...]
    uses: tuple[str, ...]
    rule: str
    flops: float
    bytes: float


@dataclass(frozen=True)
class Explanation:
    """The plan of an empirical NTK; printed as a table.

    Attributes:
        rows: The parameters.
        batch_size: How many inputs of each side a tile has.
        bytes_per_input: Bytes that the forward and backward pass of one input may take, estimated from above.
    """

    rows: tuple[Row, ...]
    batch_size: int
    bytes_per_input: int

    def __str__(self) -> str:
        cells = [("parameters", "used in", "rule", "Mflop", "MiB")]
        for row in self.rows:
            costs = f"{row.flops / 1e6:.3g}", f"{row.bytes / 2**20:.3g}"
            cells.append((", ".join(row.parameters), ", ".join(row.uses), row.rule, *costs))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        size = f"tiles of {self.batch_size} inputs, {self.bytes_per_input / 2**20:.3g} MiB or less per input"
        return "\n".join([line.rstrip() for line in lines] + [size])


def explain_empirical(
    f: ModelFunction,
    params: Params,
    x1: PyTree,
    x2: PyTree = None,
    *,
    trace_axes: tuple[int, ...] = (-1,),
    diagonal_axes: tuple[int, ...] = (),
    method: str = "auto",
    batch_size: int | str | None = None,
    param_filter: ParamFilter | None = None,
    batch_dependent: bool = False,
) -> Explanation:
    """The rule that each parameter gets in `empirical_ntk`, its operations and its memory.

    Args:
        f: f(params, x) → (N, …outputs), as `empirical_ntk` takes it.
        params: A pytree of arrays.
        x1: Inputs, an array (N1, …) or a pytree of arrays with that leading axis.
        x2: The other inputs. None means `x1`.
        trace_axes: Output axes to average over.
        diagonal_axes: Output axes to keep as a diagonal.
        method: "auto", "layerwise" or "jacobian".
        batch_size: How many inputs of each side a tile has. None means all, "auto" means as many as memory allows.
        param_filter: Chooses the trained leaves by path. None means all.
        batch_dependent: Whether rows of f may depend on the whole batch.

    Returns:
        An `Explanation`, to be printed or read.

    Raises:
        TypeError: f is not a function, params has a complex leaf to be trained, or f does not return a floating-point
            array.
        ValueError: An option or a shape is not as above, no parameter is chosen, or a row of f depends on other rows
            of x.

    Example:
        >>> import jax.numpy as jnp
        >>> import ntk
        >>> def f(params, x):
        ...     return jnp.tanh(x @ params["w"] + params["b"]) @ jnp.exp(params["v"])
        >>> shapes = {"w": (8, 64), "b": (64,), "v": (64, 1)}
        >>> params = {name: jnp.zeros(shape, jnp.float32) for name, shape in shapes.items()}
        >>> print(ntk.explain_empirical(f, params, jnp.ones((100, 8), jnp.float32)))
        parameters  used in       rule      Mflop  MiB
        b, w        sum, product  gram      1.46   0.0381
        v                         jacobian  1.28   0.0244
        tiles of 100 inputs, 0.00454 MiB or less per input
    """
    if isinstance(method, str) and method == "vector_products":
        raise ValueError("method is 'vector_products'; expected one with a rule for every parameter.")
    arguments = checked_arguments(f, params, x1, x2, param_filter=param_filter, batch_dependent=batch_dependent)
    options = checked_options(
        arguments,
        trace_axes=trace_axes,
        diagonal_axes=diagonal_axes,
        method=method,
        batch_size=batch_size,
        batch_dependent=batch_dependent,
    )
    task = prepared(f, options, *jax.eval_shape(lambda *arrays: arrays, *arguments.arrays))
    paths = leaf_paths(params)
    rows = [_row(task, family, paths) for family in task.families]
    used = {leaf for family in task.families for leaf, _ in family.members}
    if unused := [paths[leaf] for leaf in sorted(task.reading1.linear - used)]:
        rows.append(Row(tuple(unused), (), "unused", 0.0, 0.0))
    if constant := [path for leaf, path in enumerate(paths) if leaf not in options.trained]:
        rows.append(Row(tuple(constant), (), "constant", 0.0, 0.0))
    size = num_inputs(arguments.x1) if batch_dependent else task.batch_size
    return Explanation(tuple(rows), size, bytes_per_input(task.reading1))


def _row(task: Task, family: Family, paths: list[str]) -> Row:
    uses = [task.reading1.uses[place].op.name for _, places in family.members for place in places]
    counted = [name if uses.count(name) == 1 else f"{uses.count(name)} × {name}" for name in dict.fromkeys(uses)]
    parameters = tuple(paths[leaf] for leaf, _ in family.members)
    return Row(parameters, tuple(counted), family.rule, float(family.flops), float(family.bytes))
