"""Whether an account of an LDAP server is locked after failed sign-ins, and how that lock is taken away: OpenLDAP's ppolicy
(draft-behera-ldap-password-policy-10 5.3), and 389-ds. Measured on OpenLDAP 2.5 and 389-ds 2.3.1.

A search cannot tell "has none" from "not shown to us"; a Compare can (RFC 4511 4.10). What is neither shown nor denied is not known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import partial

import ldap
from ldap.controls import LDAPControl

from bastide.directory.entries import Entry
from bastide.directory.session import Change, Session
from bastide.domain.errors import DirectoryDenied, NoSuchObject
from bastide.domain.passwords import Code
from bastide.services.passwords.ports import Look, Result
from bastide.targets.ldap_connection import door, in_flight, result_of

#: draft-behera-ldap-password-policy-10 5.3, as OpenLDAP's ppolicy and 389-ds keep them.
LOCKED, FAILURES, POLICY, MOST_FAILURES, LOCKOUT, RESET = (
    "pwdAccountLockedTime", "pwdFailureTime", "pwdPolicySubentry", "pwdMaxFailure", "pwdLockout", "pwdReset",
)  # fmt: skip
_CHANGED, _DURATION = "pwdChangedTime", "pwdLockoutDuration"
#: What 389-ds keeps besides, whose own names tell nothing there.
UNLOCKED, COUNT = "accountUnlockTime", "passwordRetryCount"
_COUNT_ENDS, _INACTIVE = "retryCountResetTime", "nsAccountLock"
#: A time at which nobody failed: the value does not matter, the answer to the question does. To 389-ds as a time of unlocking it means "never".
LONG_AGO = b"19700101000000Z"
#: slapo-ppolicy(5): locked by an administrator. ppolicy itself writes the time of the last failure.
_FOR_GOOD = "000001010000Z"
_SEEN = (LOCKED, UNLOCKED, COUNT, _INACTIVE, RESET, _CHANGED, POLICY)
#: What is asked about where the entry does not show it, and with which value.
_ASKED = {LOCKED: LONG_AGO, UNLOCKED: LONG_AGO, COUNT: b"0", _INACTIVE: b"false", RESET: b"FALSE"}
#: Without a value a replacement takes the attribute away, and asks for none that is there (RFC 4511 4.6).
_FORGET: tuple[Change, ...] = tuple((ldap.MOD_REPLACE, name, []) for name in (UNLOCKED, COUNT, _COUNT_ENDS))
_MOMENT = "%Y%m%d%H%M%S"


class Lack(Enum):
    """Why an entry shows no value."""

    NONE = "it has none"
    NO_SUCH = "the server knows no such attribute"
    HIDDEN = "not shown to us"


@dataclass(frozen=True, slots=True)
class State:
    """What a server tells of one entry. `lasts`: how long a lock of its policy holds, 0: until it is taken away; None: not known."""

    entry: Entry
    lacks: Mapping[str, Lack]
    lasts: timedelta | None

    def locked(self, now: datetime) -> bool | None:
        """After failed sign-ins; None: the server does not say, or keeps no lock."""
        since = self.entry.text(LOCKED)
        if self.for_good:
            return False
        if since:
            began = _moment(since)
            return not (self.lasts and began is not None and began + self.lasts <= now)
        if self._knows(UNLOCKED):
            return self._locked_389(now)
        return False if self.lacks[LOCKED] is Lack.NONE else None

    def _locked_389(self, now: datetime) -> bool | None:
        """A set resets the count and leaves the time of unlocking: only both together lock."""
        until = self.entry.text(UNLOCKED)
        if not until:
            return False if self.lacks[UNLOCKED] is Lack.NONE else None
        if self.lacks.get(COUNT) is Lack.HIDDEN:
            return None
        moment = _moment(until)
        over = until != LONG_AGO.decode() and moment is not None and moment <= now
        return self.entry.number(COUNT) > 0 and not over

    @property
    def for_good(self) -> bool:
        """Whether an administrator has locked it with ppolicy's own attribute."""
        return self.entry.text(LOCKED) == _FOR_GOOD

    @property
    def is_kept(self) -> bool:
        """Whether the server keeps locks at all."""
        return self._knows(LOCKED) or self._knows(UNLOCKED)

    def look(self, now: datetime) -> Look:
        """For people."""
        inactive = self.entry.text(_INACTIVE).upper() == "TRUE"
        known = Lack.HIDDEN not in {self.lacks.get(LOCKED), self.lacks.get(_INACTIVE)} and self.is_kept
        reset = self.entry.text(RESET).upper() == "TRUE"
        # 389-ds has the attribute in its schema, and makes nobody change a password by it.
        told = not self._knows(UNLOCKED) and self.lacks.get(RESET) in {None, Lack.NONE}
        return Look(
            locked=self.locked(now),
            disabled=True if inactive or self.for_good else (False if known else None),
            must_change=True if reset else (False if told else None),
            set_at=_moment(self.entry.text(_CHANGED)),
        )

    def opening(self) -> list[Change]:
        """What takes the lock away, and nothing else. With ppolicy the failures go with it, and of two who come at once the second is told so."""
        if self.entry.all(LOCKED):
            return [(ldap.MOD_DELETE, LOCKED, list(self.entry.all(LOCKED)))]
        return list(_FORGET)

    def _knows(self, name: str) -> bool:
        return self.lacks.get(name) is not Lack.NO_SUCH


