"""Programs of loops written at random: their kernels are those of the same steps one by one."""

import jax.numpy as jnp
import numpy as np
import pytest

import ntk
from ntk.programs.limit.arrays.kernels import is_on_arrays
from ntk.programs.limit.draws.points import points_for
from ntk.programs.limit.evaluation import exact_limits, forms_of, sampled_limits
from ntk.programs.limit.loops.kernels import samples_loops
from ntk.programs.limit.unrolling import unrolled
from ntk.programs.options import numbers_as

pytestmark = pytest.mark.slow
X1 = np.random.default_rng(0).normal(size=(2, 2, 2))
# Seeds of programs that have rules. All others are read step by step.
CLOSED, SAMPLED = range(1, 12), (1, 4, 6, 7, 9, 10, 11)
X2 = X1[1:].copy()  # an input of both batches


def random_program(seed, gates):
    """Matrices are shared between states, between loops and with layers outside; states read each other."""

    @ntk.tensor_program
    def program(net, x):
        rng = np.random.default_rng(seed)
        phis = [net.phi(name) for name in ("erf", "relu", "tanh", "sigmoid")]
        bias = net.bias("b", 0.3)

        def maybe(vector, probability=0.5):
            return vector if rng.random() < probability else net.zero()

        def matrix(tag):
            shared = f"{tag}3" if gates else "shared"  # of sampled loops none may read matrices of another
            return net.matrix(str(rng.choice([shared, f"{tag}1", f"{tag}2"])), 0.8)

        def loop(tag, field, is_gaussian):
            count = int(rng.integers(1, 3))
            read = [[int(rng.integers(count)) for _ in range(int(rng.integers(1, 3)))] for _ in range(count)]
            matrices = [[matrix(tag) for _ in places] for places in read]
            functions = rng.integers(4, size=(count, 2))
            kinds = rng.integers(3, size=count) if is_gaussian else np.ones(count, int)
            at_field, constant = net.matrix(f"{tag}field", 0.6), maybe(bias)
            gate = net.matrix(f"{tag}gate", 0.7)

            def step(states, z):
                after = []
                for number in range(count):
                    pairs = zip(matrices[number], read[number], strict=True)
                    u = sum((W @ states[place] for W, place in pairs), constant)
                    u = u + (z, at_field @ z, at_field @ phis[0](z))[kinds[number]]
                    h = phis[functions[number, 0]](u)
                    if gates:
                        inner, read_by_gate = phis[functions[number, 1]], gate @ states[number]
                        h = phis[3](read_by_gate) * states[number] + h * inner(read_by_gate + 0.5)
                    after.append(h)
                return tuple(after), sum(after[1:], after[0])

            initial = tuple(net.zero() for _ in range(count))
            return net.scan(step, initial, field, reverse=bool(rng.random() < 0.4))

        final, states = loop("a", net.input_matrix("u") @ x + maybe(net.bias("places", 0.4, axes=(len(x),))), True)
        if not gates and rng.random() < 0.5:
            states = loop("c", states, False)[1]
        elif rng.random() < 0.5:
            states = loop("c", net.matrix("between", 1.1) @ states, True)[1]
        return [
            lambda: net.output("v") @ states.pooled(),
            lambda: net.output("v") @ (states[-1] + final[0]),
            lambda: net.output("v") @ phis[0](net.matrix("last", 0.8) @ states + bias),
        ][int(rng.integers(3))]()

    return program


@pytest.mark.parametrize("seed", CLOSED)
def test_in_closed_form(seed):
    program = random_program(seed, gates=False)
    recording = program.record(X1.shape[1:])
    assert is_on_arrays(forms_of(recording))
    found, numbers = ntk.infinite_kernels(program, X1, X2), numbers_as(program, jnp.dtype("float64"))
    flat = [jnp.asarray(x).reshape(len(x), -1) for x in (X1, X2)]
    expected = exact_limits(forms_of(unrolled(recording)), True, 4, numbers, *flat)
    for kernel in ("ntk", "nngp"):
        values = np.asarray(getattr(expected, kernel))
        # Where terms cancel, what is left of an entry has the rounding of the largest.
        np.testing.assert_allclose(getattr(found, kernel), values, rtol=0, atol=1e-11 * np.max(abs(values)))


@pytest.mark.parametrize("seed", SAMPLED)
def test_sampled(seed):
    program, samples = random_program(seed, gates=True), 2**13
    recording = program.record(X1.shape[1:])
    assert samples_loops(forms_of(recording))
    found, numbers = ntk.infinite_kernels(program, X1, samples=samples), numbers_as(program, jnp.dtype("float64"))
    forms = forms_of(unrolled(recording))
    points = points_for(samples, len(X1) * len(forms.drawn), 1)
    expected = sampled_limits(forms, True, points, numbers, jnp.asarray(X1).reshape(len(X1), -1), None)
    for kernel in ("ntk", "nngp"):
        values = np.asarray(getattr(expected.mean, kernel))
        error = np.hypot(getattr(found.standard_error, kernel), getattr(expected.error, kernel))
        # Errors of 16 replicates have the tails of Student's t; an entry that no sample changes differs by rounding.
        assert np.all(abs(getattr(found, kernel) - values) < 5 * error + 1e-12 * np.max(abs(values)))
