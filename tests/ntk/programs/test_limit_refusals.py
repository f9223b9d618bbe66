"""What has no limit, or none that is a number, is refused or warned of, with the line or the option at fault."""

import functools
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import program_zoo as zoo
import pytest

import ntk
from ntk.programs import architectures, corrected_kernels, finite, infinite, tensor_program

X = np.array([[1.0, 2.0], [0.5, -1.0]])


@tensor_program
def sign_of_a_moment(net, x):
    """(1/n) u·w goes to 0, and its sign is a coin at every width."""
    u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
    t = net.scalar(jnp.sign)((u * w).mean())  # jumps
    return net.output("v") @ (u + t * w)


@tensor_program
def hard_attention(net, x):
    """All scores q·k/n go to 0: which is the largest is left to chance."""
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


@pytest.mark.parametrize(
    ("program", "x"),
    [(sign_of_a_moment, X), (hard_attention, X), (at_its_threshold, X / np.sqrt((X**2).mean(1, keepdims=True)))],
    ids=["sign", "argmax", "threshold"],
)
def test_functions_of_scalars_that_jump(program, x):
    with pytest.raises(ValueError, match=r"a function of scalars jumps .*, at .* # jumps; expected") as found:
        infinite(program, x, samples=256)
    assert str(found.value).endswith("some lie on either side.")


def test_away_from_the_jump_there_is_a_limit():
    q = (X**2).mean(axis=1)
    factor = np.where(q > 1, 2.0, 1.0)
    np.testing.assert_allclose(infinite(at_its_threshold, X).nngp, np.outer(factor, factor) * (X @ X.T / 2))
    attention = architectures.self_attention  # a softmax of scores that vanish is uniform
    assert np.isfinite(infinite(attention, X[..., None]).ntk).all()


@tensor_program
def quotient(net, x):
    u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
    return net.output("v") @ (u / (1.0 + w))  # no second moment


@tensor_program
def hidden_quotient(net, x):
    u, w = net.input_matrix("u") @ x, net.input_matrix("w") @ x
    return net.output("v") @ net.phi(lambda a, b: a / b)(u, w)


def test_expectations_that_do_not_exist():
    with pytest.raises(ValueError, match=r"divides by a Gaussian vector at .* # no second moment; expected a divisor"):
        infinite(quotient, X)
    with pytest.warns(RuntimeWarning, match="the average over samples is dominated by few of them"):
        infinite(hidden_quotient, X)


def test_batches_too_small_for_batch_norm():
    x = np.random.default_rng(0).normal(size=(5, 4))
    batch_norm = architectures.batch_norm_mlp
    for small in (x[:3], x[[0, 1, 2, 2]], x[:, :2], x[:1]):
        message = rf"x1 holds {len(small)} inputs that span less than 3 dimensions .* at batch_normalized.py, line"
        with pytest.raises(ValueError, match=message):
            infinite(batch_norm, small)
    assert np.isfinite(infinite(batch_norm(epsilon=0.1), x[:3], samples=256).ntk).all()


def test_numbers_are_looked_at():
    with pytest.raises(ValueError, match="option w_std holds 1 entries that are NaN"):
        zoo.mlp(w_std=np.nan)
    negative = zoo.mlp(w_std=-1.0)
    for read in (infinite, lambda program, x: finite(program, 4).init(jax.random.key(0), x)):
        with pytest.raises(ValueError, match=r"std of 'w1' is -1\.0; expected a finite number that is not negative"):
            read(negative, X)
    mixed = architectures.mixture(architectures.mlp, architectures.residual_mlp)
    with pytest.raises(ValueError, match=r"the scalar at mixtures.py, line .* is nan; expected a number"):
        infinite(mixed(mixture_weight_1=-0.2), X)
    with pytest.raises(ValueError, match=r"the scalar at blocks.py, line .*rsqrt.* is inf; expected a number"):
        infinite(architectures.transformer, np.zeros((1, 2, 2)))


def test_a_kernel_between_batches_has_no_eigenvalues():
    assert infinite(zoo.mlp, X).one_batch
    between = infinite(zoo.mlp, X, X)
    assert not between.one_batch
    with pytest.raises(ValueError, match=r"ntk is \(2, 2\) between two batches; expected that of one"):
        _ = between.smallest_eigenvalue


