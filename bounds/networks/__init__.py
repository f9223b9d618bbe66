"""What the weights of a network say: norms, margins, Lipschitz constants, VC dimensions, fitted patterns."""
