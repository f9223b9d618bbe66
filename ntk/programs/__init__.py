"""Tensor programs: a network written once as a Python function, read at finite width, in the limit, and checked."""

from ntk.programs import architectures
from ntk.programs.at_width.empirical import measured
from ntk.programs.at_width.model import FiniteProgram, finite
from ntk.programs.gia import GIACheck, Violation, check_gia
from ntk.programs.language.program import TensorProgram, tensor_program
from ntk.programs.limit.corrected import CorrectedKernels, corrected_kernels
from ntk.programs.limit.kernels import infinite, infinite_ntk
from ntk.programs.results import ProgramKernels

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
