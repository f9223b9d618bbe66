"""What `sketched_ntk` refuses, in one sentence."""

import jax
import jax.numpy as jnp
import numpy as np
from model_zoo import normal
from refusals import assert_refused, rows

PARAMS, X = {"w": normal(3, 6), "v": normal(6, 2)}, normal(5, 3)


def network(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


def of_batch(params, x):
    return network(params, x - jnp.mean(x, axis=0, keepdims=True))


def sketch_of(package, f=network, x1=X, **changes):
    """A call that is right but for what is changed."""
    return package.sketched_ntk(f, PARAMS, x1, **{"num_projections": 4, "key": jax.random.key(0)} | changes)


KEY = "expected one PRNG key"


@rows(
    [
        ("f", lambda ntk: sketch_of(ntk, f=1), TypeError, "f is 1; expected a function"),
        ("mixed", lambda ntk: sketch_of(ntk, f=of_batch), ValueError, "f mixes the inputs of a batch"),
        ("x1", lambda ntk: sketch_of(ntk, x1=np.ones(())), ValueError, "x1 has shapes"),
        (
            "one direction",
            lambda ntk: sketch_of(ntk, num_projections=1),
            ValueError,
            "num_projections is 1; expected an integer of at least 2",
        ),
        (
            "kind",
            lambda ntk: sketch_of(ntk, kind="uniform"),
            ValueError,
            "kind is 'uniform'; expected one of 'gaussian', 'rademacher'",
        ),
        (
            "no tile",
            lambda ntk: sketch_of(ntk, batch_size=0),
            ValueError,
            "batch_size is 0; expected an integer of at least 1",
        ),
        ("key 0", lambda ntk: sketch_of(ntk, key=0), TypeError, f"key is 0; {KEY}"),
        ("no key", lambda ntk: sketch_of(ntk, key=None), TypeError, f"key is None; {KEY}"),
        ("floats", lambda ntk: sketch_of(ntk, key=np.ones(2)), TypeError, rf"key is array\(.*; {KEY}"),
        ("keys", lambda ntk: sketch_of(ntk, key=jax.random.split(jax.random.key(0))), TypeError, f"key is .*; {KEY}"),
        ("word", lambda ntk: sketch_of(ntk, key=np.uint32(3)), TypeError, f"key is .*; {KEY}"),
        (
            "filter",
            lambda ntk: sketch_of(ntk, param_filter=3),
            TypeError,
            "param_filter is 3; expected a function",
        ),
        (
            "overflow",
            lambda ntk: sketch_of(ntk, f=lambda params, x: x @ params["w"], x1=1e160 * X),
            ValueError,
            r"sketch 'ntk' exceeds 1.8e\+308",
        ),
    ]
)
def test_refusals(plain, call, exception, sentence):
    assert_refused(lambda: call(plain), exception, sentence)
