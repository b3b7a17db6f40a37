"""Nodes as callers get them, and what callers say about them."""

from datetime import datetime

import msgspec

from bastide.api.native.inputs import Name
from bastide.api.native.views import View
from bastide.services.nodes import Overview, Seen


class Adopt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`into`: the partition whose nodes go on with the work."""

    into: Name


class Adopted(View, frozen=True, kw_only=True):
    """`work`: how many pieces went."""

    partition: str
    into: str
    work: int


class NodeView(View, frozen=True, kw_only=True):
    """`in_hand`: pieces of work it has claimed, `until` when its longest lease is; `others`: living nodes of its partition, beside it, that take work."""

    name: str
    url: str
    partition: str
    state: str
    alive: bool
    version: str
    schema: str
    started_at: datetime
    heartbeat: datetime
    heartbeat_seconds: int
    left_at: datetime | None
    in_hand: int
    until: datetime | None
    others: int


class HolderView(View, frozen=True, kw_only=True):
    """Who has work and is not registered."""

    owner: str
    in_hand: int
    until: datetime


class AbandonedView(View, frozen=True, kw_only=True):
    """A partition with work and without a living node."""

    partition: str
    work: int


class NodesView(View, frozen=True, kw_only=True):
    items: list[NodeView]
    unregistered: list[HolderView]
    abandoned: list[AbandonedView]


def node(seen: Seen) -> NodeView:
    one = seen.node
    return NodeView(
        name=one.name,
        url=one.url,
        partition=one.partition,
        state=seen.state.value,
        alive=seen.alive,
        version=one.version,
        schema=one.schema,
        started_at=one.started_at,
        heartbeat=one.heartbeat,
        heartbeat_seconds=int(one.rhythm.total_seconds()),
        left_at=one.left_at,
        in_hand=seen.in_hand,
        until=seen.until,
        others=seen.others,
    )


def nodes(overview: Overview) -> NodesView:
    return NodesView(
        items=[node(one) for one in overview.nodes],
        unregistered=[
            HolderView(owner=one.owner, in_hand=one.claimed, until=one.until) for one in overview.strangers
        ],
        abandoned=[
            AbandonedView(partition=name, work=work) for name, work in sorted(overview.abandoned.items())
        ],
    )
