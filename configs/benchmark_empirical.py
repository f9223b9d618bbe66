r"""The empirical NTK against neural-tangents, on a selection of networks.

    taskset -c 1 python -m experiments.benchmark_empirical \
        --config=configs/benchmark_empirical.py --workdir=runs/benchmark_empirical

Takes about 4 minutes on one CPU core. neural-tangents should take some 60 times as long as this library on the MLP of
width 256 with one output, and 1.1 times as long on the ResNet with one output.

To leave a network out, give it no widths: --config.networks.cnn.widths=().
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Networks of experiments/benchmarks/networks.py, each with every width (channels) and every number of inputs.
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
    # Numbers of outputs of each network. The kernel is averaged over outputs.
    config.outputs = (1, 10)
    # Seconds for the runs of each program. Every program runs at least once.
    config.budget_seconds = 1.0
    # The most runs of a program.
    config.max_runs = 31
    # An implementation of neural-tangents that needs more GiB than this is left out, and the table says so.
    config.memory_gib = 6.0
    # Seed of the parameters and the inputs.
    config.seed = 0
    return config
