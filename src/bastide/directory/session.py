"""One bound connection to one domain controller. Nothing but this file and ldap.py speaks python-ldap; errors leave by `door`."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import ldap
from ldap.controls import LDAPControl, SimplePagedResultsControl

from bastide.directory.constants import CONTROL_EXTENDED_DN, CONTROL_LINK_TTL
from bastide.directory.entries import Entry
from bastide.domain.errors import (
    CapabilityMissing,
    DirectoryDenied,
    DirectoryError,
    DirectoryUnavailable,
    NoSuchObject,
    ObjectExists,
)

ADD, DELETE, REPLACE = ldap.MOD_ADD, ldap.MOD_DELETE, ldap.MOD_REPLACE
Change = tuple[int, str, list[bytes] | None]
_K = TypeVar("_K", bound=Hashable)
_PAGE = 500
#: Modifies in flight on one connection: more gained nothing on Samba, and a server may refuse hundreds.
_WINDOW = 32
EVERY = "(objectClass=*)"

#: [MS-ADTS] 3.1.1.3.4.1.5: value SEQUENCE { flag INTEGER 1 } asks for GUIDs and SIDs as text.
EXTENDED_DN = LDAPControl(CONTROL_EXTENDED_DN, True, encodedControlValue=b"\x30\x03\x02\x01\x01")
#: [MS-ADTS] 3.1.1.3.4.1.36: no value. Critical, so that a server without it says so instead of leaving the TTL out.
LINK_TTL = LDAPControl(CONTROL_LINK_TTL, True)


class Unsaid(DirectoryError):
    """The server refused for a reason that has no class of its own: a value it will not take, a rule of the schema."""


_GONE = (
    ldap.SERVER_DOWN, ldap.CONNECT_ERROR, ldap.TIMEOUT, ldap.TIMELIMIT_EXCEEDED, ldap.BUSY, ldap.UNAVAILABLE,
    ldap.LOCAL_ERROR, ldap.ADMINLIMIT_EXCEEDED,
)  # fmt: skip
_DENIED = (
    ldap.INSUFFICIENT_ACCESS, ldap.INVALID_CREDENTIALS, ldap.STRONG_AUTH_REQUIRED, ldap.INAPPROPRIATE_AUTH,
    ldap.CONFIDENTIALITY_REQUIRED, ldap.AUTH_UNKNOWN, ldap.STRONG_AUTH_NOT_SUPPORTED,
)  # fmt: skip
_TABLE: tuple[tuple[tuple[type[Exception], ...], type[DirectoryError], str], ...] = (
    (_GONE, DirectoryUnavailable, "check the network, DNS, the clock and the domain controller"),
    (_DENIED, DirectoryDenied, "run the delegation script again: `bastide delegation`"),
    ((ldap.NO_SUCH_OBJECT,), NoSuchObject, "it was deleted; look for it in the directory"),
    ((ldap.ALREADY_EXISTS,), ObjectExists, "choose another name"),
    ((ldap.UNAVAILABLE_CRITICAL_EXTENSION,), CapabilityMissing, "use what this directory has"),
)


def translate(error: ldap.LDAPError, doing: str, controller: str) -> DirectoryError:
    """The one door for LDAP errors. The message holds the server's diagnostic text, which names objects and rules, never values."""
    details = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    said = str(details.get("desc") or type(error).__name__)
    info = " ".join(str(details.get("info") or "").split())[:200]
    text = f"cannot {doing} on {controller}: {said}" + (f" ({info})" if info else "")
    for causes, kind, remedy in _TABLE:
        if isinstance(error, causes):
            return kind(text, remedy=remedy)
    return Unsaid(text, remedy="look at the domain controller's own log")


@contextmanager
def door(doing: str, controller: str) -> Iterator[None]:
    """Every LDAP call passes here."""
    try:
        yield
    except ldap.LDAPError as error:
        raise translate(error, doing, controller) from error


