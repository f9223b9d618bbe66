r"""Bounds against the true gap, for a linear classifier whose error is known and for a network on digits.

    python -m experiments.generalization_bounds --config=configs/generalization_bounds.py --workdir=runs/bounds

This run, configs/vc_growth.py and configs/random_labels.py take about four minutes together on 2 CPU cores. On 1200
digits the bound "VC, Parrondo–van den Broek" should be 1.18, which is vacuous.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Tasks by name: `kind` is "teacher" or "digits", the others are arguments of teacher_task or digits_task in
    # experiments/generalization/binary_tasks.py.
    config.tasks = ConfigDict()
    # Arguments of `teacher_task`: the dimension of the inputs, and the share of labels that are flipped.
    config.tasks.teacher = ConfigDict({"kind": "teacher", "dim": 10, "noise": 0.1})
    # Arguments of `digits_task`: those of an ntk.MLP, and the number of images for testing.
    config.tasks.digits = ConfigDict(
        {"kind": "digits", "depth": 1, "width": 256, "activation": "relu", "num_test": 597}
    )
    # Training points N of each task, increasing.
    config.sizes = ConfigDict({"teacher": (128, 512, 2048, 8192, 32768), "digits": (75, 150, 300, 600, 1200)})
    # Samples at every N, each with its own initial parameters.
    config.num_seeds = 5
    # Seed of the first sample. The others have the seeds that follow.
    config.seed = 0
    # Steps of Adam, each on the whole sample.
    config.steps = 300
    # Learning rate of Adam.
    config.learning_rate = 0.05
    # Probability with which each bound may fail.
    config.delta = 0.05
    # Ridge of kernel regression, as a share of the mean of the kernel's diagonal.
    config.ridge = 0.5
    # Scales of noise that PAC-Bayes tries.
    config.sigmas = (0.01, 0.03, 0.1, 0.3)
    # Draws of parameters at each scale.
    config.num_draws = 300
    return config
