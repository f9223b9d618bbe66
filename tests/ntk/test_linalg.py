"""Products at highest precision: what they are, what is lowered, and that no other module asks for a precision."""

from pathlib import Path

import jax
import numpy as np
import pytest
from tolerances import REORDERED

from ntk.linalg import highest_einsum, highest_matmul, highest_tensordot

A, B = np.random.default_rng(0).normal(size=(3, 4)), np.random.default_rng(1).normal(size=(4, 5))
PRODUCTS = {
    "matmul": highest_matmul,
    "einsum": lambda a, b: highest_einsum("ip,pj->ij", a, b),
    "tensordot": lambda a, b: highest_tensordot(a, b, axes=(-1, 0)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_those_of_numpy_and_keep_their_digits(name):
    product = jax.jit(PRODUCTS[name])
    np.testing.assert_allclose(product(A, B), A @ B, rtol=REORDERED["float64"])
    text = product.lower(A, B).as_text()
    assert text.count("precision = [HIGHEST, HIGHEST]") == text.count("dot_general") == 1


def test_precision_is_asked_for_in_one_place():
    package = Path(__file__).parents[2] / "ntk"
    asked = [file.name for file in package.rglob("*.py") if "Precision." in file.read_text(encoding="utf-8")]
    assert asked == ["linalg.py"]
