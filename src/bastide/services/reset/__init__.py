"""Self-service reset: registration, gates, budgets, the new password."""
