"""Published results computed again, with the numbers of the papers beside ours."""
