"""Backups of the database: what is in them (dump.py), how they are sealed (sealed.py), where they lie (place.py: folder.py, share.py), what people do with them (backups.py)."""
