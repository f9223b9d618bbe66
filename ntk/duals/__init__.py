"""Activations and their dual maps, E φ(u)φ(ū) (C-map) and E φ'(u)φ'(ū) (D-map)."""

from ntk.duals.activations import Activation
from ntk.duals.of_functions import ActivationLike, activation, check_breakpoints

__all__ = ["Activation", "ActivationLike", "activation", "check_breakpoints"]
