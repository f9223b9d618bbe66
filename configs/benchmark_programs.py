r"""The limits of programs with positions, on small networks.

    python -m experiments.benchmark_programs --config=configs/benchmark_programs.py --workdir=runs/benchmark_programs

Takes about a minute on 2 CPU cores.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Networks of experiments/benchmarks/programs.py, each with pairs of a size (the side of an image, the number of
    # positions or of nodes) and a number of inputs.
    config.networks = ConfigDict(
        {
            "cnn_mean": ((8, 8), (16, 8)),
            "cnn_flatten": ((32, 20),),
            "wide_resnet": ((16, 4),),
            "transformer": ((16, 8),),
            "lstm": ((16, 4),),
            "graph": ((100, 4),),
        }
    )
    # Seconds for the runs of each program. Every program runs at least once.
    config.budget_seconds = 1.0
    # The most runs of a program.
    config.max_runs = 11
    # Seed of the inputs and of the graph.
    config.seed = 0
    return config
