"""People's label files: read, counted, and matched with the images of a corpus."""
