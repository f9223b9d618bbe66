r"""Support vector machines with NTKs on small UCI sets (Arora et al. 2020, arXiv:1910.01663).

    python -m experiments.published --config=configs/published_uci.py --workdir=runs/published_uci

As it stands it takes four sets that scikit-learn ships, about three minutes on 2 CPU cores. The 90 sets of the paper
need `--config.data_dir=DIR`, with DIR/uci90/uci90.npz, and --config.max_points=5000. They take some hours. The NTK
should then reach 81.95 % on average.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    # The study of `experiments.published`.
    config.study = "uci"
    # A folder with uci90/uci90.npz. Empty: iris, wine, breast cancer and digits.
    config.data_dir = ""
    # Larger sets are left out.
    config.max_points = 2000
    # Kernels and classifiers. Each is compared with the first.
    config.families = ("NTK", "NNGP", "NTK, erf", "NTK, gelu", "ReLU + erf", "NTK, ridge")
    return config
