r"""A program of ntk.architectures that reads digits, against its limit. Its name follows the file name after a colon.

    python -m experiments.kernel_convergence \
        --config=configs/convergence_program.py:lstm --workdir=runs/convergence_lstm

Names are those of PROGRAMS in experiments/common/networks.py. Programs have their default options. The program
"mixture" adds mlp and residual_mlp. The slope of Θ's error should be -0.41 for the LSTM, 95 % interval [-0.47, -0.34];
docs/tensor_programs.md has the slopes of the others. All programs together take about 15 minutes on 2 CPU cores.
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
