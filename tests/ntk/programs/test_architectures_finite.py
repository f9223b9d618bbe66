"""Every architecture's limit against networks of finite width over fixed seeds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntk.programs import architectures, finite, infinite

STDS = {"w_std": 1.2, "u_std": 0.9, "b_std": 0.4}
TABLE = {
    "batch_norm_mlp": (architectures.batch_norm_mlp, (7, 9)),
    "bidirectional_rnn": (architectures.bidirectional_rnn(combination="sum", activation="tanh", **STDS), (3, 2, 3)),
    "cnn_1d": (architectures.cnn_1d(w_std=1.2, b_std=0.4), (3, 3, 2)),
    "cnn_2d": (architectures.cnn_2d(depth=1, pool_size=2, w_std=1.2, b_std=0.4), (3, 2, 2, 2)),
    "gru": (architectures.gru(**STDS), (3, 2, 3)),
    "layer_norm_gated_rnn": (architectures.layer_norm_gated_rnn(pooling="mean", **STDS), (3, 2, 3)),
    "lstm": (architectures.lstm(**STDS), (3, 2, 3)),
    "lstm_mean": (architectures.lstm(pooling="mean", **STDS), (3, 3, 3)),
    "mixture": (architectures.mixture(architectures.mlp, architectures.residual_mlp), (3, 4)),
    "mlp": (architectures.mlp(depth=3, w_std=1.2, b_std=0.4), (3, 4)),
    "residual_mlp": (architectures.residual_mlp(depth=3, activation="erf", **STDS), (3, 4)),
    "rnn": (architectures.rnn(activation="erf", pooling="mean", **STDS), (3, 3, 2)),
    "self_attention": (architectures.self_attention(w_std=1.2, u_std=0.9), (3, 3, 2)),
    "tied_mlp": (architectures.tied_mlp(pooling="mean", w_std=1.2, b_std=0.4), (3, 4)),
    "transformer": (architectures.transformer(depth=2, w_std=1.2, b_std=0.4), (3, 3, 2)),
}
FAST = ("batch_norm_mlp", "gru")


def empirical(program, width, x, seeds, first_seed):
    """Θ of networks of that width, (seeds, N, N), by their Jacobians."""
    model = finite(program, width)

    def kernel(key):
        jacobian = jax.jacrev(model.apply)(model.init(key, x), x)
        return sum(jnp.matmul(j.reshape(len(x), -1), j.reshape(len(x), -1).T) for j in jacobian.values())

    keys = jnp.stack([jax.random.key(first_seed + seed) for seed in range(seeds)])
    return np.asarray(jax.jit(functools.partial(jax.lax.map, kernel))(keys))


def assert_limit(name, width, seeds, share):
    """Twice the mean at width 2n less that at width n, free of the bias of order 1/n, is the limit.

    The standard errors of the networks, and of the limit where it is sampled, are together less than `share` of it.
    """
    program, shape = TABLE[name]
    x = jnp.asarray(np.random.default_rng(3).normal(size=shape))
    found = infinite(program, x)
    theta = np.asarray(found.ntk)
    narrow, wide = (empirical(program, n, x, seeds, first) for n, first in ((width, 0), (2 * width, 10_000)))
    difference = 2 * wide.mean(axis=0) - narrow.mean(axis=0) - theta
    variances = (4 * wide.var(axis=0, ddof=1) + narrow.var(axis=0, ddof=1)) / seeds
    error = np.sqrt(variances + np.asarray(found.standard_error.ntk) ** 2)
    assert np.linalg.norm(difference) < 4 * np.linalg.norm(error)
    assert np.linalg.norm(error) < share * np.linalg.norm(theta)
    # The projection on the limit, whose error is that of the seeds' own projections.
    projected = [np.sum(kernels * theta, axis=(1, 2)) / np.sum(theta**2) for kernels in (wide, narrow)]
    spread = np.sqrt((4 * projected[0].var(ddof=1) + projected[1].var(ddof=1)) / seeds)
    sampled = np.linalg.norm(found.standard_error.ntk) / np.linalg.norm(theta)
    assert abs(2 * projected[0].mean() - projected[1].mean() - 1) < 4 * np.hypot(spread, sampled)


@pytest.mark.parametrize("name", FAST)
def test_limit(name):
    assert_limit(name, width=48, seeds=1000, share=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_limit_of_wider_networks(name):
    assert_limit(name, width=128, seeds=800, share=0.03)
