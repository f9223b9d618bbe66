r"""A program of ntk.architectures that reads digits, against its limit; its name comes after the file's.

    python -m experiments.kernel_convergence \
        --config=configs/convergence_program.py:lstm --workdir=runs/convergence_lstm

mlp, residual_mlp, tied_mlp, batch_norm_mlp, rnn, bidirectional_rnn, lstm, gru, layer_norm_gated_rnn, cnn_1d, cnn_2d,
self_attention, transformer or mixture (of mlp and residual_mlp), with the options that it has by itself.
"""

from ml_collections import ConfigDict

from configs import convergence_base


def get_config(kind: str = "lstm") -> ConfigDict:
    config = convergence_base.get_config()
    # Name of the program.
    config.network.kind = kind
    config.num_inputs = 8
    config.num_seeds = 32
    config.widths = (32, 64, 128, 256, 512, 1024)
    return config
