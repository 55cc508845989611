"""What the service works on, as it is at one moment."""