def state_of(session: Session, dn: str) -> State | None:
    """None: there is no such entry, or it is not shown. Raises TargetUnavailable, TargetDenied, BadSource."""
    with door("look at the account's state", session.controller):
        try:
            entry = session.read(dn, _SEEN)
        except NoSuchObject:
            return None
    if entry is None:
        return None
    missing = [name for name in _ASKED if not entry.all(name)]
    starts = [partial(session.raw.compare_ext, dn, name, _ASKED[name]) for name in missing]
    answers = (error for _, error in in_flight(session, starts))
    lacks = {name: _lack(error) for name, error in zip(missing, answers, strict=True)}
    return State(entry, lacks, _lasts(session, entry.text(POLICY)))


def unlock(session: Session, dn: str, now: datetime, controls: Sequence[LDAPControl] = ()) -> Result:
    """An account that is not locked stays as it is. Raises TargetUnavailable, TargetDenied, BadSource."""
    state = state_of(session, dn)
    if state is None:
        return Result(Code.OBJECT_MISSING, "the entry is not shown")
    locked = state.locked(now)
    if locked:
        return _opened(session, dn, state, controls)
    return _why_not(state) if locked is None or state.for_good else Result(Code.SUCCESS)


def forget(session: Session, dn: str, controls: Sequence[LDAPControl] = ()) -> Result:
    """Whatever 389-ds keeps of failures. Raises TargetUnavailable."""
    starts = [partial(session.raw.modify_ext, dn, list(_FORGET), list(controls))]
    ((_, error),) = in_flight(session, starts)
    return result_of(error)


def _opened(session: Session, dn: str, state: State, controls: Sequence[LDAPControl]) -> Result:
    starts = [partial(session.raw.modify_ext, dn, state.opening(), list(controls))]
    ((_, error),) = in_flight(session, starts)
    if isinstance(error, ldap.NO_SUCH_ATTRIBUTE):
        return Result(Code.FAILED, "somebody else changed its lock at that moment: look at it again")
    return result_of(error)


def _why_not(state: State) -> Result:
    if state.for_good:
        return Result(
            Code.DENIED,
            "an administrator of that server has locked the account for good, and takes that lock away alone",
        )
    if not state.is_kept:
        return Result(Code.SET_UNSUPPORTED, "this server has no lock that it tells of: no ppolicy, no 389-ds")
    return Result(
        Code.DENIED,
        f"whether it is locked is not shown: our account lacks the right to read {LOCKED}, or {UNLOCKED} and {COUNT}",
    )


def may_bind(session: Session, dn: str) -> bool:
    """Whether one failed sign-in more locks nobody out: how many are left is not known to everybody, so none may be on record."""
    with door("look at the account's state", session.controller):
        entry = session.read(dn, [LOCKED, FAILURES, POLICY])
        if entry is None or entry.all(LOCKED) or entry.all(FAILURES):
            return False
        policy = entry.text(POLICY)
        rules = session.read(policy, [MOST_FAILURES, LOCKOUT]) if policy else None
    if rules is not None and rules.text(LOCKOUT).upper() == "FALSE":
        return True
    return _is_clean(session, dn) and (rules is None or rules.number(MOST_FAILURES) != 1)


def _is_clean(session: Session, dn: str) -> bool:
    """Whether the server says that the entry has neither lock nor failure."""
    none, unknown = ldap.NO_SUCH_ATTRIBUTE, ldap.UNDEFINED_TYPE
    questions = {
        LOCKED: (LONG_AGO, (none,)),
        FAILURES: (LONG_AGO, (none,)),
        UNLOCKED: (LONG_AGO, (none, unknown)),
        COUNT: (b"0", (none, unknown, ldap.COMPARE_TRUE)),
    }
    starts = [partial(session.raw.compare_ext, dn, name, value) for name, (value, _) in questions.items()]
    answers = list(in_flight(session, starts))
    return all(
        isinstance(error, good) for (_, error), (_, good) in zip(answers, questions.values(), strict=True)
    )


def _lack(error: ldap.LDAPError | None) -> Lack:
    if isinstance(error, ldap.NO_SUCH_ATTRIBUTE):
        return Lack.NONE
    return Lack.NO_SUCH if isinstance(error, ldap.UNDEFINED_TYPE) else Lack.HIDDEN


def _lasts(session: Session, policy: str) -> timedelta | None:
    """Of the entry's own policy, if it is shown: the one that counts for all others stands in the server's configuration."""
    if not policy:
        return None
    with door("read the policy of the account", session.controller):
        try:
            rules = session.read(policy, [_DURATION])
        except (NoSuchObject, DirectoryDenied):
            return None
    return timedelta(seconds=rules.number(_DURATION)) if rules is not None and rules.all(_DURATION) else None


def _moment(text: str) -> datetime | None:
    """A time in UTC (RFC 4517 3.3.13), to the second."""
    try:
        return datetime.strptime(text.partition(".")[0].rstrip("Z"), _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        return None
