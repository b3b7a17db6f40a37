"""The logs of all nodes, without a way from node to node: a wish is written into the database, each node answers it there out of its own files, and whoever asked reads
the answers as one text.

The procedure:
  (1) The caller may administer. Wish and audit record are one commit, which wakes the nodes.
  (2) A node that was asked answers once, also that it has no files, or could not read them.
  (3) The answer goes in only while the wish is there: who asked may have given up.
  (4) What was read is removed by who asked; what nobody removed goes when it is old, whoever sees it first.
"""

import gzip
import io
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from bastide.domain import journal
from bastide.domain.journal import MOST, Answer, Gathering, Line, Span, Wish
from bastide.domain.people import Actor, Right, require
from bastide.services.events import by_actor
from bastide.services.nodes import Me
from bastide.services.ports import Random, Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Read:
    """Records of a span, oldest first: when each was made, and its line of JSON. `whole_from`: what was before is left out (None: all is there); `torn`:
    lines that could not be read.
    """

    lines: tuple[tuple[datetime, str], ...]
    whole_from: datetime | None = None
    torn: int = 0


class Journal(Protocol):
    """The log files of this machine's node."""

    def read(self, span: Span, most: int) -> Read:
        """At most so many characters, the newest. Raises OSError."""


class NodeLogs:
    """The use cases. Those with an actor raise NotAuthorized."""

    def __init__(
        self,
        *,
        store: Store,
        me: Me | None,
        files: Journal | None,
        random: Random,
        now: Callable[[], datetime],
    ) -> None:
        """`files`: None: this node keeps none."""
        self._store = store
        self._me = me
        self._files = files
        self._random = random
        self._now = now

    # ------------------------------------------------------------------------------------------------------------ who asks

    def ask(self, actor: Actor, span: Span, nodes: Collection[str] = ()) -> Gathering:
        """Ask all nodes, or these. Raises InvalidInput, NotFound, Conflict: (1)."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            now, known = uow.nodes.time(self._now()), uow.nodes.all()
            self._forget_old(uow.wishes.all(), now, uow.wishes.remove)  # (4)
            wish = journal.ask(self._random.uuid(), span, known, frozenset(nodes), uow.wishes.all(), now)
            uow.wishes.add(wish)
            data = {
                "since": span.since.isoformat(),
                "until": span.until.isoformat(),
                "level": int(span.level),
                "traces": span.traces,
                "nodes": list(wish.nodes),
            }
            uow.audit.append(by_actor("log.asked", now, actor, subject=wish.id, data=data))
            uow.work.wake()
            uow.commit()
        return journal.gathering(wish, (), known, now)

    def look(self, actor: Actor, wish_id: str) -> Gathering:
        """Who has answered, who has not. Raises NotFound."""
        require(actor, Right.ADMINISTER)
        with self._store.read() as uow:
            now = uow.nodes.time(self._now())
            return journal.gathering(
                uow.wishes.get(wish_id), uow.wishes.answers(wish_id), uow.nodes.all(), now
            )

    def records(self, actor: Actor, wish_id: str) -> Iterator[Line]:
        """All that was answered so far, in the order of time. Raises NotFound."""
        require(actor, Right.ADMINISTER)
        with self._store.read() as uow:
            uow.wishes.get(wish_id)
            packed = {one.node: uow.wishes.packed(wish_id, one.node) for one in uow.wishes.answers(wish_id)}
        return journal.in_order(_unpacked(node, data) for node, data in packed.items())

    def discard(self, actor: Actor, wish_id: str) -> None:
        """It was read, or nobody waits for it any more. Raises NotFound: (4)."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            uow.wishes.get(wish_id)
            uow.wishes.remove((wish_id,))
            uow.commit()

    # ------------------------------------------------------------------------------------------------------- who is asked

    def answer(self) -> int:
        """Answer what is asked of this node; how many wishes. Raises StoreError."""
        if self._me is None:
            return 0
        with self._store.read() as uow:
            now = uow.nodes.time(self._now())
            waiting = uow.wishes.unanswered(self._me.name)
            old = [wish for wish in uow.wishes.all() if wish.old(now)]  # also those that everybody answered
        mine = [wish for wish in waiting if self._me.name in wish.nodes and not wish.old(now)]
        for wish in mine:
            self._answer(wish, self._me.name)
        if old:
            with self._store.write() as uow:
                self._forget_old(old, now, uow.wishes.remove)  # (4)
                uow.commit()
        return len(mine)

    def _answer(self, wish: Wish, node: str) -> None:
        """(2)."""
        found, problem = Read(()), ""
        if self._files is None:
            problem = "it keeps no log files: logs.folder is not set, or could not be made"
        else:
            try:
                found = self._files.read(wish.span, MOST)
            except OSError as error:
                problem = f"its log files cannot be read: {error.strerror or type(error).__name__}"
        packed = gzip.compress("".join(f"{at.isoformat()} {line}\n" for at, line in found.lines).encode())
        with self._store.write() as uow:
            if uow.wishes.find(wish.id) is None:  # (3)
                return
            now = uow.nodes.time(self._now())
            said = Answer(node, now, len(found.lines), found.whole_from, found.torn, problem)
            uow.wishes.answer(wish.id, said, packed)
            uow.commit()
        _log.debug("%s records for %s", said.records, wish.id)

    @staticmethod
    def _forget_old(
        wishes: Collection[Wish], now: datetime, remove: Callable[[Collection[str]], None]
    ) -> None:
        if old := [wish.id for wish in wishes if wish.old(now)]:
            remove(old)


def _unpacked(node: str, packed: bytes) -> Iterator[Line]:
    """Line by line: the answers of many nodes are never all in memory at once."""
    with gzip.open(io.BytesIO(packed), "rt", encoding="utf-8", newline="\n") as text:
        for line in text:
            at, _, record = line.rstrip("\n").partition(" ")
            yield datetime.fromisoformat(at), node, record
