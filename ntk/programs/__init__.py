"""Tensor programs: a network written once as a Python function, read at finite width, in the limit, and checked."""

import ntk.finite_width
import ntk.infinite_width
from ntk.programs import architectures
from ntk.programs.corrected import CorrectedKernels, corrected_kernels
from ntk.programs.finite import FiniteProgram, finite
from ntk.programs.gia import GIACheck, Violation, check_gia
from ntk.programs.infinite import ProgramKernels, infinite, infinite_ntk
from ntk.programs.measured import measured
from ntk.programs.program import TensorProgram, tensor_program

# What reads a description of a network reads a program too.
for public, own in (
    (ntk.finite_width.finite, finite),
    (ntk.finite_width.empirical_kernels, measured),
    (ntk.infinite_width.infinite_kernels, infinite),
    (ntk.infinite_width.infinite_ntk, infinite_ntk),
):
    public.register(TensorProgram)(own)

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
