"""x64 off, as JAX starts: a fresh interpreter gives float32 kernels that agree with float64 ones to rounding.

Nothing is promoted implicitly there, neither ranks nor dtypes.
"""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
import x64_tables
from tolerances import CLOSED_FORM


@pytest.fixture(scope="module")
def without_x64(tmp_path_factory):
    """What a fresh interpreter gives for the calls of the tables and for a few networks."""
    folder = tmp_path_factory.mktemp("x64")
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    command = [sys.executable, "-W", "error", x64_tables.__file__, folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [np.load(folder / f"{name}.npz") for name in ("results", "networks")]


@pytest.mark.slow
def test_kernels(without_x64):
    _, found = without_x64
    expected = x64_tables.networks("float64")
    assert jax.config.jax_enable_x64
    assert set(found) == set(expected)
    for name, kernel in expected.items():
        assert (found[name].dtype, kernel.dtype) == ("float32", "float64")
        # Relative to the largest entry; duplicates and opposites are among the inputs.
        atol = CLOSED_FORM["float32"] * float(np.max(np.abs(kernel)))
        np.testing.assert_allclose(found[name], kernel, rtol=0, atol=atol, err_msg=name)


@pytest.mark.implicit_promotion  # of Optax
@pytest.mark.slow
def test_every_public_function_gives_the_same_in_float32(without_x64):
    """All calls that are lowered: without a warning, and nothing in float64."""
    found, _ = without_x64
    expected = x64_tables.results()
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype in ("float32", "int32", "bool"), name
        finite = np.isfinite(values)
        np.testing.assert_array_equal(np.isfinite(found[name]), finite, err_msg=name)
        # The same formula in the same dtype, in which a constant or two may be rounded elsewhere.
        atol = CLOSED_FORM["float32"] * float(np.max(np.abs(values), initial=0.0, where=finite))
        np.testing.assert_allclose(found[name], values, rtol=0, atol=atol, err_msg=name)
