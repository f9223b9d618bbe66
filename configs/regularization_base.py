"""Fields that all sweeps over regularizers share. Each config says what it sweeps."""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Fields of Classifier in experiments/regularization/models.py, without the width. `kind` is "MLP", "RNN" or "CNN".
    config.network = ConfigDict({"kind": "MLP", "depth": 2, "activation": "relu", "parameterization": "standard"})
    # "digits" (embedded), "mnist", "fashion_mnist" or "cifar10"; with data_dir also any NAME with a NAME.npz there.
    config.dataset = "digits"
    # Folder with the files of the data set. If it is unset, they are fetched over the network. Digits need neither.
    config.data_dir = config_dict.placeholder(str)
    # Validation points, by which strengths and the step of early stopping are chosen.
    config.num_validation = 300
    # Test points.
    config.num_test = 797
    # Names of REGULARIZERS in experiments/regularization/members.py, each with its strengths.
    config.regularizers = ConfigDict({"none": (0.0,)})
    # Widths of hidden layers.
    config.widths = (64,)
    # Learning rates, constant.
    config.learning_rates = (0.1,)
    # Shares of training labels that are redrawn from all classes.
    config.label_noise = (0.0,)
    # Numbers of training points. A network with fewer points has the first ones.
    config.train_sizes = (200,)
    # Networks for each combination of the values above.
    config.num_seeds = 3
    # Seed of the data, of the batches and of the first network. The other networks have the seeds that follow.
    config.seed = 0
    # "cross_entropy" or "squared".
    config.loss = "cross_entropy"
    # "sgd" (with momentum) or "adam".
    config.optimizer = "sgd"
    # Momentum of "sgd".
    config.momentum = 0.9
    # Points of a batch, which all members share; unset takes all points at every step.
    config.batch_size = config_dict.placeholder(int)
    config.batch_size = 64
    # Steps of training.
    config.num_steps = 2000
    # Evaluations during training, evenly spaced, each with a checkpoint. One more comes before training.
    config.num_evaluations = 10
    # Standard deviations of noise on test inputs, whose pixels have variance 1.
    config.noise_levels = (0.25, 0.5, 1.0)
    # Validation points for the drift of the NTK and for the Lipschitz constant; 0 leaves both out.
    config.num_probes = 32
    # Arguments of bounds.report: δ, the scales of noise of PAC-Bayes, the draws at each scale, and the ridge as a share
    # of the mean of the kernel's diagonal. Without fields there are no bounds.
    config.bounds = ConfigDict({"delta": 0.05, "sigmas": (0.01, 0.03, 0.1), "num_draws": 100, "ridge": 0.001})
    # Memory in GiB for members that are trained together. It changes results only by rounding.
    config.memory_gib = 4.0
    return config
