"""Continuous functions of scalars are accepted, and functions that jump are refused by name.

The limits of the scalars are put where each function bends or jumps: 0 for two means of Gaussian vectors, 1 for a
second moment.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import SOLVED

import ntk
from ntk.programs import architectures, infinite, tensor_program

X = np.array([[1.0, 1.0], [1.0, -1.0]])  # of second moment 1


def first(names, *fast):
    """The names as parameters. All but the fast ones are slow tests."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


def program_of(function):
    @tensor_program
    def program(net, x):
        u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
        value = net.scalar(function)((u * w).mean(), (net.phi("sin")(u) * w).mean(), (u * u).mean())  # the line
        return net.output("v") @ ((1.0 + value) * u)

    return program


@jax.custom_jvp
def with_derivative(x):
    return jnp.where(x > 0, x, 2 * x)


with_derivative.defjvp(lambda primals, tangents: (with_derivative(*primals), tangents[0]))

# Of a and b, which go to 0, and q, which goes to 1.
CONTINUOUS = {
    "softplus": lambda a, b, q: jax.nn.softplus(a),
    "leaky_relu": lambda a, b, q: jax.nn.leaky_relu(a),
    "relu": lambda a, b, q: jax.nn.relu(a - b),
    "elu": lambda a, b, q: jax.nn.elu(a),
    "selu": lambda a, b, q: jax.nn.selu(b),
    "gelu": lambda a, b, q: jax.nn.gelu(a),
    "hard_tanh": lambda a, b, q: jax.nn.hard_tanh(q + a),
    "logsumexp": lambda a, b, q: jax.nn.logsumexp(jnp.stack([a, b, q])),
    "log_softmax": lambda a, b, q: jax.nn.log_softmax(jnp.stack([a, b, q]))[0],
    "softmax": lambda a, b, q: jax.nn.softmax(jnp.stack([a, b, q]))[0],
    "softmax of 1e3": lambda a, b, q: jax.nn.softmax(1e3 * jnp.stack([a, b]))[0],
    "logaddexp": lambda a, b, q: jnp.logaddexp(a, b),
    "norm": lambda a, b, q: jnp.linalg.norm(jnp.stack([a, b, q])),
    "norm at 0": lambda a, b, q: jnp.linalg.norm(jnp.stack([a, b])),
    "hypot": lambda a, b, q: jnp.hypot(a, b),
    "arctan": lambda a, b, q: jnp.arctan(a) + jnp.arctan2(a, q),
    "cbrt": lambda a, b, q: jnp.cbrt(a),
    "power 0.1": lambda a, b, q: jnp.abs(a) ** 0.1,
    "cumsum": lambda a, b, q: jnp.cumsum(jnp.stack([a, b, q]))[2],
    "mean": lambda a, b, q: jnp.mean(jnp.array([a, b, q])),
    "where that agrees": lambda a, b, q: jnp.where(a > 0, a, 0.0),
    "where at 1": lambda a, b, q: jnp.where(q > 1, q**2, 2 * q - 1),
    "median": lambda a, b, q: jnp.median(jnp.stack([a, b, q])),
    "clip": lambda a, b, q: jnp.clip(q, -1.0, 1.0),
    "cond": lambda a, b, q: jax.lax.cond(a > 0, lambda: a, lambda: -a),
    "interp": lambda a, b, q: jnp.interp(q, jnp.array([0.0, 1.0, 3.0]), jnp.array([0.0, 5.0, 6.0])),
    "sinc": lambda a, b, q: jnp.sinc(a),
    "a jump elsewhere": lambda a, b, q: jnp.sign(q) + jnp.floor(q + 0.5) + jnp.where(a > 0.5, 1.0, 0.0),
    "with a derivative": lambda a, b, q: with_derivative(a),
    "quotients": lambda a, b, q: a / q + 1 / (1 + a),
    "logarithms": lambda a, b, q: jnp.log(1 + a**2) + jnp.log1p(b) + jnp.log(q),
    "roots": lambda a, b, q: jax.lax.rsqrt(q) + (q + a) ** -0.5 + (1.0 + b) ** q,
    "no pole here": lambda a, b, q: jnp.tan(q) + jnp.arctanh(a) + jax.scipy.special.erfinv(q / 2),
    "the same infinity on either side": lambda a, b, q: jnp.arctan(1 / a**2) + jnp.tanh(1 / jnp.abs(b)),
    "a logarithm that is infinite": lambda a, b, q: jnp.arctan(jnp.log(jnp.abs(a))),
    "while": lambda a, b, q: jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * q), (0, a))[1],
}
JUMPING = {
    "sign": (lambda a, b, q: jnp.sign(a), "sign"),
    "sign of a product": (lambda a, b, q: jnp.sign(a * b), "sign"),
    "floor": (lambda a, b, q: jnp.floor(q), "floor"),
    "round": (lambda a, b, q: jnp.round(q - 0.5 + a), "round"),
    "ceil": (lambda a, b, q: jnp.ceil(b), "ceil"),
    "where": (lambda a, b, q: jnp.where(a > 0, 1.0, 0.0), "select_n"),
    "where at 1": (lambda a, b, q: jnp.where(q > 1, 2.0, 1.0), "select_n"),
    "heaviside": (lambda a, b, q: jnp.heaviside(a, 0.5), "select_n"),
    "argmax": (lambda a, b, q: jax.nn.one_hot(jnp.argmax(jnp.stack([a, b])), 2)[0], "argmax"),
    "mod": (lambda a, b, q: jnp.mod(q, 1.0), "rem|select_n"),
    "arctan2": (lambda a, b, q: jnp.arctan2(a, -q), "atan2"),
    "cond": (lambda a, b, q: jax.lax.cond(a > b, lambda: 1.0 + a, lambda: a), "cond|convert_element_type"),
    "a small jump": (lambda a, b, q: 10 * jnp.sin(q) + jnp.where(a > 0, 0.5, 0.0), "select_n"),
    "half a percent": (lambda a, b, q: jnp.where(a > 0, 1.005, 1.0), "select_n"),
    "a millionth": (lambda a, b, q: jnp.where(q > 1, 1 + 1e-6, q), "select_n"),
    "arctan of 1/a": (lambda a, b, q: jnp.arctan(1 / a), "div"),
    "tanh of 1/a": (lambda a, b, q: 2 + jnp.tanh(1 / a), "div"),
    "tanh of a^-3": (lambda a, b, q: jnp.tanh(a**-3), "integer_pow"),
    "zero to the zero": (lambda a, b, q: q * jnp.abs(a) ** jnp.abs(b), "pow"),
    "a comparison": (lambda a, b, q: (a > 0) * q, "convert_element_type|mul"),
}


