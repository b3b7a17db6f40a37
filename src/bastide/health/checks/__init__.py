"""One module for each subject. Each has CHECKS; registry.py gathers them."""
