"""How the kernel of any function is computed: its program is read, and each parameter gets a rule."""
