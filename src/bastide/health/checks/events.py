"""Who tells of events of domain controllers: whether each is heard, and whether what it brings is whole and can be read."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

from bastide.domain.audit import Record
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import Check, Need
from bastide.health.look import bad, good, unasked
from bastide.health.world import World
from bastide.sections import EventSource
from bastide.services.intake.ports import Station
from bastide.services.ports import AuditQuery

#: What was refused or missing is told for so long: the next look of a day finds it.
_LATELY = timedelta(days=2)
#: A source that may be silent is asked about after this.
_LONG = timedelta(days=7)
_HOW_TO = "docs/how-to/event-intake.md says how a source is set up"
_NEEDLESS = "if it is needed no more, take it out of intake.sources"
OFF = "no events are taken in: bastide.toml has no section [intake]"


def sources(world: World) -> Iterator[Finding]:
    """Those of the settings, as they were heard on any node of this database."""
    table = world.config.intake
    if table is None:
        yield unasked("sources", OFF)
        return
    now = world.clock.now()
    with world.store().read() as uow:
        jumps = {
            one.subject: one
            for one in uow.audit.read(AuditQuery(kind="intake.gap", since=now - _LATELY, limit=0))
            if "expected" in json.loads(one.data)
        }
        for one in table.sources:
            yield judge_source(one, uow.observed.station(one.name), jumps.get(one.name), now)


def judge_source(source: EventSource, station: Station | None, jump: Record | None, now: datetime) -> Finding:
    """The worst that is to be said. `station`: None: it was never heard. `jump`: the audit's newest record of numbers that jumped lately."""
    name = source.name
    if station is None:
        return bad(name, f"{name} was never heard", f"{_HOW_TO}; {_NEEDLESS}")
    heard = f"{name} was heard at {station.heard_at:%Y-%m-%d %H:%M} UTC"
    evidence = f"{station.taken} lines taken, {station.refused} refused"
    silence, longest = now - station.heard_at, timedelta(minutes=source.silence_minutes)
    if longest and silence > longest:
        text = f"{heard}, and may be silent for {source.silence_minutes} minutes"
        return bad(name, text, f"see whether its forwarder runs; {_NEEDLESS}", evidence)
    if jump is not None:
        said = json.loads(jump.data)
        text = f"events of {name} are missing: record {said['expected']} of {said['computer']} was expected, {said['came']} came"
        return bad(name, text, "look for them in the log of that computer", evidence)
    if station.refused_at is not None and now - station.refused_at <= _LATELY:
        text = f"lines of {name} are refused, the last because {station.refusal}"
        return bad(name, text, _HOW_TO, evidence, severity=Severity.WARNING)
    if not longest and silence > _LONG:
        return bad(
            name, heard, f"see whether its forwarder runs; set silence_minutes, so that its silence is an alert; {_NEEDLESS}", evidence,
            severity=Severity.WARNING,
        )  # fmt: skip
    return good(name, heard, evidence)


CHECKS = (
    Check(
        id="service.events",
        category=Category.SERVICE,
        subject="who tells of events of domain controllers",
        why="A change that nobody tells of is matched with no grant, and its alert never comes.",
        run=sources,
        needs=(Need.DATABASE,),
    ),
)
