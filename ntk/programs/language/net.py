"""What `net` hands out to a program: parameters and functions."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ntk.caches.rebinding import as_of_now
from ntk.checks import as_numpy, check_choice, check_count, check_flag, shown
from ntk.duals import Activation, ActivationLike, activation, check_breakpoints
from ntk.programs.language.atoms import Bias, Dropped, Parameter, Tap
from ntk.programs.language.functions import coordinatewise, promoting, softmax_where
from ntk.programs.language.graph import Graph, Line, users_line
from ntk.programs.language.loops import scan
from ntk.programs.language.outputs import OutputWeight
from ntk.programs.language.positions import Shape, check_sizes
from ntk.programs.language.scalars import (
    Apply,
    Constant,
    Option,
    Scalar,
    ScalarLike,
    Scores,
    Table,
    Value,
    Width,
    apply_to_scalars,
    as_scalar,
    check_no_axes,
    fixed_scalar,
    standard_deviation,
)
from ntk.programs.language.vectors import Function, Vector, as_vector, single, zeros
from ntk.programs.language.weights import Convolution, Embedding, InputMatrix, Matrix, window_counts

_MOST_TOKENS = 2**24  # so that float32 tells all of them apart

Carry = TypeVar("Carry")
Part = TypeVar("Part")
Results = TypeVar("Results")
OfScalars = Callable[..., Any]  # gives a scalar, or a tuple of them, as the function that it is made from does


class Net:
    """Parameters and functions for a program to use; the first argument of a `tensor_program`.

    A name stands for one parameter, however often the program asks for it. Vectors take + − * / ** with each other,
    with numbers and with scalars. `vector.mean()` is a scalar and `vector.batch_mean()` a vector.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.prefix = ""
        self.parameters: dict[str, Parameter] = {}
        self.before: dict[str, Parameter] = {}  # those of the same program at another shape of its input
        self.watched: dict[str, tuple[Tap, Vector]] = {}
        self.needs: list[BatchNeed] = []
        self.nonnegative: list[tuple[str, Scalar]] = []

    def scope(self, name: str) -> "Net":
        """The same net under a prefix: its parameter and its watched vector "w" are "name/w" here.

        Args:
            name: The prefix.
        """
        scoped = copy.copy(self)
        scoped.prefix = f"{self.prefix}{_checked(name)}/"
        return scoped

    def matrix(self, name: str, std: ScalarLike = 1.0) -> Matrix:
        """(σ/√n) W with W (n, n), for `W @ vector` and `W.T @ vector`.

        Args:
            name: Of W.
            std: σ.
        """
        return Matrix(self.parameter(name, "matrix", std))

    def input_matrix(self, name: str, std: ScalarLike = 1.0) -> InputMatrix:
        """(σ/√d) U with U (n, d), for `U @ x` of d entries of the input at each position.

        Args:
            name: Of U.
            std: σ.
        """
        return InputMatrix(self.parameter, _checked(name), self._std(name, std))

    def embedding(self, name: str, vocabulary: int, std: ScalarLike = 1.0) -> Embedding:
        """σ E with E (V, n), for `E @ x` of tokens x, integers from 0 to V − 1: the row of E for each of them.

        All axes of x are position axes. This is `input_matrix(name, std * V**0.5) @ one_hot`, without the product: two
        coordinates of one token have the covariance σ², and those of two tokens have none (theory.md 3.18).
        A program that looks its input up takes integers, and reads them in no other way.

        Args:
            name: Of E.
            vocabulary: V.
            std: σ.

        Raises:
            ValueError: `vocabulary` is not an integer from 1 to 2^24.
        """
        check_count(f"vocabulary of {name!r}", vocabulary, maximum=_MOST_TOKENS)
        return Embedding(self.parameter, _checked(name), int(vocabulary), self._std(name, std))

    def convolution(
        self,
        name: str,
        window: tuple[int, ...],
        std: ScalarLike = 1.0,
        *,
        strides: tuple[int, ...] | None = None,
        dilation: tuple[int, ...] | None = None,
        padding: str = "same",
        shared: bool = True,
    ) -> Convolution:
        """(σ/√(kn)) Σ_o W_o z_{sp+o} over k offsets o, for `convolution @ z` of a field, or of the input (d for n).

        Args:
            name: Of W.
            window: The number of offsets along each position axis.
            std: σ.
            strides: s along each axis; None for 1.
            dilation: How far apart offsets are along each axis; None for 1.
            padding: "same" for zeros around the field, "circular" for positions of its other end, "valid" for none.
            shared: Whether W is the same at all positions. Otherwise each has a W of its own.

        Raises:
            TypeError: `shared` is not a boolean.
            ValueError: A window, a stride or a dilation is not a positive integer for each axis, or the padding is
                unknown.
        """
        name, std = _checked(name), self._std(_checked(name), std)
        check_choice("padding", padding, ("same", "valid", "circular"))
        counts = window_counts(name, window, strides, dilation)
        check_flag("shared", shared)
        return Convolution(self.parameter, name, std, *counts, padding, shared)

    def bias(self, name: str, std: ScalarLike = 1.0, axes: Shape = ()) -> Vector:
        """The vector σ b; or a field with a bias of its own at each position, such as an embedding of positions.

        Args:
            name: Of b.
            std: σ.
            axes: The sizes of the position axes.

        Raises:
            ValueError: `axes` is not a tuple of positive integers.
        """
        check_sizes(f"axes of {name!r}", axes)
        return single(self.graph.make(Bias, self.parameter(name, "bias", std, axes=axes), axes))

    def dropout(self, z: Vector, keep: ScalarLike) -> Vector:
        """m∘z/p with a random mask m of zeros and ones, of mean p: dropout in training (theory.md 3.20).

        Every input, every position and every call has a mask of its own. An input has one mask in all its kernels with
        other inputs of a call, and an input that stands twice in a batch has two. A network of finite width draws masks
        where `apply` is given a key. Without a key it returns z, as in testing.

        Args:
            z: A vector. A function that reads the result is sampled, so dropout is best put after the function.
            keep: p, from above 0 to 1. This is the `rate` of neural-tangents.

        Raises:
            TypeError: `z` is not a vector of the program.
            ValueError: `keep` is not such a number.
        """
        if not isinstance(z, Vector):
            raise TypeError(f"dropout is given {shown(z)}; expected a vector of the program.")
        rate = fixed_scalar(self.graph, keep, "keep of dropout")
        check_no_axes("keep of dropout", rate)
        if isinstance(rate, Constant) and not 0 < rate.value <= 1:
            raise ValueError(f"keep of dropout is {rate.value}; expected a number from above 0 to 1.")
        self.needs_nonnegative("keep of dropout", rate)
        self.needs_nonnegative("1 - keep of dropout", 1.0 - rate)
        return single(self.graph.make(Dropped, z, rate, (len(self.graph.nodes),))) if z.terms else z

    def output(self, name: str, std: ScalarLike = 1.0, mean: ScalarLike = 0.0) -> OutputWeight:
        """(1/√m)(σ v + μ), for an output `v @ vector` (m = n) or `v @ x` of d entries of the input (m = d).

        Args:
            name: Of v.
            std: σ.
            mean: μ. The output has a limit only where it is 0.
        """
        weight = self.graph.make(Bias, self.parameter(name, "output", std, mean))
        return single(weight, OutputWeight)  # type: ignore[return-value]

    def phi(
        self, name_or_function: ActivationLike | Callable[..., Array], *, breakpoints: tuple[float, ...] = (0.0,)
    ) -> Function:
        """A coordinate-wise function of vectors and scalars.

        Args:
            name_or_function: A name of `ntk.activation`, an `Activation`, or a JAX function of numbers.
            breakpoints: Where a function of a single vector bends or jumps, as in `ntk.activation`.

        Raises:
            TypeError: The function is neither a name nor a function.
            ValueError: The name is unknown, or `breakpoints` is not a tuple of numbers.
        """
        if isinstance(name_or_function, str | Activation) or not callable(name_or_function):
            named = activation(name_or_function, breakpoints=breakpoints)
            return Function(named.fn, (0.0,), named)
        points = check_breakpoints(breakpoints)
        return Function(as_of_now(name_or_function, coordinatewise), points)

    def table(self, numbers: ArrayLike | Sequence[object]) -> Scalar:
        """Numbers, one for each position: weights of a field (`table * z`), or of sums over positions (`table @ z`).

        Args:
            numbers: An array with the position axes, such as the adjacency matrix of a graph.

        Raises:
            TypeError: These are not numbers.
            ValueError: The array has no axis, or a number is not finite.
        """
        array = as_numpy("numbers", numbers, "an array of real numbers")
        if not array.ndim or not np.all(np.isfinite(array)):
            raise ValueError(f"numbers is {shown(numbers)}; expected finite numbers, and an axis at least.")
        return self.graph.make(Table, tuple(map(float, array.ravel())), array.shape)

    def scores(self, queries: Vector, keys: Vector) -> Scalar:
        """q_i·k_j/√n for all pairs of positions, which are random in the limit (theory.md 3.22).

        Kernels of a program with such scores are means over them, with standard errors, and its outputs are Gaussian
        given the scores alone. `(queries[:, None] * keys[None]).mean()` is q_i·k_j/n, which has a limit.

        Args:
            queries: q, of one position axis: a product with matrices that nothing else reads.
            keys: k, of one position axis: a product with other matrices that nothing else reads.

        Raises:
            TypeError: These are not vectors of the program.
            ValueError: They do not have one position axis.
        """
        for name, z in (("queries", queries), ("keys", keys)):
            if not isinstance(z, Vector):
                raise TypeError(f"{name} is {shown(z)}; expected a vector of the program.")
            if len(z.shape) != 1:
                raise ValueError(f"{name} has axes {z.shape}; expected one position axis.")
        before = sum(math.prod(node.shape) for node in self.graph.nodes if isinstance(node, Scores))
        return self.graph.make(Scores, queries, keys, before)

    def softmax(self, scores: Scalar, mask: np.ndarray | None = None) -> Scalar:
        """exp(s_q)/Σ_r exp(s_r) along the last position axis: attention of each query to keys q.

        Args:
            scores: s, with the position axes of the keys last.
            mask: True for the keys that count, of the shape of the scores or of their last axes; None for all. Every
                query needs one key that counts.

        Raises:
            TypeError: `scores` is not a scalar of the program, or `mask` is not of booleans.
            ValueError: `scores` has no position axis, or `mask` does not fit or leaves a query without keys.
        """
        if not isinstance(scores, Scalar):
            raise TypeError(f"scores is {shown(scores)}; expected scalars of a program.")
        softmax, axes = softmax_where(mask, scores.shape)
        return self.graph.make(Apply, softmax, (scores,), len(axes), axes)

    def scalar(self, fn: Callable[..., Value], over: int = 0) -> OfScalars:
        """A JAX function of numbers, to be applied to scalars of the program.

        Args:
            fn: It returns a number, for one scalar, or an array (k,), for a tuple of k scalars, as a softmax does.
            over: How many of the last position axes the function takes at once. It is then given arrays with these
                axes, and the axes of the array that it returns take their place.

        Raises:
            TypeError: `fn` is not a function.
            ValueError: `over` is not a count.
        """
        if not callable(fn):
            raise TypeError(f"fn is {shown(fn)}; expected a function of numbers.")
        check_count("over", over, minimum=0)
        recorded = as_of_now(fn, promoting)
        return lambda *args: apply_to_scalars(self.graph, recorded, over, args)

    def scan(
        self,
        step: Callable[[Carry, Part], tuple[Carry, Results]],
        initial: Carry,
        xs: Part | None = None,
        reverse: bool = False,
        length: int | None = None,
    ) -> tuple[Carry, Results]:
        """A loop over positions, as `jax.lax.scan`: the states after the last step, and the results of all steps.

        The step is recorded once, whatever their number.

        Args:
            step: The function `step(state, x) -> (state, result)` of a state and of `xs` at one step.
            initial: The state before the first step: a vector, or a pytree of vectors.
            xs: What the steps read along its first axis: the input, a field, or a pytree of these; None for nothing, as
                in layers of a deep network that share their weights.
            reverse: Whether to begin at the last position.
            length: The number of steps, where `xs` does not say it.

        Returns:
            The state, and the results as fields with an axis of the steps before their own.

        Raises:
            TypeError: `step` is not a function, or a state, a result or `xs` holds something else.
            ValueError: `xs` and `length` say several lengths or none, or the step changes the axes or the structure of
                the state, or watches a vector.
        """
        watched = dict(self.watched)
        found = scan(self.graph, step, initial, xs, reverse, length)
        if watched != self.watched:
            raise ValueError("a step watches a vector; expected watch of its results, such as ys.")
        return found

    def zero(self, axes: Shape = ()) -> Vector:
        """The vector of zeros, at each position.

        Args:
            axes: The sizes of the position axes.

        Raises:
            ValueError: `axes` is not a tuple of positive integers.
        """
        check_sizes("axes of zeros", axes)
        return zeros(self.graph, axes)

    def one(self) -> Vector:
        """The vector of ones."""
        return as_vector(self.graph, 1.0)

    def option(self, name: str) -> Scalar:
        """A number that the program is given from outside.

        Args:
            name: Of the option.
        """
        return self.graph.make(Option, _checked(name))

    @property
    def width(self) -> Scalar:
        """n. What depends on it has no limit that the theory covers, and is for finite networks alone."""
        return self.graph.make(Width)

    def needs_batch(self, rank: int, unless: ScalarLike = 0.0) -> None:
        """Refuse batches of which the inputs, less their mean, span too few dimensions.

        Args:
            rank: How many dimensions they must span.
            unless: A scalar. Where it is positive nothing is refused.
        """
        check_count("rank", rank)
        condition = as_scalar(self.graph, unless, "unless is")
        check_no_axes("unless", condition)
        self.needs.append(BatchNeed(rank, condition, users_line()))

    def needs_nonnegative(self, name: str, value: ScalarLike) -> Scalar:
        """The value as a scalar; refused where it is negative, once the options that it depends on are known.

        Args:
            name: What messages call it.
            value: A number or a scalar. A scalar that depends on the input or the width is not looked at.
        """
        scalar = as_scalar(self.graph, value, f"{_checked(name)} is")
        check_no_axes(name, scalar)
        self.nonnegative.append((name, scalar))
        return scalar

    def watch(self, name: str, vector: Vector) -> Vector:
        """The same vector. The kernels report its second moments C, and those of the gradient there, D, by the name.

        Of a field with position axes P they report the moments at equal positions, (N1, N2, *P).

        Args:
            name: One that no other vector has.
            vector: The vector to use from here on is the one returned.
        """
        name = self.prefix + _checked(name)
        if not isinstance(vector, Vector):
            raise TypeError(f"watch is given the vector {shown(vector)}; expected a vector of the program.")
        if name in self.watched:
            raise ValueError(f"watch is given the name {name!r} twice; expected a name of its own for each vector.")
        tap = self.graph.make(Tap, name, vector.shape)
        self.watched[name] = tap, vector
        return vector + single(tap)

    def parameter(
        self,
        name: str,
        kind: str,
        std: ScalarLike,
        mean: ScalarLike = 0.0,
        fan_in: int | None = None,
        axes: Shape = (),
        window: Shape = (),
    ) -> Parameter:
        """The parameter of that name, which must not be another one already.

        At another shape of the input there may be other numbers of positions, the sizes `axes`: at each position that
        both shapes have, the parameter is the same.
        """
        name, std = self.prefix + _checked(name), self._std(name, std)
        shift = fixed_scalar(self.graph, mean, f"mean of {name!r}")
        offsets = math.prod(window)
        parameter = self.graph.make(Parameter, name, kind, std, shift, fan_in, (*axes, *window), offsets)
        first = self.parameters.setdefault(name, parameter)
        if first is not parameter:
            raise ValueError(
                f"parameter {name!r} is asked for as a different one at {parameter.line}; expected the same kind,"
                f" std, axes and number of inputs as at {first.line}."
            )
        before = self.before.get(name, parameter)
        alike_axes = (*before.axes[: len(axes)], *window)
        alike = self.graph.make(Parameter, name, kind, std, shift, fan_in, alike_axes, offsets)
        if before is not alike:
            raise ValueError(
                f"parameter {name!r} is another one for inputs of another shape at {parameter.line}; expected inputs of"
                " one shape, or a parameter of the same kind, std, window and number of inputs for all shapes."
            )
        return before

    def _std(self, name: str, std: ScalarLike) -> Scalar:
        return standard_deviation(self.graph, std, f"std of {self.prefix + name!r}")


def _checked(name: str) -> str:
    """A name of a parameter, of a vector or of a scope."""
    if not isinstance(name, str):
        raise TypeError(f"name is {shown(name)}; expected a string.")
    return name


class BatchNeed(NamedTuple):
    """The number of dimensions that the inputs of a batch, less their mean, must span, unless a scalar is positive."""

    rank: int
    unless: Scalar
    line: Line


def at_next_shape(net: Net) -> Net:
    """The net for the same program at another shape of its input. Its parameters are those handed out before."""
    after = copy.copy(net)
    after.before, after.parameters, after.watched = net.before | net.parameters, {}, {}
    return after
