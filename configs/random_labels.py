r"""True against partly random labels of odd and even digits.

    python -m experiments.random_labels --config=configs/random_labels.py --workdir=runs/random_labels

Takes less than two minutes on 2 CPU cores. Training errors should be 0. The error on new digits should rise from about
0.02 with true labels to 0.5 with random ones, and the NTK complexity from 1.2 to 3.7.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Arguments of digits_task in experiments/generalization/binary_tasks.py: an ntk.MLP without biases, on digits.
    config.task = ConfigDict({"kind": "digits", "depth": 1, "width": 256, "activation": "relu", "num_test": 597})
    # Training images.
    config.num_train = 600
    # Shares of labels that are replaced by fair coins.
    config.fractions = (0.0, 0.25, 0.5, 0.75, 1.0)
    # Samples at each share and each width.
    config.num_seeds = 3
    # Seed of the first sample. The others have the seeds that follow.
    config.seed = 0
    # Steps of Adam, each on the whole sample.
    config.steps = 600
    # Learning rate of Adam.
    config.learning_rate = 0.05
    # Widths of networks that are fitted to coins alone.
    config.widths = (1, 4, 16, 64, 256)
    # Probability with which each margin bound may fail.
    config.delta = 0.05
    return config
