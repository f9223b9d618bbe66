r"""Double descent in width with and without L2: one hidden layer, the squared loss, noisy labels.

    python -m experiments.regularization_sweep \
        --config=configs/regularization_double_descent.py --workdir=runs/double_descent

Takes about two minutes on 2 CPU cores. Without a penalty the error on new points should fall to 28 % at width 16,
rise to 35 % at width 64 and fall again to 27 % at width 512. With L2 it should stay at 12 % from width 16 on.
"""

from ml_collections import ConfigDict

from configs import regularization_base


def get_config() -> ConfigDict:
    config = regularization_base.get_config()
    config.network.depth = 1
    # Activation. Narrow ReLU networks would die under the squared loss.
    config.network.activation = "tanh"
    config.loss = "squared"
    config.optimizer = "adam"
    config.learning_rates = (1e-3,)
    config.regularizers = ConfigDict({"none": (0.0,), "l2": (1e-2,)})
    config.widths = (2, 4, 8, 12, 16, 24, 32, 48, 64, 128, 256, 512)
    config.num_seeds = 5
    config.label_noise = (0.2,)
    config.train_sizes = (200,)
    config.batch_size = None
    config.num_steps = 4000
    config.num_evaluations = 4
    config.num_probes = 0
    config.bounds = ConfigDict()
    return config
