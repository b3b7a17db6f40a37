"""A domain of Active Directory, Windows or Samba: import with paging, changes by DirSync, passwords by unicodePwd."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Self

import ldap
import msgspec
from ldap.dn import explode_dn

from bastide.directory import dirsync
from bastide.directory.constants import AccountControl
from bastide.directory.entries import Entry, any_guid, by_guid, from_filetime, plain_dn
from bastide.directory.session import Change, Session, translate
from bastide.domain.errors import (
    BadSource,
    DirectoryError,
    NoSuchObject,
    TargetDenied,
    TargetError,
    TargetUnavailable,
)
from bastide.domain.ids import guid_from_bytes
from bastide.domain.management_agents import CsObject
from bastide.domain.passwords import Code, Proof
from bastide.domain.spelling import told
from bastide.domain.sync_graph import domain_label
from bastide.services.passwords.ports import Imported, Look, NewPassword, Page, Result, Security
from bastide.targets.active_directory_each import EachController, Lost, also, newest, seen, unlocked
from bastide.targets.active_directory_origin import Origins
from bastide.targets.ad_connection import (
    ActiveDirectorySettings,
    check_keytab,
    controllers_of,
    ldaps,
    open_session,
    signed_in,
)
from bastide.targets.kinds import Kind, Opening
from bastide.targets.ldap_connection import (
    bound,
    door,
    hang_up,
    in_flight,
    is_encrypted,
    pages,
    quiet,
    result_of,
    said,
    target_error,
)
from bastide.targets.spelling import unfit

#: SAM_NORMAL_USER_ACCOUNT ([MS-SAMR] 2.2.1.9): people, not computers, and not the accounts of trusts.
PEOPLE = "(sAMAccountType=805306368)"
TYPE = "user"
#: A rename or a move shows as a change of `name`.
_PLACE = "name"
_IN_FILTER = 100
_GUID_BYTES = 16


# ---------------------------------------------------------------------------------------------------------------- import


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cookie: the controller's own, and the domain it is for."""

    base: str
    dirsync: bytes


