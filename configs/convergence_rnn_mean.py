r"""RNN of erf that reads digits row by row and gives the mean of its states to the read-out.

    python -m experiments.kernel_convergence \
        --config=configs/convergence_rnn_mean.py --workdir=runs/convergence_rnn_mean

Takes less than a minute on 2 CPU cores. Expect a slope of Θ's error of -0.49, 95 % interval [-0.52, -0.47].
"""

from ml_collections import ConfigDict

from configs import convergence_base


def get_config() -> ConfigDict:
    config = convergence_base.get_config()
    config.network.kind = "RNN"
    config.network.activation = "erf"
    # "last" reads the last state out, "mean" the average over time.
    config.network.pooling = "mean"
    # Standard deviations of recurrent weights, input weights, biases and read-out weights (NTK parameterization).
    config.network.w_std = 1.0
    config.network.u_std = 1.0
    config.network.b_std = 1.0
    config.network.v_std = 1.0
    return config
