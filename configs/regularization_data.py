r"""The effects of label noise and of the number of training points, with and without a penalty.

    python -m experiments.regularization_sweep \
        --config=configs/regularization_data.py --workdir=runs/regularization_data

Takes about two minutes on 2 CPU cores. At 400 points with 40 % of the labels redrawn, the error on new points should
be about 34 % without a penalty, and 13 % with L2.
"""

from ml_collections import ConfigDict

from configs import regularization_base


def get_config() -> ConfigDict:
    config = regularization_base.get_config()
    config.regularizers = ConfigDict({"none": (0.0,), "l1": (1e-2,), "l2": (3e-2,), "spectral": (3e-1,)})
    config.label_noise = (0.2, 0.0, 0.4)
    config.train_sizes = (400, 50, 100, 200)
    config.num_probes = 0
    config.bounds = ConfigDict()
    return config
