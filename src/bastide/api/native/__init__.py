"""The native dialect: /api/v1. Handlers translate and nothing else: parse, call one use case, render."""
