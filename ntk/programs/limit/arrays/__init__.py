"""The limit of programs with position axes, on arrays over pairs of positions (theory.md 3.11)."""
