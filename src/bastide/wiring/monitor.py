"""Monitoring of the directories: the use cases of a node."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.drift import Action, Rule, Rules
from bastide.domain.people import Forest
from bastide.sections import Monitoring as Section
from bastide.services.monitor.control import Control
from bastide.services.monitor.ports import ChangeFeed
from bastide.services.monitor.repairs import Repairs
from bastide.services.monitor.watch import Watch
from bastide.services.names import Names
from bastide.services.ports import Directory, Store

#: How long one node reads before it gives the row back; an idle second costs a question to the domain, and the database nothing.
HOLD = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class MonitorAdapters:
    """`interval`: between two looks at a domain where nothing happens. `hold`: see Watch."""

    feeds: Mapping[Forest, ChangeFeed]
    rules: Rules
    interval: timedelta = timedelta(seconds=1)
    hold: timedelta = HOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitoring:
    """`watch` is the worker's side, `control` that of people."""

    watch: Watch
    control: Control


def rules_of(table: Section) -> Rules:
    """As the settings say."""
    actions = {Rule(one.rule): Action(one.action) for one in table.rules if one.action}
    owners = {Rule(one.rule): one.owner for one in table.rules if one.owner}
    return Rules(actions, owners, table.owner)


def assemble_monitoring(
    adapters: MonitorAdapters,
    *,
    store: Store,
    forests: Mapping[Forest, Directory],
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
    jitter: Callable[[], float],
) -> Monitoring:
    """Wire the use cases to these adapters."""
    return Monitoring(
        watch=Watch(
            store=store,
            feeds=adapters.feeds,
            rules=adapters.rules,
            repairs=Repairs(store=store, priv=forests[Forest.PRIV], now=now),
            interval=adapters.interval,
            hold=adapters.hold,
            now=now,
            monotonic=monotonic,
            jitter=jitter,
            names=Names(forests),
        ),
        control=Control(store=store, sides=tuple(adapters.feeds), now=now),
    )
