"""Every architecture's limit against networks of finite width over fixed seeds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk import empirical_kernels
from ntk.programs import architectures, finite, infinite, tensor_program

pytestmark = pytest.mark.slow

STDS = {"w_std": 1.2, "u_std": 0.9, "b_std": 0.4}
TABLE = {
    "batch_norm_mlp": (architectures.batch_norm_mlp, (7, 9)),
    "bidirectional_rnn": (architectures.bidirectional_rnn(combination="sum", activation="tanh", **STDS), (3, 2, 3)),
    "cnn_1d": (architectures.cnn_1d(w_std=1.2, b_std=0.4), (3, 3, 2)),
    "cnn_2d": (architectures.cnn_2d(depth=1, pool_size=2, w_std=1.2, b_std=0.4), (3, 2, 2, 2)),
    "causal_transformer": (
        architectures.transformer(depth=2, causal=True, normalized=False, u_std=0.9, w_std=0.9, b_std=0.4),
        (3, 3, 2),
    ),
    "deep_equilibrium": (architectures.deep_equilibrium(steps=4, w_std=0.9), (3, 4)),
    "gcn": (architectures.gcn(np.eye(3, k=1) + np.eye(3, k=-1))(w_std=1.2, b_std=0.4), (3, 3, 2)),
    "gru": (architectures.gru(**STDS), (3, 2, 3)),
    "layer_norm_gated_rnn": (architectures.layer_norm_gated_rnn(pooling="mean", **STDS), (3, 2, 3)),
    "lstm": (architectures.lstm(**STDS), (3, 2, 3)),
    "lstm_mean": (architectures.lstm(pooling="mean", **STDS), (3, 3, 3)),
    "mixture": (architectures.mixture(architectures.mlp, architectures.residual_mlp), (3, 4)),
    "mlp": (architectures.mlp(depth=3, w_std=1.2, b_std=0.4), (3, 4)),
    "mlp_mixer": (architectures.mlp_mixer(hidden=2, w_std=1.2), (3, 3, 2)),
    "residual_mlp": (architectures.residual_mlp(depth=3, activation="erf", **STDS), (3, 4)),
    "rnn": (architectures.rnn(activation="erf", pooling="mean", **STDS), (3, 3, 2)),
    "self_attention": (architectures.self_attention(w_std=1.2, u_std=0.9), (3, 3, 2)),
    "state_space": (architectures.state_space(w_std=1.2), (3, 3, 2)),
    "tied_mlp": (architectures.tied_mlp(pooling="mean", w_std=1.2, b_std=0.4), (3, 4)),
    "transformer": (architectures.transformer(depth=2, w_std=1.2, b_std=0.4), (3, 3, 2)),
}
FAST = ("batch_norm_mlp",)


@tensor_program
def residual_cnn(net, x):
    """A stride, a residual block, and read-outs of each position and of the mean."""
    phi = net.phi("erf")
    z = net.convolution("stem", (3, 3), 1.2, strides=(3, 3)) @ x
    z = z + net.convolution("block", (3, 3), 1.2) @ phi(z) + net.bias("b", 0.4)
    return net.output("v") @ phi(z) + net.output("mean") @ phi(z).pooled()


LARGE = {
    "densenet": (architectures.densenet(blocks=1, w_std=1.4), (3, 2, 2, 2)),
    "residual_cnn": (residual_cnn, (2, 28, 28, 1)),
    "transformer_64": (architectures.transformer(activation="erf", w_std=1.2, b_std=0.4), (2, 64, 4)),
    "wide_resnet": (architectures.wide_resnet(w_std=1.2), (3, 2, 2, 2)),
}


def empirical(program, width, x, seeds, first_seed):
    """Θ, and its part from the output weights, of networks of that width, (seeds, 2, N, N), by their Jacobians."""
    model = finite(program, width)
    parameters = program.record(x.shape[1:]).parameters

    def kernels(key):
        jacobian = jax.jacrev(model.apply)(model.init(key, x), x)
        parts = {name: jnp.matmul(j.reshape(len(x), -1), j.reshape(len(x), -1).T) for name, j in jacobian.items()}
        outputs = [part for name, part in parts.items() if parameters[name].kind == "output"]
        return jnp.stack([sum(parts.values()), sum(outputs)])

    keys = jnp.stack([jax.random.key(first_seed + seed) for seed in range(seeds)])
    return np.asarray(jax.jit(functools.partial(jax.lax.map, kernels))(keys))


def projections(limit):
    """By name, fixed matrices on which a kernel is projected: all of the limit, parts of it, and one entry each."""
    size = len(limit)
    eye = np.eye(size, dtype=bool)
    shares = {"all": limit, "diagonal": np.where(eye, limit, 0), "off-diagonal": np.where(eye, 0, limit)}
    for row in range(size):
        shares[f"row {row}"] = np.where(np.arange(size)[:, None] == row, limit, 0)
    return {name: share / np.sum(share * limit) for name, share in shares.items() if np.any(share)}


def assert_limit(name, width, seeds, share):
    """Twice the mean at width 2n less that at width n, free of the bias of order 1/n, is the limit.

    So it is on the whole and on each of some fixed projections, of which that on the limit itself is known to `share`.
    """
    program, shape = (TABLE | LARGE)[name]
    x = jnp.asarray(np.random.default_rng(3).normal(size=shape))
    found = infinite(program, x)
    narrow, wide = (empirical(program, n, x, seeds, first) for n, first in ((width, 0), (2 * width, 10_000)))
    for number, kernel in enumerate(("ntk", "nngp")):
        limit, own_error = np.asarray(getattr(found, kernel)), np.asarray(getattr(found.standard_error, kernel))
        few, many = narrow[:, number], wide[:, number]
        difference = 2 * many.mean(axis=0) - few.mean(axis=0) - limit
        variances = (4 * many.var(axis=0, ddof=1) + few.var(axis=0, ddof=1)) / seeds
        assert np.linalg.norm(difference) < 4 * np.linalg.norm(np.sqrt(variances + own_error**2))
        for part, projection in projections(limit).items():
            few_there, many_there = (np.sum(kernels * projection, axis=(1, 2)) for kernels in (few, many))
            spread = np.sqrt((4 * many_there.var(ddof=1) + few_there.var(ddof=1)) / seeds)
            # Entries of the limit are sampled on the same points: their errors may add up.
            error = np.hypot(spread, np.sum(own_error * np.abs(projection)))
            assert abs(2 * many_there.mean() - few_there.mean() - 1) < 4 * error, (kernel, part)
            assert part != "all" or error < share


@pytest.mark.parametrize("name", FAST)
def test_limit(name):
    assert_limit(name, width=48, seeds=1000, share=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_limit_of_wider_networks(name):
    assert_limit(name, width=128, seeds=800, share=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_limit_of_images_and_of_long_sequences(name):
    assert_limit(name, width=32, seeds=200, share=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_slope_of_the_deviation(name):
    """The relative deviation of Θ falls as n^(-1/2), up to width 2048, and has no floor there."""
    program, shape = TABLE[name]
    x = jnp.asarray(np.random.default_rng(3).normal(size=shape), jnp.float32)
    found = infinite(program, x, samples=2**16)
    widths, means, errors = {64: 256, 256: 256, 1024: 64, 2048: 16}, [], []  # and how many networks there
    for width, seeds in widths.items():
        model = finite(program, width)

        def deviation(key, model=model):
            theta = empirical_kernels(program, model.init(key, x), x).ntk
            return jnp.linalg.norm(theta - found.ntk) / jnp.linalg.norm(found.ntk)

        keys = jax.random.split(jax.random.key(width), seeds)
        logs = np.log(np.asarray(jax.jit(functools.partial(jax.lax.map, deviation))(keys)))
        means.append(logs.mean())
        errors.append(logs.std(ddof=1) / seeds**0.5)
    # A tenth of the deviation at the largest width, at most, is the limit's own.
    assert np.linalg.norm(found.standard_error.ntk) / np.linalg.norm(found.ntk) < 0.1 * np.exp(means[-1])
    slope, _ = np.polyfit(np.log(list(widths)), means, 1, w=1 / np.array(errors))
    assert -0.6 < slope < -0.4
