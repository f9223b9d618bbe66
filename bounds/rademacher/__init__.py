"""Rademacher complexity: classes seen on a sample, estimates, and the bounds that take them."""

from bounds.rademacher.classes import FiniteClass, FunctionClass, KernelBall, LinearBall
from bounds.rademacher.estimates import (
    Estimate,
    empirical_rademacher,
    exact_rademacher,
    rademacher_complexity,
    rademacher_upper_bound,
)
from bounds.rademacher.local import local_fixed_point, local_rademacher
from bounds.rademacher.networks import NetworkBall
from bounds.rademacher.risk import (
    RademacherBound,
    contracted_rademacher,
    rademacher_bound,
    rademacher_monte_carlo_bound,
    rademacher_monte_carlo_epsilon,
)

__all__ = [
    "Estimate",
    "FiniteClass",
    "FunctionClass",
    "KernelBall",
    "LinearBall",
    "NetworkBall",
    "RademacherBound",
    "contracted_rademacher",
    "empirical_rademacher",
    "exact_rademacher",
    "local_fixed_point",
    "local_rademacher",
    "rademacher_bound",
    "rademacher_complexity",
    "rademacher_monte_carlo_bound",
    "rademacher_monte_carlo_epsilon",
    "rademacher_upper_bound",
]
