"""Which groups a ticket opens, read upwards on one domain controller. No matching rule: AD and Samba walk a whole domain for it.

(1) Each level is read once; a group that was seen before ends its branch, so a loop ends.
(2) What a group is in is read from both sides: its own memberOf, and the groups whose `member` it is. A PRIV account sees no memberOf on the
    objects that stand for foreign SIDs, and a group that hides its members shows in the memberOf of what is in it.
(3) A group that something is in and that cannot be read is named by its SID, never left out.
(4) A distribution group gives nothing, and nothing through it ([MS-ADTS] 3.1.1.4.5.19: it is no part of a token).
"""

from collections.abc import Collection, Iterable

from ldap.filter import filter_format

from bastide.directory.capabilities import Domain
from bastide.directory.entries import GROUP_ATTRIBUTES, Entry, any_sid, by_guid, group, plain_dn, sid_of_dn
from bastide.directory.membership import chunks
from bastide.directory.session import EXTENDED_DN, Session
from bastide.domain.ids import Sid
from bastide.services.ports import Above, Group

_IN_FILTER = 100
_ATTRIBUTES = (*GROUP_ATTRIBUTES, "memberOf")


def above(session: Session, domain: Domain, sids: Collection[Sid], *, most: int) -> Above:
    """As the port says, with at most `most` groups."""
    known, read, unread = set(sids), dict[Sid, Group](), set[Sid]()
    level = set(sids)
    asked = level
    while level and len(read) < most:
        entries = _read(session, domain, level)
        unread |= level - {entry.sid() for entry in entries} - asked  # (3)
        found = {entry.sid(): group(entry) for entry in entries if entry.all("groupType")}
        carriers = [e for e in entries if e.sid() not in found or found[e.sid()].security]  # (4)
        read |= {sid: one for sid, one in found.items() if one.security}
        level = {*_by_own_side(session, carriers), *_by_other_side(session, domain, carriers)} - known  # (1)
        known |= level
    return Above(_sorted(read.values()), frozenset(unread), complete=not level)


def _read(session: Session, domain: Domain, sids: Collection[Sid]) -> list[Entry]:
    return [
        entry
        for chunk in chunks(sorted(sids), _IN_FILTER)
        for entry in session.search(domain.base, any_sid(chunk), _ATTRIBUTES, controls=[EXTENDED_DN])
    ]


def _by_own_side(session: Session, entries: Iterable[Entry]) -> Iterable[Sid]:
    """(2)"""
    for entry in entries:
        cut = any(name.startswith("memberof;range=") for name in entry.attributes)
        values = (
            session.values(by_guid(entry.guid()), "memberOf", controls=[EXTENDED_DN])
            if cut
            else entry.texts("memberOf")
        )
        yield from (sid for value in values if (sid := sid_of_dn(value)) is not None)


def _by_other_side(session: Session, domain: Domain, entries: Iterable[Entry]) -> Iterable[Sid]:
    """(2)"""
    names = [plain_dn(entry.dn) for entry in entries]
    for first in range(0, len(names), _IN_FILTER):
        one_of = "".join(filter_format("(member=%s)", [dn]) for dn in names[first : first + _IN_FILTER])
        condition = f"(&(objectClass=group)(|{one_of}))"
        yield from (entry.sid() for entry in session.search(domain.base, condition, ["objectSid"]))


def _sorted(groups: Iterable[Group]) -> tuple[Group, ...]:
    return tuple(sorted(groups, key=lambda one: one.ref.name.casefold()))
