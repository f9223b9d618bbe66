"""Every bad argument of a closed form is refused by one sentence that names it, its value and what is expected."""

import jax
import numpy as np
import pytest

import ntk

COUNT = "expected an integer of at least 1"
DELTA = "expected a number between 0 and 1, both excluded"

CASES = [
    ("b.binary_kl(1.5, 0.5)", ValueError, "q is 1.5; expected a number from 0 to 1"),
    ("b.binary_kl(0.5, float('nan'))", ValueError, "p is nan; expected a number from 0 to 1"),
    ("b.binary_kl('half', 0.5)", TypeError, "q is 'half'; expected a number from 0 to 1"),
    ("b.kl_inverse_upper(0.5, -1.0)", ValueError, "c is -1.0; expected a number of at least 0"),
    ("b.kl_inverse_lower([0.5, -0.5], 1.0)", ValueError, "q is -0.5; expected a number from 0 to 1"),
    ("b.hoeffding_epsilon(0, 0.05)", ValueError, f"num_samples is 0; {COUNT}"),
    ("b.hoeffding_epsilon(10.5, 0.05)", ValueError, f"num_samples is 10.5; {COUNT}"),
    (
        "b.hoeffding_epsilon(np.ones(2), 0.05)",
        TypeError,
        "num_samples has dtype float64; expected",
    ),
    ("b.hoeffding_epsilon(np.array([4, 0]), 0.05)", ValueError, f"num_samples is 0; {COUNT}"),
    ("b.hoeffding_epsilon(10, 0.0)", ValueError, f"delta is 0.0; {DELTA}"),
    ("b.hoeffding_epsilon(10, [0.1, 1.0])", ValueError, f"delta is 1.0; {DELTA}"),
    ("b.hoeffding_epsilon(10, 0.05j)", TypeError, f"delta is 0.05j; {DELTA}"),
    ("b.hoeffding_epsilon(10, None)", TypeError, f"delta is None; {DELTA}"),
    ("b.hoeffding_epsilon(10, 0.05, 0)", ValueError, f"num_hypotheses is 0; {COUNT}"),
    ("jax.jit(lambda d: b.hoeffding_epsilon(10, d))(0.1)", TypeError, "delta is traced by JAX; expected"),
    ("b.hoeffding_sample_size(0.0, 0.05)", ValueError, "epsilon is 0.0; expected a positive finite number"),
    ("b.hoeffding_delta(10, -0.1)", ValueError, "epsilon is -0.1; expected a positive finite number"),
    ("b.mcdiarmid_epsilon([-1.0], 0.1)", ValueError, "differences is -1.0; expected a finite number of at"),
    ("b.mcdiarmid_epsilon(1.0, 0.1)", ValueError, r"differences has shape \(\); expected \(m,\)"),
    ("b.mcdiarmid_delta([1.0], 0.0)", ValueError, "epsilon is 0.0; expected a positive finite number"),
    ("b.empirical_bernstein_epsilon(0.1, 1, 0.1)", ValueError, "num_samples is 1; expected .* at least 2"),
    ("b.empirical_bernstein_epsilon(0.3, 10, 0.1)", ValueError, "variance is 0.3; expected at most N/"),
    ("b.empirical_bernstein_epsilon(-0.3, 10, 0.1)", ValueError, "variance is -0.3; expected a finite"),
    ("b.chernoff_upper(-0.1, 10, 0.1)", ValueError, "risk is -0.1; expected a number from 0 to 1"),
    ("b.chernoff_lower(0.1, 10, 1.1)", ValueError, f"delta is 1.1; {DELTA}"),
    (
        "b.binomial_tail_inversion(11, 10, 0.1)",
        ValueError,
        "num_errors is 11 of 10 samples; expected",
    ),
    (
        "b.binomial_tail_inversion(-1, 10, 0.1)",
        ValueError,
        "num_errors is -1; expected an integer",
    ),
    ("b.clopper_pearson(0.5, 10, 0.1)", ValueError, "num_errors is 0.5; expected an integer"),
    ("b.sauer(-1, 3)", ValueError, "num_samples is -1; expected an integer of at least 0"),
    ("b.log_sauer(3, 1.5)", ValueError, "vc_dim is 1.5; expected an integer of at least 0"),
    ("b.log_growth(3, 1, 'exponential')", ValueError, "growth is 'exponential'; expected one of 'polynomial', 's"),
    ("b.log_growth(0, 1)", ValueError, f"num_samples is 0; {COUNT}"),
    ("b.cover_count(0, 2)", ValueError, f"num_samples is 0; {COUNT}"),
    ("b.cover_count(3, 0)", ValueError, f"dim is 0; {COUNT}"),
    ("b.ray_growth(0)", ValueError, f"num_samples is 0; {COUNT}"),
    ("b.interval_growth(2.0)", ValueError, f"num_samples is 2.0; {COUNT}"),
    ("b.rectangle_growth(10)", ValueError, "num_samples is 10; expected at most 9, since all orders"),
    ("b.convex_growth(True)", ValueError, f"num_samples is True; {COUNT}"),
    ("b.break_point(b.ray_growth, 0)", ValueError, f"limit is 0; {COUNT}"),
    ("b.vc_epsilon(2.5, 1, 0.1)", ValueError, f"num_samples is 2.5; {COUNT}"),
    ("b.vc_epsilon(10, -1, 0.1)", ValueError, "vc_dim is -1; expected an integer of at least 0"),
    ("b.vc_epsilon(10, 1, 1.5)", ValueError, f"delta is 1.5; {DELTA}"),
    ("b.vc_epsilon(10, 1, 0.1, 'cubic')", ValueError, "growth is 'cubic'; expected one of 'polynomial', 'sauer'"),
    ("b.rademacher_penalty_epsilon(0, 1, 0.1)", ValueError, f"num_samples is 0; {COUNT}"),
    ("b.parrondo_van_den_broek_epsilon(10, 1, 0.0)", ValueError, f"delta is 0.0; {DELTA}"),
    ("b.devroye_epsilon('10', 1, 0.1)", ValueError, f"num_samples is '10'; {COUNT}"),
    ("b.devroye_epsilon(1, 1, 2.0)", ValueError, f"delta is 2.0; {DELTA}"),
    ("b.devroye_epsilon(1, -1, 0.2)", ValueError, "vc_dim is -1; expected an integer of at least 0"),
    ("b.vc_sample_size(1.0, 3, 0.1)", ValueError, f"epsilon is 1.0; {DELTA}"),
    ("b.vc_sample_size(0.1, 3, 0.1, bound='hoeffding')", ValueError, "bound is 'hoeffding'; expected one of 'vc', 'r"),
    ("b.vc_curves(5, 3, 0.1)", ValueError, r"num_samples has shape \(\); expected \(K,\)"),
    ("b.vc_curves([0.5], 3, 0.1)", TypeError, "num_samples has dtype float64; expected integers"),
    ("b.count_linear_dichotomies([1.0, 2.0])", ValueError, r"x has shape \(2,\); expected \(N, dim\)"),
    ("b.linear_separators(np.zeros((0, 2)))", ValueError, r"x has shape \(0, 2\); expected \(N, dim\)"),
    ("b.linear_dichotomies([[0, 0]], affine=False)", ValueError, "x holds the origin; expected other points"),
    (
        "b.linear_dichotomies([[float('nan')]])",
        ValueError,
        "x holds entries that are NaN or infinite; exp",
    ),
    ("b.ray_dichotomies([1j])", TypeError, "x is .*1j.*; expected real numbers"),
    (
        "b.rectangle_dichotomies(np.random.rand(100, 2))",
        ValueError,
        "x has 100 points, with .* boxes to try at",
    ),
    ("b.interval_dichotomies([[1.0]])", ValueError, r"x has shape \(1, 1\); expected \(N,\)"),
    ("b.rectangle_dichotomies(['a'])", TypeError, "x is .*'a'.*; expected real numbers"),
    (
        "jax.jit(b.rectangle_dichotomies)(np.ones((2, 2)))",
        TypeError,
        r"x is traced by JAX; expected \(N, dim",
    ),
    ("list(b.line_configurations(0))", ValueError, f"size is 0; {COUNT}"),
    ("list(b.plane_configurations(2.0))", ValueError, f"size is 2.0; {COUNT}"),
    ("list(b.half_space_configurations(5, 2))", ValueError, r"size is 5; expected at most 4, D \+ 1"),
    ("list(b.half_space_configurations(2, 0))", ValueError, f"dim is 0; {COUNT}"),
    ("list(b.subset_configurations(np.ones(3), -1))", ValueError, f"size is -1; {COUNT}"),
    (
        "b.vc_dimension(b.ray_dichotomies, b.line_configurations, 0)",
        ValueError,
        "limit is 0; ",
    ),
    ("b.is_shattered([1, -1])", ValueError, r"signs has shape \(2,\); expected \(M, N\)"),
    (
        "b.is_shattered([[0, 0], [1, 1], [2, 2], [0, 1]])",
        ValueError,
        "signs holds entries other than -1 and 1; ",
    ),
    (
        "b.find_shattered_set(None, [])",
        TypeError,
        "dichotomies is None; expected a function of points",
    ),
    (
        "b.find_shattered_set(b.ray_dichotomies, 3)",
        TypeError,
        "configurations is 3; expected arrays",
    ),
    (
        "b.vc_dimension(b.ray_dichotomies, 3)",
        TypeError,
        "configurations is 3; expected a function of",
    ),
    ("list(b.subset_configurations(3, 1))", ValueError, r"x is 3; expected points \(N,\) or \(N, dim\)"),
    ("b.break_point(3)", TypeError, "growth_function is 3; expected a function of N"),
    ("b.convex_growth(10**12)", ValueError, "num_samples is 1000000000000; expected at most 1000000000"),
    ("b.sauer(10**12, 10**12)", ValueError, "num_samples is 1000000000000; expected at most 1000000000"),
    ("b.log_sauer(10**400, 10)", ValueError, "num_samples has 1329 bits; expected at most 1023"),
    ("b.log_growth(10, 10**400)", ValueError, "vc_dim has 1329 bits; expected at most 1023"),
    ("b.cover_count(5, 2, affine='no')", TypeError, "affine is 'no'; expected True or False"),
    ("b.ray_growth(5, both_directions=1)", TypeError, "both_directions is 1; expected True or False"),
    ("b.hoeffding_epsilon(5, 0.1, two_sided='no')", TypeError, "two_sided is 'no'; expected True or False"),
    ("b.ray_dichotomies([0.0, 1.0], 'no')", TypeError, "both_directions is 'no'; expected True or False"),
    ("b.count_linear_dichotomies([[0.0], [1.0]], 2)", TypeError, "affine is 2; expected True or False"),
    ("b.vc_epsilon(10**400, 1, 0.1)", ValueError, "num_samples has 1329 bits; expected at most 1022"),
    ("b.devroye_epsilon(10**200, 1, 0.1)", ValueError, "num_samples has 665 bits; expected at most 511"),
    ("b.vc_sample_size(1e-200, 1, 0.1)", ValueError, r"epsilon is 1e-200; expected one that less than 2\^511 samples"),
    ("b.vc_epsilon(100, 1, [0.1, 0.2])", ValueError, r"delta has shape \(2,\); expected one number"),
    ("b.vc_sample_size([0.1, 0.2], 1, 0.1)", ValueError, r"epsilon has shape \(2,\); expected one number"),
    (
        "b.hoeffding_sample_size([0.1, 0.2], 0.1)",
        ValueError,
        r"epsilon has shape \(2,\); expected one number",
    ),
    (
        "b.seeger_bound([0.1, 0.2], [1.0, 2.0, 3.0], 10, 0.1)",
        ValueError,
        r"risk has shape \(2,\), kl has shape \(3,\), .*; expected shapes that broadcast against each other",
    ),
    (
        "b.empirical_bernstein_epsilon([0.1, 0.2], [10, 20, 30], 0.1)",
        ValueError,
        r"variance has shape \(2,\), num_samples has shape \(3,\), .*; expected shapes that broadcast",
    ),
    (
        "b.hoeffding_epsilon([10, 20], [0.1] * 3)",
        ValueError,
        r"num_samples has shape \(2,\), delta has shape",
    ),
    (
        "b.hoeffding_delta([10, 20], [0.1] * 3)",
        ValueError,
        r"num_samples has shape \(2,\), epsilon has sha",
    ),
    (
        "b.chernoff_upper([0.1, 0.2], [10] * 3, 0.1)",
        ValueError,
        r"risk has shape \(2,\), num_samples has sh",
    ),
    (
        "b.clopper_pearson([1, 2], [10] * 3, 0.1)",
        ValueError,
        r"num_errors has shape \(2,\), num_samples has",
    ),
    (
        "b.binary_kl([0.1, 0.2], [0.1] * 3)",
        ValueError,
        r"q has shape \(2,\), p has shape \(3,\); expected shapes that",
    ),
    (
        "b.rademacher_bound(0.1, 0.1, 10, [0.1, 0.2])",
        ValueError,
        r"delta has shape \(2,\); expected one number",
    ),
    (
        "b.rademacher_bound(0.1, 0.1, 10, 0.1, empirical='no')",
        TypeError,
        "empirical is 'no'; expected True or",
    ),
    (
        "b.rademacher_bound(0.1, b.Estimate(0.1, 0.01), 10, 0.1)",
        TypeError,
        "complexity is an Estimate, which may lie below .*; expected a number, or rademacher_monte_carlo_bound",
    ),
    (
        "b.rademacher_monte_carlo_epsilon(10, 10, [0.1])",
        ValueError,
        r"delta has shape \(1,\); expected one numb",
    ),
    (
        "b.tree_layers({'a': np.ones((2, 2)), 'LayerNorm_0': {'bias': np.ones(2)}})",
        ValueError,
        "LayerNorm_0/bias of",
    ),
    (
        "b.tree_layers({'kernel': np.ones((2, 1)), 'bias': np.ones(7)})",
        ValueError,
        r"has bias of shape \(7,\); exp",
    ),
    (
        "b.tree_layers({'c': np.ones((2, 2)), 'a': np.ones((2, 2))})",
        ValueError,
        "params has a .*, c .* in one order",
    ),
    (
        "b.network_vc_bounds(b.DenseLayers(0, (1,), (-3,)), 'relu')",
        ValueError,
        "dim is 0; expected an int",
    ),
    (
        "b.piecewise_vc_upper(b.DenseLayers(3, (2, 1), (9, 2)))",
        ValueError,
        r"layers is DenseLayers\(dim=3, .*; expected units and parameters of as many layers, .* 0 to k biases",
    ),
    ("b.half_space_vc_lower(None, 'relu')", TypeError, "layers is NoneType; expected the DenseLayers"),
    ("b.bit_extraction_vc_lower(3)", TypeError, "layers is int; expected the DenseLayers"),
    ("b.mlp_layers(ntk.RNN(), 2, 3)", TypeError, "net is RNN; expected an ntk.MLP"),
    ("b.mlp_layers(ntk.MLP(depth=1), 0, 3)", ValueError, f"dim is 0; {COUNT}"),
    ("b.mlp_layers(ntk.MLP(depth=1, v_std=0.0), 2, 3)", ValueError, "net has v_std 0; expected a positive one"),
    ("b.hoeffding_epsilon(2**2000, 0.1)", ValueError, "num_samples has 2001 bits; expected at most 1023"),
    ("b.mlp_layers(ntk.MLP(depth=1), 2, 3.0)", ValueError, f"width is 3.0; {COUNT}"),
    ("b.tree_layers({})", ValueError, r"params is {}, without weights; expected matrices \(in, out\)"),
    ("b.tree_layers({'kernel': np.ones((3, 3, 1, 8))})", ValueError, r"params has kernel of shape \(3, 3, 1, 8\)"),
    ("b.tree_layers({'scale': np.ones(3)})", ValueError, r"params has scale of shape \(3,\); expected dense"),
    (
        "b.tree_layers({'w1': np.ones((2, 3)), 'w2': np.ones((4, 1))})",
        ValueError,
        r"w1 \(2, 3\), w2 \(4, 1\); expected",
    ),
    ("b.tree_layers({'kernel': np.ones((2, 3))})", ValueError, "params has 3 outputs; expected 1"),
    ("b.network_vc_bounds(None, 'relu')", TypeError, "layers is NoneType; expected the DenseLayers of"),
    ("b.network_vc_bounds(unit, 'gelu')", ValueError, "activation is 'gelu'; expected one of 'identity', "),
    ("b.piecewise_vc_upper(unit, 0)", ValueError, f"breakpoints is 0; {COUNT}"),
    ("b.piecewise_vc_closed_form(unit)", ValueError, "layers has 1 units; expected more than 2"),
    (
        "b.anthony_bartlett_vc_upper(unit, 1, -1)",
        ValueError,
        "degree is -1; expected an integer",
    ),
    ("b.threshold_vc_upper([1])", TypeError, "layers is list; expected the DenseLayers"),
    ("b.sigmoid_vc_upper(3)", TypeError, "layers is int; expected the DenseLayers"),
    ("b.baum_vc_lower((2, (1,), (3,)), 'relu')", TypeError, "layers is tuple; expected the DenseLayers"),
    (
        "b.bit_extraction_vc_measure(3, 4)",
        ValueError,
        "num_parameters is 3; expected an int.* 4",
    ),
    ("b.bit_extraction_vc_measure(3, 0)", ValueError, f"num_layers is 0; {COUNT}"),
    ("b.seeger_bound(1.2, 1.0, 10, 0.1)", ValueError, "risk is 1.2; expected a number from 0 to 1"),
    ("b.seeger_bound(0.1, -1.0, 10, 0.1)", ValueError, "kl is -1.0; expected a number of at least 0"),
    ("b.mcallester_bound(0.1, 1.0, 0, 0.1)", ValueError, f"num_samples is 0; {COUNT}"),
    ("b.mcallester_bound(0.1, 1.0, 10, 1.0)", ValueError, f"delta is 1.0; {DELTA}"),
]


@pytest.fixture(scope="module")
def names(plain_bounds):
    """What the calls may use."""
    return {"b": plain_bounds, "jax": jax, "np": np, "ntk": ntk, "unit": plain_bounds.DenseLayers(2, (1,), (3,))}


@pytest.mark.parametrize(("code", "exception", "sentence"), CASES, ids=[case[0] for case in CASES])
def test_refused(names, code, exception, sentence):
    with pytest.raises(exception, match=sentence) as refusal:
        eval(code, names)
    assert refusal.type is exception
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)
