"""Fields that all sweeps over regularizers share; each of them says what it sweeps."""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Fields of experiments.regularization.models.Classifier, but for the width: kind is "MLP", "RNN" or "CNN".
    config.network = ConfigDict({"kind": "MLP", "depth": 2, "activation": "relu", "parameterization": "standard"})
    # "digits" (embedded), "mnist", "fashion_mnist" or "cifar10"; with data_dir also any NAME with a NAME.npz there.
    config.dataset = "digits"
    # Folder with the files of the data set; unset fetches it over the network (digits need neither).
    config.data_dir = config_dict.placeholder(str)
    # Points for choosing strengths and for stopping early.
    config.num_validation = 300
    # Points for testing.
    config.num_test = 797
    # Names of experiments.regularization.members.REGULARIZERS, each with its strengths.
    config.regularizers = ConfigDict({"none": (0.0,)})
    # Widths of hidden layers.
    config.widths = (64,)
    # Learning rates, constant.
    config.learning_rates = (0.1,)
    # Shares of training labels that are drawn anew from all classes.
    config.label_noise = (0.0,)
    # Training points; members with fewer than the most have the first of them.
    config.train_sizes = (200,)
    # Networks at each place of the grid of regularizers, widths, learning rates, label noise and training sizes.
    config.num_seeds = 3
    # Seed of the data and of the batches; the networks have it and those that follow.
    config.seed = 0
    # "cross_entropy" or "squared".
    config.loss = "cross_entropy"
    # "sgd" (with momentum) or "adam".
    config.optimizer = "sgd"
    # Momentum of "sgd".
    config.momentum = 0.9
    # Points of a batch, the same for all members; unset for all points at every step.
    config.batch_size = config_dict.placeholder(int)
    config.batch_size = 64
    # Steps of training.
    config.num_steps = 2000
    # Evaluations, evenly spaced, beside one before the first step; a checkpoint is kept at each.
    config.num_evaluations = 10
    # Standard deviations of noise on test inputs, whose pixels have variance 1.
    config.noise_levels = (0.25, 0.5, 1.0)
    # Validation points on which the drift of the NTK and the Lipschitz constant are measured; 0 leaves both out.
    config.num_probes = 32
    # Arguments of bounds.report: δ, scales of the noise of PAC-Bayes, draws at each, and the ridge as a share of the
    # mean of the kernel's diagonal; empty for no bounds.
    config.bounds = ConfigDict({"delta": 0.05, "sigmas": (0.01, 0.03, 0.1), "num_draws": 100, "ridge": 0.001})
    # Memory for members that are trained together, in GiB; it changes results by rounding only.
    config.memory_gib = 4.0
    return config
