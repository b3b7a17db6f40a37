"""Self-service reset: what is decided without input or output."""
