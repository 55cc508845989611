"""What goes over the wire: requests and replies, one module per part of the API."""
