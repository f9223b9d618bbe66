r"""NNGP and NTK regression on digits with several networks, and trained finite networks.

    python -m experiments.kernel_regression --config=configs/kernel_regression.py --workdir=runs/regression

Takes less than three minutes on 2 CPU cores. With 180 training images the NNGP posterior of the MLP should have a test
error of about 5.4 %.
"""

from ml_collections import ConfigDict, config_dict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # Networks by label: `kind` is a class of ntk or a program of ntk.architectures, the rest its arguments.
    config.networks = ConfigDict(
        {
            "MLP": {"kind": "MLP", "depth": 2, "activation": "relu"},
            "RNN": {"kind": "RNN", "activation": "erf", "pooling": "mean"},
            "CNN": {"kind": "cnn_2d"},
            "residual MLP": {"kind": "residual_mlp"},
        }
    )
    # "digits" (embedded), "mnist", "fashion_mnist" or "cifar10"; with data_dir also any NAME with a NAME.npz there.
    config.dataset = "digits"
    # Folder with the files of the data set. If it is unset, they are fetched over the network. Digits need neither.
    config.data_dir = config_dict.placeholder(str)
    # Sample sizes of the learning curves.
    config.sizes = (20, 60, 180)
    # Training points that determine the hyperparameters.
    config.evidence_size = 60
    # Test images.
    config.num_test = 297
    # Samples of the limit of a program that has no closed form.
    config.samples = 2**11
    # Steps of gradient ascent (Adam) on the marginal likelihood.
    config.evidence_steps = 40
    # Learning rate of this ascent.
    config.evidence_rate = 0.15
    # Noise variance at the start of this ascent.
    config.noise = 0.01
    # Finite networks, trained on squared loss.
    config.finite = ConfigDict()
    # Labels of the networks that are trained.
    config.finite.networks = ("MLP", "RNN")
    # Width.
    config.finite.width = 128
    # Random starts.
    config.finite.num_seeds = 5
    # Steps of gradient descent.
    config.finite.steps = 400
    # Learning rate, as a share of the largest stable one.
    config.finite.rate = 0.5
    # Seed of the networks and of the choice of images.
    config.seed = 0
    return config
