"""The twin of a witness: it tells what a test tells it."""

import queue
from collections.abc import Callable
from dataclasses import dataclass, field

from bastide.backup.witness import Notice, Unwatched

Said = Notice | Unwatched | None


class MemoryWatch:
    def __init__(self, by: str) -> None:
        self.by = by
        self.closed = 0
        self.said: queue.Queue[Said] = queue.Queue()

    def wait(self) -> Notice | None:
        if self.closed:
            return None
        said = self.said.get(timeout=30)
        if isinstance(said, Unwatched):
            raise said
        return said

    def close(self) -> None:
        self.closed += 1
        self.said.put(None)


@dataclass
class MemoryWitness:
    """`refuses`: why it watches nobody; `before`: what happens before it answers."""

    refuses: Unwatched | None = None
    before: Callable[[], object] = bool
    watches: list[MemoryWatch] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def watch(self, server: str, address: str) -> MemoryWatch:
        self.before()
        self.asked.append((server, address))
        if self.refuses is not None:
            raise self.refuses
        self.watches.append(MemoryWatch("node-2 (192.0.2.2)"))
        return self.watches[-1]
