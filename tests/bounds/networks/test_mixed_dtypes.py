"""Arrays of float32 and float64 together are computed in float64, also if JAX forbids implicit promotion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounds.networks.lipschitz import lipschitz_upper_bound
from bounds.networks.margins import golowich_rademacher, normalized_margins, spectral_complexity
from bounds.networks.norms import layer_norms, path_norm

RNG = np.random.default_rng(0)
# Numbers that float32 holds, so that the result in float64 is that of float64 arrays.
A, B, X = (RNG.integers(-8, 9, size=shape) / 8 for shape in ((3, 4), (4, 1), (5, 3)))
NARROW = A.astype("float32")
MARGINS = RNG.integers(1, 9, size=5) / 8

CALLS = {
    "layer_norms": lambda narrow: layer_norms([narrow, B]).frobenius,
    "path_norm": lambda narrow: path_norm([narrow, B]),
    "lipschitz_upper_bound": lambda narrow: lipschitz_upper_bound([narrow, B]),
    "spectral_complexity": lambda narrow: spectral_complexity([narrow, narrow.T], [A / 3, A.T / 3]),
    "golowich_rademacher": lambda narrow: golowich_rademacher([narrow, B.astype(narrow.dtype)], X),
    "normalized_margins": lambda narrow: normalized_margins(MARGINS, 2.0, np.vstack([narrow, narrow[:2]])),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_wider_dtype_is_computed_in(name):
    found, expected = CALLS[name](NARROW), CALLS[name](A)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float64")}
    # spectral_complexity takes spectral norms in the dtype of the weights, by an iteration of tolerance 1e-4.
    np.testing.assert_allclose(found, expected, rtol=1e-5 if name == "spectral_complexity" else 1e-14)
