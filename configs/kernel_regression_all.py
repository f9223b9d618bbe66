r"""NNGP and NTK regression on digits with every network of the library.

    python -m experiments.kernel_regression --config=configs/kernel_regression_all.py --workdir=runs/regression_all

Programs read images of half the size. Compilation takes most of the time.
"""

from ml_collections import ConfigDict

from configs import kernel_regression
from experiments.common.networks import KINDS


def get_config() -> ConfigDict:
    config = kernel_regression.get_config()
    config.networks = ConfigDict({kind: {"kind": kind} for kind in KINDS})
    config.networks.MLP.depth = 2
    config.finite.networks = ("MLP", "RNN")
    config.sizes = (20, 60)
    config.num_test = 60
    return config
