"""Where events of domain controllers come in."""
