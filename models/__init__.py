"""The run time of exported models: bundles, sessions, preprocessing, tokenizers."""
