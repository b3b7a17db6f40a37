"""The twin of the files: a list."""

from datetime import datetime

from bastide.domain.journal import Span
from bastide.services.journal import Journal, Read


class MemoryJournal(Journal):
    """Records as they are given: when, level, logger, line."""

    def __init__(self) -> None:
        self.records: list[tuple[datetime, str, str, str]] = []

    def read(self, span: Span, most: int) -> Read:
        """At most so many characters, the newest."""
        found = sorted(
            ((at, line) for at, level, logger, line in self.records if span.has(at, level, logger)),
            key=lambda one: one[0],
        )
        size, first = 0, len(found)
        while first and size + len(found[first - 1][1]) <= most:
            first -= 1
            size += len(found[first][1])
        kept = found[first:]
        whole_from = None if not first else kept[0][0] if kept else span.until
        return Read(tuple(kept), whole_from)
