"""Loops whose coordinates are sampled, step by step (theory.md 3.13)."""
