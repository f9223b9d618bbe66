"""Programs without a finite limit are refused or give a warning, with the line or the option at fault."""

import jax
import jax.numpy as jnp
import numpy as np
import program_zoo as zoo
import pytest
from refusals import assert_refused, rows

from ntk.programs import architectures, corrected_kernels, finite, infinite, tensor_program

X = np.array([[1.0, 2.0], [0.5, -1.0]])
AT_ONE = X / np.sqrt((X**2).mean(1, keepdims=True))  # of second moment 1


def u_w_k(net, x):
    return [net.input_matrix(name) @ x for name in "uwk"]


@tensor_program
def sign_of_a_moment(net, x):
    """(1/n) u·w goes to 0, and its sign is a coin at every width."""
    u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
    t = net.scalar(jnp.sign)((u * w).mean())  # jumps
    return net.output("v") @ (u + t * w)


@tensor_program
def hard_attention(net, x):
    """All scores q·k/n go to 0, so the largest one is random."""
    u = [net.input_matrix("u") @ step for step in x.reshape(2, 1)]
    q, k = ([net.matrix(name) @ z for z in u] for name in "qk")
    best = net.scalar(lambda a, b: jax.nn.one_hot(jnp.argmax(jnp.stack([a, b])), 2))
    weights = best(*((q[0] * key).mean() for key in k))  # jumps
    return net.output("v") @ sum((weight * z for weight, z in zip(weights, u, strict=True)), net.zero())


@tensor_program
def at_its_threshold(net, x):
    """The second moment of u is 1 for these inputs, where the step is."""
    u = net.input_matrix("u") @ x
    return net.output("v") @ (u * net.scalar(lambda q: jnp.where(q > 1, 2.0, 1.0))((u * u).mean()))  # jumps


@tensor_program
def sign_of_a_product(net, x):
    """Both means go to 0: moved one at a time, the sign of their product stays 0."""
    u, w, k = u_w_k(net, x)
    t = net.scalar(lambda a, b: jnp.sign(a * b))(u.mean(), w.mean())  # jumps
    return net.output("v") @ (u + t * k)


@tensor_program
def quotient(net, x):
    u, w, _ = u_w_k(net, x)
    return net.output("v") @ (u / (1.0 + w))  # no second moment


@tensor_program
def negative_power(net, x, *, exponent=-1):
    return net.output("v") @ ((net.input_matrix("u") @ x) ** exponent)


@tensor_program
def hidden_quotient(net, x):
    u, w, _ = u_w_k(net, x)
    return net.output("v") @ net.phi(lambda a, b: a / b)(u, w)


@tensor_program
def normalized(net, x):
    return net.output("v") @ architectures.layer_norm(net, net.input_matrix("u") @ x)


@tensor_program
def negative_root(net, x):
    u = net.input_matrix("u") @ x
    return net.output("v") @ ((-(u * u).mean()) ** 0.5 * u)


@tensor_program
def logarithm(net, x):
    u, w, _ = u_w_k(net, x)
    return net.output("v") @ net.phi(lambda a, b: jnp.log(a) * b)(u, w)


@tensor_program
def zero_times_infinity(net, x):
    """As a quotient it is refused in test_tensor_traps; (1/n)Σu · 1/((1/n)Σw) is the same."""
    u, w, _ = u_w_k(net, x)
    return net.output("v") @ net.phi("relu")(u + u.mean() * (1.0 / w.mean()))


@tensor_program
def zero_times_infinity_inside_a_mean(net, x):
    u, w, _ = u_w_k(net, x)
    return net.output("v") @ net.phi("relu")(u + (u * (1.0 / w.mean())).mean())


JUMPS = r"a function of scalars jumps at its limit, at .* # jumps \(in .*\); expected .*some lie on either side\."
QUOTIENT = "divides by a Gaussian vector at .*; expected a divisor"
NOT_FINITE = "ntk is not a number; expected functions that are finite"
NO_SCALAR = r"the scalar at test_limit_refusals.py, line .*mean.* expected a number"


