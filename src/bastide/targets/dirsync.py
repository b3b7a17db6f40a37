"""DirSync over the network ([MS-ADTS] 3.1.1.3.4.1.3): which objects of a domain changed since a cookie. It shows no secret attribute.

An account with "Replicating Directory Changes" sees all; any other asks with LDAP_DIRSYNC_OBJECT_SECURITY and sees what it may read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import ldap
from ldap.controls import KNOWN_RESPONSE_CONTROLS, LDAPControl, ResponseControl
from pyasn1.codec.ber import decoder, encoder
from pyasn1.error import PyAsn1Error
from pyasn1.type.namedtype import NamedType, NamedTypes
from pyasn1.type.univ import Integer, OctetString
from pyasn1.type.univ import Sequence as Asn1Sequence

from bastide.directory.session import Session
from bastide.domain.errors import BadSource
from bastide.domain.ids import guid_from_bytes
from bastide.targets.ldap_connection import door

OID = "1.2.840.113556.1.4.841"
OBJECT_SECURITY = 0x1
#: Users are no computers; nothing else can be asked of an object that was deleted, which keeps few attributes.
_USERS = "(&(objectClass=user)(!(objectClass=computer)))"
_IMPORT_ALL = "import all of it"


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
class Changed:
    """objectGUIDs as text, and the cookie after them."""

    present: tuple[str, ...]
    deleted: tuple[str, ...]
    cookie: bytes


def changes(
    session: Session, base: str, cookie: bytes, attributes: Sequence[str], *, flags: int = OBJECT_SECURITY
) -> Iterator[Changed]:
    """Users of whom one of the attributes changed, page by page. `base`: the root of the domain, AD takes no other.

    Raises TargetUnavailable, TargetDenied, BadSource if the cookie is not accepted.
    """
    more = True
    while more:
        more, page = _page(session, base, cookie, attributes, flags)
        cookie = page.cookie
        yield page


def cookie_now(session: Session, base: str) -> bytes:
    """Where the domain stands: what changes from now on comes after it. Raises as `changes`."""
    cookie = b""
    for page in changes(session, base, b"", ["objectGUID"]):
        cookie = page.cookie
    return cookie


def _page(
    session: Session, base: str, cookie: bytes, attributes: Sequence[str], flags: int
) -> tuple[bool, Changed]:
    wanted = list(dict.fromkeys(("objectGUID", "isDeleted", *attributes)))
    control = LDAPControl(OID, True, encodedControlValue=_encoded(flags, cookie))
    with door("read the changes", session.controller):
        number = session.raw.search_ext(base, ldap.SCOPE_SUBTREE, _USERS, wanted, serverctrls=[control])
        _, data, _, answers = session.raw.result3(number, all=1, timeout=session.timeout)
    more, after = _decoded([one.encodedControlValue for one in answers if one.controlType == OID])
    present: list[str] = []
    deleted: list[str] = []
    for dn, values in data:
        if dn is not None and "objectGUID" in values:
            gone = values.get("isDeleted", [b""])[0].upper() == b"TRUE"
            (deleted if gone else present).append(guid_from_bytes(values["objectGUID"][0]))
    return more, Changed(tuple(present), tuple(deleted), after)


def _encoded(flags: int, cookie: bytes) -> bytes:
    value = _Value()
    value["flags"], value["size"], value["cookie"] = flags, 0, cookie
    encoded: bytes = encoder.encode(value)
    return encoded


def _decoded(values: Sequence[bytes]) -> tuple[bool, bytes]:
    if len(values) != 1:
        raise BadSource("the controller's answer has no DirSync cookie", remedy=_IMPORT_ALL)
    try:
        value, _ = decoder.decode(values[0], asn1Spec=_Value())
    except PyAsn1Error:
        raise BadSource("the controller's DirSync cookie cannot be read", remedy=_IMPORT_ALL) from None
    return bool(int(value["flags"])), bytes(value["cookie"])
