"""Any LDAP server: import, and passwords by the Password Modify operation (RFC 3062), so that the server hashes and judges them.

A server without that operation is refused: to write userPassword raw would choose a hash for it and go round its policy.
"""

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Literal, Self

import ldap
import msgspec
from ldap.controls import AssertionControl, LDAPControl
from ldap.dn import dn2str, str2dn
from ldap.filter import filter_format

from bastide.directory.entries import Entry, is_below, same_dn
from bastide.directory.session import Session
from bastide.domain.errors import (
    BadSource,
    CapabilityMissing,
    DirectoryError,
    InvalidInput,
    NoSuchObject,
    TargetDenied,
    TargetError,
    TargetUnavailable,
)
from bastide.domain.management_agents import CsObject
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Imported, Look, NewPassword, Page, Result, Security
from bastide.targets import ldap_lock
from bastide.targets.kinds import Kind, Opening, Settings
from bastide.targets.ldap_connection import (
    PORTS,
    Tls,
    bind,
    check_attributes,
    connect,
    door,
    hang_up,
    in_flight,
    is_encrypted,
    pages,
    result_of,
)
from bastide.targets.ldap_lock import RESET
from bastide.targets.spelling import unfit

#: RFC 3062 1.
PASSWORD_MODIFY = "1.3.6.1.4.1.4203.1.11.1"  # noqa: S105  # the name of an operation
#: RFC 4528 3.
ASSERTION = "1.3.6.1.1.12"
_DEFAULT_ATTRIBUTES = ("uid", "cn", "sn", "givenName", "displayName", "mail", "employeeNumber")
#: Entries in one search by anchor, and from how many on that is done.
_IN_FILTER = 64
_MANY = 8
_NOWHERE = Result(Code.OBJECT_MISSING, "no entry has this anchor any more")


class LdapSettings(Settings, frozen=True, kw_only=True):
    """One server. `ca`: PEM file of the authorities that may have signed its certificate. Times in seconds.

    `anchor`: an attribute that never changes and that the server indexes (`eq`). `object_class`: what is imported.
    """

    host: str
    base: str
    bind_name: str
    ca: str
    tls: Tls = "ldaps"
    port: int = 0
    object_class: str = "inetOrgPerson"
    anchor: str = "entryUUID"
    attributes: tuple[str, ...] = _DEFAULT_ATTRIBUTES
    delta: Literal["modify-timestamp", "none"] = "modify-timestamp"
    network_timeout: float = 5.0
    timeout: float = 15.0

    def __post_init__(self) -> None:
        check_attributes((self.anchor, *self.attributes))
        for name in ("host", "base", "bind_name", "ca", "object_class"):
            if not getattr(self, name):
                raise InvalidInput(f"settings.{name}", "must not be empty")
        if self.network_timeout <= 0 or self.timeout <= 0:
            raise InvalidInput("settings.timeout", "must be more than 0 seconds")

    def connect(self) -> Session:
        """TLS, and nobody signed in yet. Raises TargetUnavailable."""
        return connect(
            self.host,
            self.port or PORTS[self.tls],
            self.tls,
            self.ca,
            network_timeout=self.network_timeout,
            timeout=self.timeout,
        )


