"""Experiments: one script per figure or table, and the modules that they share."""
