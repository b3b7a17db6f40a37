"""The nodes' logs: levels as those of Get-ClusterLog, what somebody asks for, what a node answers, and one order in time.

The rules this module keeps:
  (1) A span is asked for, never "everything": it has a beginning, an end, and is no longer than MAX_SPAN.
  (2) Every registered node that has not left is asked, or those that were named; one that does not answer is named, with what is known of it.
  (3) What was asked and answered lives for LIFE at most.
  (4) A node answers with MOST characters at most, the newest; if that was not all, it says from when on its answer is whole.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from heapq import merge
from types import MappingProxyType

from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.domain.ids import typed
from bastide.domain.nodes import Node

MAX_SPAN = timedelta(days=31)
LIFE = timedelta(minutes=10)
#: Of one node's answer, in characters before it is compressed.
MOST = 4 * 1024 * 1024
#: Asked for at the same time, by all people together.
MAX_OPEN = 8


class Level(IntEnum):
    """How much, as ClusterLogLevel of a Windows failover cluster: each level holds those below it."""

    NOTHING = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4
    DEBUG = 5


DEFAULT_LEVEL = Level.INFO
#: The name of a level in a record, and where it belongs.
RANKS = MappingProxyType(
    {
        "critical": Level.ERROR,
        "error": Level.ERROR,
        "warning": Level.WARNING,
        "info": Level.INFO,
        "verbose": Level.VERBOSE,
        "debug": Level.DEBUG,
    }
)
#: The logger whose records are the steps of traced operations.
TRACE = "bastide.trace"


@dataclass(frozen=True, slots=True)
class Span:
    """Which records: from `since` on, before `until`, up to `level`. `traces`: steps of traced operations, and nothing else."""

    since: datetime
    until: datetime
    level: Level = DEFAULT_LEVEL
    traces: bool = False

    def has(self, at: datetime, level: str, logger: str) -> bool:
        """Whether a record belongs to it. One with a level that nobody knows does."""
        if not self.since <= at < self.until or (self.traces and logger != TRACE):
            return False
        return RANKS.get(level, Level.ERROR) <= self.level


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asked for, of which nodes."""

    id: str
    made_at: datetime
    span: Span
    nodes: tuple[str, ...]

    def old(self, now: datetime) -> bool:
        """Rule (3)."""
        return now - self.made_at > LIFE


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node answered: how many records; `whole_from`: what was before is left out (None: all is there); `torn`: lines that could not be read;
    `problem`: why there are none.
    """

    node: str
    at: datetime
    records: int = 0
    whole_from: datetime | None = None
    torn: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A node that was asked: what it answered, or that it did not yet, and whether it is alive. `heartbeat` None: nobody knows it any more."""

    name: str
    answer: Answer | None
    alive: bool
    heartbeat: datetime | None


@dataclass(frozen=True, slots=True)
class Gathering:
    """How far it is. `complete`: nobody is waited for any more who could still answer."""

    wish: Wish
    parts: tuple[Part, ...]

    @property
    def complete(self) -> bool:
        return not any(part.answer is None and part.alive for part in self.parts)


def ask(
    wish_id: str,
    span: Span,
    known: Collection[Node],
    named: Collection[str],
    open_wishes: Collection[Wish],
    now: datetime,
) -> Wish:
    """What is to be written down: rules (1) and (2). `named`: these nodes alone; empty: all. Raises InvalidInput, NotFound, Conflict."""
    if not span.since < span.until:
        raise InvalidInput("since", "is not before the end of the span")
    if span.until - span.since > MAX_SPAN:
        raise InvalidInput("since", f"is more than {MAX_SPAN.days} days before the end of the span")
    names = {node.name for node in known}
    for name in named:
        if name not in names:
            raise NotFound(
                f"there is no node {typed(name)}", remedy="`bastide node list` shows the nodes that there are"
            )
    asked = tuple(sorted(named)) or tuple(sorted(node.name for node in known if node.left_at is None))
    if not asked:
        raise NotFound(
            "no node is registered that could answer",
            remedy="on each server, `bastide cluster log --local` reads its own files",
        )
    if len(open_wishes) >= MAX_OPEN:
        raise Conflict(
            f"logs are being gathered {len(open_wishes)} times already",
            remedy=f"try again when one of them is done; each is given up after {LIFE.seconds // 60} minutes",
        )
    return Wish(wish_id, now, span, asked)


def gathering(wish: Wish, answers: Iterable[Answer], known: Iterable[Node], now: datetime) -> Gathering:
    """Every node that was asked: rule (2)."""
    said = {answer.node: answer for answer in answers}
    nodes = {node.name: node for node in known}
    parts = []
    for name in wish.nodes:
        node = nodes.get(name)
        alive = node is not None and node.alive(now)
        parts.append(Part(name, said.get(name), alive, None if node is None else node.heartbeat))
    return Gathering(wish, tuple(parts))


#: When, which node, the record as it was written.
Line = tuple[datetime, str, str]


def in_order(sources: Iterable[Iterator[Line]]) -> Iterator[Line]:
    """One text of several, ordered by time. Each node's own clock says when; of the same moment, by node."""
    return merge(*sources, key=lambda line: line[:2])
