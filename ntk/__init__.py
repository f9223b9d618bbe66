"""Neural tangent kernels of finite and infinite networks.

Describe a network once (`MLP`, `RNN`), then read it in the limit (`infinite_kernels`, `infinite_ntk`), at finite width
(`finite`, `empirical_kernels`), or bring any function of your own (`empirical_ntk`).
"""

from ntk.decomposition import Kernels
from ntk.duals import Activation, activation
from ntk.finite_width import empirical_kernels, empirical_ntk, finite
from ntk.infinite_width import infinite_kernels, infinite_ntk
from ntk.interop.neural_tangents import load_neural_tangents
from ntk.networks import MLP, RNN

__all__ = [
    "MLP",
    "RNN",
    "Activation",
    "Kernels",
    "activation",
    "empirical_kernels",
    "empirical_ntk",
    "finite",
    "infinite_kernels",
    "infinite_ntk",
    "load_neural_tangents",
]
