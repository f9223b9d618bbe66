"""Fields that all convergence configs share. Each config adds its network."""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Fields of the network: `kind` is a class of ntk or a program of ntk.architectures, the rest its arguments.
    config.network = ConfigDict()
    # "digits" (embedded), "mnist", "fashion_mnist" or "cifar10"; with data_dir also any NAME with a NAME.npz there.
    config.dataset = "digits"
    # Folder with the files of the data set. If it is unset, they are fetched over the network. Digits need neither.
    config.data_dir = config_dict.placeholder(str)
    # Number of training images on which the kernels are computed.
    config.num_inputs = 16
    # Hidden widths n, increasing.
    config.widths = (32, 64, 128, 256, 512, 1024, 2048, 4096)
    # Random networks per width.
    config.num_seeds = 64
    # The limit of Θ and the NNGP: "recursion", or "neural_tangents" for an MLP. C and D always use the recursion.
    config.reference = "recursion"
    # Samples of the limit of a program that has no closed form.
    config.samples = 2**16
    # Seed of the networks, of the choice of images and of the bootstrap.
    config.seed = 0
    # Memory in GiB that limits how many networks are computed together. It changes results only by rounding.
    config.memory_gib = 4.0
    # Quantiles over seeds at the ends of the bands in the figure and the table.
    config.quantiles = (0.1, 0.9)
    # Confidence level of the slopes' bootstrap intervals.
    config.confidence = 0.95
    # Resamples of the bootstrap.
    config.num_resamples = 2000
    return config
