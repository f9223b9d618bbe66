"""Bad arguments of functions on dichotomies: one sentence names the argument, its value and what is expected."""

import jax
import numpy as np
from refusals import COUNT, assert_refused, rows

REFUSED = [
    (
        "count_linear_dichotomies: x",
        lambda bounds: bounds.count_linear_dichotomies([1.0, 2.0]),
        ValueError,
        r"x has shape \(2,\); expected \(N, dim\)",
    ),
    (
        "linear_separators: x",
        lambda bounds: bounds.linear_separators(np.zeros((0, 2))),
        ValueError,
        r"x has shape \(0, 2\); expected \(N, dim\)",
    ),
    (
        "linear_dichotomies: x",
        lambda bounds: bounds.linear_dichotomies([[0, 0]], affine=False),
        ValueError,
        "x holds the origin; expected other points",
    ),
    (
        "linear_dichotomies: x",
        lambda bounds: bounds.linear_dichotomies([[float("nan")]]),
        ValueError,
        "x holds entries that are NaN or infinite; exp",
    ),
    (
        "ray_dichotomies: x",
        lambda bounds: bounds.ray_dichotomies([1j]),
        TypeError,
        "x is .*1j.*; expected real numbers",
    ),
    (
        "rectangle_dichotomies: x",
        lambda bounds: bounds.rectangle_dichotomies(np.random.default_rng(0).random((100, 2))),
        ValueError,
        "x has 100 points, with .* boxes to try at",
    ),
    (
        "interval_dichotomies: x",
        lambda bounds: bounds.interval_dichotomies([[1.0]]),
        ValueError,
        r"x has shape \(1, 1\); expected \(N,\)",
    ),
    (
        "rectangle_dichotomies: x",
        lambda bounds: bounds.rectangle_dichotomies(["a"]),
        TypeError,
        "x is .*'a'.*; expected real numbers",
    ),
    (
        "rectangle_dichotomies: x",
        lambda bounds: jax.jit(bounds.rectangle_dichotomies)(np.ones((2, 2))),
        TypeError,
        r"x is traced by JAX; expected \(N, dim",
    ),
    (
        "line_configurations: size",
        lambda bounds: list(bounds.line_configurations(0)),
        ValueError,
        f"size is 0; {COUNT}",
    ),
    (
        "plane_configurations: size",
        lambda bounds: list(bounds.plane_configurations(2.0)),
        ValueError,
        f"size is 2.0; {COUNT}",
    ),
    (
        "half_space_configurations: size",
        lambda bounds: list(bounds.half_space_configurations(5, 2)),
        ValueError,
        r"size is 5; expected at most 4, D \+ 1",
    ),
    (
        "half_space_configurations: dim",
        lambda bounds: list(bounds.half_space_configurations(2, 0)),
        ValueError,
        f"dim is 0; {COUNT}",
    ),
    (
        "subset_configurations: size",
        lambda bounds: list(bounds.subset_configurations(np.ones(3), -1)),
        ValueError,
        f"size is -1; {COUNT}",
    ),
    (
        "vc_dimension: limit",
        lambda bounds: bounds.vc_dimension(bounds.ray_dichotomies, bounds.line_configurations, 0),
        ValueError,
        "limit is 0; ",
    ),
    (
        "is_shattered: signs",
        lambda bounds: bounds.is_shattered([1, -1]),
        ValueError,
        r"signs has shape \(2,\); expected \(M, N\)",
    ),
    (
        "is_shattered: signs",
        lambda bounds: bounds.is_shattered([[0, 0], [1, 1], [2, 2], [0, 1]]),
        ValueError,
        "signs holds entries other than -1 and 1; ",
    ),
    (
        "find_shattered_set: dichotomies",
        lambda bounds: bounds.find_shattered_set(None, []),
        TypeError,
        "dichotomies is None; expected a function of points",
    ),
    (
        "find_shattered_set: configurations",
        lambda bounds: bounds.find_shattered_set(bounds.ray_dichotomies, 3),
        TypeError,
        "configurations is 3; expected arrays",
    ),
    (
        "vc_dimension: configurations",
        lambda bounds: bounds.vc_dimension(bounds.ray_dichotomies, 3),
        TypeError,
        "configurations is 3; expected a function of",
    ),
    (
        "subset_configurations: x",
        lambda bounds: list(bounds.subset_configurations(3, 1)),
        ValueError,
        r"x is 3; expected points \(N,\) or \(N, dim\)",
    ),
    (
        "ray_dichotomies: both_directions",
        lambda bounds: bounds.ray_dichotomies([0.0, 1.0], "no"),
        TypeError,
        "both_directions is 'no'; expected True or False",
    ),
    (
        "count_linear_dichotomies: affine",
        lambda bounds: bounds.count_linear_dichotomies([[0.0], [1.0]], 2),
        TypeError,
        "affine is 2; expected True or False",
    ),
]


@rows(REFUSED)
def test_refused(plain_bounds, call, exception, sentence):
    assert_refused(lambda: call(plain_bounds), exception, sentence)
