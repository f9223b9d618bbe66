"""Fields that all convergence configs share; each of them adds its network."""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Fields of the network: `kind` is a class of ntk or a program of ntk.architectures, the others are its arguments.
    config.network = ConfigDict()
    # "digits" (embedded), "mnist", "fashion_mnist" or "cifar10"; with data_dir also any NAME with a NAME.npz there.
    config.dataset = "digits"
    # Folder with the files of the data set; unset fetches it over the network (digits need neither).
    config.data_dir = config_dict.placeholder(str)
    # How many training images the kernels are computed on.
    config.num_inputs = 16
    # Hidden widths n, increasing; for one more: --config.widths=32,64,128,256,512,1024,2048,4096,8192
    config.widths = (32, 64, 128, 256, 512, 1024, 2048, 4096)
    # Random networks per width.
    config.num_seeds = 64
    # What Θ and the NNGP are held against: "recursion", or for an MLP "neural_tangents". C and D: always the recursion.
    config.reference = "recursion"
    # How many samples the limit of a program is an average of, where it has no closed form.
    config.samples = 2**16
    # Seed of the networks, of the choice of images and of the bootstrap.
    config.seed = 0
    # Networks are worked on together as far as they fit into this many GiB; results change by rounding only.
    config.memory_gib = 4.0
    # Ends of the band over seeds in the figure and the table.
    config.quantiles = (0.1, 0.9)
    # Confidence level of the slopes' bootstrap intervals.
    config.confidence = 0.95
    # Resamples of the bootstrap.
    config.num_resamples = 2000
    return config
