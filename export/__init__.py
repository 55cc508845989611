"""From an open_clip model to an ONNX bundle: the only folder whose imports need torch."""
