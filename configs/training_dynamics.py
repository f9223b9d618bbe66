r"""MLPs of several widths and parameterizations trained on digits, odd against even, with squared loss.

    python -m experiments.training_dynamics --config=configs/training_dynamics.py --workdir=runs/dynamics

Takes less than three minutes on 2 CPU cores. The exponents of the kernel's movement in the width should be about -0.96
(NTK), -1.03 (standard) and 0.00 (maximal update).
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # An MLP or an RNN: `kind` is a class of ntk, and the others are its arguments.
    config.network = ConfigDict({"kind": "MLP", "depth": 2, "activation": "erf", "w_std": 1.5, "b_std": 0.0})
    # "squared", ½(f − y)² for y = ±1, or "cross_entropy", ln(1 + e^{−yf}).
    config.loss = "squared"
    # "digits" (embedded), "mnist", "fashion_mnist" or "cifar10"; with data_dir also any NAME with a NAME.npz there.
    config.dataset = "digits"
    # Folder with the files of the data set. If it is unset, they are fetched over the network. Digits need neither.
    config.data_dir = config_dict.placeholder(str)
    # Training images.
    config.num_train = 40
    # Test images.
    config.num_test = 100
    # "ntk" and "standard" have a kernel limit; "mup" (maximal update) learns features at any width.
    config.parameterizations = ("ntk", "standard", "mup")
    # Hidden widths, increasing.
    config.widths = (64, 128, 256, 512)
    # Random networks per width.
    config.num_seeds = 10
    # Networks that are trained together.
    config.batch_size = 5
    # Learning rate, as a share of the largest stable one of the limit.
    config.rate = 0.25
    # Steps of gradient descent.
    config.steps = 800
    # Steps between records. Before this step, all steps are recorded.
    config.every = 10
    # Eigenvectors of the kernel along which the error is followed; 0 belongs to the largest eigenvalue.
    config.directions = (1, 3, 9, 19)
    # Test points whose outputs are in the figure.
    config.num_shown = 3
    # Seed of the networks, of the choice of images and of the bootstrap.
    config.seed = 0
    # Quantiles over seeds at the ends of the bands.
    config.quantiles = (0.1, 0.9)
    # Confidence level of the exponents' bootstrap intervals.
    config.confidence = 0.95
    # Resamples of the bootstrap.
    config.num_resamples = 2000
    return config
