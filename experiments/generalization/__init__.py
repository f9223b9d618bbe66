"""Generalization bounds against measured risks."""
