"""Scores and labels in, thresholds and decisions out: the calibration of clipcal."""
