"""Kernel regression and classification with a network's kernels as scikit-learn estimators, for pipelines and grids.

This package needs scikit-learn, and the rest of `ntk` does not. Import it by name: `import ntk.estimators`.

The limits of some programs of `ntk.architectures`, such as an LSTM, are sampled. Kernels of training and test inputs
are parts of one kernel only if both are sampled together. For such a program every prediction therefore samples both
together and fits again. The prediction at an input then depends, within the error of sampling, on the other inputs in
X. In a program with batch normalization the training and the test inputs are one batch.
"""

try:
    import sklearn  # noqa: F401
except ImportError:
    raise ImportError("ntk.estimators needs scikit-learn: run `pip install 'scikit-learn>=1.6'`.") from None

from ntk.estimators.flows import NTKClassifier, NTKRegressor
from ntk.estimators.processes import NNGPRegressor
from ntk.estimators.support_vectors import NTKSVC

__all__ = ["NTKSVC", "NNGPRegressor", "NTKClassifier", "NTKRegressor"]
