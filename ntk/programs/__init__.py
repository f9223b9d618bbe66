"""Tensor programs: a network written once as a Python function, read at finite width, in the limit, and checked."""

import ntk.finite_width
import ntk.infinite_width
from ntk.programs import architectures
from ntk.programs.finite import FiniteProgram, finite
from ntk.programs.gia import GIACheck, Violation, check_gia
from ntk.programs.infinite import ProgramKernels, infinite, infinite_ntk
from ntk.programs.measured import measured
from ntk.programs.program import TensorProgram, tensor_program

# What reads a description of a network reads a program too.
ntk.finite_width.finite.register(TensorProgram, finite)
ntk.finite_width.empirical_kernels.register(TensorProgram, measured)
ntk.infinite_width.infinite_kernels.register(TensorProgram, infinite)
ntk.infinite_width.infinite_ntk.register(TensorProgram, infinite_ntk)

__all__ = [
    "FiniteProgram",
    "GIACheck",
    "ProgramKernels",
    "TensorProgram",
    "Violation",
    "architectures",
    "check_gia",
    "finite",
    "infinite",
    "infinite_ntk",
    "measured",
    "tensor_program",
]
