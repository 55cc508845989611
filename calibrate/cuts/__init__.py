"""Thresholds: what they are to attain, how they are fitted, measured, judged and told."""
