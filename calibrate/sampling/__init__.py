"""Which images to label next, and what labels so drawn stand for."""
