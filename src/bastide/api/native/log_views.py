"""Logs and traces as callers get them, and what callers say about them."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from bastide.api.native.inputs import Body, Moment, Name
from bastide.api.native.views import View
from bastide.domain.journal import DEFAULT_LEVEL, Gathering, Level, Part, Span
from bastide.domain.traces import DEFAULT, LONGEST, OPERATIONS, Trace

_LONGEST = int(LONGEST.total_seconds())
_NODES = 500


class NewWish(Body, frozen=True, kw_only=True):
    """Which records: from `since` on, before `until`; `level` 0 to 5; `traces`: the steps of traced operations alone; `nodes`: empty: all."""

    since: Moment
    until: Moment
    level: Annotated[int, Meta(ge=0, le=5)] = int(DEFAULT_LEVEL)
    traces: bool = False
    nodes: Annotated[tuple[Name, ...], Meta(max_length=_NODES)] = ()

    def span(self) -> Span:
        """In the words of the use case."""
        return Span(self.since, self.until, Level(self.level), self.traces)


class NewTrace(Body, frozen=True, kw_only=True):
    """How long, in seconds."""

    seconds: Annotated[int, Meta(ge=1, le=_LONGEST)] = int(DEFAULT.total_seconds())


class PartView(View, frozen=True, kw_only=True):
    """A node that was asked. `whole_from`: what was before is left out; `torn`: lines that could not be read; `problem`: why it has no records."""

    node: str
    answered: bool
    alive: bool
    heartbeat: datetime | None
    records: int
    whole_from: datetime | None
    torn: int
    problem: str


class WishView(View, frozen=True, kw_only=True):
    """`complete`: no living node is waited for any more."""

    id: str
    complete: bool
    nodes: list[PartView]


class RecordView(View, frozen=True, kw_only=True):
    """One record: which node, and what it wrote."""

    node: str
    record: msgspec.Raw


class TraceView(View, frozen=True, kw_only=True):
    operation: str
    since: datetime
    ends_at: datetime
    by: str


class TracesView(View, frozen=True, kw_only=True):
    """`operations`: all that can be traced."""

    items: list[TraceView]
    operations: list[str]


def wish(found: Gathering) -> WishView:
    return WishView(id=found.wish.id, complete=found.complete, nodes=[_part(one) for one in found.parts])


def _part(part: Part) -> PartView:
    said = part.answer
    return PartView(
        node=part.name,
        answered=said is not None,
        alive=part.alive,
        heartbeat=part.heartbeat,
        records=said.records if said else 0,
        whole_from=said.whole_from if said else None,
        torn=said.torn if said else 0,
        problem=said.problem if said else "",
    )


def trace(one: Trace) -> TraceView:
    return TraceView(operation=one.operation, since=one.since, ends_at=one.ends_at, by=one.by)


def traces(on: tuple[Trace, ...]) -> TracesView:
    return TracesView(items=[trace(one) for one in on], operations=[*OPERATIONS])
