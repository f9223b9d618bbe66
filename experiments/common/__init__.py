"""What every experiment shares: flags, work directories, metrics, figures, networks."""
