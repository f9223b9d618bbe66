"""Loops: recorded once, they give the kernels and the outputs of the same steps one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM, DIFFERENCE

import ntk
from ntk.programs.at_width.model import forward
from ntk.programs.limit.arrays.kernels import is_on_arrays
from ntk.programs.limit.evaluation import exact_limits, forms_of
from ntk.programs.limit.unrolling import name_at, unrolled
from ntk.programs.options import numbers_as


def cell(net, name="", activation="erf", w_std=1.2):
    """A step s ↦ φ(W s + U ξ + b) of entries of the input."""
    W, U, b = net.matrix(f"w{name}", w_std), net.input_matrix(f"u{name}", 0.9), net.bias(f"b{name}", 0.3)
    phi = net.phi(activation)

    def step(s, x):
        s = phi(W @ s + U @ x + b)
        return s, s

    return step


@ntk.tensor_program
def last(net, x, *, w_std=1.2):
    return net.output("v") @ net.scan(cell(net, w_std=w_std), net.zero(), x)[0]


@ntk.tensor_program
def both_ways(net, x):
    """Two directions that share their parameters, added."""
    forward, backward = (net.scan(cell(net), net.zero(), x, reverse=reverse)[1] for reverse in (False, True))
    return net.output("v") @ (forward + backward).pooled() + net.output("q") @ backward[0]


@ntk.tensor_program
def stacked(net, x):
    """A second layer that reads the first, forwards and backwards, and a function of its states."""
    states = net.scan(cell(net), net.zero(), x)[1]
    W, V, phi = net.matrix("w2"), net.matrix("v2", 0.8), net.phi("relu")

    def step(s, z):
        s = phi(W @ s + V @ z + 0.4)
        return s, W @ s

    final, found = net.scan(step, net.zero(), states, reverse=True)
    return net.output("v") @ net.phi("erf")(found + net.bias("c", 0.2)).pooled() + net.output("q") @ final


@ntk.tensor_program
def two_states(net, x):
    """Two states that read each other, a field, and one row of it at all steps."""
    A, B, U = net.matrix("a"), net.matrix("b", 0.7), net.input_matrix("u")
    phi, psi, field = net.phi("erf"), net.phi("relu"), net.input_matrix("f") @ x

    def step(states, inputs):
        (s, r), (entries, z) = (states["s"], states["r"]), inputs
        s, r = phi(A @ r + U @ entries[1:] + field[0]), psi(B @ s + A @ s + z)
        return {"s": s, "r": r}, (s, 0.5 * r + s)

    states, (s, sums) = net.scan(step, {"s": net.zero(), "r": net.zero()}, (x[:, :2], field))
    return (
        net.output("v") @ sums.pooled()
        + net.output("q") @ (states["s"] + s[0])
        + s[1].mean() * (net.output("o") @ states["r"])
    )


@ntk.tensor_program
def attending(net, x):
    """Attention among the states of all steps."""
    states, phi = net.scan(cell(net), net.zero(), x)[1], net.phi("erf")
    z = net.softmax((states[:, None] * states[None]).mean()) @ states
    return net.output("v") @ phi(net.matrix("m") @ z)


@ntk.tensor_program
def read_again(net, x):
    """A function of the states outside the loop: where inputs differ, so do these."""
    return net.output("v") @ net.phi("relu")(net.matrix("m") @ net.scan(cell(net), net.zero(), x)[1])


@ntk.tensor_program
def rows(net, x):
    """A loop over the rows of an image, with a convolution of each row of states, and a mean over all positions."""
    W, phi, z = net.convolution("w", (2,), 1.1), net.phi("erf"), net.input_matrix("u") @ x

    def step(s, row):
        s = phi(W @ s + row + net.bias("b", 0.2))
        return s, s

    return net.output("v") @ net.scan(step, net.zero((3,)), z)[1].pooled()


@ntk.tensor_program
def residual(net, x):
    """A state that keeps its old value."""
    W, U, phi = net.matrix("w"), net.input_matrix("u"), net.phi("erf")

    def step(s, entries):
        s = s + phi(W @ s + U @ entries)
        return s, s

    return net.output("v") @ net.scan(step, net.zero(), x)[1].pooled()


@ntk.tensor_program
def begun(net, x):
    """A first state that is not zero."""
    return net.output("v") @ net.scan(cell(net), net.bias("h"), x)[0]


@ntk.tensor_program
def nested(net, x):
    """A loop over pixels within a loop over rows."""
    step = cell(net)

    def over_row(s, row):
        return net.scan(step, s, row)

    return net.output("v") @ net.scan(over_row, net.zero(), x)[1].pooled()


ON_ARRAYS = {
    "last": (last, (3, 3, 2)),
    "one step": (both_ways, (2, 1, 2)),
    "both ways": (both_ways, (3, 3, 2)),
    "stacked": (stacked, (2, 3, 2)),
    "two states": (two_states, (2, 3, 3)),
    "attending": (attending, (2, 2, 2)),
    "read again": (read_again, (3, 2, 2)),
    "rows": (rows, (2, 2, 3, 1)),
    "begun": (begun, (2, 2, 2)),
    "residual": (residual, (2, 2, 2)),
}
ONE_BY_ONE = {"nested": (nested, (2, 2, 2, 1))}
# The recursion of `ntk.RNN` stands in for "last".
SLOW = (
    "last",
    "read again",
    "one step",
    "begun",
    "attending",
    "rows",
    "stacked",
    "two states",
    "both ways",
    "residual",
    "nested",
)


def with_slow(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


def inputs(shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    x[1] = x[0]  # a duplicate
    x[0, -1] = x[0, 0]  # and, in one input, equal steps
    return x


def one_by_one(program, x1, x2):
    flat = [None if x is None else jnp.asarray(x).reshape(len(x), -1) for x in (x1, x2)]
    forms = forms_of(unrolled(program.record(x1.shape[1:])))
    return exact_limits(forms, True, 4, numbers_as(program, jnp.dtype("float64")), *flat)


@pytest.mark.parametrize("name", with_slow(ON_ARRAYS))
def test_a_loop_has_the_kernels_of_its_steps(name):
    program, shape = ON_ARRAYS[name]
    x1, x2 = inputs(shape), inputs(shape, seed=1)[:1]
    assert is_on_arrays(forms_of(program.record(shape[1:])))
    expected, found = one_by_one(program, x1, x2), ntk.infinite_kernels(program, x1, x2)
    np.testing.assert_allclose(found.ntk, expected.ntk, rtol=CLOSED_FORM["float64"])
    np.testing.assert_allclose(found.nngp, expected.nngp, rtol=CLOSED_FORM["float64"])


@pytest.mark.parametrize("name", with_slow([*ON_ARRAYS, *ONE_BY_ONE]))
def test_a_network_computes_its_steps(name):
    """Outputs are those of the program with a vector for each step."""
    program, shape = {**ON_ARRAYS, **ONE_BY_ONE}[name]
    x, n = inputs(shape), 8
    recording, numbers = program.record(shape[1:]), numbers_as(program, jnp.dtype("float64"))
    params = ntk.finite(program, n).init(jax.random.key(1), x)
    x = jnp.asarray(x)

    def output(recording, params):
        return forward(recording, numbers, params, x, n, {})[0]

    of_positions = dict(params)
    for weight, vector in recording.output.vectors:
        if vector.shape:
            of_positions |= {
                name_at(weight.name, place): params[weight.name][place] for place in np.ndindex(vector.shape)
            }
    for name, parameter in recording.parameters.items():
        if parameter.axes:
            of_positions |= {name_at(name, place): params[name][place] for place in np.ndindex(parameter.axes)}
    expected = output(unrolled(recording), of_positions)
    # Outputs are sums of numbers of order 1, and may nearly cancel.
    np.testing.assert_allclose(output(recording, params), expected, rtol=CLOSED_FORM["float64"], atol=1e-13)


def test_the_last_state_is_that_of_the_recursion():
    """The recursion is that of `ntk.RNN`, which does not use programs."""
    x1, x2 = inputs((4, 6, 3)), inputs((3, 6, 3), seed=1)
    net = ntk.RNN(activation="erf", pooling="last", w_std=1.2, u_std=0.9, b_std=0.3)
    np.testing.assert_allclose(
        ntk.infinite_ntk(last, x1, x2), ntk.infinite_ntk(net, x1, x2), rtol=CLOSED_FORM["float64"]
    )


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_some_loops_have_no_rule_on_arrays(name):
    program, shape = ONE_BY_ONE[name]
    recording = program.record(shape[1:])
    assert not is_on_arrays(forms_of(recording))
    assert not any(vector.shape for _, vector in unrolled(recording).output.vectors)


@pytest.mark.parametrize("name", with_slow(ONE_BY_ONE))
def test_what_has_no_rule_on_arrays_is_read_step_by_step(name):
    program, shape = ONE_BY_ONE[name]
    x = inputs(shape)
    model = ntk.finite(program, 512)
    keys = jax.random.split(jax.random.key(0), 64)
    outputs = jax.vmap(lambda key: model.apply(model.init(key, x), x))(keys)
    products = outputs[:, :, None] * outputs[:, None]
    error = np.std(products, axis=0, ddof=1) / 8
    assert np.all(abs(np.mean(products, axis=0) - ntk.infinite_kernels(program, x).nngp) < 4 * error)


@pytest.mark.slow
def test_layers_may_share_their_weights():
    """z ← φ(W z + U x + b): 100 layers of one matrix, whose kernel is that of the recursion with a constant input."""

    @ntk.tensor_program
    def equilibrium(net, x, *, depth=100):
        W, u, phi = net.matrix("w", 0.9), net.input_matrix("u") @ x + net.bias("b", 0.5), net.phi("erf")

        def layer(z, _):
            z = phi(W @ z + u)
            return z, ()

        return net.output("v") @ net.scan(layer, net.zero(), length=depth)[0]

    x = inputs((4, 3))
    net = ntk.RNN(activation="erf", pooling="last", w_std=0.9, b_std=0.5)
    expected = ntk.infinite_ntk(net, np.repeat(x[:, None], 100, axis=1))
    np.testing.assert_allclose(ntk.infinite_ntk(equilibrium, x), expected, rtol=CLOSED_FORM["float64"])


@pytest.mark.slow
def test_derivatives_of_a_loop():
    """First and second order, eager and jitted, in a standard deviation and in the data."""
    x = jnp.asarray(inputs((3, 3, 2)))[1:]

    def total(w_std, shift):
        return jnp.sum(jnp.sin(ntk.infinite_ntk(last(w_std=w_std), x + shift)))

    step = 1e-4
    at = jnp.array([1.2, 0.1])
    gradient = jax.grad(lambda both: total(*both))
    differences = [(total(*(at + e)) - total(*(at - e))) / (2 * step) for e in step * jnp.eye(2)]
    np.testing.assert_allclose(gradient(at), differences, rtol=DIFFERENCE["float64"])
    np.testing.assert_allclose(jax.jit(gradient)(at), gradient(at), rtol=CLOSED_FORM["float64"])
    hessian = jax.jit(jax.hessian(lambda both: total(*both)))(at)
    differences = [(gradient(at + e) - gradient(at - e)) / (2 * step) for e in step * jnp.eye(2)]
    np.testing.assert_allclose(hessian, differences, rtol=DIFFERENCE["float64"])


def test_the_program_does_not_grow_with_the_number_of_steps():
    sizes = [len(last.record((steps, 2)).nodes) for steps in (2, 64)]
    assert sizes[0] == sizes[1]


def test_the_check_sees_what_a_step_does(plain):
    def transposes(net, x):
        W, U = net.matrix("w"), net.input_matrix("u")

        def step(s, entries):
            s = W @ s + W.T @ (U @ entries)
            return s, s

        return net.output("v") @ net.scan(step, net.zero(), x)[0]

    check = plain.check_gia(plain.tensor_program(transposes), (3, 2))
    assert [violation.reason for violation in check.violations] == ["matrix 'w' is used together with its transpose"]


def keep(net):
    return lambda s, x: (s, s)


REFUSED = {
    "step": (lambda net, x: net.scan(3, net.zero(), x), "step is 3; expected a function"),
    "state": (lambda net, x: net.scan(keep(net), 0.0, x), "initial holds 0.0 .*; expected vectors"),
    "scalar state": (
        lambda net, x: net.scan(keep(net), net.one().mean(), x),
        r"initial holds the scalar of .*; expected vectors, such as scalar \* net.one\(\)",
    ),
    "scalar result": (
        lambda net, x: net.scan(lambda s, x: (s, (s * s).mean()), net.one(), x),
        "the results that step returns holds the scalar of .*; expected vectors, such as",
    ),
    "scalars": (
        lambda net, x: net.scan(keep(net), net.zero(), net.table(np.ones(3))),
        "xs holds the scalar of .*; expected vectors, such as",
    ),
    "output": (
        lambda net, x: net.scan(lambda s, x: (s, net.output("q") @ s), net.one(), x),
        "the results that step returns holds the output of .*; expected vectors, read out after the loop",
    ),
    "none": (
        lambda net, x: net.scan(keep(net), net.zero(), ()),
        "xs has shapes nothing, and length is None; expected a first axis",
    ),
    "lengths": (lambda net, x: net.scan(keep(net), net.zero(), (x, x[1:])), r"xs has shapes \(3, 2\), \(2, 2\)"),
    "another length": (
        lambda net, x: net.scan(keep(net), net.zero(), x, length=4),
        "and length is 4; expected a first",
    ),
    "no length": (lambda net, x: net.scan(keep(net), net.zero(), length=0), "length is 0; expected"),
    "pair": (lambda net, x: net.scan(lambda s, x: s, net.zero(), x), "step returns .*; expected a pair"),
    "structure": (
        lambda net, x: net.scan(lambda s, x: ((s, s), s), net.zero(), x),
        "step returns states of structure .*; expected",
    ),
    "axes": (
        lambda net, x: net.scan(lambda s, x: (s[None], s), net.zero(), x),
        r"step returns states with axes \[\(1, 1\)\]; expected \[\(1,\)\]",
    ),
    "watch": (
        lambda net, x: net.scan(lambda s, x: (net.watch("s", s), s), net.one(), x),
        "a step watches a vector; expected watch of its results",
    ),
    "read": (
        lambda net, x: net.scan(lambda s, x: (s, net.output("q") @ x), net.zero(), x),
        "output weight 'q' is applied to the input at one step of a loop",
    ),
    "reverse": (lambda net, x: net.scan(keep(net), net.zero(), x, reverse=1), "reverse is 1; expected"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_what_is_expected(name, plain):
    made, sentence = REFUSED[name]
    program = plain.tensor_program(lambda net, x: net.output("v") @ made(net, x)[0])
    with pytest.raises((ValueError, TypeError), match=sentence):
        plain.infinite_ntk(program, np.ones((1, 3, 2)))
