"""Every bound and measure that applies to one trained classifier."""
