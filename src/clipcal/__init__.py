"""CLIP embeddings, reusable prompts and thresholds calibrated against human labels."""

__version__ = "0.1.0"
