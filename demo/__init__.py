"""The packaged demonstration: drawn scenes, their captions and the small model trained on them."""
