"""The log files of this node."""

from pathlib import Path

from bastide.config import Logs
from bastide.journal.files import FileJournal


def node_journal(settings: Logs, node: str) -> FileJournal | None:
    """None: it keeps none."""
    return FileJournal(Path(settings.folder), node) if settings.folder else None
