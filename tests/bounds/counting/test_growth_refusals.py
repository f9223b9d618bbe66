"""Bad arguments of growth functions and VC bounds: one sentence names the argument, its value and what is expected."""

from refusals import COUNT, DELTA, assert_refused, rows

REFUSED = [
    (
        "sauer: num_samples",
        lambda bounds: bounds.sauer(-1, 3),
        ValueError,
        "num_samples is -1; expected an integer of at least 0",
    ),
    (
        "log_sauer: vc_dim",
        lambda bounds: bounds.log_sauer(3, 1.5),
        ValueError,
        "vc_dim is 1.5; expected an integer of at least 0",
    ),
    (
        "log_growth: growth",
        lambda bounds: bounds.log_growth(3, 1, "exponential"),
        ValueError,
        "growth is 'exponential'; expected one of 'polynomial', 's",
    ),
    ("log_growth: num_samples", lambda bounds: bounds.log_growth(0, 1), ValueError, f"num_samples is 0; {COUNT}"),
    ("cover_count: num_samples", lambda bounds: bounds.cover_count(0, 2), ValueError, f"num_samples is 0; {COUNT}"),
    ("cover_count: dim", lambda bounds: bounds.cover_count(3, 0), ValueError, f"dim is 0; {COUNT}"),
    ("ray_growth: num_samples", lambda bounds: bounds.ray_growth(0), ValueError, f"num_samples is 0; {COUNT}"),
    (
        "interval_growth: num_samples",
        lambda bounds: bounds.interval_growth(2.0),
        ValueError,
        f"num_samples is 2.0; {COUNT}",
    ),
    (
        "rectangle_growth: num_samples",
        lambda bounds: bounds.rectangle_growth(10),
        ValueError,
        "num_samples is 10; expected at most 9, since all orders",
    ),
    (
        "convex_growth: num_samples",
        lambda bounds: bounds.convex_growth(True),
        ValueError,
        f"num_samples is True; {COUNT}",
    ),
    ("break_point: limit", lambda bounds: bounds.break_point(bounds.ray_growth, 0), ValueError, f"limit is 0; {COUNT}"),
    (
        "vc_epsilon: num_samples",
        lambda bounds: bounds.vc_epsilon(2.5, 1, 0.1),
        ValueError,
        f"num_samples is 2.5; {COUNT}",
    ),
    (
        "vc_epsilon: vc_dim",
        lambda bounds: bounds.vc_epsilon(10, -1, 0.1),
        ValueError,
        "vc_dim is -1; expected an integer of at least 0",
    ),
    ("vc_epsilon: delta", lambda bounds: bounds.vc_epsilon(10, 1, 1.5), ValueError, f"delta is 1.5; {DELTA}"),
    (
        "vc_epsilon: growth",
        lambda bounds: bounds.vc_epsilon(10, 1, 0.1, "cubic"),
        ValueError,
        "growth is 'cubic'; expected one of 'polynomial', 'sauer'",
    ),
    (
        "rademacher_penalty_epsilon: num_samples",
        lambda bounds: bounds.rademacher_penalty_epsilon(0, 1, 0.1),
        ValueError,
        f"num_samples is 0; {COUNT}",
    ),
    (
        "parrondo_van_den_broek_epsilon: delta",
        lambda bounds: bounds.parrondo_van_den_broek_epsilon(10, 1, 0.0),
        ValueError,
        f"delta is 0.0; {DELTA}",
    ),
    (
        "devroye_epsilon: num_samples",
        lambda bounds: bounds.devroye_epsilon("10", 1, 0.1),
        ValueError,
        f"num_samples is '10'; {COUNT}",
    ),
    ("devroye_epsilon: delta", lambda bounds: bounds.devroye_epsilon(1, 1, 2.0), ValueError, f"delta is 2.0; {DELTA}"),
    (
        "devroye_epsilon: vc_dim",
        lambda bounds: bounds.devroye_epsilon(1, -1, 0.2),
        ValueError,
        "vc_dim is -1; expected an integer of at least 0",
    ),
    (
        "vc_sample_size: epsilon",
        lambda bounds: bounds.vc_sample_size(1.0, 3, 0.1),
        ValueError,
        f"epsilon is 1.0; {DELTA}",
    ),
    (
        "vc_sample_size: bound",
        lambda bounds: bounds.vc_sample_size(0.1, 3, 0.1, bound="hoeffding"),
        ValueError,
        "bound is 'hoeffding'; expected one of 'vc', 'r",
    ),
    (
        "vc_curves: num_samples",
        lambda bounds: bounds.vc_curves(5, 3, 0.1),
        ValueError,
        r"num_samples has shape \(\); expected \(K,\)",
    ),
    (
        "vc_curves: num_samples",
        lambda bounds: bounds.vc_curves([0.5], 3, 0.1),
        TypeError,
        "num_samples has dtype float64; expected integers",
    ),
    (
        "break_point: growth_function",
        lambda bounds: bounds.break_point(3),
        TypeError,
        "growth_function is 3; expected a function of N",
    ),
    (
        "convex_growth: num_samples",
        lambda bounds: bounds.convex_growth(10**12),
        ValueError,
        "num_samples is 1000000000000; expected at most 1000000000",
    ),
    (
        "sauer: num_samples",
        lambda bounds: bounds.sauer(10**12, 10**12),
        ValueError,
        "num_samples is 1000000000000; expected at most 1000000000",
    ),
    (
        "log_sauer: num_samples",
        lambda bounds: bounds.log_sauer(10**400, 10),
        ValueError,
        "num_samples has 1329 bits; expected at most 1023",
    ),
    (
        "log_growth: vc_dim",
        lambda bounds: bounds.log_growth(10, 10**400),
        ValueError,
        "vc_dim has 1329 bits; expected at most 1023",
    ),
    (
        "cover_count: affine",
        lambda bounds: bounds.cover_count(5, 2, affine="no"),
        TypeError,
        "affine is 'no'; expected True or False",
    ),
    (
        "ray_growth: both_directions",
        lambda bounds: bounds.ray_growth(5, both_directions=1),
        TypeError,
        "both_directions is 1; expected True or False",
    ),
    (
        "vc_epsilon: num_samples",
        lambda bounds: bounds.vc_epsilon(10**400, 1, 0.1),
        ValueError,
        "num_samples has 1329 bits; expected at most 1022",
    ),
    (
        "devroye_epsilon: num_samples",
        lambda bounds: bounds.devroye_epsilon(10**200, 1, 0.1),
        ValueError,
        "num_samples has 665 bits; expected at most 511",
    ),
    (
        "vc_sample_size: epsilon",
        lambda bounds: bounds.vc_sample_size(1e-200, 1, 0.1),
        ValueError,
        r"epsilon is 1e-200; expected one that fewer than 2\^511 samples",
    ),
    (
        "vc_epsilon: delta",
        lambda bounds: bounds.vc_epsilon(100, 1, [0.1, 0.2]),
        ValueError,
        r"delta has shape \(2,\); expected one number",
    ),
    (
        "vc_sample_size: epsilon",
        lambda bounds: bounds.vc_sample_size([0.1, 0.2], 1, 0.1),
        ValueError,
        r"epsilon has shape \(2,\); expected one number",
    ),
]


@rows(REFUSED)
def test_refused(plain_bounds, call, exception, sentence):
    assert_refused(lambda: call(plain_bounds), exception, sentence)
