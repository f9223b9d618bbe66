"""Calls of every public function in float32, with numbers: the same with x64 off and on.

As a script: `python x64_tables.py FILE STRIDE`, with x64 off and warnings as errors; the results are written to FILE.
"""

import importlib
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).parents[1]
# As a script it is found beside tests/ntk and tests/bounds, which are not packages.
sys.path.insert(0, str(ROOT))

TABLES = {
    "ntk": "test_lowering",
    "ntk/dynamics": "test_dynamics_lowering",
    "bounds": "test_estimator_lowering",
}


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
        for name, f, args, *kwargs in importlib.import_module(module).functions("float32"):
            leaves, tree = jax.tree.flatten((args, kwargs[0] if kwargs else {}))
            filled = [number(name, place, leaf) for place, leaf in enumerate(leaves)]
            found[f"{module}-{name}"] = (f, *jax.tree.unflatten(tree, filled))
    return found


def results(stride):
    """By name and place, the leaves of what every so many of the calls give."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tables hold float64 too
        table = list(calls().items())[::stride]
    found = {}
    for name, (f, args, kwargs) in table:
        for place, leaf in enumerate(jax.tree.leaves(jax.jit(f)(*args, **kwargs))):
            if hasattr(leaf, "dtype") and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                found[f"{name}-{place}"] = np.asarray(leaf)
    return found


if __name__ == "__main__":
    assert not jax.config.jax_enable_x64
    np.savez(sys.argv[1], **results(int(sys.argv[2])))
