"""Thresholds tried on cached scores before anything is saved."""
