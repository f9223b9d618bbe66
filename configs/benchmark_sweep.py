r"""A sweep over the strength of L1 in one program, against a loop over its members.

    python -m experiments.benchmark_sweep --config=configs/benchmark_sweep.py --workdir=runs/benchmark_sweep

Takes more than three minutes on 2 CPU cores.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Widths of MLPs with two hidden layers, on digits.
    config.widths = (32, 64, 128, 256)
    # Members of the sweep, a multiple of the number of devices.
    config.num_members = 32
    # Training points.
    config.num_train = 1000
    # Points of a batch.
    config.batch_size = 64
    # Steps of each member.
    config.num_steps = 200
    # Seconds for the runs of each way of training. Each runs at least once after compilation.
    config.budget_seconds = 30.0
    # The most runs of each way of training.
    config.max_runs = 5
    return config
