"""Tables and figures of sweeps."""
