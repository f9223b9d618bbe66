"""The classes and losses that a file may name, and where they live."""

import importlib
import inspect

# Dataclasses and named tuples, by name and home. Modules are imported when a file asks for them.
CLASSES = {
    "MLP": "ntk.networks",
    "RNN": "ntk.networks",
    "Kernels": "ntk.decomposition",
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
    """The attributes that fitting gives to an estimator of that class, as it annotates them."""
    return {name for base in estimator.__mro__ for name in inspect.get_annotations(base) if name.endswith("_")}
