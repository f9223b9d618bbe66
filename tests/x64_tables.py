"""Calls of every public function in float32, and a few networks in any dtype, for runs with x64 off and on.

As a script: `python x64_tables.py FOLDER STRIDE`, with x64 off and warnings as errors; what `networks` and `results`
give is written to files of these names.
"""

import importlib
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).parents[1]
# A script has its own folder on the path, in which tests/ntk and tests/bounds hide the packages.
sys.path.insert(0, str(ROOT))

import ntk  # noqa: E402

TABLES = {
    "ntk": "test_lowering",
    "ntk/dynamics": "test_dynamics_lowering",
    "bounds": "test_estimator_lowering",
}


def networks(dtype):
    """Kernels and results from them. Parameters come from NumPy, so that they are the same in every dtype."""

    def numbers(shape, seed):
        return np.random.default_rng(seed).normal(size=shape).astype(dtype)

    x, s, v, y = (numbers(shape, seed) for seed, shape in enumerate([(6, 5), (6, 4, 5), (6, 2), (6, 2)]))
    x[3], s[3], x[4] = x[2], s[2], -x[2]
    found = {}
    for name, net, data in (
        ("rnn", ntk.RNN(activation="relu", pooling="mean"), s),
        ("mlp", ntk.MLP(depth=2, activation="silu"), x),
    ):
        model = ntk.finite(net, 32, outputs=2)
        shapes = jax.eval_shape(model.init, jax.random.key(0), data)
        params = jax.tree.map(lambda leaf: numbers(leaf.shape, leaf.size), shapes)
        found[name + "-limit-only"] = ntk.infinite_ntk(net, data)
        found[name + "-limit"] = ntk.infinite_kernels(net, data).ntk
        found[name + "-layers"] = ntk.empirical_kernels(net, params, data).ntk
        found[name + "-jacobian"] = kernel = ntk.empirical_ntk(model.apply, params, data)
    # Of the last network.
    found["diagonal"] = ntk.ntk_diagonal(model.apply, params, data)
    found["product"] = ntk.ntk_vector_product(model.apply, params, data, None, v)
    found["linear"] = ntk.linearize(model.apply, params)(jax.tree.map(lambda w: w / 2, params), data)
    found["eigenvalues"] = ntk.eigenvalues(kernel)
    found["left"] = y - ntk.dynamics.squared_loss_flow(kernel, y)(0.01)
    found["program"] = ntk.infinite_ntk(ntk.architectures.mlp(depth=2), x)
    found["dual"] = ntk.activation("gelu").dual(*(np.asarray(q, dtype) for q in ([[1.0]], [[0.5, 0.2]], [2.0])))
    return {name: np.asarray(value) for name, value in found.items()}


def number(name, place, leaf):
    """An argument of that shape: a positive definite kernel where it is square, else numbers from 0.1 to 0.9."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key(0)
    if jnp.issubdtype(leaf.dtype, jnp.integer):
        values = [1, -1] if leaf.dtype == "int8" else [1, 2]  # signs; lengths and classes
        return np.resize(np.array(values, leaf.dtype), leaf.shape)
    draws = np.random.default_rng(place).uniform(0.1, 0.9, leaf.shape)
    if name.startswith("Activation"):
        draws = draws * 0.1 if place == 1 else draws + 0.1  # |q12| less than q11 and q22
    if len(leaf.shape) > 1 and leaf.shape[0] == leaf.shape[1]:
        size = leaf.shape[0]
        draws = (draws + np.swapaxes(draws, 0, 1)) / 2 + size * np.eye(size).reshape(
            size, size, *(1,) * (len(leaf.shape) - 2)
        )
    return draws.astype(leaf.dtype)


def calls():
    """By name, a function and its arguments."""
    found = {}
    for folder, module in TABLES.items():
        sys.path.append(str(Path(__file__).parent / folder))
        for name, (f, args, *kwargs) in importlib.import_module(module).table("float32").items():
            leaves, tree = jax.tree.flatten((args, kwargs[0] if kwargs else {}))
            filled = [number(name, place, leaf) for place, leaf in enumerate(leaves)]
            found[f"{module}-{name}"] = (f, *jax.tree.unflatten(tree, filled))
    return found


def results():
    """By name and place, the leaves of what the calls give."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tables hold float64 too
        table = calls()
    found = {}
    for name, (f, args, kwargs) in table.items():
        for place, leaf in enumerate(jax.tree.leaves(jax.jit(f)(*args, **kwargs))):
            if hasattr(leaf, "dtype") and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                found[f"{name}-{place}"] = np.asarray(leaf)
    return found


if __name__ == "__main__":
    assert not jax.config.jax_enable_x64
    folder = Path(sys.argv[1])
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        np.savez(folder / "networks.npz", **networks("float32"))
    np.savez(folder / "results.npz", **results())
