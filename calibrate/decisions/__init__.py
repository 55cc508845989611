"""From thresholds to a decision on every image."""
