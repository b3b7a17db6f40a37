"""Backups of the database: what is in them (dump.py), how they are sealed (sealed.py), where they lie (folder.py), what people do with them (backups.py)."""
