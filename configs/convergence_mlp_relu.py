r"""An MLP with three hidden layers and ReLU, which reads digits as vectors.

    python -m experiments.kernel_convergence \
        --config=configs/convergence_mlp_relu.py --workdir=runs/convergence_mlp_relu

Takes less than a minute on 2 CPU cores. The slope of Θ's error should be -0.50, 95 % interval [-0.53, -0.47].
"""

from ml_collections import ConfigDict

from configs import convergence_base


def get_config() -> ConfigDict:
    config = convergence_base.get_config()
    # Name of a class of ntk.
    config.network.kind = "MLP"
    # Number of hidden layers.
    config.network.depth = 3
    # Name of the activation.
    config.network.activation = "relu"
    # Standard deviation of weights (NTK parameterization).
    config.network.w_std = 1.0
    # Standard deviation of biases.
    config.network.b_std = 1.0
    # Standard deviation of read-out weights.
    config.network.v_std = 1.0
    return config
