r"""An RNN with erf, which reads digits row by row, with a read-out of the mean of its states.

    python -m experiments.kernel_convergence \
        --config=configs/convergence_rnn_mean.py --workdir=runs/convergence_rnn_mean

Takes less than a minute on 2 CPU cores. The slope of Θ's error should be -0.49, 95 % interval [-0.52, -0.47].
"""

from ml_collections import ConfigDict

from configs import convergence_base


def get_config() -> ConfigDict:
    config = convergence_base.get_config()
    # Name of a class of ntk.
    config.network.kind = "RNN"
    # Name of the activation.
    config.network.activation = "erf"
    # "last" reads out the last state, "mean" the average over time.
    config.network.pooling = "mean"
    # Standard deviation of recurrent weights (NTK parameterization).
    config.network.w_std = 1.0
    # Standard deviation of input weights.
    config.network.u_std = 1.0
    # Standard deviation of biases.
    config.network.b_std = 1.0
    # Standard deviation of read-out weights.
    config.network.v_std = 1.0
    return config
