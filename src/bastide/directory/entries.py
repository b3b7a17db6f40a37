"""What LDAP sends and takes, as values: entries, times, SIDs, filters and DNs. No I/O."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import ldap
import ldap.dn
import ldap.filter

from bastide.directory.constants import (
    BUILTIN_DOMAIN,
    EPOCH_DIFFERENCE,
    NEVER,
    PROTECTED_BUILTIN_RIDS,
    PROTECTED_RIDS,
    UNITS_PER_MICROSECOND,
    AccountControl,
    GroupType,
)
from bastide.domain.errors import DirectoryDenied
from bastide.domain.ids import ObjectRef, Sid, guid_from_bytes
from bastide.domain.roles import Scope
from bastide.services.ports import Group, Person

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_EXTENDED = re.compile(r"^<GUID=([0-9a-fA-F-]+)>;(?:<SID=(S-[0-9-]+)>;)?(.*)$", re.DOTALL)
#: Windows writes the TTL-DN as `<TTL=60>,CN=..`; the form that it takes, `<TTL=60,CN=..>`, is read as well.
_TTL = re.compile(r"^<TTL=(\d+)(?:>,(.*)|,(.*)>)$", re.DOTALL)

PERSON_ATTRIBUTES = (
    "objectGUID", "objectSid", "sAMAccountName", "userPrincipalName", "displayName", "mail",
    "userAccountControl", "accountExpires", "adminCount",
)  # fmt: skip
GROUP_ATTRIBUTES = ("objectGUID", "objectSid", "sAMAccountName", "groupType", "adminCount")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: its DN, and its attributes under lower-case names."""

    dn: str
    attributes: Mapping[str, Sequence[bytes]]

    @classmethod
    def read(cls, dn: str, attributes: Mapping[str, Sequence[bytes]]) -> "Entry":
        return cls(dn, {name.lower(): values for name, values in attributes.items()})

    def all(self, name: str) -> Sequence[bytes]:
        return self.attributes.get(name.lower(), ())

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(value.decode("utf-8", "replace") for value in self.all(name))

    def text(self, name: str) -> str:
        return next(iter(self.texts(name)), "")

    def number(self, name: str, default: int = 0) -> int:
        text = self.text(name)
        return int(text) if text else default

    def sid(self, name: str = "objectSid") -> Sid:
        return Sid.from_bytes(self.all(name)[0])

    def guid(self) -> str:
        return guid_from_bytes(self.all("objectGUID")[0])

    def ref(self) -> ObjectRef:
        return ObjectRef(
            guid=self.guid(), sid=self.sid(), dn=plain_dn(self.dn), name=self.text("sAMAccountName")
        )


def person(entry: Entry, dns_name: str) -> Person:
    """A user account. Where no userPrincipalName is stored, the implied one counts ([MS-ADTS] 5.1.1.1.1). Raises DirectoryDenied."""
    require_shown(entry)
    return Person(
        ref=entry.ref(),
        upn=entry.text("userPrincipalName") or f"{entry.text('sAMAccountName')}@{dns_name}",
        display_name=entry.text("displayName") or entry.text("sAMAccountName"),
        mail=entry.text("mail"),
        enabled=not entry.number("userAccountControl") & AccountControl.DISABLED,
        expires=from_filetime(entry.number("accountExpires")),
        protected=is_protected(entry),
    )


def require_shown(entry: Entry) -> None:
    """Raise DirectoryDenied if AD keeps the account's state from us: an attribute that is not shown must not read as "enabled" or "for ever".

    Met on the first day: a PRIV account sees names in CORP, and neither userAccountControl nor accountExpires.
    """
    for needed in ("userAccountControl", "accountExpires"):
        if not entry.all(needed):
            raise DirectoryDenied(
                f"{needed} of {plain_dn(entry.dn)} cannot be read",
                remedy="run the delegation script of that forest again: `bastide delegation`",
            )


def group(entry: Entry) -> Group:
    """A group as it came."""
    kind = entry.number("groupType")
    return Group(
        ref=entry.ref(),
        scope=scope_of(kind),
        security=bool(kind & GroupType.SECURITY),
        protected=is_protected(entry),
    )


def scope_of(group_type: int) -> Scope:
    """The scope in groupType, a signed number on the wire that Python's `&` reads right."""
    if group_type & GroupType.BUILTIN:
        return Scope.BUILTIN
    if group_type & GroupType.DOMAIN_LOCAL:
        return Scope.DOMAIN_LOCAL
    return Scope.UNIVERSAL if group_type & GroupType.UNIVERSAL else Scope.GLOBAL


