"""Results in files, and what `pickle` and `ntk.save` know by name."""

from ntk.saving.archive import load, save

__all__ = ["load", "save"]
