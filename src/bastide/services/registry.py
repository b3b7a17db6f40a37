"""Where nodes are written down."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bastide.domain.nodes import Node


@dataclass(frozen=True, slots=True)
class Seat:
    """As whom a store claims work: a node, and the process that serves under its name."""

    node: str
    process: str


@dataclass(frozen=True, slots=True)
class Planned:
    """The work of a partition: how many rows are due some time, and until when the longest lease of it is (None: none is claimed)."""

    rows: int
    lease: datetime | None


class Registry(Protocol):
    """The nodes on this database. Heartbeats are written apart from this, in a statement of their own (Store.beat)."""

    def time(self, now: datetime) -> datetime:
        """The time by which heartbeats and leases are judged: the database's where it has a clock of its own, else `now`."""

    def find(self, name: str) -> Node | None: ...
    def get(self, name: str) -> Node:
        """Raises NotFound."""

    def all(self) -> tuple[Node, ...]:
        """By partition and name."""

    def put(self, node: Node) -> None:
        """Write down all of it but the heartbeat of a node that is known with the same process: that one is its own."""

    def remove(self, name: str) -> None:
        """Raises NotFound."""