def test_how_inputs_were_sampled_is_told():
    assert infinite(zoo.mlp, X).joint
    assert infinite(zoo.gated, X, samples=256).joint
    assert not infinite(zoo.gated, X, samples=256, tile_size=1).joint


def record(fn):
    return tensor_program(fn).record((3,))


def u_of(net, x):
    return net.input_matrix("u") @ x


@pytest.mark.parametrize(
    ("fn", "error", "message"),
    [
        (lambda net, x: net.output("v") @ x, TypeError, r"uses the input, of shape \(3,\), which is for an input_mat"),
        (lambda net, x: net.output("v") @ (net.matrix("w") @ x), TypeError, "which is for an input_matrix"),
        (lambda net, x: net.output("v") @ (u_of(net, x) / 0), ValueError, r"computes truediv\(1.0, 0.0\) at test_lim"),
        (
            lambda net, x: net.output("v") @ (((net.one().mean() * 0.0 - 1.0) ** 0.5) * u_of(net, x)),
            ValueError,
            r"computes pow\(-1.0, 0.5\) at",
        ),
        (
            lambda net, x: net.output("v") @ net.phi("relu", breakpoints=(1.0,))(u_of(net, x)),
            ValueError,
            r"breakpoints is \(1.0,\); expected none for an activation",
        ),
        (
            lambda net, x: net.output("v") @ net.phi(lambda a, b: a * b)(u_of(net, x)),
            TypeError,
            "is no function of 1 numbers: .*missing 1 required positional argument",
        ),
        (
            lambda net, x: net.output("v") @ net.phi(lambda a: jnp.stack([a, a]))(u_of(net, x)),
            ValueError,
            r"gives an array of shape \(2,\) at one coordinate; expected a number",
        ),
    ],
)
def test_sentences_at_the_door(fn, error, message):
    with pytest.raises(error, match=message):
        record(fn)


def test_options_of_other_networks():
    with pytest.raises(TypeError, match="lengths1 is given for a tensor program; expected samples, rtol, seed"):
        ntk.infinite_kernels(zoo.mlp, X, lengths1=np.array([1, 1]))
    with pytest.raises(TypeError, match="lengths1 is given for a tensor program; expected no more keywords"):
        ntk.empirical_kernels(zoo.mlp, {}, X, lengths1=np.array([1, 1]))
    with pytest.raises(TypeError, match=r"samples is given for an ntk\.MLP; expected lengths1, lengths2"):
        ntk.infinite_ntk(ntk.MLP(depth=1), X, samples=16)


def test_choices_are_told_apart_by_type(plain):
    mlp = plain.architectures.mlp
    assert mlp(depth=1).record((3,)) is mlp(depth=1).record((3,))
    for depth in (1.0, True):
        with pytest.raises(ValueError, match=re.escape(f"depth is {depth!r}; expected an integer")):
            mlp(depth=depth).record((3,))


def test_exponents_and_partial_functions_are_allowed():
    """E (|u|^p)² for p = 1.5 is E |u|³ = 2√(2/π) q^(3/2)."""

    @tensor_program
    def program(net, x, *, p=1.5):
        power = net.scalar(functools.partial(jnp.multiply, 1.0))(p)
        return net.output("v") @ (net.phi("abs")(net.input_matrix("u") @ x) ** power)

    found = infinite(program, X[:1])
    assert abs(found.nngp[0, 0] - 2 * np.sqrt(2 / np.pi) * 2.5**1.5) < 6 * found.standard_error.nngp[0, 0]


def test_programs_that_draw_nothing():
    @tensor_program
    def program(net, x):
        return net.output("v", 1.5) @ (net.one() * net.one())

    found = infinite(program, X)
    np.testing.assert_allclose(found.ntk, np.full((2, 2), 2.25))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sampling_in_half_precision(dtype):
    x = jnp.asarray(X[:, None], dtype)
    found = infinite(architectures.lstm, x, samples=256)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(dtype)}
    single = infinite(architectures.lstm, x.astype("float32"), samples=256)
    np.testing.assert_allclose(found.ntk.astype("float32"), single.ntk, rtol=float(jnp.finfo(dtype).eps))


