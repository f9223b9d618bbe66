"""Solving with kernel matrices: decompositions, filters of eigenvalues, conjugate gradients."""
