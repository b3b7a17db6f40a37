"""Members of a group on one domain controller, as a desired state.

The whole batch is tried first. If the server refuses it, the difference is read and written again, at last value by value. What an error
code means is never guessed (Samba says 53 and 68 where Windows says 16 and 20): the controller is asked who is a member.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from bastide.directory.capabilities import Domain
from bastide.directory.entries import (
    any_sid,
    by_guid,
    guid_of_dn,
    member_value,
    plain_dn,
    read_ttl,
    same_dn,
    sid_of_dn,
)
from bastide.directory.session import ADD, DELETE, EXTENDED_DN, LINK_TTL, Change, Session
from bastide.domain.errors import (
    CapabilityMissing,
    DirectoryDenied,
    DirectoryError,
    DirectoryUnavailable,
    NoSuchObject,
)
from bastide.domain.ids import ObjectRef, Sid

_T = TypeVar("_T")
#: Values in one modify: AD takes 5,000 (MaxValRange governs reads only). Each modify reads and writes the whole list on Samba.
BATCH = 1000
_IN_FILTER = 100
#: How far two controllers' TTLs of one grant may be apart and still be the same grant.
_SAME = timedelta(seconds=5)


def chunks(things: Collection[_T], size: int) -> list[list[_T]]:
    """In order, at most `size` in each."""
    listed = list(things)
    return [listed[i : i + size] for i in range(0, len(listed), size)]


def present(session: Session, group: ObjectRef, sids: Collection[Sid]) -> dict[str, Sid]:
    """Which of the SIDs are members: GUID to SID. A foreign SID can stand there twice: two controllers may each have made an object for it.

    Read from the group's side, where the delegation gives the right to read: a CORP domain does not show memberOf to an account of PRIV,
    and what is not shown must not look like "not a member". Raises NoSuchObject if the group is gone.
    """
    found: dict[str, Sid] = {}
    for value in session.values(by_guid(group.guid), "member", controls=[EXTENDED_DN]):
        guid, sid = guid_of_dn(value), sid_of_dn(value)
        if sid is not None and sid in sids:
            found[guid] = sid
    return found


def all_present(session: Session, group: ObjectRef) -> frozenset[Sid]:
    """SIDs of all direct members. Raises NoSuchObject if the group is gone."""
    values = session.values(by_guid(group.guid), "member", controls=[EXTENDED_DN])
    return frozenset(sid for value in values if (sid := sid_of_dn(value)) is not None)


def time_left(session: Session, domain: Domain, group: ObjectRef, member: Sid) -> dict[Sid, timedelta | None]:
    """The member and its TTL, or nothing if it is no member here."""
    return times_left(session, domain, group, [member])


def times_left(
    session: Session, domain: Domain, group: ObjectRef, members: Collection[Sid]
) -> dict[Sid, timedelta | None]:
    """The TTL of each that is a member; None: permanent."""
    names = {
        plain_dn(entry.dn): entry.sid()
        for chunk in chunks(members, _IN_FILTER)
        for entry in session.search(domain.base, any_sid(chunk), ["objectSid"])
    }
    found: dict[Sid, timedelta | None] = {}
    for value in session.values(by_guid(group.guid), "member", controls=[LINK_TTL]):
        dn, left = read_ttl(value)
        sid = names.get(dn) or next((sid for name, sid in names.items() if same_dn(name, dn)), None)
        if sid is not None:
            found[sid] = left
    return found


def add(session: Session, domain: Domain, group: ObjectRef, sids: Collection[Sid]) -> list[Sid]:
    """Make all of them members. Returns those that are nobody. Raises NoSuchObject if the group is gone."""
    nobody: list[Sid] = []
    for chunk in chunks(sids, BATCH):
        if _try(session, group, [(ADD, "member", [member_value(sid, None) for sid in chunk])]) is None:
            continue
        there = set(present(session, group, chunk).values())
        for sid in [sid for sid in chunk if sid not in there]:
            error = _try(session, group, [(ADD, "member", [member_value(sid, None)])])
            if error is not None and not present(session, group, [sid]):
                if sid.domain != domain.sid and isinstance(error, NoSuchObject):
                    # So says Samba to a caller from the other forest that may not write: it looks for the caller's own object.
                    raise DirectoryDenied(
                        f"{session.controller} does not take {sid} into {group.name}: {error.message}",
                        remedy="run the delegation script of that forest again: `bastide delegation`",
                    ) from error
                if session.search(domain.base, any_sid([sid]), ["objectSid"]) or sid.domain != domain.sid:
                    raise error
                nobody.append(sid)
    return nobody


def add_limited(session: Session, domain: Domain, group: ObjectRef, limits: Mapping[Sid, timedelta]) -> None:
    """Make all of them members with these TTLs, also those that are members already, for ever or for another time.

    A link that comes back without a TTL is taken away again: raises CapabilityMissing (F16).
    """
    for chunk in chunks(limits, BATCH):
        values = [member_value(sid, limits[sid]) for sid in chunk]
        if _try(session, group, [(ADD, "member", values)]) is not None:
            _limit_each(session, domain, group, {sid: limits[sid] for sid in chunk})
        left = times_left(session, domain, group, chunk)
        standing = [sid for sid in chunk if sid in left and left[sid] is None]
        if standing:
            remove(session, domain, group, standing)
            raise CapabilityMissing(
                f"{session.controller} took members of {group.name} without their time limit; they were taken away again",
                remedy="check that the Privileged Access Management feature is enabled on this controller too",
            )


def _limit_each(session: Session, domain: Domain, group: ObjectRef, limits: Mapping[Sid, timedelta]) -> None:
    """A TTL is never laid over a link that is there: the old value goes and the new one comes in one modify, so there is no gap."""
    left = times_left(session, domain, group, list(limits))
    for sid, ttl in limits.items():
        have = left.get(sid)
        if have is not None and timedelta(0) <= ttl - have <= _SAME:
            continue
        changes: list[Change] = [(ADD, "member", [member_value(sid, ttl)])]
        if sid in left:
            changes.insert(0, (DELETE, "member", [member_value(sid, None)]))
        error = _try(session, group, changes)
        if error is not None:
            raise error


def remove(session: Session, domain: Domain, group: ObjectRef, sids: Collection[Sid]) -> None:
    """None of them is a member afterwards. A group or member that is gone counts as removed."""
    foreign = {sid for sid in sids if sid.domain != domain.sid}
    for chunk in chunks([sid for sid in sids if sid not in foreign], BATCH):
        if (
            _try(session, group, [(DELETE, "member", [member_value(sid, None) for sid in chunk])], gone=True)
            is not None
        ):
            _remove_present(session, group, chunk)
    if foreign:
        _remove_present(session, group, foreign)


def _remove_present(session: Session, group: ObjectRef, sids: Collection[Sid]) -> None:
    try:
        there = present(session, group, sids)
    except NoSuchObject:
        return
    if not there:
        return
    values = {guid: by_guid(guid).encode() for guid in there}
    if _try(session, group, [(DELETE, "member", list(values.values()))], gone=True) is None:
        return
    for guid, value in values.items():
        error = _try(session, group, [(DELETE, "member", [value])], gone=True)
        if error is not None and guid in present(session, group, [there[guid]]):
            raise error


def _try(
    session: Session, group: ObjectRef, changes: Sequence[Change], *, gone: bool = False
) -> DirectoryError | None:
    """The server's refusal, or None if it took the change. `gone`: a group that is gone is as good as changed.

    Raises DirectoryUnavailable, and NoSuchObject if the group is gone.
    """
    dn = by_guid(group.guid)
    try:
        session.modify(dn, changes)
    except DirectoryUnavailable:
        raise
    except DirectoryError as error:
        try:
            session.must_read(dn, ["objectClass"])
        except NoSuchObject:
            if gone:
                return None
            raise NoSuchObject(
                f"the group {group.name} is gone", remedy="remove the PAM group, or make it again"
            ) from error
        return error
    return None
