"""Scores learned from labels on frozen embeddings."""
