"""Limits that are sampled: points, Gaussian coordinates given those drawn before."""
