"""Averages near their expectations: inequalities, relative entropies, binomial tails, union bounds."""
