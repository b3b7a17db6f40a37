"""Dialects of the same use cases over HTTP. They do not know each other."""
