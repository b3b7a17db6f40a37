"""The domain controller's own database, over the privileged ldapi socket: no bind, no password, rights of the system. Nothing but this file speaks python-ldap.

Whoever can open the socket is root, so root opens it and hands the descriptor over (privileges.py). Errors leave by `_door`.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

import ldap
from ldap.controls import KNOWN_RESPONSE_CONTROLS, LDAPControl, ResponseControl
from ldap.filter import filter_format

from bastide_agent.failures import CookieRefused, DirectoryGone, NoAccount

#: [MS-ADTS] 3.1.1.3.4.1.3.
DIRSYNC = "1.2.840.113556.1.4.841"
EVERY = "(objectClass=*)"
#: Not computers, and not inetOrgPerson alone: it is derived from user.
USERS = "(&(objectClass=user)(!(objectClass=computer)))"
#: A domain of 20,000 takes 2.6 s for its first DirSync on the slower back end.
_PATIENCE = 120.0
Attributes = Mapping[str, Sequence[bytes]]
Entry = tuple[str, Attributes]


class _DirSyncResponse(ResponseControl):  # type: ignore[misc]  # python-ldap has no types
    """python-ldap drops a response control that it has no class for: the cookie would be lost without a word."""

    controlType: ClassVar[str] = DIRSYNC  # noqa: N815  # python-ldap's name

    def decodeControlValue(self, value: bytes) -> None:  # noqa: N802  # python-ldap's name
        self.encodedControlValue = value


KNOWN_RESPONSE_CONTROLS[DIRSYNC] = _DirSyncResponse


# ------------------------------------------------------------------------------------------------------------------- BER


def request_value(cookie: bytes) -> bytes:
    """SEQUENCE { flags INTEGER 0, maxBytes INTEGER 0, cookie OCTET STRING }."""
    body = b"\x02\x01\x00\x02\x01\x00" + _tagged(0x04, cookie)
    return _tagged(0x30, body)


def response_value(raw: bytes) -> tuple[bool, bytes]:
    """Whether there is more, and the cookie. Raises ValueError for anything but what request_value describes."""
    outer, rest = _taken(raw, 0x30)
    more, inner = _taken(outer, 0x02)
    _, inner = _taken(inner, 0x02)
    cookie, left = _taken(inner, 0x04)
    if rest or left:
        raise ValueError("something follows the control")
    return any(more), cookie


def _tagged(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:  # noqa: PLR2004  # X.690 8.1.3: below, the length is one octet
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def _taken(raw: bytes, tag: int) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it."""
    if len(raw) < 2 or raw[0] != tag:  # noqa: PLR2004  # a tag and a length
        raise ValueError("another element was expected")
    size, at = raw[1], 2
    if size & 0x80:
        count = size & 0x7F
        size, at = int.from_bytes(raw[2 : 2 + count], "big"), 2 + count
    if at + size > len(raw):
        raise ValueError("an element ends too late")
    return raw[at : at + size], raw[at + size :]


# ------------------------------------------------------------------------------------------------------------ connection


@dataclass(frozen=True, slots=True)
class Changed:
    """What DirSync says: which objects, and the cookie after them."""

    guids: tuple[str, ...]
    cookie: bytes


@dataclass(frozen=True, slots=True)
class Root:
    """What the rootDSE says of this controller."""

    base: str
    configuration: str
    schema: str
    ntds_settings: str
    server: str
    host: str