def test_parameters_do_not_depend_on_the_length():
    sequences = np.random.default_rng(0).normal(size=(2, 3, 2))
    model = finite(architectures.lstm, 4)
    short = model.init(jax.random.key(0), sequences[:, :1])
    assert jax.tree.map(jnp.shape, short) == jax.tree.map(jnp.shape, model.init(jax.random.key(0), sequences))
    assert model.apply(short, sequences).shape == (2,)
    assert ntk.empirical_kernels(architectures.lstm, short, sequences[:, :1]).ntk.shape == (2, 2)


@pytest.mark.slow
def test_derivatives_of_sampled_limits_where_eigenvalues_coincide():
    """One-hot inputs: Σ = C(s)·s²K of gates, and s² d/ds² by differences of the same samples."""
    x = jnp.eye(4) * 2.0

    def total(std):
        return infinite(zoo.gated(std=std), x, samples=256).ntk.sum()

    difference = (total(1 + 1e-5) - total(1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(total)(1.0), difference, rtol=1e-6)


def test_derivatives_of_sampled_limits_with_duplicates():
    x = jnp.asarray(X)[jnp.array([0, 1, 0])]

    def total(std):
        return infinite(zoo.gated(std=std), x, samples=256).ntk.sum()

    difference = (total(1 + 1e-5) - total(1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(total)(1.0), difference, rtol=1e-6)


def test_not_a_number_stays_where_it_is():
    """As in `ntk.MLP`, under jit a bad input spoils its own row and column alone."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2))).at[0, 0].set(jnp.nan)
    found = jax.jit(lambda x: ntk.infinite_ntk(zoo.mlp(activation="tanh"), x))(x)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:, 1:], ntk.infinite_ntk(zoo.mlp(activation="tanh"), x[1:]), rtol=1e-12)


def test_too_many_numbers_are_refused():
    with pytest.raises(ValueError, match=r"samples of 4 variables are to be drawn; expected at most \d+"):
        infinite(zoo.gated, X, samples=2**40)


def test_beyond_so_many_variables_pairs_are_sampled(monkeypatch):
    """At the border of two vectors and four inputs; the numbers agree within the errors of both."""
    monkeypatch.setattr(sys.modules[infinite.__module__], "JOINT_VARIABLES", 8)
    x = np.random.default_rng(0).normal(size=(5, 3))
    together, apart = infinite(zoo.gated, x[:4]), infinite(zoo.gated, x)
    assert together.joint
    assert not apart.joint
    error = np.hypot(together.standard_error.ntk, apart.standard_error.ntk[:4, :4])
    assert np.abs((together.ntk - apart.ntk[:4, :4]) / error).max() < 6


def test_moments_of_a_vector_and_a_function_that_jumps():
    """E u sign(u) = √(2q/π), by regression and not by the derivative of the sign."""

    @tensor_program
    def program(net, x):
        u = net.input_matrix("u") @ x
        return net.output("v") @ ((u * net.phi("sign")(u)).mean() * u)

    q = 2.5
    np.testing.assert_allclose(infinite(program, X[:1]).nngp, [[2 * q / np.pi * q]], rtol=1e-12)


def u_w_k(net, x):
    return [net.input_matrix(name) @ x for name in "uwk"]


@tensor_program
def sign_of_a_product(net, x):
    """Both means go to 0: moved one at a time, the sign of their product stays 0."""
    u, w, k = u_w_k(net, x)
    t = net.scalar(lambda a, b: jnp.sign(a * b))(u.mean(), w.mean())  # jumps
    return net.output("v") @ (u + t * k)


@tensor_program
def sign_of_a_sampled_moment(net, x):
    u, w, k = u_w_k(net, x)
    t = net.scalar(jnp.sign)((net.phi("sigmoid")(u) * w * k).mean())  # jumps
    return net.output("v") @ (u + t * k)


@tensor_program
def threshold_of_a_sampled_moment(net, x):
    """E (u w)² is q² for q the second moment of x."""
    u, w, _ = u_w_k(net, x)
    q = ((u * w) * (u * w)).mean()
    return net.output("v") @ (u * net.scalar(lambda q: jnp.where(q > 4.0, 2.0, 1.0))(q))  # jumps


def test_jumps_that_only_several_moments_or_samples_show():
    with pytest.raises(ValueError, match=r"jumps where these have their limits, at .* # jumps"):
        infinite(sign_of_a_product, X)
    with pytest.raises(
        ValueError, match=r"jumps where these have their limits, or too close by, at .* # jumps.*more sa"
    ):
        infinite(sign_of_a_sampled_moment, X, samples=256)
    x = np.ones((20, 2)) * np.linspace(2.0, 3.0, 20)[:, None]
    factors = infinite(threshold_of_a_sampled_moment, x, samples=2**12).nngp  # q² is 16 or more
    np.testing.assert_allclose(factors, 4.0 * np.outer(x[:, 0], x[:, 0]), rtol=1e-9)
    x[-1] = 2.0**0.5  # the last of many inputs has q² = 4
    with pytest.raises(ValueError, match="or too close by"):
        infinite(threshold_of_a_sampled_moment, x, samples=2**12)


def test_a_product_of_zero_and_infinity_is_not_zero():
    """As a quotient it is refused in test_tensor_traps; (1/n)Σu · 1/((1/n)Σw) is the same."""

    @tensor_program
    def program(net, x):
        u, w, _ = u_w_k(net, x)
        return net.output("v") @ net.phi("relu")(u + u.mean() * (1.0 / w.mean()))

    @tensor_program
    def inside_a_mean(net, x):
        u, w, _ = u_w_k(net, x)
        return net.output("v") @ net.phi("relu")(u + (u * (1.0 / w.mean())).mean())

    for diverging in (program, inside_a_mean):
        with pytest.raises(ValueError, match=r"the scalar at test_limit_refusals.py, line .*mean.* expected a number"):
            infinite(diverging, X, samples=256)


@pytest.mark.parametrize("exponent", [-1.0, -2.0])
def test_negative_powers_are_quotients(exponent):
    @tensor_program
    def program(net, x):
        return net.output("v") @ ((net.input_matrix("u") @ x) ** exponent)

    for read in (infinite, corrected_kernels):
        with pytest.raises(ValueError, match="divides by a Gaussian vector at"):
            read(program, X)


def test_what_the_corrected_limit_refuses():
    with pytest.raises(ValueError, match=r"a function of scalars jumps .* # jumps"):
        corrected_kernels(sign_of_a_moment, X, samples=256)
    with pytest.raises(ValueError, match="divides by a Gaussian vector at"):
        corrected_kernels(quotient, X)

    @tensor_program
    def normalized(net, x):
        return net.output("v") @ architectures.layer_norm(net, net.input_matrix("u") @ x)

    with pytest.raises(ValueError, match="ntk is not a number; expected functions that are finite"):
        corrected_kernels(normalized, np.zeros((1, 2)), samples=256)


def test_a_function_without_values_is_named():
    @tensor_program
    def program(net, x):
        u, w, _ = u_w_k(net, x)
        return net.output("v") @ net.phi(lambda a, b: jnp.log(a) * b)(u, w)

    with pytest.raises(ValueError, match="ntk is not a number; expected functions that are finite"):
        infinite(program, X, samples=256)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (lambda net, x: jnp.tanh(u_of(net, x)), r"a vector of a program at .*expected net.phi\(function\)\(vector\)"),
        (lambda net, x: jnp.where(u_of(net, x) > 0, 1.0, 0.0), None),
        (lambda net, x: jax.nn.relu(u_of(net, x)), r"a vector of a program at .*jax.nn.relu.*; expected net.phi"),
        (lambda net, x: jnp.stack([u_of(net, x)]), "a vector of a program at .*; expected net.phi"),
        (lambda net, x: jnp.sqrt(u_of(net, x).mean()), r"a scalar of a program at .*expected net.scalar\(function\)"),
        (lambda net, x: jnp.tanh(x), r"the input of a program at .*expected net.input_matrix\(name\) @ input"),
        (lambda net, x: jnp.tanh(net.output("v")), r"an output weight of a program at"),
        (lambda net, x: jnp.tanh(net.output("v") @ u_of(net, x)), r"an output of a program at"),
    ],
)
def test_functions_of_arrays_on_what_is_not_an_array(what, expected):
    with pytest.raises(TypeError, match=expected) as found:
        record(what)
    assert "abstract" not in str(found.value)
