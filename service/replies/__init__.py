"""What is found and fitted, as it goes over the wire."""
