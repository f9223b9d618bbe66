r"""MLPs of several widths and parameterizations trained on digits, odd against even, with cross-entropy.

    python -m experiments.training_dynamics \
        --config=configs/training_dynamics_cross_entropy.py --workdir=runs/dynamics_cross_entropy

Takes as long as configs/training_dynamics.py.
"""

from ml_collections import ConfigDict

from configs import training_dynamics


def get_config() -> ConfigDict:
    config = training_dynamics.get_config()
    config.loss = "cross_entropy"
    # The curvature of ln(1 + e^{−yf}) is at most 1/4, so steps that are four times as large are stable too.
    config.rate = 0.9
    # Outputs grow without limit, and so these widths are in the lazy regime only early in training.
    config.steps = 100
    return config
