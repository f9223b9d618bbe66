r"""The empirical NTK against neural-tangents, a selection.

    taskset -c 1 python -m experiments.benchmark_empirical \
        --config=configs/benchmark_empirical.py --workdir=runs/benchmark_empirical

Takes about 4 minutes on one CPU core. One network alone: empty the others, as in --config.networks.cnn.widths=().
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Networks of experiments/benchmarks/networks.py: each of its widths (channels) with each number of inputs.
    config.networks = ConfigDict(
        {
            "mlp": {"widths": (256, 1024), "num_inputs": (64,)},
            "cnn": {"widths": (64,), "num_inputs": (16,)},
            "rnn": {"widths": (256,), "num_inputs": (64,)},
            "rnn_scan": {"widths": (256,), "num_inputs": (64,)},
            "transformer": {"widths": (256,), "num_inputs": (32,)},
            "resnet": {"widths": (16,), "num_inputs": (16,)},
        }
    )
    # Each network with as many outputs, over which the kernel is averaged.
    config.outputs = (1, 10)
    # Every program runs at least once, then until it has spent this time or has run as often as `max_runs`.
    config.budget_seconds = 1.0
    # Most runs of a program.
    config.max_runs = 31
    # An implementation of neural-tangents that needs more memory is left out; the table says so.
    config.memory_gib = 6.0
    # Seed of parameters and inputs.
    config.seed = 0
    return config
