"""Images and labels: embedded, from files, from OpenML."""
