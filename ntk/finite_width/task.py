"""A kernel of any function before it is computed: its options, its reading, and a rule for every parameter."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ntk.checks import check_choice, check_count, check_flag, shown
from ntk.dtypes import of_one_dtype, wide
from ntk.finite_width.arguments import Arguments
from ntk.finite_width.functions import ModelFunction, batch_of_one
from ntk.finite_width.rules.axes import OutputAxes, output_axes
from ntk.finite_width.rules.families import family_kernel
from ntk.finite_width.rules.memory import largest_batch
from ntk.finite_width.rules.plan import Family, Tile, plan
from ntk.finite_width.rules.reading import Reading, Side, directly, in_common, read
from ntk.tiles import num_inputs
from ntk.trees import Params

METHODS = ("auto", "layerwise", "jacobian", "vector_products")


class Options(NamedTuple):
    """The options of a kernel. They are static in a compiled program.

    Attributes:
        axes: The outputs of one input, and which of them are kept.
        trained: Which leaves of the parameters are trained.
        method: One of `METHODS`.
        batch_size: How many inputs of each side a tile has. None means all, "auto" means as many as memory allows.
        per_layer: Whether each leaf of the parameters has a kernel of its own.
        batch_dependent: Whether a whole batch is one input, and its rows are an axis of the outputs.
    """

    axes: OutputAxes
    trained: tuple[int, ...]
    method: str = "auto"
    batch_size: int | str | None = None
    per_layer: bool = False
    batch_dependent: bool = False


def checked_options(
    arguments: Arguments,
    *,
    trace_axes: Sequence[int],
    diagonal_axes: Sequence[int],
    method: str = "auto",
    batch_size: int | str | None = None,
    per_layer: bool = False,
    batch_dependent: bool = False,
) -> Options:
    """Check the options of a kernel.

    Args:
        arguments: The function, its parameters and its inputs, checked.
        trace_axes: Output axes to average over.
        diagonal_axes: Output axes to keep as a diagonal.
        method: One of `METHODS`.
        batch_size: How many inputs of each side a tile has, or None, or "auto".
        per_layer: True or False.
        batch_dependent: True or False, checked with the arguments.

    Raises:
        TypeError: A flag is neither True nor False.
        ValueError: An option is not as above, or two options exclude each other.
    """
    check_choice("method", method, METHODS)
    if isinstance(batch_size, str):
        check_choice("batch_size", batch_size, ("auto",))
    elif batch_size is not None:
        check_count("batch_size", batch_size)
    check_flag("per_layer", per_layer)
    if batch_dependent and batch_size is not None:
        raise ValueError(
            f"batch_size is {shown(batch_size)} with batch_dependent=True; expected None, a batch has no tiles."
        )
    if method == "vector_products" and (per_layer or batch_dependent):
        raise ValueError("method is 'vector_products' with per_layer or batch_dependent; expected another method.")
    axes = output_axes(arguments.output.shape, trace_axes, diagonal_axes)
    if batch_dependent:
        axes = axes.with_rows(num_inputs(arguments.x1))
    return Options(axes, arguments.trained, method, batch_size, bool(per_layer), bool(batch_dependent))


class Task(NamedTuple):
    """A kernel that is ready to be computed.

    Attributes:
        reading1: The function, read at inputs of the first side.
        reading2: The function, read at inputs of the second side, which may have another shape.
        axes: Its outputs.
        families: Its parameters, with their rules.
        batch_size: How many inputs of each side a tile has.
    """

    reading1: Reading
    reading2: Reading
    axes: OutputAxes
    families: list[Family]
    batch_size: int

    def kernel(self, side1: Side, side2: Side | None) -> Float[Array, "N1 N2 *kept"]:
        """The kernel between two tiles of inputs. None for side2 means side1."""
        return self._mean([self._part(family, side1, side2) for family in self.families], side1, side2)

    def kernels_of_leaves(self, side1: Side, side2: Side | None) -> list[Float[Array, "N1 N2 *kept"] | None]:
        """The part of every leaf of the parameters in `kernel`. None for a leaf that is not trained."""
        parts: dict[int, list[Array]] = {leaf: [] for leaf in self.reading1.linear | self.reading1.direct}
        for family in self.families:
            for member in family.members:
                parts[member[0]].append(self._part(family._replace(members=(member,)), side1, side2))
        means = {leaf: self._mean(part, side1, side2) for leaf, part in parts.items()}
        return [means.get(leaf) for leaf in range(len(self.reading1.leaves))]

    def _part(self, family: Family, side1: Side, side2: Side | None) -> Float[Array, "N1 N2 *kept"]:
        other = None if side2 is None else (self.reading2, side2)
        return family_kernel(family, self.axes, (self.reading1, side1), other)

    def _mean(self, parts: list[Array], side1: Side, side2: Side | None) -> Float[Array, "N1 N2 *kept"]:
        """The sum of the parts divided by the number of traced outputs. Zeros if there are no parts."""
        dtype = wide(self.reading1.output.dtype)
        if not parts:
            return jnp.zeros((len(side1.outputs), len((side2 or side1).outputs), *self.axes.kept), dtype)
        return (functools.reduce(jnp.add, of_one_dtype(*parts)) / self.axes.num_traced).astype(dtype)


def prepared(f: ModelFunction, options: Options, params: Params, x1: PyTree, x2: PyTree) -> Task:
    """Read f, and choose a rule for every parameter.

    Args:
        f: The function.
        options: The options of its kernel.
        params: Its parameters. Their shapes suffice if the kernel will not be computed.
        x1: Inputs of the first side, or their shapes.
        x2: Inputs of the second side, or their shapes. None means those of the first side.
    """
    reading1 = reading2 = reading(f, options, params, x1)
    if x2 is not None and _one_input(x2, options) != _one_input(x1, options):
        reading1, reading2 = in_common(reading1, reading(f, options, params, x2))
    if options.method == "jacobian":
        reading1, reading2 = directly(reading1, reading1.linear), directly(reading2, reading2.linear)
    if options.batch_dependent:
        size, tile = 1, Tile(1, None if x2 is None else 1, options.axes)
    else:
        size = tile_size(options, reading1, x1, x1 if x2 is None else x2)
        symmetric = x2 is None and size >= num_inputs(x1)
        num2 = num_inputs(x1 if x2 is None else x2)
        tile = Tile(min(size, num_inputs(x1)), None if symmetric else min(size, num2), options.axes)
    reading1, families = plan(reading1, tile, options.method)
    return Task(reading1, directly(reading2, reading1.direct), options.axes, families, size)


def reading(f: ModelFunction, options: Options, params: Params, x: PyTree) -> Reading:
    """The reading of f for one input, or for a whole batch if rows depend on each other."""
    leaves, structure = jax.tree.flatten(params)

    def of_leaves(leaves: Sequence[Array], x: PyTree) -> Float[Array, "*outputs"]:
        params = jax.tree.unflatten(structure, leaves)
        return f(params, x) if options.batch_dependent else f(params, batch_of_one(x))[0]

    return read(of_leaves, leaves, _one_input(x, options), options.trained)


def _one_input(x: PyTree, options: Options) -> PyTree:
    skip = 0 if options.batch_dependent else 1
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[skip:], leaf.dtype), x)


def tile_size(options: Options, reading: Reading, x1: PyTree, x2: PyTree) -> int:
    """How many inputs of each side a tile has."""
    num1, num2 = num_inputs(x1), num_inputs(x2)
    if isinstance(options.batch_size, str):
        return min(largest_batch(reading, num1, num2), options.axes.tile_size)
    return min(max(num1, num2), options.batch_size or max(num1, num2))
