"""The nodes on one database: join, say that one is alive, leave; and what administrators do with them.

In the database, so that every node knows of all, and any of them can be asked. A node that was drained, and a process whose name another one took, get no work: the
claim itself looks (store/work.py, rule (8)), so that nothing waits for a heartbeat.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain import nodes
from bastide.domain.errors import NotServing
from bastide.domain.nodes import Node, State
from bastide.domain.people import Actor, Right, require
from bastide.services.events import by_actor, by_worker
from bastide.services.figures import Holder
from bastide.services.ports import Store, UnitOfWork
from bastide.services.registry import Planned

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Me:
    """What a node says of itself."""

    name: str
    url: str
    partition: str
    version: str
    schema: str
    process: str
    rhythm: timedelta


@dataclass(frozen=True, slots=True)
class Seen:
    """A node as it is now. `in_hand`: the work it has claimed, and `until` when its longest lease is; `others`: living nodes of its partition, beside
    it, that take work.
    """

    node: Node
    state: State
    alive: bool
    in_hand: int
    until: datetime | None
    others: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All nodes; who has work in hand and is not registered (a node of an earlier version); and how much work waits in partitions that nobody works for."""

    nodes: tuple[Seen, ...]
    strangers: tuple[Holder, ...]
    abandoned: Mapping[str, int]


def nobody_knows(process: str) -> bool:  # noqa: ARG001  # the shape that is asked for
    """`gone` where no process can be looked up: none is proved to be over."""
    return False


