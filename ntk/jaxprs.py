"""Reading the programs that JAX traces. All code that depends on how a version of JAX writes programs is here.

It reads the names of primitives, the meaning of an equation (its dimension numbers, axes, shapes), and the programs
inside it. Versions of JAX pack the inputs of a loop into parameters differently. Shapes tell what each input is.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeGuard, cast

import jax
import jax.numpy as jnp
from jax.extend import core

Program: TypeAlias = core.ClosedJaxpr
Equation: TypeAlias = core.JaxprEqn
Variable: TypeAlias = core.Var
Atom: TypeAlias = core.Var | core.Literal  # an input of an equation: a variable, or a number written into the program
Value: TypeAlias = Any  # of a variable: an array, or an object that an interpreter puts in its place

# Equations that only wrap one program, whose inputs and outputs are their own.
WRAPPERS = ("jit", "closed_call", "eval_jaxpr", "remat2")
# Primitives of JAX that are continuous wherever they are defined, and have no poles.
_CONTINUOUS = """
abs acos acosh add add_any asin asinh atan broadcast_in_dim cbrt clamp concatenate convert_element_type copy cos cosh
cumlogsumexp cummax cummin cumprod cumsum custom_jvp_call custom_vjp_call dot_general erf erfc exp exp2 expm1 jit
logistic max min mul neg pad pjit reduce_max reduce_min reduce_prod reduce_sum remat reshape rev scan sin sinh slice
sort split sqrt square squeeze stack stop_gradient sub tanh transpose
""".split()  # noqa: SIM905
# These primitives are continuous if their second argument is a constant for which the function here is true.
_CONTINUOUS_BY_A_CONSTANT = {"div": lambda number: number != 0, "pow": lambda number: number > 0}


class Scan(NamedTuple):
    """A `scan`. Its inputs are constants, the carry and arrays of slices; its outputs the carry and stacked arrays.

    Attributes:
        body: The closed program of one step.
        num_consts: How many inputs are the same at every step. They come first.
        num_carry: How many inputs a step hands to the next. They come after the constants, and are the first outputs.
        options: Keywords of `jax.lax.scan`: the length, the direction and how many steps are written out.
    """

    body: Program
    num_consts: int
    num_carry: int
    options: dict[str, Any]


def inner_programs(equation: Equation) -> list[Program]:
    """The closed programs inside an equation: of a wrapper or a scan one, of a `cond` its branches in order."""
    programs = _inner(equation)
    return [x if isinstance(x, core.ClosedJaxpr) else core.ClosedJaxpr(x, []) for x in programs]


def as_scan(equation: Equation) -> Scan:
    """The body of a `scan` equation, and the kinds of its inputs."""
    (body,) = inner_programs(equation)
    # An array that the loop takes slices of, or stacks, has one axis more outside the loop.
    along = [_ndim(outer) > _ndim(inner) for outer, inner in zip(equation.invars, body.jaxpr.invars, strict=True)]
    stacked = [_ndim(outer) > _ndim(inner) for outer, inner in zip(equation.outvars, body.jaxpr.outvars, strict=True)]
    num_carry = len(stacked) - sum(stacked)
    options = {name: equation.params[name] for name in ("length", "reverse", "unroll")}
    return Scan(body, len(along) - sum(along) - num_carry, num_carry, options)


def equations(jaxpr: core.Jaxpr, times: int = 1) -> Iterator[tuple[Equation, int]]:
    """Every equation of a program and of the programs inside it, and how often it is run.

    Equations of a scan are run once for each step. Those of each branch of a `cond` count once.
    """
    for equation in jaxpr.eqns:
        yield equation, times
        for program in _inner(equation):
            yield from equations(getattr(program, "jaxpr", program), times * equation.params.get("length", 1))


def needed_equations(jaxpr: core.Jaxpr) -> list[Equation]:
    """The equations that the outputs of a program depend on, or that have an effect such as printing, in order."""
    needed = set(filter(is_variable, jaxpr.outvars))
    equations = []
    for equation in reversed(jaxpr.eqns):
        if equation.effects or not needed.isdisjoint(equation.outvars):
            equations.append(equation)
            needed.update(filter(is_variable, equation.invars))
    return equations[::-1]


def readers(jaxpr: core.Jaxpr, needed: Sequence[Equation]) -> dict[Variable, list[str]]:
    """The primitives of needed equations that read each variable, and "output" if the program returns the variable."""
    found: dict[Variable, list[str]] = defaultdict(list)
    for equation in needed:
        for atom in filter(is_variable, equation.invars):
            found[atom].append(equation.primitive.name)
    for atom in filter(is_variable, jaxpr.outvars):
        found[atom].append("output")
    return found


def is_variable(atom: Atom) -> TypeGuard[Variable]:
    """Whether an input of an equation is a variable, and not a number that is written into the program."""
    return not isinstance(atom, core.Literal)


def aval_of(atom: Atom) -> jax.core.ShapedArray:
    """The shape and dtype of an input or output of an equation."""
    return cast(jax.core.ShapedArray, atom.aval)


def read_atom(atom: Atom, values: dict[Variable, Value]) -> Value:
    """The value of an input of an equation, among those of the variables."""
    return jnp.asarray(atom.val, aval_of(atom).dtype) if isinstance(atom, core.Literal) else values[atom]


def initial_values(program: Program, inputs: Sequence[Value]) -> dict[Variable, Value]:
    """The variables of a closed program before its first equation."""
    jaxpr = program.jaxpr
    return dict(zip([*jaxpr.constvars, *jaxpr.invars], [*map(jnp.asarray, program.consts), *inputs], strict=True))


def evaluate(program: Program, equation: Equation, inputs: Sequence[Value]) -> Sequence[Value]:
    """The outputs of one equation. It runs as a program of its own, which keeps custom derivatives and inner programs.

    Outputs that the program drops are None.
    """
    arguments = {a: x for a, x in zip(equation.invars, inputs, strict=True) if is_variable(a)}
    alone = program.jaxpr.replace(
        constvars=[],
        invars=list(arguments),
        outvars=[v for v in equation.outvars if not isinstance(v, core.DropVar)],
        eqns=[equation],
        effects=equation.effects,
    )
    run: Callable[..., Sequence[Value]] = core.jaxpr_as_fun(core.ClosedJaxpr(alone, []))
    outputs = iter(run(*arguments.values()))
    return [None if isinstance(v, core.DropVar) else next(outputs) for v in equation.outvars]


def consists_of_continuous(jaxpr: core.Jaxpr) -> bool:
    """Whether a program consists of primitives that are continuous wherever they are defined, and have no poles."""
    return all(
        _has_no_jump_or_pole(equation)
        and all(jnp.issubdtype(aval_of(result).dtype, jnp.floating) for result in equation.outvars)
        and all(map(consists_of_continuous, core.jaxprs_in_params(equation.params)))
        for equation in jaxpr.eqns
    )


def _has_no_jump_or_pole(equation: Equation) -> bool:
    name = equation.primitive.name
    if name in _CONTINUOUS_BY_A_CONSTANT:
        second = equation.invars[1]
        return isinstance(second, core.Literal) and bool(_CONTINUOUS_BY_A_CONSTANT[name](second.val))
    return name in _CONTINUOUS or (name == "integer_pow" and equation.params["y"] >= 0)


def _inner(equation: Equation) -> Iterator[Any]:
    """Programs inside an equation, closed or not."""
    for value in equation.params.values():
        for part in value if isinstance(value, tuple) else (value,):
            if hasattr(getattr(part, "jaxpr", part), "eqns"):
                yield part


def _ndim(atom: Atom) -> int:
    return len(aval_of(atom).shape)