@rows(
    [
        ("sign", lambda: infinite(sign_of_a_moment, X), ValueError, JUMPS),
        ("argmax", lambda: infinite(hard_attention, X), ValueError, JUMPS),
        ("threshold", lambda: infinite(at_its_threshold, AT_ONE), ValueError, JUMPS),
        ("sign of a product", lambda: infinite(sign_of_a_product, X), ValueError, JUMPS),
        (
            "sign, corrected",
            lambda: corrected_kernels(sign_of_a_moment, X, samples=256),
            ValueError,
            "a function of scalars jumps .* # jumps",
        ),
        ("quotient", lambda: infinite(quotient, X), ValueError, r"divides by a Gaussian vector at .* # no second mome"),
        ("quotient, corrected", lambda: corrected_kernels(quotient, X), ValueError, QUOTIENT),
        ("power", lambda: infinite(negative_power, X), ValueError, QUOTIENT),
        ("another power", lambda: infinite(negative_power(exponent=-2), X), ValueError, QUOTIENT),
        ("power, corrected", lambda: corrected_kernels(negative_power, X), ValueError, QUOTIENT),
        ("logarithm", lambda: infinite(logarithm, X, samples=256), ValueError, NOT_FINITE),
        (
            "zero over zero, corrected",
            lambda: corrected_kernels(normalized, np.zeros((1, 2)), samples=256),
            ValueError,
            NOT_FINITE,
        ),
        ("zero times infinity", lambda: infinite(zero_times_infinity, X, samples=256), ValueError, NO_SCALAR),
        (
            "zero times infinity inside a mean",
            lambda: infinite(zero_times_infinity_inside_a_mean, X, samples=256),
            ValueError,
            NO_SCALAR,
        ),
        (
            "one over zero",
            lambda: infinite(normalized, np.zeros((1, 2))),
            ValueError,
            r"the scalar at blocks.py, line .*rsqrt.* is inf; expected a number",
        ),
        (
            "root of a negative number",
            lambda: infinite(architectures.mixture(architectures.mlp(depth=0))(mixture_weight_1=-0.2), X),
            ValueError,
            r"mixture_weight_1 is -0\.2; expected a finite number that is not negative",
        ),
        (
            "negative epsilon at finite width",
            lambda: finite(architectures.batch_norm_mlp(epsilon=-1.0), 4).init(jax.random.key(0), X),
            ValueError,
            r"epsilon is -1\.0; expected a finite number that is not negative",
        ),
        (
            "negative epsilon of a layer norm",
            lambda: infinite(architectures.transformer(epsilon=-1.0), X[None]),
            ValueError,
            r"epsilon is -1\.0; expected a finite number that is not negative",
        ),
        (
            "root of a scalar that is negative",
            lambda: infinite(negative_root, X),
            ValueError,
            r"the scalar at test_limit_refusals.py, line .* is nan; expected a number",
        ),
        (
            "negative standard deviation",
            lambda: infinite(zoo.mlp(w_std=-1.0), X),
            ValueError,
            r"std of 'w1' is -1\.0; expected a finite number that is not negative",
        ),
        (
            "negative standard deviation at finite width",
            lambda: finite(zoo.mlp(w_std=-1.0), 4).init(jax.random.key(0), X),
            ValueError,
            r"std of 'w1' is -1\.0; expected a finite number that is not negative",
        ),
        (
            "option that is not a number",
            lambda: zoo.mlp(w_std=np.nan),
            ValueError,
            "option w_std holds 1 entries that are NaN",
        ),
        (
            "samples that do not fit",
            lambda: infinite(zoo.gated, X, samples=2**40),
            ValueError,
            r"samples of 4 variables are to be drawn; expected at most \d+",
        ),
        (
            "inputs of two shapes",
            lambda: infinite(zoo.mlp, np.ones((2, 3)), np.ones((2, 4))),
            ValueError,
            "parameter 'w1' is another one for inputs of another shape",
        ),
        ("one input", lambda: infinite(zoo.mlp, np.ones(3)), ValueError, r"x1 has shape \(3,\); expected \(N, …\)"),
        (
            "inputs that are not numbers",
            lambda: infinite(zoo.mlp, np.full((2, 3), np.nan)),
            ValueError,
            "x1 holds 6 entries that are NaN or infinite",
        ),
        (
            "eigenvalues between two batches",
            lambda: infinite(architectures.mlp(depth=0), X, X).smallest_eigenvalue,
            ValueError,
            r"ntk is \(2, 2\) between two batches; expected that of one",
        ),
    ]
)
def test_refusals(call, exception, sentence):
    assert_refused(call, exception, sentence)


def test_away_from_the_jump_there_is_a_limit():
    q = (X**2).mean(axis=1)
    factor = np.where(q > 1, 2.0, 1.0)
    np.testing.assert_allclose(infinite(at_its_threshold, X).nngp, np.outer(factor, factor) * (X @ X.T / 2))
    attention = architectures.self_attention  # a softmax of scores that vanish is uniform
    assert np.isfinite(infinite(attention, X[..., None]).ntk).all()


def test_expectations_that_do_not_exist():
    with pytest.warns(RuntimeWarning, match="the average over samples is dominated by few of them"):
        infinite(hidden_quotient, X)


def test_batches_too_small_for_batch_norm():
    x = np.random.default_rng(0).normal(size=(5, 4))
    batch_norm = architectures.batch_norm_mlp
    for small in (x[:3], x[[0, 1, 2, 2]], x[:, :2], x[:1]):
        message = rf"x1 holds {len(small)} inputs that span fewer than 3 dimensions .* at batch_normalized.py, line"
        with pytest.raises(ValueError, match=message):
            infinite(batch_norm, small)
    assert np.isfinite(infinite(batch_norm(epsilon=0.1), x[:3], samples=256).ntk).all()


@tensor_program
def threshold_of_a_sampled_moment(net, x):
    """E (u w)² is q² for q the second moment of x."""
    u, w, _ = u_w_k(net, x)
    q = ((u * w) * (u * w)).mean()
    return net.output("v") @ (u * net.scalar(lambda q: jnp.where(q > 4.0, 2.0, 1.0))(q))  # jumps


@pytest.mark.slow
def test_jumps_of_sampled_moments_are_looked_for_at_every_input():
    x = np.ones((20, 2)) * np.linspace(2.0, 3.0, 20)[:, None]
    factors = infinite(threshold_of_a_sampled_moment, x, samples=2**12).nngp  # q² is 16 or more
    np.testing.assert_allclose(factors, 4.0 * np.outer(x[:, 0], x[:, 0]), rtol=1e-9)
    x[-1] = 2.0**0.5  # the last of many inputs has q² = 4
    with pytest.raises(ValueError, match=r"or too close by, at .* # jumps.*or more samples"):
        infinite(threshold_of_a_sampled_moment, x, samples=2**12)
