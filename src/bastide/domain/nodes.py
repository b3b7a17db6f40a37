"""Nodes and service partitions: which servers there are, whether one is alive, and whose work it may take.

The rules this module keeps:
  (1) A node belongs to one partition. Work belongs to the partition of the node that planned it, and only nodes of that partition take it.
  (2) One living process serves under a name: two would take each other's leases for their own.
  (3) A node that is drained finishes what it has and takes nothing new; that lasts until it is resumed, over restarts too.
  (4) A partition is adopted only when none of its nodes is alive and none of its leases runs: nobody works there any more.
  (5) A node is forgotten only when it is not alive, and when what it planned has somebody else to do it.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.domain.ids import typed

#: The partition of a node whose settings name none, and of all work that was planned before there were partitions.
DEFAULT_PARTITION = "default"
#: A node that missed so many heartbeats in a row is taken for dead.
MISSED = 3


class State(StrEnum):
    SERVING = "serving"
    DRAINING = "draining"
    DRAINED = "drained"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Node:
    """A server. `url` is its external address, `version` that of its code, `schema` that of the database its code was made for, `process` a word
    that only this one process on this host has. `heartbeat`: when it last said that it is alive, by the database's clock; `rhythm`: how often it does.
    """

    name: str
    url: str
    partition: str
    version: str
    schema: str
    process: str
    rhythm: timedelta
    started_at: datetime
    heartbeat: datetime
    draining: bool = False
    left_at: datetime | None = None

    def alive(self, now: datetime) -> bool:
        """Whether it was heard lately. A heartbeat far ahead was written by a clock that was wrong, and says nothing."""
        return self.left_at is None and abs(now - self.heartbeat) <= MISSED * self.rhythm

    def state(self, in_hand: int) -> State:
        """`in_hand`: how many pieces of work it has claimed."""
        if self.left_at is not None:
            return State.LEFT
        if not self.draining:
            return State.SERVING
        return State.DRAINING if in_hand else State.DRAINED

    def takes_work(self, now: datetime) -> bool:
        """Whether it claims what is due."""
        return self.alive(now) and not self.draining


def owner(name: str, pid: int) -> str:
    """As leases name their holder."""
    return f"{name}:{pid}"


def node_of(lease_owner: str) -> str:
    """The name of the node that holds a lease."""
    return lease_owner.rpartition(":")[0] or lease_owner


def join(known: Node | None, me: Node, now: datetime, *, gone: bool) -> Node:
    """The node as it begins to serve. `gone`: the process that is known under this name is proved to be over. Raises Conflict: rule (2)."""
    if known is None:
        return me
    if known.process != me.process and not gone and known.alive(now):
        wait = int((MISSED * known.rhythm).total_seconds())
        raise Conflict(
            f"another process serves as node {typed(me.name)}: two must not share a name",
            remedy=f"give each node a server.node of its own; if the other one was lost just now, try again in {wait} s",
        )
    return replace(me, draining=known.draining)  # (3)


def drain(node: Node) -> Node:
    """Raises Conflict."""
    if node.draining:
        raise Conflict(f"node {node.name} is drained already", remedy="`bastide node resume` ends that")
    return replace(node, draining=True)


def resume(node: Node) -> Node:
    """Raises Conflict."""
    if not node.draining:
        raise Conflict(f"node {node.name} is not drained")
    return replace(node, draining=False)


def forget(node: Node, nodes: Collection[Node], planned: int, now: datetime) -> None:
    """Refuse to take a node out of the list: rule (5). `planned`: the work of its partition. Raises Conflict."""
    if node.alive(now):
        raise Conflict(
            f"node {node.name} is alive", remedy="stop it first; a node that is stopped says that it left"
        )
    others = [one for one in nodes if one.partition == node.partition and one.name != node.name]
    if planned and not any(one.alive(now) for one in others):
        raise Conflict(
            f"{planned} pieces of work wait in partition {node.partition}, which has no other living node",
            remedy=f"`bastide node adopt {node.partition} --into OTHER` gives them to nodes that live",
        )


def adopt(
    partition: str,
    into: str,
    nodes: Collection[Node],
    *,
    waiting: int,
    lease: datetime | None,
    now: datetime,
) -> None:
    """Refuse to hand the work of one partition to another: rule (4). `waiting`: how much there is; `lease`: the latest end of a lease in it, if one
    runs. Raises InvalidInput, NotFound, Conflict.
    """
    if partition == into:
        raise InvalidInput("into", "is the partition itself")
    if not waiting:
        raise NotFound(
            f"no work waits in partition {typed(partition)}",
            remedy="`bastide node list` says which partitions have work and no node",
        )
    living = sorted(one.name for one in nodes if one.partition == partition and one.alive(now))
    if living:
        raise Conflict(
            f"node {living[0]} of partition {partition} is alive, and does its work",
            remedy="stop all its nodes first, if they are to be given up",
        )
    if lease is not None and lease > now:
        raise Conflict(
            f"somebody holds work of partition {partition} until {lease:%H:%M:%S} UTC",
            remedy="try again when the lease is over; whoever renews it is alive, and may be of an earlier version, which does not register",
        )
    if not any(one.partition == into and one.takes_work(now) for one in nodes):
        raise NotFound(
            f"partition {typed(into)} has no living node that takes work",
            remedy="`bastide node list` shows the nodes and their partitions",
        )


def fits(found: str | None, needed: str, floor: str) -> bool:
    """Whether a program made for schema `needed` can work on a database of version `found`. Versions are numbers of four digits. `floor`: the oldest
    schema whose programs the database still carries; empty: it does not say, and then only its own.
    """
    if found == needed:
        return True
    return found is not None and found.isdecimal() and bool(floor) and floor <= needed < found
