"""A member for a moment: put into a group and taken out again between two looks, as the directory's own record of what its groups lost says. Pure.

Neither look shows it, but a ticket that was bought in that moment carries the group until it ends. In order:

  (1) Who was a member at the look before, or is one now, is no such member: a look shows it. Nor is of whom a finding says so since an earlier look, while members
      were hidden. Nor is who was accepted, but in a group that Bastide made.
  (2) Who a request explains, at any moment between the looks, is none.
  (3) What was said of this time is not said again.
  (4) A group whose members changed, as the domain says, while nobody is shown who came or went, and its members are the same before and after: who came, or
      is in it by the primary group, is hidden from us.
  (5) A member of whom a finding says that they should not be there, who is one no more, and of whom the domain does not show that they were taken out: they were
      deleted, or are hidden from us and may be in it by the primary group. Met by a breaker.
  (6) Bastide takes a member out on each controller. When what another one wrote reaches the one that is read, and is newer, it tells the same removal again, a
      second or, between sites, hours later: as often as there are others. Nobody came and went then. Met in a test under load.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain.drift import OF_MEMBERS, Drift, Finding, Rule, addressed
from bastide.domain.ids import Sid
from bastide.domain.monitored import Echo, Former, Watched
from bastide.domain.names import spelled
from bastide.domain.nested import member_of
from bastide.domain.roles import PamGroup

#: What a domain lets a ticket be renewed for by default (MaxRenewAge).
RENEWED = timedelta(days=7)
#: Between sites AD replicates every three hours unless it is told otherwise, and there may be several of them in a row.
_HEARD_FOR = timedelta(days=1)
_INTRUDERS = frozenset({Rule.STRANGER, Rule.OTHER_MEMBER, Rule.NESTED_MEMBER})


@dataclass(frozen=True, slots=True)
class Span:
    """Between two looks at one controller."""

    since: datetime
    until: datetime
    controller: str


def unseen(
    before: Watched,
    after: Watched,
    former: Iterable[Former],
    groups: Iterable[PamGroup],
    standing: Iterable[Finding],
) -> tuple[Former, ...]:
    """(1)"""
    shown = {*before.now.members, *after.now.members}
    shown |= {
        sid
        for sid, guid in (member_of(one.drift) for one in standing if one.drift.rule in OF_MEMBERS)
        if guid == after.guid
    }
    if not any(group.is_ours and group.priv.guid == after.guid for group in groups):
        shown |= set(after.accepted.members)
    return tuple(sorted((one for one in former if one.sid not in shown), key=lambda one: one.sid))


def passing(
    group: Watched,
    unseen: Iterable[Former],
    explained: Collection[Sid],
    span: Span,
    caps: Mapping[Sid, timedelta],
    uncapped: timedelta,
) -> Iterator[Drift]:
    """(2). `caps`: the life of a ticket of those of whom it is known; `uncapped`: that of all others."""
    for one in unseen:
        if one.sid not in explained:
            yield _said(group, one, span, _tickets(one.sid, span.until, caps, uncapped))


def is_said(drift: Drift, standing: Iterable[Finding], span: Span) -> bool:
    """(3): whether a finding of the same member was made in this time."""
    sid = drift.detail.partition(" ")[0]
    return any(
        one.drift.rule is Rule.MOMENTARY_MEMBER
        and one.drift.guid == drift.guid
        and one.drift.detail.partition(" ")[0] == sid
        and one.found_at >= span.since
        for one in standing
    )


def resounding(group: Watched, sids: Collection[Sid], others: int, now: datetime) -> Watched:
    """(6): these were taken out on the controller that is read, and on so many `others`. Those tell their last state: of several removals each tells one at most."""
    kept = tuple(one for one in group.echoes if one.until > now and one.sid not in sids)
    until = now + _HEARD_FOR
    new = tuple(Echo(sid, others, until) for sid in sorted(sids) if others)
    return replace(group, echoes=kept + new)


def heard(group: Watched, unseen: Iterable[Former], now: datetime) -> tuple[Watched, tuple[Former, ...]]:
    """(6): the group, of which less can be told again, and those of the `unseen` of whom this was not the echo."""
    expected = {one.sid: one for one in group.echoes if one.until > now}
    told = {one.sid for one in unseen} & expected.keys()
    left = tuple(
        replace(one, times=one.times - (sid in told))
        for sid, one in sorted(expected.items())
        if one.times > (sid in told)
    )
    return replace(group, echoes=left), tuple(one for one in unseen if one.sid not in told)


def not_shown(
    before: Watched,
    after: Watched,
    taken_out: Collection[Former] | None,
    standing: Iterable[Finding],
    span: Span,
) -> Iterator[Drift]:
    """(4), (5), of a group whose members changed. `taken_out` None: nobody is shown who came or went."""
    if taken_out is None and before.now.members == after.now.members:
        yield _unseen_change(after, "", "its members changed", span)
    left = before.lost(after.now) - {one.sid for one in taken_out or ()}
    for one in standing:
        sid, guid = member_of(one.drift)
        if one.drift.rule in _INTRUDERS and guid == after.guid and sid in left:
            yield _unseen_change(after, sid, f"{spelled(sid, one.names)} is a member no more", span)


def _unseen_change(group: Watched, sid: str, what: str, span: Span) -> Drift:
    found = Drift(
        Rule.UNSEEN_MEMBER,
        group.domain,
        group.guid,
        group.now.name,
        f"{sid} {span.until:%Y-%m-%dT%H:%M:%SZ}",
        f"{group.now.name}: {what} between {_at(span.since)} and {_at(span.until)} as {span.controller} tells it, and who came or went is not shown to us:"
        " an account that was deleted, or one that is hidden from us and may be in the group still, by its primary group",
        f"look as an administrator at who is in {group.now.name} and whose primary group it is. Then `bastide monitor accept DRIFT --reason TEXT`",
    )
    return addressed(found)


def _said(group: Watched, who: Former, span: Span, tickets: str) -> Drift:
    name = who.name if who.name == who.sid else f"{who.name} ({who.sid})"
    found = Drift(
        Rule.MOMENTARY_MEMBER,
        group.domain,
        group.guid,
        group.now.name,
        f"{who.sid} {span.until:%Y-%m-%dT%H:%M:%SZ}",
        f"{name} was a member of {group.now.name} for a moment, put in and taken out between {_at(span.since)} and {_at(span.until)} as {span.controller}"
        f" tells it, and no request explains it; {tickets}",
        "ask who did it: `bastide report privileged-changes` where events come in, else the log of the domain's controllers. End the sessions of that account."
        " Then `bastide monitor accept DRIFT --reason TEXT`",
    )
    return addressed(found)


def _tickets(sid: Sid, until: datetime, caps: Mapping[Sid, timedelta], uncapped: timedelta) -> str:
    if sid in caps:
        return f"tickets bought meanwhile are good until {_at(until + caps[sid])} at the latest"
    return (
        f"tickets bought meanwhile are good until {_at(until + uncapped)}, and renewed until {_at(until + RENEWED)},"
        " where the domain keeps its defaults for Kerberos"
    )


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
