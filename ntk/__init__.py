"""Neural tangent kernels of finite and infinite networks.

Describe a network once, as an `MLP`, an `RNN` or a `tensor_program`. Read it in the limit with `infinite_kernels` and
`infinite_ntk`, and at finite width with `finite` and `empirical_kernels`. `empirical_ntk` computes the kernel of any
function. `dynamics` predicts training from a kernel.
"""

from ntk import dynamics
from ntk.decomposition import Kernels
from ntk.duals import Activation, activation
from ntk.finite_width import (
    Explanation,
    SketchedNTK,
    empirical_ntk,
    explain_empirical,
    linearize,
    ntk_diagonal,
    ntk_vector_product,
    sketched_ntk,
    taylor_expand,
)
from ntk.infinite_width import MLPKernels
from ntk.interop.neural_tangents import load_neural_tangents
from ntk.learning_curves import (
    LearningCurve,
    ZonalSpectrum,
    kernel_alignment_risk,
    learning_curve,
    leave_one_out_residuals,
    zonal_spectrum,
)
from ntk.learning_rates import StandardParameterization
from ntk.networks import MLP, RNN
from ntk.programs import (
    CorrectedKernels,
    ProgramKernels,
    TensorProgram,
    architectures,
    check_gia,
    corrected_kernels,
    tensor_program,
)
from ntk.propagation import DepthScales, FixedPoint, depth_scales, fixed_point
from ntk.readings import NetworkKernels, empirical_kernels, finite, infinite_kernels, infinite_ntk
from ntk.saving import load, save
from ntk.spectra import (
    alignment,
    condition_number,
    effective_dimension,
    effective_rank,
    eigenvalues,
    kernel_distance,
    target_alignment,
)

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "RNN",
    "Activation",
    "CorrectedKernels",
    "DepthScales",
    "Explanation",
    "FixedPoint",
    "Kernels",
    "LearningCurve",
    "MLPKernels",
    "NetworkKernels",
    "ProgramKernels",
    "SketchedNTK",
    "StandardParameterization",
    "TensorProgram",
    "ZonalSpectrum",
    "activation",
    "alignment",
    "architectures",
    "check_gia",
    "condition_number",
    "corrected_kernels",
    "depth_scales",
    "dynamics",
    "effective_dimension",
    "effective_rank",
    "eigenvalues",
    "empirical_kernels",
    "empirical_ntk",
    "explain_empirical",
    "finite",
    "fixed_point",
    "infinite_kernels",
    "infinite_ntk",
    "kernel_alignment_risk",
    "kernel_distance",
    "learning_curve",
    "leave_one_out_residuals",
    "linearize",
    "load",
    "load_neural_tangents",
    "ntk_diagonal",
    "ntk_vector_product",
    "save",
    "sketched_ntk",
    "target_alignment",
    "taylor_expand",
    "tensor_program",
    "zonal_spectrum",
]
