"""From embeddings and text vectors to scores."""