class Directory:
    """One connection, opened when it is needed and again after it broke. Used by one thread."""

    def __init__(self, open_socket: Callable[[], int]) -> None:
        self._open = open_socket
        self._connection: Any = None

    def close(self) -> None:
        """The next call opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.unbind_ext_s()

    def highest_usn(self) -> int:
        """It moves with every change, replicated ones too, and not with sign-ins. About 0.4 ms. Raises DirectoryGone."""
        found = self.read("", ["highestCommittedUSN"])
        return int(found["highestCommittedUSN"][0])

    def root(self) -> Root:
        """Raises DirectoryGone; also while the controller is starting and has no answer yet."""
        names = (
            "defaultNamingContext",
            "configurationNamingContext",
            "schemaNamingContext",
            "dsServiceName",
            "serverName",
            "dnsHostName",
        )
        found = self.read("", names)
        try:
            return Root(*(found[name][0].decode() for name in names))
        except KeyError as missing:
            raise DirectoryGone(f"the rootDSE has no {missing}") from None

    def read(self, dn: str, names: Sequence[str]) -> Attributes:
        """One object. Raises NoAccount, DirectoryGone."""
        found = self._search(dn, ldap.SCOPE_BASE, EVERY, names)
        if not found:
            raise NoAccount("it is not there")
        return found[0][1]

    def read_guid(self, guid: str, names: Sequence[str]) -> Attributes:
        """One object as it is at this moment, its attributes consistent with each other. Raises NoAccount, DirectoryGone."""
        return self.read(f"<GUID={UUID(guid)}>", names)

    def below(self, dn: str, names: Sequence[str]) -> list[Entry]:
        """An object and everything below it. Raises NoAccount if it is not there, DirectoryGone."""
        return self._search(dn, ldap.SCOPE_SUBTREE, EVERY, names)

    def any_of(self, dn: str, attribute: str, values: Collection[str], names: Sequence[str]) -> list[Entry]:
        """Objects below a DN that have one of these values. Raises NoAccount, DirectoryGone."""
        where = filter_format(f"(|{f'({attribute}=%s)' * len(values)})", list(values))
        return self._search(dn, ldap.SCOPE_SUBTREE, where, names)

    def changed(self, base: str, cookie: bytes, attribute: str) -> Iterator[Changed]:
        """Users of whom this attribute changed since the cookie (empty: all that have it), page by page. Raises CookieRefused, DirectoryGone.

        Values are not taken from here: of a change that comes in parts DirSync shows parts.
        """
        more = True
        while more:
            more, page = self._dirsync(base, cookie, attribute)
            cookie = page.cookie
            yield page

    def _dirsync(self, base: str, cookie: bytes, attribute: str) -> tuple[bool, Changed]:
        control = LDAPControl(DIRSYNC, True, encodedControlValue=request_value(cookie))
        with self._door("read the changes") as connection:
            number = connection.search_ext(
                base, ldap.SCOPE_SUBTREE, USERS, [attribute, "objectGUID"], serverctrls=[control]
            )
            _, data, _, controls = connection.result3(number, timeout=_PATIENCE)
        values = [one.encodedControlValue for one in controls if one.controlType == DIRSYNC]
        if len(values) != 1:
            raise CookieRefused("the answer has no cookie")
        try:
            more, after = response_value(values[0])
        except ValueError as error:
            raise CookieRefused(f"the answer's cookie cannot be read: {error}") from None
        guids = [
            str(UUID(bytes_le=found["objectGUID"][0]))
            for dn, found in data
            if dn is not None and attribute in found and "objectGUID" in found
        ]
        return more, Changed(tuple(guids), after)

    def _search(self, dn: str, scope: int, where: str, names: Sequence[str]) -> list[Entry]:
        with self._door("search") as connection:
            found = connection.search_ext_s(dn, scope, where, list(names), timeout=_PATIENCE)
        return [(name, attributes) for name, attributes in found if name is not None]

    @contextmanager
    def _door(self, doing: str) -> Iterator[Any]:
        """The one way out for LDAP errors. Their texts name objects, and are left out where values could be in them."""
        try:
            yield self._connected()
        except ldap.NO_SUCH_OBJECT:
            raise NoAccount("it is not there") from None
        except (ldap.UNAVAILABLE_CRITICAL_EXTENSION, ldap.PROTOCOL_ERROR) as error:
            # That is what Samba says to a cookie that it cannot read.
            raise CookieRefused(f"cannot {doing}: {type(error).__name__}") from None
        except (ldap.LDAPError, OSError) as error:
            self._forget()
            raise DirectoryGone(f"cannot {doing}: {type(error).__name__}") from None

    def _connected(self) -> Any:
        if self._connection is None:
            descriptor = self._open()
            try:
                connection = ldap.initialize("ldapi://", fileno=descriptor)
                connection.set_option(ldap.OPT_REFERRALS, 0)
                connection.set_option(ldap.OPT_NETWORK_TIMEOUT, _PATIENCE)
            except BaseException:
                os.close(descriptor)
                raise
            self._connection = connection
        return self._connection

    def _forget(self) -> None:
        """A broken connection is not told goodbye: that could block."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.unbind_ext()
            except ldap.LDAPError:
                return
