"""Arguments of refused calls: each call is a function whose parameters name some of the things below."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from refusals import assert_refused

VECTORS = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
SEQUENCES = np.random.default_rng(1).normal(size=(4, 5, 3)).astype("float32")
KERNELS = ("infinite_kernels", "infinite_ntk", "empirical_kernels")


def things(ntk: ModuleType, x: Any = VECTORS, s: Any = SEQUENCES) -> dict[str, Any]:
    """By name: inputs `x` (4, 3) and `s` (4, 5, 3) in float32, networks that read them, parameters and functions."""
    mlp, rnn = ntk.MLP(depth=2), ntk.RNN()

    def params(net: Any, x: Any) -> Any:
        """Parameters of ones for width 8, in the dtype of x."""
        shapes = jax.eval_shape(ntk.finite(net, 8).init, jax.random.key(0), x)
        return jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), shapes)

    def measured(net: Any, x: Any, **changed: Any) -> Any:
        return ntk.empirical_kernels(net, {"params": params(net, x)["params"] | changed}, x)

    def empirical_kernels(net: Any, x1: Any, x2: Any = None, **lengths: Any) -> Any:
        """Called as the limits are, with parameters that fit the network."""
        fitting = params(mlp, VECTORS) if isinstance(net, ntk.MLP) else params(rnn, SEQUENCES)
        return ntk.empirical_kernels(net, fitting, x1, x2, **lengths)

    def looping(step: Any, x: Any) -> Any:
        def to_nine(y: Any) -> Any:
            return jax.lax.while_loop(lambda y: y < 9.0, lambda y: y + jnp.asarray(step, y.dtype), y)

        return jax.lax.map(to_nine, x.sum(1))

    return {
        **{"ntk": ntk, "x": x, "s": s, "mlp": mlp, "rnn": rnn, "erf": ntk.activation("erf")},
        **{"params": params, "measured": measured, "cubes": ntk.MLP(depth=9, activation="cube")},
        **{"w": np.ones((3, 2), "float32"), "linear": lambda params, x: x @ params, "looping": looping},
        **{name: getattr(ntk, name) for name in KERNELS[:2]},
        "empirical_kernels": empirical_kernels,
    }


def answer(call: Callable[..., Any], given: dict[str, Any]) -> Any:
    """What the call returns for those of the things that its arguments name."""
    return call(**{name: given[name] for name in inspect.signature(call).parameters})


def assert_always_refused(
    ntk: ModuleType, call: Callable[..., Any], exception: type[Exception], sentence: str, kernel: str = "infinite_ntk"
) -> None:
    """The call is refused as it stands, and under `jit` where x and s are tracers; `k` stands for the kernel."""

    def called(x: Any, s: Any) -> None:
        given = things(ntk, x, s)
        answer(call, given | {"k": given[kernel]})

    assert_refused(lambda: called(VECTORS, SEQUENCES), exception, sentence)
    assert_refused(lambda: jax.jit(called)(VECTORS, SEQUENCES), exception, sentence)
