"""Times and memory, beside those of other programs."""
