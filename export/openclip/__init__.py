"""open_clip models as the sources of bundles."""
