r"""True against partly random labels of odd and even digits.

    python -m experiments.random_labels --config=configs/random_labels.py --workdir=runs/random_labels

Under two minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Fields of experiments.generalization.binary_tasks.digits_task: an ntk.MLP without biases.
    config.task = ConfigDict({"kind": "digits", "depth": 1, "width": 256, "activation": "relu", "num_test": 597})
    # Training images.
    config.num_train = 600
    # Shares of labels that are replaced by fair coins.
    config.fractions = (0.0, 0.25, 0.5, 0.75, 1.0)
    # Samples at each share and at each width.
    config.num_seeds = 3
    # Seed of the first sample; the others have those that follow.
    config.seed = 0
    # Steps of Adam on the whole sample.
    config.steps = 600
    # Learning rate of Adam.
    config.learning_rate = 0.05
    # Widths at which networks are fitted to labels that are coins altogether.
    config.widths = (1, 4, 16, 64, 256)
    # Probability with which each margin bound may fail.
    config.delta = 0.05
    return config
