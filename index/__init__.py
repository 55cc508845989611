"""Embeddings at rest and their neighbours."""
