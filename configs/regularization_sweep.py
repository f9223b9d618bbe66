r"""Sweeps over the strengths of all regularizers, or of one, whose name follows the file name after a colon.

    python -m experiments.regularization_sweep --config=configs/regularization_sweep.py --workdir=runs/sweep
    python -m experiments.regularization_sweep --config=configs/regularization_sweep.py:l1 --workdir=runs/l1

Names are those of STRENGTHS below. Networks without a regularizer are always trained too. Their gap should be about 36
percentage points, and the gap of L2 at the strength 0.03 about 6. For other networks add --config.network.kind=CNN
--config.widths=16, or --config.network.kind=RNN.
"""

from ml_collections import ConfigDict

from configs import regularization_base
from ntk.checks import check_choice

STRENGTHS = {
    "l1": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "l2": (1e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "elastic_net": (1e-3, 3e-3, 1e-2),
    "weight_decay": (3e-3, 1e-2, 3e-2),
    # These two take an SVD of every matrix at every step, which is most of the time.
    "spectral": (1e-2, 3e-2, 1e-1, 3e-1),
    "nuclear": (3e-3, 1e-2, 3e-2, 1e-1),
    "dropout": (0.2, 0.5, 0.8),
    "batch_norm": (0.0,),
    "spectral_norm": (1.0, 2.0, 4.0),
}


def get_config(name: str = "all") -> ConfigDict:
    check_choice("the name after the file's", name, ("all", *STRENGTHS))
    config = regularization_base.get_config()
    # Without label noise networks hardly overfit.
    config.label_noise = (0.2,)
    config.train_sizes = (300,)
    names = STRENGTHS if name == "all" else (name,)
    config.regularizers = ConfigDict({"none": (0.0,)} | {name: STRENGTHS[name] for name in names})
    return config
