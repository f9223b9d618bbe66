"""How the kernel of any function is computed: its program read, a rule for each parameter, and the rules."""