class Session:
    """A connection in use. Not for two threads at a time."""

    def __init__(self, raw: Any, controller: str, timeout: float) -> None:
        self.raw = raw
        self.controller = controller
        self.timeout = timeout
        #: Set when an operation was left half-way: the connection must not go back to the pool.
        self.broken = False

    def search(
        self,
        base: str,
        condition: str,
        attributes: Sequence[str],
        *,
        scope: int = ldap.SCOPE_SUBTREE,
        controls: Sequence[LDAPControl] = (),
    ) -> list[Entry]:
        """All entries, page by page. Referrals are dropped: they lead to other naming contexts."""
        found: list[Entry] = []
        paging = SimplePagedResultsControl(True, size=_PAGE, cookie="")
        while True:
            with self._watched(f"search {base}"):
                number = self.raw.search_ext(
                    base,
                    scope,
                    condition,
                    list(attributes),
                    serverctrls=[paging, *controls],
                    timeout=self.timeout,
                )
                _, data, _, answers = self.raw.result3(number, all=1, timeout=self.timeout)
            found += [Entry.read(dn, values) for dn, values in data if dn is not None]
            cookies = [c.cookie for c in answers if c.controlType == SimplePagedResultsControl.controlType]
            if not cookies or not cookies[0]:
                return found
            paging.cookie = cookies[0]

    def read(
        self,
        dn: str,
        attributes: Sequence[str],
        *,
        condition: str = EVERY,
        controls: Sequence[LDAPControl] = (),
    ) -> Entry | None:
        """One entry; None if it does not fit the condition. Raises NoSuchObject if it is not there."""
        with self._watched(f"read {dn}"):
            number = self.raw.search_ext(
                dn,
                ldap.SCOPE_BASE,
                condition,
                list(attributes),
                serverctrls=list(controls),
                timeout=self.timeout,
            )
            _, data, _, _ = self.raw.result3(number, all=1, timeout=self.timeout)
        return next((Entry.read(name, values) for name, values in data if name is not None), None)

    def must_read(self, dn: str, attributes: Sequence[str], *, controls: Sequence[LDAPControl] = ()) -> Entry:
        """One entry. Raises NoSuchObject."""
        found = self.read(dn, attributes, controls=controls)
        if found is None:
            raise NoSuchObject(
                f"{dn} cannot be seen on {self.controller}", remedy="check the read rights there"
            )
        return found

    def values(self, dn: str, name: str, *, controls: Sequence[LDAPControl] = ()) -> list[str]:
        """All values of an attribute, in ranges where the server gives no more at once ([MS-ADTS] 3.1.1.3.1.3.3)."""
        found: list[str] = []
        wanted = name
        while True:
            entry = self.must_read(dn, [wanted], controls=controls)
            got = next((key for key in entry.attributes if key.split(";")[0] == name.lower()), None)
            if got is None:
                return found
            found += entry.texts(got)
            if ";range=" not in got or got.endswith("-*"):
                return found
            wanted = f"{name};range={int(got.rsplit('-', 1)[1]) + 1}-*"

    def modify(self, dn: str, changes: Sequence[Change]) -> None:
        with self._watched(f"modify {dn}"):
            self._wait(self.raw.modify_ext(dn, list(changes)))

    def add(self, dn: str, attributes: Mapping[str, Sequence[bytes]]) -> None:
        with self._watched(f"add {dn}"):
            self._wait(self.raw.add_ext(dn, [(name, list(values)) for name, values in attributes.items()]))

    def delete(self, dn: str) -> None:
        with self._watched(f"delete {dn}"):
            self._wait(self.raw.delete_ext(dn))

    def modify_each(self, changes: Mapping[_K, tuple[str, Sequence[Change]]]) -> dict[_K, DirectoryError]:
        """Many modifies with several in flight. Returns the refused ones; raises only if the connection is gone."""
        refused: dict[_K, DirectoryError] = {}
        flying: dict[_K, int] = {}
        for key, (dn, mods) in changes.items():
            if len(flying) >= _WINDOW:
                self._land(next(iter(flying)), flying, refused)
            with self._watched(f"modify {dn}"):
                flying[key] = self.raw.modify_ext(dn, list(mods))
        while flying:
            self._land(next(iter(flying)), flying, refused)
        return refused

    def _land(self, key: _K, flying: dict[_K, int], refused: dict[_K, DirectoryError]) -> None:
        try:
            with self._watched("modify"):
                self._wait(flying.pop(key))
        except DirectoryUnavailable:
            raise
        except DirectoryError as error:
            refused[key] = error

    def _wait(self, number: int) -> None:
        self.raw.result3(number, all=1, timeout=self.timeout)

    @contextmanager
    def _watched(self, doing: str) -> Iterator[None]:
        try:
            with door(doing, self.controller):
                yield
        except DirectoryUnavailable:
            self.broken = True
            raise
