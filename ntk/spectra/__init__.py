"""Numbers that describe a kernel matrix: eigenvalues, ranks, alignment."""

from ntk.spectra.similarity import alignment, kernel_distance, target_alignment
from ntk.spectra.spectrum import condition_number, effective_dimension, effective_rank, eigenvalues

__all__ = [
    "alignment",
    "condition_number",
    "effective_dimension",
    "effective_rank",
    "eigenvalues",
    "kernel_distance",
    "target_alignment",
]
