"""All that a program or its reader calls, one argument at a time replaced by what it should not be."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hostile import BAD_VALUES, judge, replaced

pytestmark = pytest.mark.slow

X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
PARAMS = {"w1": np.ones((4, 5), "float32"), "b1": np.ones(5, "float32"), "v": np.ones(5, "float32")}
TAP = np.ones((3, 5), "float32")
SEQUENCES = np.ones((3, 2, 4), "float32")
# What messages name: the argument itself, or what is read from it.
SAID = dict.fromkeys(("x", "x1", "x2"), "x|x1|x2|params|input|axes")


def small(ntk):
    return ntk.architectures.mlp(depth=1)


def watching(ntk):
    @ntk.tensor_program
    def program(net, x):
        return net.output("v") @ net.watch("h", net.input_matrix("w1") @ x + net.bias("b1"))

    return ntk.finite(program, 5)


def limit(ntk, read):
    return read, {"program": small(ntk), "x1": X, "x2": X, "samples": 256, "rtol": 0.1, "seed": 0, "tile_size": 2}


def mean_of(net, x):
    return net.output("v") @ (net.input_matrix("w1") @ x).pooled()


# By name: a function that reads programs, and arguments of it that are good.
READERS = {
    "infinite": lambda ntk: limit(ntk, ntk.programs.infinite),
    "infinite_ntk": lambda ntk: limit(ntk, ntk.programs.infinite_ntk),
    "corrected_kernels": lambda ntk: (
        ntk.corrected_kernels,
        {"program": small(ntk), "x1": X, "x2": X, "samples": 256, "seed": 0, "assume_gia": True},
    ),
    "measured": lambda ntk: (ntk.programs.measured, {"program": small(ntk), "params": PARAMS, "x1": X, "x2": X}),
    "check_gia": lambda ntk: (ntk.check_gia, {"program": small(ntk), "x": X}),
    "check_gia of a shape": lambda ntk: (lambda x: ntk.check_gia(small(ntk), (x,)), {"x": 4}),
    "finite": lambda ntk: (ntk.programs.finite, {"program": small(ntk), "width": 5, "outputs": 2}),
    "init": lambda ntk: (ntk.finite(small(ntk), 5).init, {"key": jax.random.key(0), "x": X}),
    "apply": lambda ntk: (ntk.finite(small(ntk), 5).apply, {"params": PARAMS, "x": X}),
    "apply to sequences": lambda ntk: (
        lambda lengths: ntk.finite(ntk.tensor_program(mean_of), 5).apply(
            PARAMS, np.ones((3, 2, 4), "float32"), lengths
        ),
        {"lengths": np.array([2, 1, 2])},
    ),
    "apply with one parameter": lambda ntk: (
        lambda params: ntk.finite(small(ntk), 5).apply(PARAMS | {"v": params}, X),
        {"params": PARAMS["v"]},
    ),
    "trace": lambda ntk: (watching(ntk).trace, {"params": PARAMS, "x": X, "taps": {"h": TAP}}),
    "trace with one tap": lambda ntk: (lambda taps: watching(ntk).trace(PARAMS, X, {"h": taps}), {"taps": TAP}),
    "tensor_program": lambda ntk: (ntk.tensor_program, {"fn": lambda net, x: net.output("v") @ x}),
    "architectures.mixture": lambda ntk: (
        lambda programs, weights: ntk.architectures.mixture(programs, small(ntk), weights=weights),
        {"programs": small(ntk), "weights": (0.5, 0.5)},
    ),
}


def keeps(state, x):
    return state, state


def vector_of(net, x):
    return net.input_matrix("w") @ x


def field_of(net, x):
    return net.input_matrix("f") @ x.reshape(2, 2)


def scalar_of(net, x):
    return vector_of(net, x).mean()


def output_of(net, x):
    return net.output("v") @ vector_of(net, x)


# By name: what a message calls the argument, and what a program does with it.
NOTATION = {
    "scope": ("name", lambda net, x, bad: net.scope(bad).bias("b")),
    "matrix": ("name", lambda net, x, bad: net.matrix(bad)),
    "matrix's std": ("std", lambda net, x, bad: net.matrix("m", bad)),
    "input_matrix": ("name", lambda net, x, bad: net.input_matrix(bad) @ x),
    "input_matrix's std": ("std", lambda net, x, bad: net.input_matrix("m", bad) @ x),
    "convolution": ("name", lambda net, x, bad: net.convolution(bad, (1,)) @ x[:, None]),
    "convolution's window": ("window", lambda net, x, bad: net.convolution("c", bad)),
    "convolution's std": ("std", lambda net, x, bad: net.convolution("c", (1,), bad)),
    "convolution's strides": ("strides", lambda net, x, bad: net.convolution("c", (1,), strides=bad)),
    "convolution's dilation": ("dilation", lambda net, x, bad: net.convolution("c", (1,), dilation=bad)),
    "convolution's padding": ("padding", lambda net, x, bad: net.convolution("c", (1,), padding=bad)),
    "convolution's shared": ("shared", lambda net, x, bad: net.convolution("c", (1,), shared=bad)),
    "convolution @": ("input|applied", lambda net, x, bad: net.convolution("c", (1,)) @ bad),
    "bias's axes": ("axes", lambda net, x, bad: net.bias("b", axes=bad)),
    "table": ("numbers", lambda net, x, bad: net.table(bad)),
    "table @": ("program|axes", lambda net, x, bad: net.table(np.eye(2)) @ bad),
    "scan": ("step", lambda net, x, bad: net.scan(bad, net.zero(), x[:, None])),
    "scan's initial": ("initial", lambda net, x, bad: net.scan(keeps, bad, x[:, None])),
    "scan's xs": ("xs", lambda net, x, bad: net.scan(keeps, net.zero(), bad)),
    "scan's reverse": ("reverse", lambda net, x, bad: net.scan(keeps, net.zero(), x[:, None], bad)),
    "zero's axes": ("axes", lambda net, x, bad: net.zero(bad)),
    "softmax": ("scores", lambda net, x, bad: net.softmax(bad)),
    "softmax's mask": ("mask", lambda net, x, bad: net.softmax(net.table(np.eye(2)), bad)),
    "scalar's over": ("over", lambda net, x, bad: net.scalar(jnp.sum, bad)(net.table(np.eye(2)))),
    "field[]": ("index|field", lambda net, x, bad: field_of(net, x)[bad]),
    "field.padded": ("widths", lambda net, x, bad: field_of(net, x).padded(bad)),
    "field.transposed": ("order", lambda net, x, bad: field_of(net, x)[None].transposed(bad, 0)),
    "field.pooled": ("windows", lambda net, x, bad: field_of(net, x).pooled(bad)),
    "field.pooled's strides": ("strides", lambda net, x, bad: field_of(net, x).pooled(2, strides=bad)),
    "bias": ("name", lambda net, x, bad: net.bias(bad)),
    "bias's std": ("std", lambda net, x, bad: net.bias("b", bad)),
    "output": ("name", lambda net, x, bad: net.output(bad)),
    "output's std": ("std", lambda net, x, bad: net.output("o", bad)),
    "output's mean": ("mean", lambda net, x, bad: net.output("o", 1.0, bad)),
    "phi": ("activation|function", lambda net, x, bad: net.phi(bad)(vector_of(net, x))),
    "phi's breakpoints": ("breakpoints", lambda net, x, bad: net.phi(jnp.tanh, breakpoints=bad)),
    "a function of a vector": ("program", lambda net, x, bad: net.phi(jnp.tanh)(bad)),
    "a function of two vectors": ("program", lambda net, x, bad: net.phi(jnp.arctan2)(vector_of(net, x), bad)),
    "scalar": ("fn|function", lambda net, x, bad: net.scalar(bad)(scalar_of(net, x))),
    "a function of a scalar": ("program", lambda net, x, bad: net.scalar(jnp.tanh)(bad)),
    "option": ("name", lambda net, x, bad: net.option(bad)),
    "needs_batch": ("rank", lambda net, x, bad: net.needs_batch(bad)),
    "needs_batch's unless": ("unless", lambda net, x, bad: net.needs_batch(2, bad)),
    "needs_nonnegative": ("name", lambda net, x, bad: net.needs_nonnegative(bad, 1.0)),
    "needs_nonnegative's value": ("value", lambda net, x, bad: net.needs_nonnegative("value", bad)),
    "watch": ("name", lambda net, x, bad: net.watch(bad, vector_of(net, x))),
    "watch's vector": ("vector", lambda net, x, bad: net.watch("h", bad)),
    "matrix @": ("program", lambda net, x, bad: net.matrix("m") @ bad),
    "matrix.T @": ("program", lambda net, x, bad: net.matrix("m").T @ bad),
    "input_matrix @": ("input", lambda net, x, bad: net.input_matrix("m") @ bad),
    "output @": ("program|output", lambda net, x, bad: net.output("o") @ bad),
    "input[]": ("index", lambda net, x, bad: x[bad]),
    "input.reshape": ("shape", lambda net, x, bad: x.reshape(bad)),
    "a part of the input": ("input|output", lambda net, x, bad: [net.output("o") @ part for part in x[bad]]),
}
OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
}
OPERANDS = {
    "vector": vector_of,
    "scalar": scalar_of,
    "output": output_of,
    "output weight": lambda net, x: net.output("v"),
}
# What a program has itself, where it should not stand.
OWN = OPERANDS | {"net": lambda net, x: net, "the input": lambda net, x: x, "an entry": lambda net, x: x[0]}
# An operation that an operand does not have is refused by Python or NumPy, in a sentence that names the operand.
WITHOUT = "unsupported operand type", "does not support ufuncs"


def bad_values(net, x):
    return BAD_VALUES | {name: make(net, x) for name, make in OWN.items()}


def recorded(plain, use):
    """Record a program that makes a bad value and uses it."""

    @plain.tensor_program
    def program(net, x):
        use(net, x)
        return net.output("v") @ (net.input_matrix("w") @ x)

    program.record((4,))


def read_with(ntk, program, option, bad, shape):
    """Parameters for it: what must not be negative is looked at."""
    model = ntk.finite(program(**{option: bad}), 3)
    jax.eval_shape(lambda: model.init(jax.random.key(0), np.ones((2, *shape), "float32")))


def wrong_uses(plain, argument, use):
    found = []
    for bad in (*BAD_VALUES, *OWN):
        wrong = judge(
            lambda bad=bad: recorded(plain, lambda net, x: use(net, x, bad_values(net, x)[bad])), argument, bad
        )
        if wrong and not any(said in wrong for said in WITHOUT):
            found.append(f"{argument} = {bad}: {wrong}")
    return "\n".join(found)


def operations():
    for (sign, operation), operand in itertools.product(OPERATIONS.items(), OPERANDS):
        yield f"{operand} {sign}", lambda net, x, bad, o=operation, a=operand: o(OPERANDS[a](net, x), bad)
        yield f"{sign} {operand}", lambda net, x, bad, o=operation, a=operand: o(bad, OPERANDS[a](net, x))


def options_of(architectures):
    """Every option of every architecture."""
    for name in architectures.__all__:
        program = getattr(architectures, name)
        for option in [*getattr(program, "numbers", ()), *getattr(program, "choices", ())]:
            yield name, option


SHAPES = {
    **dict.fromkeys(("batch_norm_mlp", "deep_equilibrium", "mlp", "residual_mlp", "tied_mlp"), (4,)),
    **dict.fromkeys(("cnn_2d", "densenet", "wide_resnet"), (2, 2, 2)),
}


@pytest.mark.slow
def test_careless_options(plain):
    found = []
    for (name, option), bad in itertools.product(options_of(plain.architectures), BAD_VALUES):
        program, shape = getattr(plain.architectures, name), SHAPES.get(name, (2, 2))
        use = functools.partial(read_with, plain, program, option, BAD_VALUES[bad], shape)
        wrong = judge(use, f"{option}|function|std", bad)
        if wrong:
            found.append(f"{name}({option}={bad}): {wrong}")
    assert not "\n".join(found)


# As `infinite` and `infinite_ntk` have one door, one of them is for the long run.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "infinite_ntk" else name for name in READERS]
)
def test_careless_readings(plain, name):
    function, good = READERS[name](plain)
    function(**good)
    found = []
    for argument, bad, given in replaced(good):
        wrong = judge(lambda given=given: function(**given), SAID.get(argument, argument), bad)
        if wrong:
            found.append(f"{argument} = {bad}: {wrong}")
    assert not "\n".join(found)


def test_everything_public_is_called(plain):
    programs = plain.programs
    functions = {name for name in programs.__all__ if inspect.isfunction(getattr(programs, name))}
    assert functions <= set(READERS)
    assert {"trace", "init", "apply"} <= set(READERS)
    net_type = inspect.getmodule(programs.tensor_program).Net
    methods = {name for name, value in vars(net_type).items() if inspect.isfunction(value) and name[0] != "_"}
    without_arguments = {"zero", "one"}
    assert methods - without_arguments - {"parameter"} <= set(NOTATION)


@pytest.mark.parametrize("name", NOTATION)
def test_careless_lines_of_programs(plain, name):
    assert not wrong_uses(plain, *NOTATION[name])


@pytest.mark.slow
def test_careless_operations(plain):
    found = {name: wrong_uses(plain, "program", use) for name, use in operations()}
    assert not {name: wrong for name, wrong in found.items() if wrong}


def test_careless_layer_norms(plain):
    norm = plain.architectures.layer_norm
    uses = {
        "net": lambda net, x, bad: norm(bad, vector_of(net, x), 0.1),
        "z": lambda net, x, bad: norm(net, bad, 0.1),
        "epsilon": lambda net, x, bad: norm(net, vector_of(net, x), bad),
    }
    assert not "\n".join(wrong_uses(plain, argument, use) for argument, use in uses.items()).strip()