class Nodes:
    """The use cases. Those with an actor raise NotAuthorized."""

    def __init__(
        self, *, store: Store, me: Me | None, gone: Callable[[str], bool], now: Callable[[], datetime]
    ) -> None:
        """`me`: None where no node runs (tests, tools). `gone`: whether a process of that description is proved to be over."""
        self._store = store
        self._me = me
        self._gone = gone
        self._now = now

    # --------------------------------------------------------------------------------------------------------- the node itself

    def join(self) -> None:
        """Serve under this node's name from now on. Raises Conflict if another living process does."""
        if self._me is None:
            return
        with self._store.write() as uow:
            now = uow.nodes.time(self._now())
            known = uow.nodes.find(self._me.name)
            gone = known is not None and self._gone(known.process)
            node = nodes.join(known, _born(self._me, now), now, gone=gone)
            uow.nodes.put(node)
            data = {"partition": node.partition, "version": node.version, "schema": node.schema}
            uow.audit.append(by_worker("node.joined", now, subject_name=node.name, data=data))
            uow.commit()
        if node.draining:
            _log.warning("node %s is drained, and takes no work until it is resumed", node.name)

    def beat(self) -> None:
        """Say that this node is alive. One that the database does not know any more joins again: it was restored, or the node was asleep for so long that
        it was taken for lost. Raises Conflict if another living process has its name.
        """
        if self._me is not None and not self._store.beat(self._now()):
            self.join()

    def leave(self) -> None:
        """The last word of a node that is stopped."""
        if self._me is None:
            return
        with self._store.write() as uow:
            now = uow.nodes.time(self._now())
            node = uow.nodes.find(self._me.name)
            if node is None or node.process != self._me.process:
                return
            uow.nodes.put(replace(node, left_at=now))
            uow.audit.append(
                by_worker("node.left", now, subject_name=node.name, data={"partition": node.partition})
            )
            uow.commit()

    def ready(self) -> None:
        """For load balancers. Raises NotServing, StoreUnavailable, StoreBusy."""
        with self._store.read() as uow:
            uow.audit.head()
            node = uow.nodes.find(self._me.name) if self._me is not None else None
        if node is not None and node.draining:
            raise NotServing(
                f"node {node.name} is drained: it answers, and takes no new work",
                remedy="ask another node; `bastide node resume` ends that",
            )

    # ---------------------------------------------------------------------------------------------------------- administrators

    def overview(self, actor: Actor) -> Overview:
        """All nodes, idle ones and lost ones too."""
        require(actor, Right.ADMINISTER)
        with self._store.read() as uow:
            known, now, holders = uow.nodes.all(), uow.nodes.time(self._now()), uow.figures.holders()
            planned = uow.work.planned(now)
        names = {node.name for node in known}
        manned = {node.partition for node in known if node.alive(now)}
        return Overview(
            tuple(seen(node, known, holders, now) for node in known),
            tuple(one for one in holders if nodes.node_of(one.owner) not in names),
            {name: work.rows for name, work in planned.items() if name not in manned},
        )

    def show(self, actor: Actor, name: str) -> Seen:
        """One node. Raises NotFound."""
        require(actor, Right.ADMINISTER)
        with self._store.read() as uow:
            return self._look(uow, uow.nodes.get(name))

    def drain(self, actor: Actor, name: str) -> Seen:
        """It finishes what it has and claims nothing new; calls are answered as before. Raises NotFound, Conflict."""
        return self._turn("node.drained", actor, name, nodes.drain)

    def resume(self, actor: Actor, name: str) -> Seen:
        """It takes work again, at once. Raises NotFound, Conflict."""
        return self._turn("node.resumed", actor, name, nodes.resume)

    def remove(self, actor: Actor, name: str) -> None:
        """Forget a node that is not alive. Raises NotFound, Conflict."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            now = uow.nodes.time(self._now())
            node, planned = uow.nodes.get(name), uow.work.planned(now)
            rows = planned[node.partition].rows if node.partition in planned else 0
            nodes.forget(node, uow.nodes.all(), rows, now)
            uow.nodes.remove(name)
            data = {"partition": node.partition}
            uow.audit.append(by_actor("node.removed", now, actor, subject_name=name, data=data))
            uow.commit()

    def adopt(self, actor: Actor, partition: str, into: str) -> int:
        """Give the work of a partition whose nodes are lost for good to another one; how many pieces. Raises NotFound, Conflict, InvalidInput."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            now = uow.nodes.time(self._now())
            planned = uow.work.planned(now).get(partition, Planned(0, None))
            nodes.adopt(partition, into, uow.nodes.all(), waiting=planned.rows, lease=planned.lease, now=now)
            uow.work.adopt(partition, into)
            data = {"into": into, "work": planned.rows}
            uow.audit.append(by_actor("node.adopted", now, actor, subject_name=partition, data=data))
            uow.work.wake()
            uow.commit()
        return planned.rows

    def _turn(self, kind: str, actor: Actor, name: str, change: Callable[[Node], Node]) -> Seen:
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            now = uow.nodes.time(self._now())
            node = change(uow.nodes.get(name))
            uow.nodes.put(node)
            data = {"partition": node.partition}
            uow.audit.append(by_actor(kind, now, actor, subject_name=name, data=data))
            uow.work.wake()
            uow.commit()
        with self._store.read() as uow:
            return self._look(uow, node)

    def _look(self, uow: UnitOfWork, node: Node) -> Seen:
        return seen(node, uow.nodes.all(), uow.figures.holders(), uow.nodes.time(self._now()))


def _born(me: Me, now: datetime) -> Node:
    return Node(
        name=me.name,
        url=me.url,
        partition=me.partition,
        version=me.version,
        schema=me.schema,
        process=me.process,
        rhythm=me.rhythm,
        started_at=now,
        heartbeat=now,
    )


def seen(node: Node, known: Sequence[Node], holders: Sequence[Holder], now: datetime) -> Seen:
    """The node among all that are `known`."""
    mine = [one for one in holders if nodes.node_of(one.owner) == node.name]
    in_hand = sum(one.claimed for one in mine)
    beside = [one for one in known if one.partition == node.partition and one.name != node.name]
    return Seen(
        node=node,
        state=node.state(in_hand),
        alive=node.alive(now),
        in_hand=in_hand,
        until=max((one.until for one in mine), default=None),
        others=sum(one.takes_work(now) for one in beside),
    )
