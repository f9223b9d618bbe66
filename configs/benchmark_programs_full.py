r"""The limits of programs with positions, on all networks in docs/benchmarks.md.

    python -m experiments.benchmark_programs --config=configs/benchmark_programs_full.py \
        --workdir=runs/benchmark_programs_full

Takes about 7 minutes on 2 CPU cores. docs/benchmarks.md has the numbers to expect.
"""

from ml_collections import ConfigDict

from configs import benchmark_programs


def get_config() -> ConfigDict:
    config = benchmark_programs.get_config()
    config.networks.cnn_mean = ((8, 8), (16, 8), (32, 4))
    config.networks.cnn_flatten = ((16, 200), (32, 200))
    config.networks.wide_resnet = ((16, 4), (32, 4))
    config.networks.transformer = ((16, 32), (64, 32))
    config.networks.lstm = ((16, 8), (64, 8), (256, 2))
    config.networks.gru = ((64, 8),)
    config.networks.graph = ((100, 32),)
    config.budget_seconds = 10.0
    return config
