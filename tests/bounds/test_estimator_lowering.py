"""Every estimator on data lowers for CPU, CUDA and TPU, without callbacks to the host and in the data's dtype."""

import functools
import re

import jax
import pytest
from jax import export

from bounds import lipschitz, margins, norms, ntk_measures, rademacher

PLATFORMS = ("cpu", "cuda", "tpu")
# The names in each module's __all__ that are not lowered.
ON_THE_HOST = {
    "Estimate": "a container of results",
    "FiniteClass": "a description of a class, lowered with its estimates",
    "FunctionClass": "a protocol",
    "KernelBall": "a description of a class",
    "LinearBall": "a description of a class",
    "NetworkBall": "a description of a class",
    "RademacherBound": "a container of results",
    "contracted_rademacher": "a closed form",
    "rademacher_bound": "a closed form",
    "rademacher_sampling_margin": "a closed form",
}

M, D = 7, 3


def functions(dtype):
    """Name, function and abstract arguments of everything that is lowered."""

    def array(*shape):
        return jax.ShapeDtypeStruct(shape, dtype)

    key = jax.eval_shape(jax.random.key, 0)
    linear = rademacher.LinearBall(array(M, D), array())
    kernel = rademacher.KernelBall(array(M, M), array())
    finite = rademacher.FiniteClass(array(5, M))
    networks = rademacher.NetworkBall(array(M, D), array(3), key)
    classes = {"linear": linear, "kernel": kernel, "finite": finite, "networks": networks}
    for name, function_class in classes.items():
        yield f"empirical_rademacher-{name}", rademacher.empirical_rademacher, (function_class, key)
    yield "exact_rademacher", rademacher.exact_rademacher, (kernel,)
    yield "rademacher_upper_bound", rademacher.rademacher_upper_bound, (linear,)

    yield "local_rademacher", rademacher.local_rademacher, (array(M, M), array(), array())
    yield "local_fixed_point", rademacher.local_fixed_point, (array(M, M), array())

    yield "spectral_norm", norms.spectral_norm, (array(M, D),)
    weights = {"a": array(D, M), "b": array(M, 1)}
    for name, function in (
        ("layer_norms", norms.layer_norms),
        ("path_norm", norms.path_norm),
        ("lipschitz_upper_bound", lipschitz.lipschitz_upper_bound),
    ):
        yield name, function, (weights,)

    estimate = functools.partial(lipschitz.lipschitz_lower_estimate, lambda w, x: jax.numpy.tanh(w * x))
    yield "lipschitz_lower_estimate", estimate, (array(D), array(M, D))
    yield "ntk_complexity", ntk_measures.ntk_complexity, (array(M, M), array(M, 2), array())
    outputs, labels = array(M, 3), jax.ShapeDtypeStruct((M,), "int32")
    yield "classification_margins", margins.classification_margins, (outputs, labels)
    yield "classification_margins-binary", margins.classification_margins, (array(M), labels)
    yield "ramp_risk", margins.ramp_risk, (array(M), array())
    yield "normalized_margins", margins.normalized_margins, (array(M), array(), array(M, D))
    yield "spectral_complexity", margins.spectral_complexity, (weights, weights, array())
    yield "golowich_rademacher", margins.golowich_rademacher, (weights, array(M, D))

    def resampled(key):
        def draw_class(key):
            return rademacher.LinearBall(jax.random.normal(key, (M, D), dtype))

        return rademacher.rademacher_complexity(draw_class, key)

    yield "rademacher_complexity", resampled, (key,)


LOWERED = {f"{name}-{dtype}": (dtype, *call) for dtype in ("float32", "float64") for name, *call in functions(dtype)}


@pytest.mark.parametrize("name", LOWERED)
def test_lowers_for_every_platform_without_callbacks(name):
    dtype, function, arguments = LOWERED[name]
    text = export.export(jax.jit(function), platforms=PLATFORMS)(*arguments).mlir_module()
    assert re.findall(r"custom_call @\w*callback", text) == []
    if dtype == "float32":
        # Python's numbers are float64 scalars where x64 is on, but no array may be: TPUs have to emulate it.
        assert re.findall(r"tensor<[\dx]+xf64>", text) == []
    else:
        # No digits are lost on the way; the one half of a fair coin is a scalar.
        assert re.findall(r"stablehlo.convert.*tensor<[\dx]+xf64>\) -> tensor<.*f32>", text) == []
    products = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
    assert [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line] == []


@pytest.mark.parametrize("name", [name for name in LOWERED if name.endswith("float32")])
def test_maps_over_stacks(name):
    _, function, arguments = LOWERED[name]

    def stacked(leaf):
        return jax.ShapeDtypeStruct((2, *leaf.shape), leaf.dtype)

    def leaves(*arguments):
        return jax.tree.leaves(function(*arguments))

    found = jax.eval_shape(jax.vmap(leaves), *jax.tree.map(stacked, arguments))
    assert found == [stacked(leaf) for leaf in jax.eval_shape(leaves, *arguments)]


def test_every_public_name_is_lowered_or_listed_with_its_reason():
    lowered = {name.partition("-")[0] for name in LOWERED}
    assert not lowered & ON_THE_HOST.keys()
    assert lowered | ON_THE_HOST.keys() >= set(rademacher.__all__)