# ---------------------------------------------------------------------------------------------------------------- import


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cookie: changes up to this modifyTimestamp have been read."""

    modified: str


class LdapConnector:
    """All entries of a class, or those with a newer modifyTimestamp. What was deleted shows in a full import only."""

    def __init__(self, settings: LdapSettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening

    def read(self, cookie: bytes) -> Iterator[Page]:
        """Raises TargetUnavailable, TargetDenied, BadSource, CapabilityMissing."""
        condition = self._condition(cookie)
        session = self._settings.connect()
        try:
            bind(session, self._settings.bind_name, self._opening.secret)
            yield from self._pages(session, condition, cookie)
        finally:
            hang_up(session)

    def _condition(self, cookie: bytes) -> str:
        if not cookie:
            return str(filter_format("(objectClass=%s)", [self._settings.object_class]))
        if self._settings.delta == "none":
            raise CapabilityMissing("this agent reads no changes", remedy="import all of it")
        try:
            mark = msgspec.json.decode(cookie, type=Mark)
        except msgspec.MsgspecError:
            raise BadSource("the mark of the last import cannot be read", remedy="import all of it") from None
        return str(
            filter_format(
                "(&(objectClass=%s)(modifyTimestamp>=%s))", [self._settings.object_class, mark.modified]
            )
        )

    def _pages(self, session: Session, condition: str, cookie: bytes) -> Iterator[Page]:
        """A page late, because the last one alone carries the new mark."""
        wanted = (*self._settings.attributes, self._settings.anchor, "modifyTimestamp")
        began = self._opening.monotonic()
        newest = ""
        waiting: tuple[Imported, ...] | None = None
        for found in pages(session, self._settings.base, condition, wanted):
            if waiting is not None:
                yield Page(waiting, cookie)
            waiting = tuple(self._imported(entry) for entry in found)
            newest = max([newest, *(entry.text("modifyTimestamp") for entry in found)])
        lasted = timedelta(seconds=self._opening.monotonic() - began)
        yield Page(waiting or (), _mark(newest, lasted) if newest else cookie)

    def _imported(self, entry: Entry) -> Imported:
        anchor = entry.text(self._settings.anchor)
        if not anchor:
            raise BadSource(
                f"{entry.dn} shows no {self._settings.anchor}",
                remedy="name an attribute that every entry has as `anchor`, and let the agent's account read it",
            )
        attributes = {name: _texts(entry.all(name)) for name in self._settings.attributes if entry.all(name)}
        return Imported(anchor, entry.dn, self._settings.object_class, attributes)


def _mark(newest: str, lasted: timedelta) -> bytes:
    """Where the next delta begins: before anything that was written while we read and that a page had already passed."""
    stem = newest.partition(".")[0].rstrip("Z")
    try:
        moment = datetime.strptime(stem, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise BadSource(f"{newest[:40]!r} is no modifyTimestamp", remedy="set `delta` to none") from None
    begins = moment - lasted - timedelta(seconds=1)
    return msgspec.json.encode(Mark(begins.strftime("%Y%m%d%H%M%SZ")))


def _texts(values: Sequence[bytes]) -> tuple[str, ...]:
    """Values as text; those that are none, in base64."""
    found = []
    for value in values:
        try:
            found.append(value.decode())
        except UnicodeDecodeError:
            found.append(base64.b64encode(value).decode())
    return tuple(found)


# ------------------------------------------------------------------------------------------------------------- passwords


@dataclass(frozen=True, slots=True)
class _Abilities:
    """What the server says it can do."""

    password_modify: bool
    reset: bool
    #: As 389-ds does.
    keeps_unlock_time: bool = False
    #: Whether an operation can be told to fail if the entry is not the one that was meant.
    assertion: bool = False


class LdapTarget:
    """Sets passwords with several operations in flight on one connection."""

    def __init__(self, settings: LdapSettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening
        self._session: Session | None = None
        self._able = _Abilities(password_modify=False, reset=False)
        #: Until the server says that it takes no assertion with Password Modify.
        self._guarding = True

    def __enter__(self) -> Self:
        """Raises TargetUnavailable, TargetDenied, CapabilityMissing."""
        session = self._settings.connect()
        try:
            bind(session, self._settings.bind_name, self._opening.secret)
            self._able = _abilities(session)
        except BaseException:
            hang_up(session)
            raise
        self._session = session
        return self

    def __exit__(self, *error: object) -> None:
        session, self._session = self._session, None
        if session is not None:
            hang_up(session)

    def security(self) -> Security:
        """As the TLS library says of this connection."""
        return Security.SECURE if is_encrypted(self._open) else Security.UNKNOWN

    def set(self, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        """One result for each. Raises TargetUnavailable."""
        results: dict[int, Result] = {}
        for number, new in enumerate(passwords):
            refused = self._refused(new)
            if refused is not None:
                results[number] = refused
        places = self._places({n: new.object for n, new in enumerate(passwords) if n not in results})
        for number in range(len(passwords)):
            if number not in results and number not in places:
                results[number] = _NOWHERE
        for number, error in self._sent(passwords, places).items():
            done = _result(error, [passwords[number].password])
            good = done.code is Code.SUCCESS
            results[number] = self._finished(passwords[number], places[number], done) if good else done
        return [results[number] for number in range(len(passwords))]

    def _finished(self, new: NewPassword, dn: str, done: Result) -> Result:
        """What is asked for besides. A set has unlocked the account in any case: what 389-ds keeps of the lock goes too, if our account may."""
        if new.unlock and self._able.keeps_unlock_time:
            ldap_lock.forget(self._open, dn, *self._guard(new.object, self._able.assertion))
        return self._require_change(dn, new.object) if new.must_change else done

    def _sent(
        self, passwords: Sequence[NewPassword], places: Mapping[int, str]
    ) -> dict[int, ldap.LDAPError | None]:
        """What the server said to each. Under an assertion, if it takes one with this operation: OpenLDAP lists the control and does not."""
        guarded = self._able.assertion and self._guarding
        raw = self._open.raw
        starts = [
            partial(raw.passwd, dn, None, passwords[n].password, *self._guard(passwords[n].object, guarded))
            for n, dn in places.items()
        ]
        answers = in_flight(self._open, starts, [passwords[n].password for n in places])
        errors = {number: error for number, (_, error) in zip(places, answers, strict=True)}
        again = {
            n: places[n] for n, e in errors.items() if isinstance(e, ldap.UNAVAILABLE_CRITICAL_EXTENSION)
        }
        if guarded and again:
            self._guarding = False
            errors |= self._sent(passwords, again)
        return errors

    def _guard(self, one: CsObject, wanted: bool) -> tuple[list[LDAPControl], ...]:
        """The controls of an operation, or none: it fails if the entry has another anchor by then."""
        if not wanted:
            return ()
        return ([AssertionControl(True, filter_format(f"({self._settings.anchor}=%s)", [one.anchor]))],)

    def change(self, object: CsObject, old: str, new: str) -> Result:  # noqa: A002  # the port's word
        """As the person: the server then checks the old one, the history and the ages. One bind. Raises TargetUnavailable."""
        refused = self._refused(NewPassword(object, new))
        if refused is not None:
            return refused
        dn = self._places({0: object}).get(0)
        if dn is None:
            return _NOWHERE
        session = self._settings.connect()
        try:
            bind(session, dn, old)
            ((_, error),) = in_flight(session, [partial(session.raw.passwd, dn, old, new)], [old, new])
            return _result(error, [old, new])
        except TargetDenied:
            return Result(Code.DENIED, "the old password was not accepted")
        finally:
            hang_up(session)

    def verify(self, object: CsObject, password: str) -> Proof:  # noqa: A002  # the port's word
        """One bind at most, on a connection of its own; none where a failure is on record: how many are left is not known to everybody.
        None either where nobody tells us whether one is, unless the policy says that it locks nobody out.

        Raises TargetUnavailable.
        """
        dn = self._places({0: object}).get(0)
        if dn is None or unfit(password) is not None or not ldap_lock.may_bind(self._open, dn):
            return Proof.NOT_TRIED
        session = self._settings.connect()
        try:
            bind(session, dn, password)
        except TargetDenied:
            return Proof.NOT_PROVED
        else:
            return Proof.PROVED
        finally:
            hang_up(session)

    def unlock(self, objects: Sequence[CsObject]) -> Sequence[Result]:
        """Of ppolicy and 389-ds, and the password stays. Raises TargetUnavailable."""
        places = self._places(dict(enumerate(objects)))
        return [
            ldap_lock.unlock(
                self._open, places[number], self._opening.now(), *self._guard(one, self._able.assertion)
            )
            if number in places
            else _NOWHERE
            for number, one in enumerate(objects)
        ]

    def look(self, objects: Sequence[CsObject]) -> Sequence[Look]:
        """As far as the server shows it to us. Raises TargetUnavailable."""
        places = self._places(dict(enumerate(objects)))
        states = [
            ldap_lock.state_of(self._open, places[number]) if number in places else None
            for number in range(len(objects))
        ]
        return [Look() if one is None else one.look(self._opening.now()) for one in states]

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise TargetUnavailable("the connection is closed")
        return self._session

    def _refused(self, new: NewPassword) -> Result | None:
        if not self._able.password_modify:
            return Result(
                Code.SET_UNSUPPORTED, "the server has no Password Modify operation (RFC 3062) in its rootDSE"
            )
        if new.must_change and not self._able.reset:
            return Result(
                Code.SET_UNSUPPORTED, f"the server knows no {RESET}: nobody can be made to change it"
            )
        return unfit(new.password)

    def _places(self, objects: Mapping[int, CsObject]) -> dict[int, str]:
        """Where each entry is today. The DN of the last import is only a hint: somebody else may have it by now.

        A few are asked for by a Compare each, which needs no index. For many that would cost a third of the time (measured): one search names them all.
        """
        if len(objects) >= _MANY:
            return self._searched(objects)
        name = self._settings.anchor
        raw = self._open.raw
        starts = [partial(raw.compare_ext, one.dn, name, one.anchor.encode()) for one in objects.values()]
        answers = list(in_flight(self._open, starts))
        asked = zip(objects.items(), answers, strict=True)
        at_home = {n: one.dn for (n, one), (_, error) in asked if isinstance(error, ldap.COMPARE_TRUE)}
        moved = {number: one for number, one in objects.items() if number not in at_home}
        return at_home | self._searched(moved)

    def _searched(self, objects: Mapping[int, CsObject]) -> dict[int, str]:
        """By their anchors, wherever they are. An anchor that several entries have names nobody."""
        found: dict[str, list[str]] = {}
        name = self._settings.anchor
        rest = iter(objects.values())
        while batch := list(islice(rest, _IN_FILTER)):
            condition = "".join(filter_format(f"({name}=%s)", [one.anchor]) for one in batch)
            for entry in self._entries(f"(|{condition})"):
                found.setdefault(entry.text(name).casefold(), []).append(entry.dn)
        places = {number: found.get(one.anchor.casefold(), []) for number, one in objects.items()}
        return {number: dns[0] for number, dns in places.items() if len(dns) == 1}

    def _entries(self, condition: str) -> list[Entry]:
        with door("look for entries", self._settings.host):
            try:
                return self._open.search(self._settings.base, condition, [self._settings.anchor])
            except NoSuchObject:  # of the base: we are not shown it
                return []

    def _require_change(self, dn: str, one: CsObject) -> Result:
        raw = self._open.raw
        guard = self._guard(one, self._able.assertion)
        starts = [partial(raw.modify_ext, dn, [(ldap.MOD_REPLACE, RESET, [b"TRUE"])], *guard)]
        ((_, error),) = in_flight(self._open, starts)
        said = _result(error)
        if said.code is Code.SUCCESS:
            return said
        # 389-ds has the attribute in its schema and lets nobody write it: to ask again changes nothing.
        never = isinstance(error, ldap.UNWILLING_TO_PERFORM)
        code = Code.SET_UNSUPPORTED if never else said.code
        return Result(code, f"the password was set, but not {RESET}: {said.detail}")


def what_it_is(settings: LdapSettings, opening: Opening) -> tuple[str, ...]:
    """Ids of `base`, of what is above it, and of our account, if shown; all replicas have the same. Raises TargetUnavailable, TargetDenied, BadSource."""
    if not opening.secret:
        raise TargetDenied("the agent has no secret yet", remedy="`bastide ma secret` sets it")
    session = settings.connect()
    try:
        bind(session, settings.bind_name, opening.secret)
        return _ids(session, settings)
    finally:
        hang_up(session)


def _ids(session: Session, settings: LdapSettings) -> tuple[str, ...]:
    """Each place is asked alone: one that is not shown, or is no DN to this server, hides no other. Raises what went wrong if nothing is told for it."""
    found: list[str] = []
    wrong: TargetError | DirectoryError | None = None
    for place in _places_of(session, settings):
        try:
            with door(f"read {place}", settings.host):
                entry = session.read(place, _IDS)
        except (TargetError, DirectoryError) as error:
            unseen = isinstance(error, TargetDenied) or isinstance(error.__cause__, NoSuchObject)
            wrong = wrong if unseen else error
        else:
            said = [text for name in _IDS for text in (entry.texts(name) if entry else ())]
            found += [f"directory {text.casefold()}" for text in said if _ID.fullmatch(text)]
    if wrong is not None and not found:
        raise wrong
    return tuple(found)


def _places_of(session: Session, settings: LdapSettings) -> tuple[str, ...]:
    """The base, what lies above it in its naming context as far as the server tells, and our account."""
    try:
        with door("read what the server holds", settings.host):
            contexts = session.must_read("", ["namingContexts"]).texts("namingContexts")
            parts = str2dn(settings.base)
    except (TargetError, DirectoryError):
        contexts, parts = (), []
    above = (str(dn2str(parts[start:])) for start in range(1, len(parts)))
    shown = [dn for dn in above if any(same_dn(dn, root) or is_below(dn, root) for root in contexts)]
    return settings.base, *shown, settings.bind_name


#: What tells an entry from every other one, on all replicas: RFC 4530, and 389-ds.
_IDS = ("entryUUID", "nsUniqueId")
#: How these two are written (RFC 4530 2.1; 389-ds: four groups of eight digits). Whatever else a server says there tells nothing from anything.
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8}(-[0-9a-f]{8}){3}", re.IGNORECASE)
_ROOT = ("supportedExtension", "supportedControl", "subschemaSubentry")
#: LDAP_CAP_ACTIVE_DIRECTORY_OID ([MS-ADTS] 3.1.1.3.4.3.1): a domain, not a lightweight instance.
_ACTIVE_DIRECTORY = "1.2.840.113556.1.4.800"


def _abilities(session: Session) -> _Abilities:
    """Raises CapabilityMissing for a controller of Active Directory."""
    with door("read the rootDSE", session.controller):
        root = session.must_read("", [*_ROOT, "supportedCapabilities"])
        if _ACTIVE_DIRECTORY in root.texts("supportedCapabilities"):
            raise CapabilityMissing(
                f"{session.controller} is a controller of Active Directory",
                remedy="make it an agent of the kind active-directory: only there are domains compared, so that no password comes back to its source",
            )
        schema = session.read(root.text("subschemaSubentry"), ["attributeTypes"], condition="(objectClass=*)")
    types = schema.texts("attributeTypes") if schema else ()
    return _Abilities(
        password_modify=PASSWORD_MODIFY in root.texts("supportedExtension"),
        reset=any(f"'{RESET}'" in one for one in types),
        keeps_unlock_time=any(f"'{ldap_lock.UNLOCKED}'" in one for one in types),
        assertion=ASSERTION in root.texts("supportedControl"),
    )


def _result(error: ldap.LDAPError | None, secrets: Sequence[str] = ()) -> Result:
    if isinstance(error, ldap.PROTOCOL_ERROR) and any("\0" in one for one in secrets):
        # 389-ds reads the operation as text.
        return Result(Code.POLICY, "the server takes no password with a NUL character")
    if isinstance(error, ldap.ASSERTION_FAILED):
        return Result(Code.OBJECT_MISSING, "the entry was replaced by another one at the last moment")
    return result_of(error, secrets)


KIND = Kind(settings=LdapSettings, connector=LdapConnector, target=LdapTarget, identity=what_it_is)