class AdConnector:
    """Users of a domain. The anchor is objectGUID as text."""

    def __init__(self, settings: ActiveDirectorySettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening

    def read(self, cookie: bytes) -> Iterator[Page]:
        """Raises TargetUnavailable, TargetDenied, BadSource."""
        session = open_session(self._settings, self._opening)
        try:
            root = naming_context(session)
            mark = _mark(cookie, root)
            yield from self._since(session, root, mark, cookie) if mark else self._everything(session, root)
        finally:
            hang_up(session)

    def _everything(self, session: Session, root: str) -> Iterator[Page]:
        """The mark is taken first: what changes while we read comes again with the next delta."""
        cookie = b""
        for page in _changed(session, root, b"", ["objectGUID"]):
            cookie = page.cookie
        mark = msgspec.json.encode(Mark(root, cookie))
        waiting: tuple[Imported, ...] | None = None
        for found in pages(session, self._settings.base or root, PEOPLE, self._wanted()):
            if waiting is not None:
                yield Page(waiting, b"")
            waiting = tuple(map(self._imported, found))
        yield Page(waiting or (), mark)

    def _since(self, session: Session, root: str, mark: Mark, cookie: bytes) -> Iterator[Page]:
        """DirSync says who, a search says what: an object that is not found where we look has left our scope."""
        for page in _changed(session, root, mark.dirsync, (*self._settings.attributes, _PLACE)):
            found = self._present(session, root, page.present)
            seen = {one.anchor for one in found}
            gone = [guid for guid in (*page.deleted, *page.present) if guid not in seen]
            objects = (*found, *(Imported(guid, "", TYPE, {}, deleted=True) for guid in gone))
            cookie = msgspec.json.encode(Mark(root, page.cookie))
            yield Page(objects, cookie)

    def _present(self, session: Session, root: str, guids: Sequence[str]) -> list[Imported]:
        found: list[Imported] = []
        rest = iter(guids)
        while batch := list(islice(rest, _IN_FILTER)):
            with door("read changed objects", session.controller):
                entries = session.search(
                    self._settings.base or root, f"(&{PEOPLE}{any_guid(batch)})", self._wanted()
                )
            found += map(self._imported, entries)
        return found

    def _wanted(self) -> tuple[str, ...]:
        return ("objectGUID", *self._settings.attributes)

    def _imported(self, entry: Entry) -> Imported:
        if not entry.all("objectGUID"):
            raise BadSource(
                f"{entry.dn} shows no objectGUID", remedy="let the agent's account read it on all users"
            )
        attributes = {name: _texts(entry, name) for name in self._settings.attributes if entry.all(name)}
        return Imported(entry.guid(), plain_dn(entry.dn), TYPE, attributes)


def _changed(session: Session, root: str, cookie: bytes, attributes: Sequence[str]) -> Iterator[dirsync.Page]:
    """Page by page. Raises TargetUnavailable, TargetDenied, BadSource if the cookie is not accepted."""
    more = True
    while more:
        with door("read the changes", session.controller):
            page = dirsync.page(session, root, dirsync.USERS, attributes, cookie)
        cookie, more = page.cookie, page.more
        yield page


def naming_context(session: Session) -> str:
    """The root of the domain, where DirSync must begin. Raises TargetUnavailable."""
    with door("read the rootDSE", session.controller):
        return session.must_read("", ["defaultNamingContext"]).text("defaultNamingContext")


def what_it_is(settings: ActiveDirectorySettings, opening: Opening) -> tuple[str, ...]:
    """The domain as it calls itself, whatever host was named, and the objectGUID of its root, which no renaming changes; without that where it is not shown.

    Raises TargetUnavailable, TargetDenied, BadSource.
    """
    if not settings.keytab and not opening.secret:
        raise TargetDenied("the agent has no secret yet", remedy="`bastide ma secret` sets it")
    session = open_session(settings, opening)
    try:
        root = naming_context(session)
        with door("read the name of the domain", session.controller):
            name = ".".join(explode_dn(root, notypes=True))
        if not name:
            raise BadSource(
                f"{session.controller} names no domain", remedy="check `controllers` of the settings"
            )
        return domain_label(name), *_root_id(session, root)
    finally:
        hang_up(session)


def _root_id(session: Session, root: str) -> tuple[str, ...]:
    try:
        with door("read the root of the domain", session.controller):
            values = session.must_read(root, ["objectGUID"]).all("objectGUID")
    except (TargetError, DirectoryError):
        return ()
    return tuple(f"directory {guid_from_bytes(one)}" for one in values if len(one) == _GUID_BYTES)


def _mark(cookie: bytes, root: str) -> Mark | None:
    if not cookie:
        return None
    try:
        mark = msgspec.json.decode(cookie, type=Mark)
    except msgspec.MsgspecError:
        raise BadSource("the mark of the last import cannot be read", remedy="import all of it") from None
    if mark.base.lower() != root.lower():
        raise BadSource("the mark of the last import is of another domain", remedy="import all of it")
    return mark


def _texts(entry: Entry, name: str) -> tuple[str, ...]:
    if name.lower() == "objectsid":
        return (str(entry.sid()),)
    if name.lower() == "objectguid":
        return (entry.guid(),)
    return entry.texts(name)


# ------------------------------------------------------------------------------------------------------------- passwords

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: The Win32 code with which a controller begins its text ([MS-ADTS] 3.1.1.3.1.9), and what it means for us.
_SAYS = re.compile(r"^([0-9A-Fa-f]{8}):")
_CODES = {
    0x52D: Code.POLICY,  # ERROR_PASSWORD_RESTRICTION
    0x5: Code.DENIED,  # ERROR_ACCESS_DENIED
    0x56: Code.DENIED,  # ERROR_INVALID_PASSWORD: of a change, the old one is wrong
    0x775: Code.DENIED,  # ERROR_ACCOUNT_LOCKED_OUT: Samba's answer to a change
    0x1F: Code.INSECURE,  # ERROR_GEN_FAILURE: AD's word for a channel that is not sealed
    0x2030: Code.OBJECT_MISSING,  # ERROR_DS_NO_SUCH_OBJECT
}
_WRONG_OLD = 0x56
_REFUSED = {_WRONG_OLD: "the old password is wrong", 0x775: "the account is locked, so it takes no change"}
_NO_RIGHT = "our account lacks a right on it, or AdminSDHolder guards it"
_WHY = (
    ("too short", "it has too few characters"),
    ("complexity", "it has too few kinds of characters, or holds a name"),
    ("already used", "it was used before, and the domain remembers it"),
    ("too young", "the last change is too recent for the domain's least age of passwords"),
)
_NO_REASON = "the domain does not say which of its rules: length, kinds of characters, history, least age"
#: Sub-codes of a refused bind that the right password alone gets: it must be changed first.
_RIGHT = re.compile(r"\bdata (773|532)\b")
_CONTROL, _COMPUTED = "userAccountControl", "msDS-User-Account-Control-Computed"
#: UF_LOCKOUT, which is computed alone ([MS-ADTS] 3.1.1.4.5.17).
_LOCKED_OUT = 0x10
#: Domain and our account there, to the controllers that are left alone and until when: it outlives a target, which is opened anew for each person who waits.
_REFUSALS: dict[tuple[str, str], dict[str, float]] = {}
_NO_GUID = Result(Code.OBJECT_MISSING, "the anchor is no objectGUID")


class AdTarget:
    """Sets unicodePwd, addressed by objectGUID: renames and moves do not matter. A password is set on the first controller that answers, and replicated;
    what each of them knows by itself is asked and written on each (active_directory_each.py).
    """

    def __init__(self, settings: ActiveDirectorySettings, opening: Opening) -> None:
        self._settings = settings
        self._opening = opening
        self._controllers: EachController | None = None
        self._origins = Origins()

    def __enter__(self) -> Self:
        """Raises TargetUnavailable, TargetDenied."""
        settings, names = self._settings, controllers_of(self._settings)
        first = open_session(settings, self._opening, names)
        impatient = msgspec.structs.replace(settings, timeout=min(settings.timeout, settings.network_timeout))
        refusals = _REFUSALS.setdefault((settings.domain, settings.principal or settings.bind_name), {})
        sign_in = partial(signed_in, impatient, self._opening)
        self._controllers = EachController(first, names, sign_in, refusals, self._opening.monotonic)
        return self

    def __exit__(self, *error: object) -> None:
        controllers, self._controllers = self._controllers, None
        if controllers is not None:
            controllers.close()

    def security(self) -> Security:
        """As the libraries say of this connection: TLS, or a SASL layer that encrypts."""
        first = self._each.first
        if is_encrypted(first) or first.raw.get_option(ldap.OPT_X_SASL_SSF) >= 56:  # noqa: PLR2004  # DES; 1 is integrity alone
            return Security.SECURE
        return Security.UNKNOWN

    def set(self, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        """As an administrator: history and least age do not count. Raises TargetUnavailable."""
        results = {number: refused for number, new in enumerate(passwords) if (refused := _unfit(new))}
        rest = [number for number in range(len(passwords)) if number not in results]
        first = self._each.first
        starts = [
            partial(first.raw.modify_ext, by_guid(passwords[n].object.anchor), _changes(passwords[n]))
            for n in rest
        ]
        for number, (_, error) in zip(
            rest, in_flight(first, starts, [one.password for one in passwords]), strict=True
        ):
            results[number] = _result(error, [passwords[number].password])
        free = [n for n in rest if passwords[n].unlock and results[n].code is Code.SUCCESS]
        if free:
            elsewhere = self._each.on_others(_unlocking([passwords[n].object.anchor for n in free]))
            results |= {n: also(results[n], _of(elsewhere, passwords[n].object.anchor)) for n in free}
        return [self._origins.named(results[number], first) for number in range(len(passwords))]

    def change(self, object: CsObject, old: str, new: str) -> Result:  # noqa: A002  # the port's word
        """Delete the old value, add the new one ([MS-ADTS] 3.1.1.3.1.5): history and least age count. Raises TargetUnavailable."""
        refused = _unfit(NewPassword(object, new)) or unfit(old)
        if refused is not None:
            return refused
        modify = [
            (ldap.MOD_DELETE, "unicodePwd", [_quoted(old)]),
            (ldap.MOD_ADD, "unicodePwd", [_quoted(new)]),
        ]

        def asked(session: Session) -> Any:
            start = partial(session.raw.modify_ext, by_guid(object.anchor), modify)
            ((_, error),) = in_flight(session, [start], [old, new])
            return error

        error = asked(self._each.first)
        if _number(error) != _WRONG_OLD:
            return self._origins.named(_result(error, [old, new]), self._each.first)
        ahead, session = self._ahead(object.anchor)
        if session is not None:
            return self._origins.named(_result(asked(session), [old, new]), session)
        behind = _result(error, [old, new])
        if not ahead:
            return behind
        return replace(behind, detail=f"{ahead} knows a newer password than the one asked; {behind.detail}")

    def _ahead(self, guid: str) -> tuple[str, Session | None]:
        """The controller that knows a newer password than the first, and its connection if a wrong one would not lock the account there."""
        try:
            name = newest(self._each.on_each(partial(_set_at, guid)))
            session = self._each.session(name) if name else None
            return name, session if session is not None and _may_bind(session, guid) else None
        except (TargetError, DirectoryError):  # what the first one said stands
            return "", None

    def verify(self, object: CsObject, password: str) -> Proof:  # noqa: A002  # the port's word
        """One bind over LDAPS on this controller; not without a ca, and not near a lockout. Raises TargetUnavailable."""
        if not self._settings.ca or unfit(password) is not None:
            return Proof.NOT_TRIED
        dn = _may_bind(self._each.first, object.anchor)
        if not dn:
            return Proof.NOT_TRIED
        session = ldaps(self._settings, self._each.first.controller)
        try:
            error = bound(session, dn, password)
            if error is None or _RIGHT.search(said(error)[1]):
                return Proof.PROVED
            found = target_error(translate(error, "sign in", session.controller))
            if isinstance(found, TargetDenied):
                return Proof.NOT_PROVED
            raise quiet(found, [password]) from None
        finally:
            hang_up(session)

    def unlock(self, objects: Sequence[CsObject]) -> Sequence[Result]:
        """`lockoutTime` 0 on each controller, which leaves the password alone. Raises TargetUnavailable."""
        known = [one.anchor for one in objects if _GUID.fullmatch(one.anchor)]
        answers = self._each.on_each(_unlocking(known)) if known else {}
        said = {anchor: unlocked(_of(answers, anchor)) for anchor in known}
        return [said.get(one.anchor, _NO_GUID) for one in objects]

    def look(self, objects: Sequence[CsObject]) -> Sequence[Look]:
        """As the controllers work it out, their lockout duration counted. Raises TargetUnavailable."""

        def looks(session: Session) -> list[Look]:
            return [_look(session, one.anchor) if _GUID.fullmatch(one.anchor) else Look() for one in objects]

        shown = [one for one in self._each.on_each(looks).values() if not isinstance(one, Lost)]
        return [seen(each) for each in zip(*shown, strict=True)]

    @property
    def _each(self) -> EachController:
        if self._controllers is None:
            raise TargetUnavailable("the connection is closed")
        return self._controllers


def _unlocking(anchors: Sequence[str]) -> Callable[[Session], dict[str, Result]]:
    """By anchor, what one controller says."""
    modify = [(ldap.MOD_REPLACE, "lockoutTime", [b"0"])]

    def unlock(session: Session) -> dict[str, Result]:
        starts = [partial(session.raw.modify_ext, by_guid(one), modify) for one in anchors]
        answers = in_flight(session, starts)
        return {one: _result(error, []) for one, (_, error) in zip(anchors, answers, strict=True)}

    return unlock


def _of(answers: Mapping[str, dict[str, Result] | Lost], anchor: str) -> dict[str, Result | Lost]:
    """What each controller said of one account."""
    return {name: one if isinstance(one, Lost) else one[anchor] for name, one in answers.items()}


def _look(session: Session, guid: str) -> Look:
    entry = _state(session, guid, [_CONTROL, _COMPUTED, "pwdLastSet"])
    if entry is None:
        return Look()
    computed, set_last = entry.number(_COMPUTED), entry.number("pwdLastSet")
    return Look(
        locked=bool(computed & _LOCKED_OUT) if entry.all(_COMPUTED) else None,
        disabled=bool(entry.number(_CONTROL) & AccountControl.DISABLED),
        must_change=set_last == 0 if entry.all("pwdLastSet") else None,
        set_at=from_filetime(set_last) if set_last > 0 else None,
    )


def _set_at(guid: str, session: Session) -> int:
    entry = _state(session, guid, [_CONTROL, "pwdLastSet"])
    return 0 if entry is None else entry.number("pwdLastSet")


def _may_bind(session: Session, guid: str) -> str:
    """The DN to bind as; empty if the account is locked, disabled, or one failure away from its threshold."""
    entry = _state(session, guid, [_CONTROL, "lockoutTime", "badPwdCount", "msDS-ResultantPSO"])
    if entry is None:
        return ""
    with door("look at the domain's policy", session.controller):
        threshold = _threshold(session, entry)
    near = threshold is None or (threshold > 0 and entry.number("badPwdCount") + 1 >= threshold)
    disabled = entry.number(_CONTROL) & AccountControl.DISABLED
    return "" if near or disabled or entry.number("lockoutTime") else plain_dn(entry.dn)


def _state(session: Session, guid: str, names: Sequence[str]) -> Entry | None:
    """None: it is not there, or not shown."""
    with door("look at the account's state", session.controller):
        try:
            entry = session.read(by_guid(guid), names)
        except NoSuchObject:
            return None
    return entry if entry is not None and entry.all(_CONTROL) else None


def _threshold(session: Session, entry: Entry) -> int | None:
    """Failures after which the account locks; 0: never; None: not known."""
    policy = entry.text("msDS-ResultantPSO")
    name = "msDS-LockoutThreshold" if policy else "lockoutThreshold"
    rules = session.read(policy or naming_context(session), [name])
    return rules.number(name) if rules is not None and rules.all(name) else None


def _unfit(new: NewPassword) -> Result | None:
    if not _GUID.fullmatch(new.object.anchor):
        return _NO_GUID
    # Samba keeps it all and then compares what stands before the NUL with it: nobody would ever get in.
    return unfit(new.password, without="\x00")


def _quoted(password: str) -> bytes:
    """[MS-ADTS] 3.1.1.3.1.5: in quotation marks, UTF-16LE."""
    return f'"{password}"'.encode("utf-16-le")


def _changes(new: NewPassword) -> list[Change]:
    changes: list[Change] = [(ldap.MOD_REPLACE, "unicodePwd", [_quoted(new.password)])]
    if new.must_change:
        changes.append((ldap.MOD_REPLACE, "pwdLastSet", [b"0"]))
    if new.unlock:
        changes.append((ldap.MOD_REPLACE, "lockoutTime", [b"0"]))
    return changes


def _number(error: Any) -> int:
    """The Win32 code that the controller says; 0: none, or no error."""
    match = None if error is None else _SAYS.match(said(error)[1])
    return int(match[1], 16) if match else 0


def _result(error: Any, secrets: Sequence[str]) -> Result:
    """The controller's own code says more than LDAP's: one answer may mean a policy, a right or an open channel."""
    if error is None:
        return Result(Code.SUCCESS)
    name, text = said(error)
    number = _number(error)
    code = _CODES.get(number) or result_of(error).code
    why = _REFUSED.get(number, "")
    if code is Code.POLICY:
        why = why_refused(text)
    elif isinstance(error, ldap.INSUFFICIENT_ACCESS):
        why = _NO_RIGHT
    theirs = told(f"{name} {text}", secrets)
    return Result(code, f"{why}: {theirs}" if why else theirs)


def why_refused(text: str) -> str:
    """Which rule a password broke, as far as the controller says: Samba's words of password_hash.c. Windows says none."""
    return next((why for words, why in _WHY if words in text), _NO_REASON)


KIND = Kind(
    settings=ActiveDirectorySettings,
    connector=AdConnector,
    target=AdTarget,
    check_host=check_keytab,
    identity=what_it_is,
)
