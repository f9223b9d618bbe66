"""Which parameters are trained, and how fast: the argument `trained` of kernels, and standard parameterization."""

from ntk.learning_rates.fan_ins import FanIn, FanIns, fan_ins_of
from ntk.learning_rates.rates import Rate, Rates, StandardParameterization, Trained, learning_rates

__all__ = [
    "FanIn",
    "FanIns",
    "Rate",
    "Rates",
    "StandardParameterization",
    "Trained",
    "fan_ins_of",
    "learning_rates",
]
