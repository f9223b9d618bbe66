r"""RNNs of several widths and parameterizations trained on digits, odd against even, with squared loss.

    python -m experiments.training_dynamics --config=configs/training_dynamics_rnn.py --workdir=runs/dynamics_rnn

Takes as long as configs/training_dynamics.py.
"""

from ml_collections import ConfigDict

from configs import training_dynamics


def get_config() -> ConfigDict:
    config = training_dynamics.get_config()
    config.network = ConfigDict({"kind": "RNN", "activation": "erf", "w_std": 1.2, "b_std": 0.0, "pooling": "last"})
    config.widths = (32, 64, 128, 256)
    config.num_seeds = 6
    config.batch_size = 3
    config.num_train = 24
    config.num_test = 50
    config.steps = 400
    return config
