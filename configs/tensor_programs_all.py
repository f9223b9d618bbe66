r"""Every program of ntk.architectures on digits: the NTK of finite width against its limit, in one figure.

    python -m experiments.kernel_convergence \
        --config=configs/tensor_programs_all.py --workdir=runs/tensor_programs_all

The programs with a slope in docs/tensor_programs.md take about 15 minutes on 2 CPU cores; half of that is compilation.
The others have not been timed. Slopes should be from -0.57 to -0.41, as there.
"""

from ml_collections import ConfigDict

from configs import convergence_base
from experiments.common.networks import PROGRAMS


def get_config() -> ConfigDict:
    config = convergence_base.get_config()
    del config.network
    # Networks by label: `kind` is a program of ntk.architectures.
    config.networks = ConfigDict({name: {"kind": name} for name in PROGRAMS})
    config.num_inputs = 8
    config.num_seeds = 32
    config.widths = (32, 64, 128, 256, 512, 1024)
    return config
