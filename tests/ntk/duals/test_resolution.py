"""Whether a rule resolves a function is found on the host, without compilation, and agrees with the compiled maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import REORDERED

import ntk
from ntk.duals.resolution import relative_error


def bent(x):
    return jnp.maximum(x, 0.3)


def bent_twice(x):
    return jnp.clip(x, -1.0, 0.5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("fn", "breakpoints"),
    [
        (bent_twice, (0.0, 0.5, 3.0)),
        *(pytest.param(fn, (0.0,), marks=pytest.mark.slow) for fn in (bent, jnp.sin)),
    ],
)
@pytest.mark.filterwarnings("ignore:the dual maps of activation")
def test_the_error_is_that_of_the_compiled_maps(fn, breakpoints, dtype):
    with jax.enable_x64(dtype == "float64"):
        act = ntk.activation(fn, breakpoints=breakpoints)
        q = jnp.asarray([0.1, 1.0, 1.0, 10.0])
        errors = act.error_estimate(q, q * jnp.asarray([0.5, 0.0, 0.9, 0.5]), q)
        scales = act.dual(q, q, q), act.dual_derivative(q, q, q)
        expected = max(float(jnp.max(error / scale)) for error, scale in zip(errors, scales, strict=True))
        # Two results that nearly agree are subtracted: their roundings, relative to 1, are absolute here.
        np.testing.assert_allclose(relative_error(fn, breakpoints), expected, rtol=0, atol=REORDERED[dtype])


def test_a_second_function_of_the_same_operations_compiles_nothing():
    """Its break points may be others, and as many or more."""
    compilations = []

    def listen(event, _, **__):
        compilations.extend([event] if event == "/jax/core/compile/backend_compile_duration" else [])

    ntk.activation(lambda x: jnp.clip(x, -1.0, 1.0), breakpoints=(-1.0, 1.0))
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        jax.jit(lambda x: x + 2.0)(1.0)
        assert len(compilations) == 1  # the listener hears
        ntk.activation(lambda x: jnp.clip(x, -0.5, 1.0), breakpoints=(-0.5, 1.0))
        ntk.activation(lambda x: jnp.clip(x, 0.5, 1.0), breakpoints=(0.5, 0.7, 1.0))
        assert len(compilations) == 1
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("name", ["dual", "dual_derivative"])
def test_maps_beyond_the_range_of_the_dtype_are_refused(name):
    def steep(x):
        return (1e200 if name == "dual" else 1.0) * jnp.sin((1.0 if name == "dual" else 1e200) * x)

    with pytest.raises(ValueError, match=f"^{name} exceeds 1.8e\\+308, the range of float64"):
        ntk.activation(steep)


def test_a_function_of_infinite_moments_is_told_of_and_numpy_is_silent():
    with pytest.warns(UserWarning, match="estimated relative error of nan") as told:
        ntk.activation(lambda x: 1.0 / x)
    assert len(told) == 1


def test_a_derivative_map_without_a_value_gives_a_warning():
    """φ' = ¾|x|^(−¼) is infinite at a node."""
    with pytest.warns(UserWarning, match="estimated relative error of nan"):
        act = ntk.activation(lambda x: jnp.sign(x) * jnp.abs(x) ** 0.75)
    assert np.isnan(jax.jit(act.dual_derivative_map)(*jnp.asarray([1.0, 0.0, 1.0])))
