"""The Simple GIA Check names what breaks it and where; the limit refuses what it does not cover."""

import numpy as np
import program_zoo as zoo
import pytest

from ntk.programs import architectures, check_gia, infinite, tensor_program


@tensor_program
def averaged(net, x):
    """The example of the source text: y = 1ᵀx²/n."""
    h = net.matrix("W2") @ (net.input_matrix("W1") @ x + 1.0)
    square = h * h
    return square.mean()  # averaged


@tensor_program
def averaged_beside(net, x):
    h = net.input_matrix("U") @ x
    offset = 2.0 * h.mean()  # averaged
    return net.output("v") @ h + offset


@tensor_program
def weight_inside(net, x):
    v, h = net.output("v"), net.input_matrix("U") @ x
    gate = h * v  # output weight
    return v @ gate


@tensor_program
def weight_added(net, x):
    v = net.output("v")
    h = net.input_matrix("U") @ x + v  # output weight
    return v @ h


@tensor_program
def transpose(net, x):
    W, phi = net.matrix("W"), net.phi("tanh")
    h = phi(W @ (net.input_matrix("U") @ x))
    h = W.T @ h  # transpose
    return net.output("v") @ h


@tensor_program
def biased_readout(net, x):
    return net.output("v", mean=0.5) @ (net.input_matrix("U") @ x)  # has a mean


@tensor_program
def nothing(net, x):
    return net.scalar(lambda: 1.0)()  # no product


@pytest.mark.parametrize(
    ("program", "reason", "mark"),
    [
        (averaged, "the output is an average over coordinates", "# averaged"),
        (averaged_beside, "the output is an average over coordinates", "# averaged"),
        (weight_inside, "output weight 'v' is used inside the network", "# output weight"),
        (weight_added, "output weight 'v' is used inside the network", "# output weight"),
        (transpose, "matrix 'W' is used together with its transpose", "# transpose"),
        (biased_readout, "output weight 'v' has a mean that is not zero", "# has a mean"),
        (nothing, "the output is not a product with an output weight", "# no product"),
    ],
)
def test_violations_are_named_with_their_line(program, reason, mark):
    check = check_gia(program, (3,))
    assert not check
    (violation,) = check.violations
    assert reason in violation.reason
    assert violation.line.file == __file__
    assert mark in violation.line.source
    with pytest.raises(ValueError, match=f"GIA Check fails: .*{reason.split()[-1]}"):
        infinite(program, np.ones((2, 3)))


def test_every_violation_is_listed():
    @tensor_program
    def program(net, x):
        v, W = net.output("v"), net.matrix("W")
        h = W.T @ (W @ (v + net.input_matrix("U") @ x))
        return v @ h + h.mean()

    assert len(check_gia(program, (3,)).violations) == 3


@pytest.mark.parametrize(
    ("program", "shape"),
    [
        (zoo.mlp, (3,)),
        (zoo.layer_norm_mlp, (3,)),
        (architectures.batch_norm_mlp, (3,)),
        (architectures.bidirectional_rnn, (4, 3)),
        (architectures.cnn_1d, (4, 3)),
        (architectures.cnn_2d, (4, 3, 2)),
        (architectures.deep_equilibrium, (3,)),
        (architectures.densenet, (4, 3, 2)),
        (architectures.gcn(np.eye(4)), (4, 3)),
        (architectures.gru, (4, 3)),
        (architectures.layer_norm_gated_rnn, (4, 3)),
        (architectures.lstm, (4, 3)),
        (architectures.mixture(architectures.mlp, architectures.residual_mlp), (3,)),
        (architectures.mlp, (3,)),
        (architectures.mlp_mixer, (4, 3)),
        (architectures.residual_mlp, (3,)),
        (architectures.rnn(pooling="mean"), (4, 3)),
        (architectures.self_attention(scaling="1/sqrt(n)"), (2, 3)),
        (architectures.state_space, (4, 3)),
        (architectures.tied_mlp, (3,)),
        (architectures.transformer(depth=2), (2, 3)),
        (architectures.transformer(depth=2, causal=True, normalized=False), (2, 3)),
        (architectures.wide_resnet, (4, 3, 2)),
    ],
)
def test_the_check_holds_for_usual_networks(program, shape):
    check = check_gia(program, np.zeros((5, *shape)))
    assert check
    assert str(check) == "The Simple GIA Check holds."


@pytest.mark.slow
def test_a_transpose_alone_is_a_matrix_like_any_other():
    @tensor_program
    def program(net, x, *, transposed=False):
        W = net.matrix("W", 1.3)
        return net.output("v") @ net.phi("relu")((W.T if transposed else W) @ (net.input_matrix("U") @ x))

    x = np.random.default_rng(0).normal(size=(3, 4))
    assert check_gia(program(transposed=True), x)
    np.testing.assert_array_equal(infinite(program(transposed=True), x).ntk, infinite(program, x).ntk)


@pytest.mark.slow
def test_the_example_violates_gia_in_truth():
    """In y = 1ᵀx²/n the gradient dx¹ = 2W²ᵀW²x¹ has mean 2 at width n, in expectation exactly, where GIA has 0."""
    import jax
    import jax.numpy as jnp

    from ntk.programs import finite

    @tensor_program
    def watched(net, x):
        x1 = net.watch("x1", net.input_matrix("W1") @ x + 1.0)
        h = net.matrix("W2") @ x1
        return (h * h).mean()

    n, seeds, x = 64, 200, jnp.zeros((1, 3))
    model = finite(watched, n)

    def mean_gradient(key):
        params = model.init(key, x)
        return n * jax.grad(lambda tap: model.trace(params, x, {"x1": tap})[0][0])(jnp.zeros((1, n))).mean()

    means = np.asarray(jax.vmap(mean_gradient)(jax.random.split(jax.random.key(0), seeds)))
    assert abs(means.mean() - 2.0) < 4 * means.std(ddof=1) / seeds**0.5
    assert means.mean() > 1.5
