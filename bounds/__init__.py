"""Generalization bounds: upper bounds on the risk on new data from a sample, with every constant.

Closed forms are host functions in float64, counts are exact integers, and estimators on data are JAX. Where theory
leaves a constant open, the number is a measure and not a bound; its docstring says so.
"""

from bounds.concentration.averages import (
    chernoff_lower,
    chernoff_upper,
    empirical_bernstein_epsilon,
    hoeffding_delta,
    hoeffding_epsilon,
    hoeffding_sample_size,
    mcdiarmid_delta,
    mcdiarmid_epsilon,
)
from bounds.concentration.binomial_tails import Interval, binomial_tail_inversion, clopper_pearson
from bounds.concentration.relative_entropy import (
    binary_kl,
    kl_inverse_lower,
    kl_inverse_upper,
)
from bounds.counting.dichotomies import (
    LinearSeparators,
    count_linear_dichotomies,
    interval_dichotomies,
    linear_dichotomies,
    linear_separators,
    ray_dichotomies,
    rectangle_dichotomies,
)
from bounds.counting.growth import (
    break_point,
    convex_growth,
    cover_count,
    interval_growth,
    ray_growth,
    rectangle_growth,
    sauer,
)
from bounds.counting.log_counts import log_growth, log_sauer
from bounds.counting.shattering import (
    find_shattered_set,
    half_space_configurations,
    is_shattered,
    line_configurations,
    plane_configurations,
    subset_configurations,
    vc_dimension,
)
from bounds.counting.vc import (
    devroye_epsilon,
    parrondo_van_den_broek_epsilon,
    rademacher_penalty_epsilon,
    vc_curves,
    vc_epsilon,
    vc_sample_size,
)
from bounds.kernels.kernel_ridge import (
    KernelRidgeRisk,
    kernel_ridge_margin_bound,
    kernel_ridge_risk_bound,
)
from bounds.kernels.ntk_measures import (
    ntk_complexity,
)
from bounds.networks.layers import (
    DenseLayers,
    mlp_layers,
    tree_layers,
)
from bounds.networks.lipschitz import (
    lipschitz_lower_estimate,
    lipschitz_upper_bound,
)
from bounds.networks.margin_bounds import (
    MarginBound,
    golowich_margin_bound,
    spectral_margin_bound,
)
from bounds.networks.margins import (
    classification_margins,
    golowich_rademacher,
    normalized_margins,
    ramp_risk,
    spectral_complexity,
)
from bounds.networks.norms import (
    LayerNorms,
    SpectralNorm,
    layer_norms,
    path_norm,
    spectral_norm,
)
from bounds.networks.pattern_fitting import (
    fitted_dichotomies,
    network_dichotomies,
)
from bounds.networks.vc_lower import (
    baum_vc_lower,
    bit_extraction_vc_lower,
    bit_extraction_vc_measure,
    half_space_vc_lower,
)
from bounds.networks.vc_upper import (
    VCBounds,
    anthony_bartlett_vc_upper,
    network_vc_bounds,
    piecewise_vc_closed_form,
    piecewise_vc_upper,
    sigmoid_vc_upper,
    threshold_vc_upper,
)
from bounds.networks.weights import (
    WeightMatrices,
    ntk_weight_matrices,
    weight_matrices,
)
from bounds.pac_bayes.closed_forms import (
    mcallester_bound,
    seeger_bound,
)
from bounds.pac_bayes.gaussian_posterior import (
    PACBayesBound,
    gaussian_kl,
    pac_bayes_gaussian,
    posterior_risks,
)
from bounds.rademacher import (
    Estimate,
    FiniteClass,
    FunctionClass,
    KernelBall,
    LinearBall,
    NetworkBall,
    RademacherBound,
    contracted_rademacher,
    empirical_rademacher,
    exact_rademacher,
    local_fixed_point,
    local_rademacher,
    rademacher_bound,
    rademacher_complexity,
    rademacher_monte_carlo_bound,
    rademacher_monte_carlo_epsilon,
    rademacher_upper_bound,
)
from bounds.reports.summary import report
from bounds.reports.tables import LeftOut, Report, ReportRow

__all__ = [
    "DenseLayers",
    "Estimate",
    "FiniteClass",
    "FunctionClass",
    "Interval",
    "KernelBall",
    "KernelRidgeRisk",
    "LayerNorms",
    "LeftOut",
    "LinearBall",
    "LinearSeparators",
    "MarginBound",
    "NetworkBall",
    "PACBayesBound",
    "RademacherBound",
    "Report",
    "ReportRow",
    "SpectralNorm",
    "VCBounds",
    "WeightMatrices",
    "anthony_bartlett_vc_upper",
    "baum_vc_lower",
    "binary_kl",
    "binomial_tail_inversion",
    "bit_extraction_vc_lower",
    "bit_extraction_vc_measure",
    "break_point",
    "chernoff_lower",
    "chernoff_upper",
    "classification_margins",
    "clopper_pearson",
    "contracted_rademacher",
    "convex_growth",
    "count_linear_dichotomies",
    "cover_count",
    "devroye_epsilon",
    "empirical_bernstein_epsilon",
    "empirical_rademacher",
    "exact_rademacher",
    "find_shattered_set",
    "fitted_dichotomies",
    "gaussian_kl",
    "golowich_margin_bound",
    "golowich_rademacher",
    "half_space_configurations",
    "half_space_vc_lower",
    "hoeffding_delta",
    "hoeffding_epsilon",
    "hoeffding_sample_size",
    "interval_dichotomies",
    "interval_growth",
    "is_shattered",
    "kernel_ridge_margin_bound",
    "kernel_ridge_risk_bound",
    "kl_inverse_lower",
    "kl_inverse_upper",
    "layer_norms",
    "line_configurations",
    "linear_dichotomies",
    "linear_separators",
    "lipschitz_lower_estimate",
    "lipschitz_upper_bound",
    "local_fixed_point",
    "local_rademacher",
    "log_growth",
    "log_sauer",
    "mcallester_bound",
    "mcdiarmid_delta",
    "mcdiarmid_epsilon",
    "mlp_layers",
    "network_dichotomies",
    "network_vc_bounds",
    "normalized_margins",
    "ntk_complexity",
    "ntk_weight_matrices",
    "pac_bayes_gaussian",
    "parrondo_van_den_broek_epsilon",
    "path_norm",
    "piecewise_vc_closed_form",
    "piecewise_vc_upper",
    "plane_configurations",
    "posterior_risks",
    "rademacher_bound",
    "rademacher_complexity",
    "rademacher_monte_carlo_bound",
    "rademacher_monte_carlo_epsilon",
    "rademacher_penalty_epsilon",
    "rademacher_upper_bound",
    "ramp_risk",
    "ray_dichotomies",
    "ray_growth",
    "rectangle_dichotomies",
    "rectangle_growth",
    "report",
    "sauer",
    "seeger_bound",
    "sigmoid_vc_upper",
    "spectral_complexity",
    "spectral_margin_bound",
    "spectral_norm",
    "subset_configurations",
    "threshold_vc_upper",
    "tree_layers",
    "vc_curves",
    "vc_dimension",
    "vc_epsilon",
    "vc_sample_size",
    "weight_matrices",
]
