"""Every estimator on data lowers for CPU, CUDA and TPU, without callbacks to the host and in the data's dtype."""

import functools
import re

import jax
import pytest
from jax import export

import bounds
import ntk
from bounds import rademacher
from bounds.kernels import ntk_measures
from bounds.networks import lipschitz, margins, norms, pattern_fitting
from bounds.networks import weights as weights_module
from bounds.pac_bayes import gaussian_posterior

PLATFORMS = ("cpu", "cuda", "tpu")
# The names of bounds.__all__ that are not lowered, by the reason.
ON_THE_HOST = {
    "results, and descriptions of classes, layers and weights, which are lowered with the functions that take them": """
        DenseLayers Estimate FiniteClass FunctionClass Interval KernelBall KernelRidgeRisk LayerNorms LeftOut LinearBall
        LinearSeparators MarginBound NetworkBall PACBayesBound RademacherBound Report ReportRow SpectralNorm VCBounds
        WeightMatrices""",
    "closed forms of a few numbers, in float64": """
        anthony_bartlett_vc_upper baum_vc_lower binary_kl binomial_tail_inversion bit_extraction_vc_lower
        bit_extraction_vc_measure chernoff_lower chernoff_upper clopper_pearson contracted_rademacher devroye_epsilon
        empirical_bernstein_epsilon half_space_vc_lower hoeffding_delta hoeffding_epsilon hoeffding_sample_size
        kl_inverse_lower kl_inverse_upper log_growth log_sauer mcallester_bound mcdiarmid_delta mcdiarmid_epsilon
        network_vc_bounds parrondo_van_den_broek_epsilon piecewise_vc_closed_form piecewise_vc_upper rademacher_bound
        rademacher_monte_carlo_epsilon rademacher_penalty_epsilon seeger_bound sigmoid_vc_upper threshold_vc_upper
        vc_curves vc_epsilon vc_sample_size""",
    "exact integers, of any size": """
        break_point convex_growth count_linear_dichotomies cover_count interval_growth ray_growth rectangle_growth
        sauer""",
    "sets of dichotomies and of points, of a size that depends on the data": """
        find_shattered_set half_space_configurations interval_dichotomies is_shattered line_configurations
        linear_dichotomies linear_separators network_dichotomies plane_configurations ray_dichotomies
        rectangle_dichotomies subset_configurations vc_dimension""",
    "shapes of parameters": "mlp_layers tree_layers",
    "bounds in float64 that look at data, or round up on a grid; those on networks call what is lowered": """
        golowich_margin_bound kernel_ridge_margin_bound kernel_ridge_risk_bound pac_bayes_gaussian
        rademacher_monte_carlo_bound report spectral_margin_bound""",
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

    estimate = functools.partial(lipschitz.lipschitz_lower_estimate, lambda w, x: jax.numpy.tanh(w[None] * x))
    yield "lipschitz_lower_estimate", estimate, (array(D), array(M, D))
    yield "ntk_complexity", ntk_measures.ntk_complexity, (array(M, M), array(M, 2), array())
    outputs, labels = array(M, 3), jax.ShapeDtypeStruct((M,), "int32")
    yield "classification_margins", margins.classification_margins, (outputs, labels)
    yield "classification_margins-binary", margins.classification_margins, (array(M), labels)
    yield "ramp_risk", margins.ramp_risk, (array(M), array())
    yield "normalized_margins", margins.normalized_margins, (array(M), array(), array(M, D))
    yield "spectral_complexity", margins.spectral_complexity, (weights, weights, array())
    yield "golowich_rademacher", margins.golowich_rademacher, (weights, array(M, D))

    yield "weight_matrices", lambda params: weights_module.weight_matrices(params).matrices, (weights,)
    net = ntk.MLP(depth=2)
    params = jax.eval_shape(ntk.finite(net, width=M).init, key, array(M, D))
    yield "ntk_weight_matrices", lambda params: weights_module.ntk_weight_matrices(net, params).matrices, (params,)

    def error_rate(w, x):
        return jax.numpy.mean(jax.numpy.matmul(x, w, precision="highest") <= 0, dtype=dtype)

    def risks(w, x, sigma, key):
        return gaussian_posterior.posterior_risks(error_rate, w, x, sigma, key, num_draws=3)

    yield "gaussian_kl", gaussian_posterior.gaussian_kl, (array(D), array(D), array(), array())
    yield "posterior_risks", risks, (array(D), array(M, D), array(), key)
    if dtype == "float32":  # whose own parameters are of float32
        fit = functools.partial(pattern_fitting.fitted_dichotomies, ntk.finite(net, width=M))
        yield "fitted_dichotomies", fit, (array(4, 2), jax.ShapeDtypeStruct((3, 4), "int8"), key)

    def resampled(key):
        def draw_class(key):
            return rademacher.LinearBall(jax.random.normal(key, (M, D), dtype))

        return rademacher.rademacher_complexity(draw_class, key)

    yield "rademacher_complexity", resampled, (key,)


@functools.cache
def table(dtype):
    return {name: call for name, *call in functions(dtype)}


LOWERED = {f"{name}-{dtype}": (dtype, *call) for dtype in ("float32", "float64") for name, call in table(dtype).items()}


# Of float64 a few with products, eigenvalues and draws; the others take a minute.
QUICK = ("empirical_rademacher-kernel", "spectral_complexity", "local_rademacher", "posterior_risks")
SLOW = [name for name in LOWERED if name.endswith("-float64") and name.removesuffix("-float64") not in QUICK]


def marks(name):
    """Most cases are slow tests. Those that train by Optax may promote implicitly."""
    trains = name.startswith("fitted_dichotomies")
    return [pytest.mark.slow] * (name in SLOW) + [pytest.mark.implicit_promotion] * trains


CASES = [pytest.param(name, marks=marks(name)) for name in LOWERED]


@pytest.mark.parametrize("name", CASES)
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
    if name.startswith("fitted_dichotomies"):
        return  # the precision of a network is its own
    assert [line for line in products if "precision = [HIGHEST, HIGHEST]" not in line] == []


@pytest.mark.parametrize("name", [case for case in CASES if case.values[0].endswith("float32")])
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
    listed = [name for names in ON_THE_HOST.values() for name in names.split()]
    assert sorted([*lowered, *listed]) == sorted(bounds.__all__)
