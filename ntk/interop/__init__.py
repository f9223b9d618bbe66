"""Other people's kernel libraries, as independent references."""
