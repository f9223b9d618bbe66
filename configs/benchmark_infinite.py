r"""Times of the kernels of infinitely wide networks, of references, and the least time on this machine.

    python -m experiments.benchmark_infinite --config=configs/benchmark_infinite.py --workdir=runs/benchmark

Takes about a minute on 2 CPU cores. neural-tangents should take 3 to 4 times as long on MLPs.
Compare RNNs on one core: taskset -c 0 … --config.parts="('rnn',)".
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Networks that are measured: "mlp", "rnn" or both.
    config.parts = ("mlp", "rnn")
    # Runs per measurement. The table has their median.
    config.num_runs = 5
    # Seed of the Gaussian inputs.
    config.seed = 0
    # MLPs.
    config.mlp = ConfigDict()
    # Activations.
    config.mlp.activations = ("relu", "erf", "gelu")
    # Number of hidden layers.
    config.mlp.depth = 3
    # Numbers of inputs; 10000 takes half a minute per line.
    config.mlp.num_inputs = (1000, 2000)
    # Features of an input.
    config.mlp.num_features = 784
    # RNNs, with a read-out of the last state and of the mean of all states.
    config.rnn = ConfigDict()
    # Activations.
    config.rnn.activations = ("relu", "erf")
    # Number of sequences.
    config.rnn.num_inputs = 200
    # Steps of a sequence.
    config.rnn.num_steps = 28
    # Features of a step.
    config.rnn.num_features = 28
    return config
