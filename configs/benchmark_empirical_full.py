r"""The empirical NTK against neural-tangents, on all networks in docs/benchmarks.md.

    taskset -c 1 python -m experiments.benchmark_empirical \
        --config=configs/benchmark_empirical_full.py --workdir=runs/benchmark_empirical_full

Takes about 12 minutes on one CPU core and up to 8 GiB of memory. docs/benchmarks.md has the numbers to expect.
"""

from ml_collections import ConfigDict

from configs import benchmark_empirical


def get_config() -> ConfigDict:
    config = benchmark_empirical.get_config()
    config.networks.mlp.widths = (256, 1024, 2048)
    config.networks.mlp.num_inputs = (64, 256)
    config.networks.rnn.widths = (256, 1024)
    config.networks.rnn_scan.widths = (256, 1024)
    config.budget_seconds = 5.0
    config.max_runs = 51
    config.memory_gib = 8.0
    return config