def is_protected(entry: Entry) -> bool:
    """Whether AdminSDHolder resets its permissions."""
    sid = entry.sid()
    rids = PROTECTED_BUILTIN_RIDS if sid.domain == BUILTIN_DOMAIN else PROTECTED_RIDS
    return entry.number("adminCount") > 0 or sid.rid in rids


def from_filetime(value: int) -> datetime | None:
    """An accountExpires as a moment; None: never. A moment that Python cannot write counts as its last."""
    if value in NEVER:
        return None
    try:
        return _EPOCH + timedelta(microseconds=value // UNITS_PER_MICROSECOND - EPOCH_DIFFERENCE * 1_000_000)
    except OverflowError:
        return _LAST


def to_filetime(moment: datetime) -> int:
    """Never later than asked; never one of the two values that mean never."""
    microseconds = (moment - _EPOCH) // timedelta(microseconds=1) + EPOCH_DIFFERENCE * 1_000_000
    return max(1, microseconds * UNITS_PER_MICROSECOND)


def plain_dn(text: str) -> str:
    """A DN without the parts that the extended-DN control adds."""
    match = _EXTENDED.match(text)
    return match[3] if match else text


def first_name(dn: str) -> str:
    """What an object is called in its container; a DN that cannot be read, as it is."""
    try:
        return str(ldap.dn.str2dn(dn)[0][0][1])
    except (ldap.DECODING_ERROR, IndexError):
        return dn


def guid_of_dn(text: str) -> str:
    """The GUID in an extended DN; empty if it is a plain one."""
    match = _EXTENDED.match(text)
    return match[1].lower() if match else ""


def sid_of_dn(text: str) -> Sid | None:
    """The SID in an extended DN; None if it has none."""
    match = _EXTENDED.match(text)
    return Sid(match[2]) if match and match[2] else None


def read_ttl(text: str) -> tuple[str, timedelta | None]:
    """A member value as (DN, time left); None: permanent."""
    match = _TTL.match(text)
    if match is None:
        return text, None
    return match[2] if match[2] is not None else match[3], timedelta(seconds=int(match[1]))


def by_guid(guid: str) -> str:
    """The DN form that survives renames ([MS-ADTS] 3.1.1.3.1.2.4)."""
    return f"<GUID={guid}>"


def by_sid(sid: Sid) -> str:
    """The DN form for whoever has that SID; for a foreign one, AD makes the foreignSecurityPrincipal."""
    return f"<SID={sid}>"


def member_value(sid: Sid, ttl: timedelta | None) -> bytes:
    """A value for `member`. A TTL is cut to whole seconds, so that it ends not later than asked."""
    if ttl is None:
        return by_sid(sid).encode()
    return f"<TTL={max(1, int(ttl.total_seconds()))},{by_sid(sid)}>".encode()


def any_sid(sids: Iterable[Sid]) -> str:
    """A filter for the objects with one of the SIDs."""
    return "(|" + "".join(ldap.filter.filter_format("(objectSid=%s)", [sid]) for sid in sids) + ")"


def any_guid(guids: Iterable[str]) -> str:
    """A filter for the objects with one of the objectGUIDs (RFC 4515 3: every octet escaped)."""
    raw = (ldap.filter.escape_filter_chars(UUID(guid).bytes_le.decode("latin-1"), 2) for guid in guids)
    return "(|" + "".join(f"(objectGUID={one})" for one in raw) + ")"


def child(name: str, container: str) -> str:
    """The DN of CN=name in the container."""
    return f"CN={ldap.dn.escape_dn_chars(name)},{container}"


def is_below(dn: str, container: str) -> bool:
    """Whether an object lies in a container, however deep. Unreadable DNs lie nowhere."""
    try:
        inner, outer = ldap.dn.str2dn(dn.lower()), ldap.dn.str2dn(container.lower())
    except ldap.DECODING_ERROR:
        return False
    return len(inner) > len(outer) and inner[-len(outer) :] == outer


def containers(dn: str, base: str) -> tuple[str, ...]:
    """DNs of all that an object lies in, from the innermost on, as far as they are below `base`. Unreadable DNs lie nowhere."""
    try:
        parts, top = ldap.dn.str2dn(dn), ldap.dn.str2dn(base.lower())
    except ldap.DECODING_ERROR:
        return ()
    if ldap.dn.str2dn(dn.lower())[-len(top) :] != top:
        return ()
    return tuple(str(ldap.dn.dn2str(parts[at:])) for at in range(1, len(parts) - len(top)))


def same_dn(one: str, other: str) -> bool:
    """Whether two DNs are the same, whatever their case and spacing."""
    try:
        return bool(ldap.dn.str2dn(one.lower()) == ldap.dn.str2dn(other.lower()))
    except ldap.DECODING_ERROR:
        return one.lower() == other.lower()
