"""Listens for agents on domain controllers and hands what they say to the use cases."""
