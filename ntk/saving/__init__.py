"""Results in files. `pickle` and `ntk.save` refer to some objects by name."""

from ntk.saving.archive import load, save

__all__ = ["load", "save"]
