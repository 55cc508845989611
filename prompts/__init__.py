"""Sentences, and the text vectors they become."""
