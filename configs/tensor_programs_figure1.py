r"""Figure 1 of Tensor Programs II (Yang 2020, arXiv:2006.14548): three networks whose NTK was new in that paper.

    python -m experiments.kernel_convergence \
        --config=configs/tensor_programs_figure1.py --workdir=runs/figure1

A simple RNN with average pooling, a transformer, and a perceptron with batch normalization, at widths 2^6 ... 2^13, on
digits instead of the paper's sentences and CIFAR-10 images. Takes about three minutes on 2 CPU cores. The slopes of Θ's
error should be -0.52, -0.54 and -0.47.
"""

from ml_collections import ConfigDict

from configs import convergence_base


def get_config() -> ConfigDict:
    config = convergence_base.get_config()
    del config.network
    # Networks by label: `kind` is a program of ntk.architectures, and the others are its options.
    config.networks = ConfigDict(
        {
            "RNN, average pooling": {"kind": "rnn", "activation": "erf", "pooling": "mean"},
            "transformer": {"kind": "transformer", "depth": 1, "activation": "relu"},
            "batch norm and ReLU MLP": {"kind": "batch_norm_mlp", "depth": 1, "activation": "relu"},
        }
    )
    config.num_inputs = 8
    config.widths = tuple(2**k for k in range(6, 14))
    config.num_seeds = 10
    # At width 8192 the limit of batch norm must be accurate to a thousandth.
    config.samples = 2**18
    return config
