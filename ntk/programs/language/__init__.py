"""What a network is written with, and the graph that is recorded of it."""
