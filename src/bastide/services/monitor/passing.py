"""Members for a moment, with what the database knows of them. domain/passing.py decides; the requests of the past are read only when somebody is left to be explained."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from bastide.domain import monitored, passing
from bastide.domain.drift import Drift, Finding, Rule
from bastide.domain.ids import GroupId, Sid, UserId
from bastide.domain.monitored import Former, Moment, Pam, Watched
from bastide.domain.passing import Span
from bastide.domain.requests import Request, State
from bastide.services.caps import DEFAULT_TGT
from bastide.services.monitor.reading import Reading
from bastide.services.ports import UnitOfWork

_EVER = frozenset(State)


def passed(
    uow: UnitOfWork,
    before: Mapping[str, Watched],
    after: dict[str, Watched],
    reading: Reading,
    moment: Moment,
    span: Span,
) -> Iterator[Drift]:
    """Those that nothing explains, each once. What may be told again is kept with the groups of `after`. Raises StoreError."""
    taken_out = _left(before, reading) if reading.anew else reading.taken_out
    standing = uow.monitored.findings() if taken_out else ()
    for guid, former in taken_out.items():
        old, new = before.get(guid), after.get(guid)
        if old is None or new is None:
            continue
        unseen = passing.unseen(old, new, former, moment.after.groups, standing)
        group, unseen = passing.heard(new, unseen, moment.now)
        explained = (
            _explained(uow, guid, {one.sid for one in unseen}, moment, span) if unseen else frozenset()
        )
        written = explained | _written(old, new, former, moment.after, standing)
        group = passing.resounding(group, written, reading.others, moment.now)
        if group != new:
            after[guid] = group
            uow.monitored.put([group])
        caps = {user.priv.sid: user.ticket_cap for user in moment.after.users}
        for drift in passing.passing(new, unseen, explained, span, caps, DEFAULT_TGT):
            if not passing.is_said(drift, standing, span):
                yield drift


def _left(before: Mapping[str, Watched], reading: Reading) -> Mapping[str, frozenset[Former]]:
    """Of groups that were read anew nobody tells who was taken out: who is not shown any more."""
    found = {
        guid: frozenset(Former(sid, sid) for sid in old.lost(seen))
        for guid, seen in reading.seen.items()
        if (old := before.get(guid)) is not None
    }
    return {guid: former for guid, former in found.items() if former}


def _written(
    before: Watched, after: Watched, former: Iterable[Former], pam: Pam, standing: Iterable[Finding]
) -> frozenset[Sid]:
    """Who left this group, as its looks show, and may have been taken out by us: what requests give, and strangers."""
    left = before.lost(after.now) & {one.sid for one in former}
    if not left:
        return frozenset()
    ours = {user.priv.sid for user in pam.users} | {group.priv.sid for group in pam.groups}
    ours |= {
        Sid(one.drift.detail)
        for one in standing
        if one.drift.rule is Rule.STRANGER and one.drift.guid == after.guid and one.tried is not None
    }
    return left & ours


def not_shown(
    uow: UnitOfWork,
    before: Mapping[str, Watched],
    after: Mapping[str, Watched],
    reading: Reading,
    span: Span,
) -> Iterator[Drift]:
    """Of groups whose members changed in a way that no look shows. Raises StoreError."""
    standing = uow.monitored.findings() if reading.regrouped else ()
    for guid in sorted(reading.regrouped):
        old, new = before.get(guid), after.get(guid)
        if old is not None and new is not None:
            yield from passing.not_shown(old, new, reading.taken_out.get(guid), standing, span)


def _explained(
    uow: UnitOfWork, guid: str, sids: Collection[Sid], moment: Moment, span: Span
) -> frozenset[Sid]:
    """Whose membership of one group a request explains, at any moment of the span: a PRIV account's, and that of a PRIV group in its CORP group."""
    found: set[Sid] = set()
    for group in moment.after.groups:
        if guid == group.priv.guid:
            users = [user for user in moment.after.users if user.priv.sid in sids]
            held = _held(uow, [user.id for user in users], group.id, span)
            held |= {user.id for user in users if user.priv.sid in moment.explained(group.id)}
            found |= {user.priv.sid for user in users if user.id in held}
        elif guid == group.corp.guid and group.priv.sid in sids:
            everybody = [user.id for user in moment.after.users]
            if moment.linked(group) or _held(uow, everybody, group.id, span):
                found.add(group.priv.sid)
    return frozenset(found)


def _held(uow: UnitOfWork, users: Collection[UserId], group: GroupId, span: Span) -> set[UserId]:
    requests: Iterable[Request] = uow.requests.of_users(users, _EVER) if users else ()
    return {one.user for one in requests if monitored.held(one, group, span.since, span.until)}
