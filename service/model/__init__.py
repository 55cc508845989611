"""The model, shared by all clients, and what they upload to it."""
