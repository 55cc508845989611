"""An fp32 image tower as int8: measured ranges, smoothed outliers, sensitive products in float."""
