"""Tensor programs: a network written once as a Python function, read at finite width, in the limit, and checked."""

from ntk.programs import architectures
from ntk.programs.corrected import CorrectedKernels, corrected_kernels
from ntk.programs.finite import FiniteProgram, finite
from ntk.programs.gia import GIACheck, Violation, check_gia
from ntk.programs.infinite import ProgramKernels, infinite, infinite_ntk
from ntk.programs.measured import measured
from ntk.programs.program import TensorProgram, tensor_program

__all__ = [
    "CorrectedKernels",
    "FiniteProgram",
    "GIACheck",
    "ProgramKernels",
    "TensorProgram",
    "Violation",
    "architectures",
    "check_gia",
    "corrected_kernels",
    "finite",
    "infinite",
    "infinite_ntk",
    "measured",
    "tensor_program",
]
