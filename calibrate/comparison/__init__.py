"""Two files of judgements side by side."""
