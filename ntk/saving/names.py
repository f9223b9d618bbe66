"""Names by which files, `pickle` and `copy` refer to classes, losses of Optax, activations and programs.

The functions in an activation or a program cannot be found by their own names. `pickle` and `copy` therefore use the
name that ntk has for an activation or a program. A copy of an activation is then the activation itself. For any other
copy everything would be compiled again, and scikit-learn copies the networks that it searches over.
"""

import copyreg
import importlib
import inspect
from typing import Any

from ntk.duals import Activation, activation
from ntk.programs import TensorProgram, architectures

# Dataclasses and named tuples, by name and home. Modules are imported when a file asks for them.
CLASSES = {
    "MLP": "ntk.networks",
    "RNN": "ntk.networks",
    "Kernels": "ntk.decomposition",
    "MLPKernels": "ntk.infinite_width",
    "ProgramKernels": "ntk.programs",
    "Limits": "ntk.programs.results",
    "CorrectedKernels": "ntk.programs",
    "CorrectedLimits": "ntk.programs.limit.corrected",
    "Layout": "ntk.dynamics.linear_algebra.layout",
    "Spectrum": "ntk.dynamics.linear_algebra.spectral",
    "SquaredLossPredictor": "ntk.dynamics",
    "SquaredLossEnsemble": "ntk.dynamics",
    "LossFlowPredictor": "ntk.dynamics",
    "GaussianProcess": "ntk.dynamics",
    "Gaussian": "ntk.dynamics",
    "Prediction": "ntk.dynamics",
    "Solution": "ntk.dynamics",
    "Trajectory": "ntk.dynamics",
}
ESTIMATORS = dict.fromkeys(("NTKRegressor", "NTKClassifier", "NNGPRegressor"), "ntk.estimators")
# The losses of Optax that a predictor may have.
LOSSES = (
    "hinge_loss",
    "huber_loss",
    "l2_loss",
    "log_cosh",
    "sigmoid_binary_cross_entropy",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "squared_error",
)


def class_of(name: str, classes: dict[str, str]) -> type:
    """The class of that name. Its module is imported here, when a file asks for it."""
    return getattr(importlib.import_module(classes[name]), name)


def fitted_attributes(estimator: type) -> set[str]:
    """The attributes that fitting sets on an estimator of that class. The class annotates them."""
    return {name for base in estimator.__mro__ for name in inspect.get_annotations(base) if name.endswith("_")}


def known_program(name: str) -> TensorProgram | None:
    """The program of `ntk.architectures` that has that name, or None."""
    found = getattr(architectures, name, None)
    return found if isinstance(found, TensorProgram) else None


def has_a_name(value: Activation | TensorProgram) -> bool:
    """Whether an activation or a program is one that ntk has a name for."""
    if isinstance(value, TensorProgram):
        known = known_program(value.__name__)
        return known is not None and known.fn is value.fn
    try:
        return activation(value.name) is value
    except ValueError:
        return False


def _reduced(value: Activation | TensorProgram) -> str | tuple[Any, ...]:
    if not has_a_name(value):
        return object.__reduce_ex__(value, 2)
    if isinstance(value, Activation):
        return activation, (value.name,)
    return _program_with, (value.__name__, {**value.numbers, **value.choices})


def _program_with(name: str, options: dict[str, Any]) -> TensorProgram:
    return getattr(architectures, name)(**options)


copyreg.pickle(Activation, _reduced)
copyreg.pickle(TensorProgram, _reduced)
