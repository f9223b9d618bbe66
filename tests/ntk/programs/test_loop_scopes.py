"""What belongs to a step of a loop: a loop within it may read it, and nothing outside may."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import CLOSED_FORM


def read_inside(net, x):
    """A loop that reads the state and the field of the loop around it, and nothing else that changes there."""
    W, V, erf, field = net.matrix("w"), net.matrix("v0"), net.phi("erf"), net.input_matrix("u") @ x

    def outer(s, z):
        def inner(r, _):
            r = erf(W @ r + z) + s
            return r, ()

        s = erf(V @ net.scan(inner, net.zero(), length=2)[0])
        return s, s

    return net.output("v") @ net.scan(outer, net.zero(), field)[0]


def state_alone(net, x):
    """The same of the state alone, which the first step of the inner loop passes on."""
    W, erf, field = net.matrix("w"), net.phi("erf"), net.input_matrix("u") @ x

    def outer(s, z):
        r = net.scan(lambda r, _: (erf(r + s), ()), net.zero(), length=2)[0]
        s = erf(W @ r + z)
        return s, s

    return net.output("v") @ net.scan(outer, net.zero(), field)[0]


def by_hand(name, params, x, n):
    """The output at one input, step by step."""
    erf, (W, u), s = jax.scipy.special.erf, (params["w"], params["u"]), jnp.zeros(n)
    for entries in x:
        z = entries @ u / len(entries) ** 0.5
        if name == "state_alone":
            s = erf(erf(erf(s) + s) @ W / n**0.5 + z)
        else:
            first = erf(z) + s
            s = erf((erf(first @ W / n**0.5 + z) + s) @ params["v0"] / n**0.5)
    return s @ params["v"] / n**0.5


@pytest.mark.parametrize("program", [read_inside, state_alone])
def test_a_loop_reads_what_the_loop_around_it_has_at_the_step(program, plain):
    x, n = np.random.default_rng(0).normal(size=(2, 3, 2)), 8
    model = plain.finite(plain.tensor_program(program), n)
    params = model.init(jax.random.key(0), x)
    expected = [by_hand(program.__name__, params, one, n) for one in x]
    # Outputs are sums of numbers of order 1, and may nearly cancel.
    np.testing.assert_allclose(model.apply(params, x), expected, rtol=CLOSED_FORM["float64"], atol=1e-13)


def kept(what):
    """A program that uses a vector of a step outside the loop."""

    def program(net, x):
        W, U, erf, found = net.matrix("w"), net.input_matrix("u"), net.phi("erf"), []

        def step(s, entries):
            z = U @ entries
            after = erf(W @ s + z)
            found.append({"state": s, "field": z, "result": after, "mean": (s * s).mean() * after}[what])
            return after, after

        final = net.scan(step, net.zero(), x)[0]
        return net.output("v") @ (final + found[0])

    return program


@pytest.mark.parametrize("what", ["state", "field", "result", "mean"])
def test_vectors_of_a_step_are_refused_outside(what, plain):
    with pytest.raises(ValueError, match=r"outside its loop, net.scan at .*; expected what net.scan returns"):
        plain.infinite_ntk(plain.tensor_program(kept(what)), np.ones((1, 3, 2)))


def test_vectors_of_a_step_are_refused_in_another_loop(plain):
    def program(net, x):
        W, erf, found = net.matrix("w"), net.phi("erf"), []

        def first(s, z):
            found.append(z)
            s = erf(W @ s + z)
            return s, s

        field = net.input_matrix("u") @ x
        net.scan(first, net.zero(), field)
        return net.output("v") @ net.scan(lambda s, _: (erf(W @ s + found[0]), s), net.zero(), field)[0]

    with pytest.raises(ValueError, match="outside its loop"):
        plain.check_gia(plain.tensor_program(program), (3, 2))
