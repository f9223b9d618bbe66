"""Sizes of experiments/benchmark_infinite.py; as they stand they take a minute."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # What is measured: "mlp", "rnn" or both. RNNs are compared on one core: taskset -c 0 ... --config.parts="('rnn',)"
    config.parts = ("mlp", "rnn")
    # Every measurement is the median of this many runs.
    config.num_runs = 5
    # Seed of the inputs, which are Gaussian.
    config.seed = 0
    # MLPs.
    config.mlp = ConfigDict()
    # Activations, one after the other.
    config.mlp.activations = ("relu", "erf", "gelu")
    # Number of hidden layers.
    config.mlp.depth = 3
    # Numbers of inputs; the targets are stated at 2000 and 5000, 10000 takes half a minute a line.
    config.mlp.num_inputs = (1000, 2000)
    # Features of an input.
    config.mlp.num_features = 784
    # RNNs, read out at their last state and at the mean of their states.
    config.rnn = ConfigDict()
    # Activations, one after the other.
    config.rnn.activations = ("relu", "erf")
    # Number of sequences.
    config.rnn.num_inputs = 200
    # Steps of a sequence.
    config.rnn.num_steps = 28
    # Features of a step.
    config.rnn.num_features = 28
    return config
