"""Every public function of bounds, with one argument at a time replaced by a bad value."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hostile import BAD_VALUES, dealt, judge, replaced

import bounds

pytestmark = pytest.mark.slow

# The names of bounds.__all__ that are not called, by the reason.
NOT_CALLED = {
    "results, which are filled in by what returns them": """
        Estimate Interval KernelRidgeRisk LayerNorms LeftOut LinearSeparators MarginBound PACBayesBound RademacherBound
        Report ReportRow SpectralNorm VCBounds WeightMatrices""",
    "a description of what other classes have": "FunctionClass",
}
N, D = 6, 2
DELTA, GROWTH = {"delta": 0.1}, {"growth": "sauer"}


def apply(params, x):
    return jnp.maximum(x @ params["w1"], 0) @ params["w2"][:, 0]


def error_rate(params, data):
    x, labels = data
    return jnp.mean(apply(params, x) * labels.astype(x.dtype) <= 0)


def calls(plain, ntk):
    """From a name to good arguments, by the modules of the packages without checks of their annotations."""
    x = jax.random.normal(jax.random.key(0), (N, D), jnp.float32)
    labels = jnp.array([1, -1, 1, 1, -1, 1])
    weights = {"w1": jnp.ones((D, 3), jnp.float32), "w2": jnp.ones((3, 1), jnp.float32)}
    prior = jax.tree.map(jnp.zeros_like, weights)
    key, gram, margins = jax.random.key(1), x @ x.T + jnp.eye(N, dtype=jnp.float32), jnp.arange(1.0, 7.0)
    layers = {"layers": plain.DenseLayers(2, (3, 1), (9, 3))}
    net = ntk.MLP(depth=1, b_std=0.0)
    points, counts = {"x": np.arange(3.0)}, {"num_samples": 20}
    events = {"num_hypotheses": 3, "two_sided": True}
    vc = {"num_samples": 20, "vc_dim": 2} | DELTA | GROWTH
    sample = {"margins": margins, "weights": weights, "x": x, "gamma": 1.0} | DELTA
    ball = plain.KernelBall(gram)
    return {
        "DenseLayers": {"dim": 2, "units": (3, 1), "parameters": (9, 3)},
        "FiniteClass": {"predictions": x},
        "KernelBall": {"gram": gram, "radius": 1.0},
        "LinearBall": {"x": x, "radius": 1.0, "norm": 2},
        "NetworkBall": {"x": x, "radii": jnp.ones(2), "key": key, "width": 2, "num_steps": 2, "num_restarts": 1},
        "anthony_bartlett_vc_upper": layers | {"breakpoints": 1, "degree": 1},
        "baum_vc_lower": layers | {"activation": "relu"},
        "binary_kl": {"q": 0.1, "p": 0.2},
        "binomial_tail_inversion": {"num_errors": 2} | counts | DELTA | {"num_hypotheses": 3},
        "bit_extraction_vc_lower": layers | {"activation": "relu"},
        "bit_extraction_vc_measure": {"num_parameters": 100, "num_layers": 3},
        "break_point": {"growth_function": lambda n: n + 1, "limit": 4},
        "chernoff_lower": {"risk": 0.1} | counts | DELTA | {"num_hypotheses": 3},
        "chernoff_upper": {"risk": 0.1} | counts | DELTA | {"num_hypotheses": 3},
        "classification_margins": {"outputs": x, "labels": jnp.arange(N) % 2},
        "clopper_pearson": {"num_errors": 2} | counts | DELTA | {"num_hypotheses": 3},
        "contracted_rademacher": {"complexity": 0.1, "lipschitz": 1.0, "vector_valued": True},
        "convex_growth": {"num_samples": 5},
        "count_linear_dichotomies": {"x": x, "affine": True},
        "cover_count": {"num_samples": 5, "dim": 2, "affine": True},
        "devroye_epsilon": vc,
        "empirical_bernstein_epsilon": {"variance": 0.1} | counts | DELTA | events,
        "empirical_rademacher": {"function_class": ball, "key": key, "num_draws": 3},
        "exact_rademacher": {"function_class": ball},
        "find_shattered_set": {
            "dichotomies": plain.interval_dichotomies,
            "configurations": [np.arange(3), np.arange(2)],
        },
        "fitted_dichotomies": {
            **{"model": ntk.finite(net, width=2), "x": x[:2], "patterns": np.array([[1, -1]]), "key": key},
            **{"steps": 1, "learning_rate": 0.1, "restarts": 1},
        },
        "gaussian_kl": {"params": weights, "prior": prior, "sigma": 0.1, "prior_sigma": 0.2},
        "golowich_margin_bound": sample,
        "golowich_rademacher": {"weights": weights, "x": x},
        "half_space_configurations": {"size": 2, "dim": 2, "affine": True},
        "half_space_vc_lower": layers | {"activation": "relu"},
        "hoeffding_delta": counts | {"epsilon": 0.1} | events,
        "hoeffding_epsilon": counts | DELTA | events,
        "hoeffding_sample_size": {"epsilon": 0.1} | DELTA | events,
        "interval_dichotomies": points,
        "interval_growth": {"num_samples": 5},
        "is_shattered": {"signs": np.array([[1], [-1]])},
        "kernel_ridge_margin_bound": {"gram": gram, "y": labels, "ridge": 1.0, "gamma": 1.0} | DELTA,
        "kernel_ridge_risk_bound": {"gram": gram, "ridge": 1.0, "noise_std": 1.0, "radius": 1.0},
        "kl_inverse_lower": {"q": 0.1, "c": 0.1},
        "kl_inverse_upper": {"q": 0.1, "c": 0.1},
        "layer_norms": {"params": weights},
        "line_configurations": {"size": 2},
        "linear_dichotomies": {"x": x[:3], "affine": True},
        "linear_separators": {"x": x[:3], "affine": True},
        "lipschitz_lower_estimate": {"f": apply, "params": weights, "x": x, "num_steps": 2, "step_size": 0.1},
        "lipschitz_upper_bound": {"params": weights, "activation_lipschitz": 1.0},
        "local_fixed_point": {"gram": gram, "radius": 1.0},
        "local_rademacher": {"gram": gram, "r": 1.0, "radius": 1.0},
        "log_growth": {"num_samples": 5, "vc_dim": 2} | GROWTH,
        "log_sauer": {"num_samples": 5, "vc_dim": 2},
        "mcallester_bound": {"risk": 0.1, "kl": 1.0} | counts | DELTA,
        "mcdiarmid_delta": {"differences": np.full(5, 0.2), "epsilon": 0.1, "two_sided": True},
        "mcdiarmid_epsilon": {"differences": np.full(5, 0.2), "two_sided": True} | DELTA,
        "mlp_layers": {"net": net, "dim": 2, "width": 3},
        "network_dichotomies": {
            **{"model": ntk.finite(net, width=2), "x": x[:2], "key": key},
            **{"steps": 1, "learning_rate": 0.1, "restarts": 1},
        },
        "network_vc_bounds": layers | {"activation": "relu"},
        "normalized_margins": {"margins": margins, "complexity": 2.0, "x": x},
        "ntk_complexity": {"H": gram, "y": labels.astype(jnp.float32), "ridge": 0.1},
        "ntk_weight_matrices": {"net": net, "params": ntk.finite(net, width=3).init(key, x)},
        "pac_bayes_gaussian": {
            **{"risk": error_rate, "params": weights, "prior": prior, "data": (x, labels), "key": key},
            **{"num_samples": N, "sigmas": (0.1,), "num_draws": 2, "monte_carlo_share": 0.1},
        }
        | DELTA,
        "parrondo_van_den_broek_epsilon": vc,
        "path_norm": {"params": weights, "p": 2},
        "piecewise_vc_closed_form": layers | {"breakpoints": 1, "degree": 1},
        "piecewise_vc_upper": layers | {"breakpoints": 1, "degree": 1},
        "plane_configurations": {"size": 2},
        "posterior_risks": {
            **{"risk": error_rate, "params": weights, "data": (x, labels), "sigma": 0.1, "key": key, "num_draws": 2},
        },
        "rademacher_bound": {"empirical_risk": 0.1, "complexity": 0.1, "empirical": True} | counts | DELTA,
        "rademacher_complexity": {"draw_class": lambda key: ball, "key": key, "num_resamples": 2, "num_draws": 2},
        "rademacher_monte_carlo_bound": {
            **{"empirical_risk": 0.1, "function_class": ball, "key": key, "lipschitz": 1.0, "num_draws": 3},
            **{"monte_carlo_share": 0.1},
        }
        | DELTA,
        "rademacher_monte_carlo_epsilon": {"num_draws": 3, "largest_value": 1.0} | counts | DELTA,
        "rademacher_penalty_epsilon": vc,
        "rademacher_upper_bound": {"function_class": ball},
        "ramp_risk": {"margins": margins, "gamma": 1.0},
        "ray_dichotomies": points | {"both_directions": True},
        "ray_growth": {"num_samples": 5, "both_directions": True},
        "rectangle_dichotomies": {"x": x[:3]},
        "rectangle_growth": {"num_samples": 3},
        "report": {
            **{"apply": apply, "params": weights, "x": x, "labels": labels, "x_test": x, "labels_test": labels},
            **{"network": "relu", "gram": gram, "ridge": 1.0, "prior": prior, "sigmas": (0.1,), "num_draws": 2},
            **{"key": key},
        }
        | DELTA,
        "sauer": {"num_samples": 5, "vc_dim": 2},
        "seeger_bound": {"risk": 0.1, "kl": 1.0} | counts | DELTA,
        "sigmoid_vc_upper": layers,
        "spectral_complexity": {"weights": weights, "references": prior, "activation_lipschitz": 1.0},
        "spectral_margin_bound": sample | {"references": prior, "activation_lipschitz": 1.0},
        "spectral_norm": {"matrix": x, "tolerance": 1e-3, "max_steps": 10},
        "subset_configurations": points | {"size": 2},
        "threshold_vc_upper": layers,
        "tree_layers": {"params": weights},
        "vc_curves": {"num_samples": [20], "vc_dim": 2} | DELTA | GROWTH,
        "vc_dimension": {
            "dichotomies": plain.interval_dichotomies,
            "configurations": plain.line_configurations,
            "limit": 4,
        },
        "vc_epsilon": vc,
        "vc_sample_size": {"epsilon": 0.5, "vc_dim": 2, "bound": "vc"} | DELTA | GROWTH,
        "weight_matrices": {"params": weights, "param_filter": lambda path: True},
    }


def called_with(plain, name):
    """The function of that name; a class is made, and used where it is one of functions or layers."""
    if name == "DenseLayers":
        return lambda **fields: plain.piecewise_vc_upper(plain.DenseLayers(**fields))
    if name in ("FiniteClass", "KernelBall", "LinearBall", "NetworkBall"):
        return lambda **fields: plain.rademacher_upper_bound(getattr(plain, name)(**fields))
    return getattr(plain, name)


@pytest.fixture(scope="module")
def tried(plain_packages):
    """From a name to its function and good arguments."""
    ntk, plain, _ = plain_packages
    return {name: (called_with(plain, name), arguments) for name, arguments in calls(plain, ntk).items()}


def test_every_public_name_is_called_or_listed_with_its_reason(tried):
    listed = [name for names in NOT_CALLED.values() for name in names.split()]
    assert sorted([*tried, *listed]) == sorted(bounds.__all__)


def complaints(function, arguments, tried):
    """Wrong answers to bad values, for each argument."""
    function(**arguments)
    found = {}
    for argument, bad, changed in replaced(arguments):
        if bad in tried(argument):
            found[f"{argument}={bad}"] = judge(functools.partial(function, **changed), argument, bad)
    return {call: complaint for call, complaint in found.items() if complaint}


@pytest.fixture(scope="module")
def sample(tried):
    """Three bad values for each argument of each function."""
    return dealt({name: arguments for name, (_, arguments) in tried.items()}, BAD_VALUES, each=3)


def test_the_sample_has_every_argument_and_every_bad_value(tried, sample):
    assert set(sample) == {(name, argument) for name, (_, arguments) in tried.items() for argument in arguments}
    assert {bad for values in sample.values() for bad in values} == set(BAD_VALUES)


TRAINED = ("fitted_dichotomies", "network_dichotomies")  # by Optax, which promotes implicitly
NAMES = [
    pytest.param(name, marks=[pytest.mark.implicit_promotion] if name in TRAINED else [])
    for name in sorted(set(bounds.__all__) - {name for names in NOT_CALLED.values() for name in names.split()})
]


@pytest.mark.parametrize("name", NAMES)
def test_refused_in_a_sentence_or_answered(tried, sample, name):
    assert complaints(*tried[name], lambda argument: sample[name, argument]) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_refused_in_a_sentence_or_answered_for_every_bad_value(tried, name):
    assert complaints(*tried[name], lambda argument: BAD_VALUES) == {}
