"""DirSync over the network ([MS-ADTS] 3.1.1.3.4.1.3): which objects of a domain changed since a cookie. It shows no secret attribute.

An account with "Replicating Directory Changes" sees all; any other asks with LDAP_DIRSYNC_OBJECT_SECURITY and sees what it may read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import ldap
from ldap.controls import KNOWN_RESPONSE_CONTROLS, LDAPControl, ResponseControl
from pyasn1.codec.ber import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1.type.namedtype import NamedType, NamedTypes
from pyasn1.type.univ import Integer, OctetString
from pyasn1.type.univ import Sequence as Asn1Sequence

from bastide.directory.session import EXTENDED_DN, Session, Unsaid, door
from bastide.domain.ids import guid_from_bytes

OID = "1.2.840.113556.1.4.841"
OBJECT_SECURITY = 0x1
#: Of linked values only those that changed, and which of them were taken away. The highest bit of a signed number.
INCREMENTAL_VALUES = -0x80000000
_TAKEN_AWAY = ";range=0-0"
#: Users are no computers; nothing else can be asked of an object that was deleted, which keeps few attributes.
USERS = "(&(objectClass=user)(!(objectClass=computer)))"
_READ_ALL = "read everything anew"
_Data = Sequence[tuple[str | None, Mapping[str, list[bytes]]]]


class _Answer(ResponseControl):  # type: ignore[misc]  # python-ldap has no types
    """python-ldap drops a response control that it has no class for: the cookie would be lost without a word."""

    controlType: ClassVar[str] = OID  # noqa: N815  # python-ldap's name

    def decodeControlValue(self, value: bytes) -> None:  # noqa: N802  # python-ldap's name
        self.encodedControlValue = value


KNOWN_RESPONSE_CONTROLS[OID] = _Answer


class _Value(Asn1Sequence):  # type: ignore[misc]  # pyasn1 has no types
    """DirSyncRequestValue and DirSyncResponseValue are alike: flags (more results), maxBytes (not used), cookie."""

    componentType: ClassVar[NamedTypes] = NamedTypes(  # noqa: N815  # pyasn1's name
        NamedType("flags", Integer()), NamedType("size", Integer()), NamedType("cookie", OctetString())
    )


@dataclass(frozen=True, slots=True)
class Page:
    """objectGUIDs as text, the cookie after them, and whether more wait behind it. `named`: of those that are there, what came with them, in lower case: what
    changed since the cookie, also where no value of it is shown.
    """

    present: tuple[str, ...]
    deleted: tuple[str, ...]
    cookie: bytes
    more: bool
    named: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Values:
    """By objectGUID as text: the values of a linked attribute that were taken away, as extended DNs; empty where others came alone. The cookie after them, and
    whether more wait behind it.
    """

    taken_away: Mapping[str, tuple[str, ...]]
    cookie: bytes
    more: bool


def page(
    session: Session,
    base: str,
    condition: str,
    attributes: Sequence[str],
    cookie: bytes,
    *,
    flags: int = OBJECT_SECURITY,
) -> Page:
    """The next objects that fit the condition and of which one of the attributes changed since the cookie; with an empty one all of them.

    `base`: the root of the domain, AD takes no other. Raises DirectoryError; what is not accepted as a cookie is Unsaid.
    """
    wanted = list(dict.fromkeys(("objectGUID", "isDeleted", *attributes)))
    data, after, more = _asked(session, base, condition, wanted, encoded(flags, cookie))
    present: dict[str, frozenset[str]] = {}
    deleted: list[str] = []
    for dn, values in data:
        if dn is not None and "objectGUID" in values:
            guid = guid_from_bytes(values["objectGUID"][0])
            if values.get("isDeleted", [b""])[0].upper() == b"TRUE":
                deleted.append(guid)
            else:
                present[guid] = frozenset(name.partition(";")[0].lower() for name in values)
    return Page(tuple(present), tuple(deleted), after, more, present)


def values_taken_away(session: Session, base: str, condition: str, attribute: str, cookie: bytes) -> Values:
    """Of the objects that fit the condition: which values the attribute lost since the cookie, also those that it had not had then ([MS-ADTS] 3.1.1.3.4.1.3,
    LDAP_DIRSYNC_INCREMENTAL_VALUES). As `page`.
    """
    asked = encoded(OBJECT_SECURITY | INCREMENTAL_VALUES, cookie)
    data, after, more = _asked(session, base, condition, ["objectGUID", attribute], asked, EXTENDED_DN)
    found = {
        guid_from_bytes(values["objectGUID"][0]): tuple(
            one.decode() for name in names if name.lower().endswith(_TAKEN_AWAY) for one in values[name]
        )
        for dn, values in data
        if dn is not None and "objectGUID" in values
        if (names := [name for name in values if name.lower().startswith(f"{attribute.lower()};range=")])
    }
    return Values(found, after, more)


def _asked(
    session: Session, base: str, condition: str, wanted: list[str], value: bytes, *more: LDAPControl
) -> tuple[_Data, bytes, bool]:
    """What came, the cookie after it, and whether more waits."""
    control = LDAPControl(OID, True, encodedControlValue=value)
    with door("read the changes", session.controller):
        number = session.raw.search_ext(
            base, ldap.SCOPE_SUBTREE, condition, wanted, serverctrls=[control, *more]
        )
        _, data, _, answers = session.raw.result3(number, all=1, timeout=session.timeout)
    waits, after = decoded([one.encodedControlValue for one in answers if one.controlType == OID])
    return data, after, waits


def encoded(flags: int, cookie: bytes) -> bytes:
    """DirSyncRequestValue."""
    value = _Value()
    value["flags"], value["size"], value["cookie"] = flags, 0, cookie
    raw: bytes = encoder.encode(value)
    return raw


def decoded(values: Sequence[bytes]) -> tuple[bool, bytes]:
    """Whether more wait, and the cookie, of the one DirSyncResponseValue of an answer. Raises Unsaid."""
    if len(values) != 1:
        raise Unsaid("the controller's answer has no DirSync cookie", remedy=_READ_ALL)
    try:
        value, _ = decoder.decode(values[0], asn1Spec=_Value())
    except PyAsn1Error:
        raise Unsaid("the controller's DirSync cookie cannot be read", remedy=_READ_ALL) from None
    return bool(int(value["flags"])), bytes(value["cookie"])
