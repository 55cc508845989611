"""Labels to and from the files of other tools: CSV, Label Studio, COCO, Hugging Face."""