# One of each kind: a bend, a branch, a quotient, a root, a pole elsewhere, an infinity that is the same on either side.
ONE_OF_EACH = (
    *("leaky_relu", "softmax of 1e3", "norm at 0", "hypot", "power 0.1", "where at 1", "cond", "a jump elsewhere"),
    *("quotients", "logarithms", "the same infinity on either side", "while"),
)


@pytest.mark.slow
def test_continuous_functions_are_accepted_together():
    """In one program; all of them in turn below."""
    functions = [CONTINUOUS[name] for name in ONE_OF_EACH]

    @tensor_program
    def program(net, x):
        u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
        limits = (u * w).mean(), (net.phi("sin")(u) * w).mean(), (u * u).mean()
        values = [net.scalar(function)(*limits) for function in functions]
        return net.output("v") @ (net.scalar(lambda *values: 1.0 + sum(values))(*values) * u)

    total = 1.0 + sum(float(function(*jnp.array([0.0, 0.0, 1.0]))) for function in functions)
    np.testing.assert_allclose(
        infinite(program, X).nngp, total**2 * X @ X.T / 2, rtol=SOLVED["float64"], atol=SOLVED["float64"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_functions_are_accepted(name):
    """And the limit is that of the function's value there: Σ = (1 + t)² ξ·ξ̄/d."""
    value = float(CONTINUOUS[name](*jnp.array([0.0, 0.0, 1.0])))
    found = infinite(program_of(CONTINUOUS[name]), X)
    np.testing.assert_allclose(
        found.nngp, (1.0 + value) ** 2 * X @ X.T / 2, rtol=SOLVED["float64"], atol=SOLVED["float64"]
    )


@pytest.mark.parametrize("name", first(JUMPING, "sign", "where", "argmax", "mod", "half a percent", "tanh of 1/a"))
def test_functions_that_jump_are_refused_and_the_primitive_is_named(name):
    function, primitive = JUMPING[name]
    with pytest.raises(ValueError, match=rf"jumps at its limit, at .* # the line \(in '({primitive})'\); expected a"):
        infinite(program_of(function), X)


def test_a_pole_in_one_function_and_its_end_in_another():
    """1/a is ±∞ on either side of 0, and arctan of that ±π/2."""

    @tensor_program
    def program(net, x):
        u = net.input_matrix("u") @ x
        inverse = 1.0 / u.mean()  # the pole
        return net.output("v") @ (net.scalar(jnp.arctan)(inverse) * u)

    with pytest.raises(ValueError, match=r"jumps at its limit, at .* # the pole \(in 'div'\); expected a"):
        infinite(program, X)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_small_jumps_are_found_and_steep_functions_are_not_jumps(dtype):
    """Half a percent at q = 1, where numbers lie ε apart and x^0.1 changes by 3 or 20 percent from one to the next."""
    with pytest.raises(ValueError, match="in 'select_n'"):
        infinite(program_of(lambda a, b, q: jnp.where(q > 1, 1.005, 1.0)), X.astype(dtype))
    steep = infinite(program_of(lambda a, b, q: jnp.cbrt(q - 1) + jnp.abs(q - 1) ** 0.1), X.astype(dtype))
    assert np.isfinite(steep.nngp).all()


def sampled_program_of(function):
    """As above, of moments without closed forms."""

    @tensor_program
    def program(net, x):
        u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
        a, b = ((net.phi(name)(u) * u * w).mean() for name in ("sin", "tanh"))
        value = net.scalar(function)(a, b, 1.0)
        return net.output("v") @ ((1.0 + value) * u)

    return program


@pytest.mark.parametrize(
    "name",
    first(
        ["softmax", "softmax of 1e3", "leaky_relu", "where that agrees", "norm at 0", "median", "quotients"], "softmax"
    ),
)
def test_steep_functions_of_sampled_moments_are_not_jumps(name):
    found = infinite(sampled_program_of(CONTINUOUS[name]), X, samples=2**12)
    assert np.isfinite(found.ntk).all()


@pytest.mark.parametrize("name", first(["sign", "where", "argmax", "a small jump", "arctan of 1/a"], "where"))
def test_jumps_of_sampled_moments(name):
    function, primitive = JUMPING[name]
    with pytest.raises(ValueError, match=rf"at its limit, or too close by, at .*\(in '{primitive}'\); expected a"):
        infinite(sampled_program_of(function), X, samples=2**12)


def attention(stack):
    """Self-attention of two positions after a gate, so that its limit is sampled; scores by `jnp.stack` or not."""

    @tensor_program
    def program(net, x):
        gate = net.phi(lambda u, w: jnp.tanh(u) * w)
        k = [gate(net.input_matrix("u") @ step, net.input_matrix("w") @ step) for step in x]
        softmax = net.scalar(lambda *s: jax.nn.softmax(stack(s)))
        mixed = net.zero()
        for query in k:
            weights = softmax(*((query * key).mean() for key in k))
            mixed = mixed + sum((p * z for p, z in zip(weights, k, strict=True)), net.zero())
        return net.output("v") @ net.phi("tanh")(net.matrix("o") @ mixed)

    return program


@pytest.mark.slow
def test_sampled_attention_against_finite_networks():
    """The mean of Θ_n over 100 networks of width 1024, within 5 standard errors of both and a bias of order 1/n."""
    x = np.random.default_rng(0).normal(size=(2, 2, 3))
    program = attention(jnp.stack)
    limit = infinite(program, x, samples=2**16)
    model = ntk.finite(program, 1024)

    def ntk_of(key):
        return ntk.empirical_kernels(program, model.init(key, x), x).ntk

    kernels = np.stack([ntk_of(key) for key in jax.random.split(jax.random.key(1), 100)])
    error = np.hypot(kernels.std(0, ddof=1) / 10, limit.standard_error.ntk)
    assert np.all(np.abs(kernels.mean(0) - limit.ntk) < 5 * error + 5 / 1024 * np.abs(limit.ntk).max())
    np.testing.assert_allclose(infinite(attention(jnp.array), x, samples=2**16).ntk, limit.ntk, rtol=SOLVED["float64"])


@pytest.mark.slow
def test_the_library_s_own_attention():
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert np.isfinite(infinite(architectures.transformer, x, samples=256).ntk).all()
