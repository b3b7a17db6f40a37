"""The help desk: whose passwords an operator may touch, and how a caller is verified. Pure.

Whoever sets a password can be that person. So an operator reaches people who can do less than the operator, and nobody else; of whom nothing is known is out of
reach. `require_reach` refuses, in order:

  (1) Oneself, by whatever account.
  (2) PAM users, emergency accounts, and accounts of Bastide's own.
  (3) Built-in accounts, and whoever is, or was, in a privileged group, nested ones too.
  (4) Members of a group that gives a right here (administrators, auditors, approvers, help desk), that carries rights through PAM, or that the settings protect.
  (5) Whoever has an account in a domain that nobody could ask about it, or none in any domain that can be asked: then nobody can say what the person may do.

A caller is verified by a one-time code (`Verification`), which is

  (6) for one person, one operator and one purpose, and for nobody and nothing else,
  (7) dead after LIFE, or after TRIES wrong codes,
  (8) of use once: what uses it and its end are one commit,
  (9) sent to where the person registered to get codes, else to the directory's `mail`; that the directory says something else than what was registered, or than where a
      code went before, is part of it (`differs`): somebody may have changed it for this call,
  (10) told to where the code before went, if it goes elsewhere now (`earlier`).
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain.errors import Conflict, MfaRefused, NotAuthorized
from bastide.domain.ids import Sid
from bastide.domain.management_agents import MvId
from bastide.domain.reset.exclusion import why_excluded

#: From its beginning until it is used.
LIFE = timedelta(minutes=10)
TRIES = 3
#: Begun for one person within PER: a person who is called again and again gets no flood of messages, and an authenticator is not locked for a joke.
MOST, PER = 5, timedelta(hours=1)
#: Longer than (10) is tried to be told.
KEPT = timedelta(days=2)
_ABOVE = "the help desk reaches people without privileges alone; an administrator of that account helps"
_BEGIN = "verify the caller again"


@dataclass(frozen=True, slots=True)
class Member:
    """An account of a person in a domain, and the groups it is in, nested ones too. `protected`: AdminSDHolder guards it, or did."""

    sid: Sid
    groups: frozenset[Sid]
    protected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of a person. `sids`: of all accounts, those of a PAM user in PRIV too. `unknown`: accounts that no directory told of, by DN."""

    sids: frozenset[Sid]
    members: tuple[Member, ...] = ()
    pam_user: bool = False
    emergency: bool = False
    own: bool = False
    unknown: tuple[str, ...] = ()


def require_reach(operator: Collection[Sid], person: Standing, guarded: Collection[Sid]) -> None:
    """`operator`: SIDs of the operator's accounts; `guarded`: the groups of (4). Raises NotAuthorized."""
    why = why_above(operator, person, guarded)
    if why:
        raise NotAuthorized(f"this person is out of the help desk's reach: {why}", remedy=_ABOVE)


def why_above(operator: Collection[Sid], person: Standing, guarded: Collection[Sid]) -> str:
    """Empty: the person is in reach."""
    if not person.sids.isdisjoint(operator):  # (1)
        return "it is yourself"
    return _of_ours(person) or _of_groups(person, frozenset(guarded)) or _unknown(person)


def _of_ours(person: Standing) -> str:  # (2)
    if person.pam_user:
        return "a PAM user"
    if person.emergency:
        return "an emergency account"
    return "an account that Bastide itself uses" if person.own else ""


def _of_groups(person: Standing, guarded: frozenset[Sid]) -> str:
    for one in person.members:
        why = why_excluded(one.sid, one.groups, protected=one.protected, excluded=())  # (3)
        if why:
            return f"the account {why}"
        if not guarded.isdisjoint(one.groups):  # (4)
            return "a member of a group that gives rights here, or that the settings protect"
    return ""


def _unknown(person: Standing) -> str:  # (5)
    if person.unknown:
        return f"nobody could say which groups {person.unknown[0]} is in"
    return "" if person.members else "there is no account in a domain that could be asked"


class Method(StrEnum):
    """How a caller shows who it is."""

    TOTP = "totp"  # the caller reads a code from the authenticator that is registered here
    SENT = "sent"  # the caller reads a code that was sent to where the person registered to get codes, else to the address in the directory


class Route(StrEnum):
    """Where a code that is sent goes, or a word of what was done."""

    REGISTERED = "registered"
    DIRECTORY = "directory"
    EARLIER = "earlier"  # (10), never a code


class Differs(StrEnum):
    """(9) From what the directory's `mail` differs."""

    REGISTERED = "registered"
    BEFORE = "before"


class Stage(StrEnum):
    """Of a verification."""

    WAITING = "waiting"
    PROVED = "proved"
    USED = "used"
    FAILED = "failed"


class Purpose(StrEnum):
    """What a code is for. It is part of the message that holds it."""

    PASSWORD = "password"  # noqa: S105  # what is to be set


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """(6). `by`: the operator's name. `code_hash`: of a code that was sent; `factor`: the authenticator that showed one. `route` None: no code was sent. `sealed_to`:
    where the last code for this person went, `sealed_before`: where the one before went (10), both sealed to the person. Not for logs: its repr holds no hash.
    """

    id: str
    person: MvId
    name: str
    operator: Sid
    purpose: Purpose
    method: Method
    begun_at: datetime
    code_hash: str = ""
    factor: str = ""
    route: Route | None = None
    differs: Differs | None = None
    sealed_to: bytes = b""
    sealed_before: bytes = b""
    by: str = ""
    stage: Stage = Stage.WAITING
    wrong: int = 0
    operation: str = ""

    def __repr__(self) -> str:
        return f"Verification({self.id}, {self.stage.value})"

    @property
    def until(self) -> datetime:
        """When it is dead, whatever happens."""
        return self.begun_at + LIFE


def differs(route: Route, to: str, directory: str, before: str) -> Differs | None:
    """(9) `before`: where the last code went; empty: nowhere. Addresses are compared without case."""
    if route is Route.REGISTERED:
        return Differs.REGISTERED if directory and directory.casefold() != to.casefold() else None
    return Differs.BEFORE if earlier(to, before) else None


def earlier(to: str, before: str) -> bool:
    """(10) `before`: where the last code went; empty: nowhere."""
    return bool(before) and before.casefold() != to.casefold()


def require_waiting(one: Verification, operator: Sid, now: datetime) -> None:
    """(6), (7): a code may be shown for it. Raises MfaRefused, Conflict."""
    _require_own(one, operator)
    if one.stage is Stage.FAILED or one.until <= now:
        raise MfaRefused("the verification is over", remedy=_BEGIN)
    if one.stage is not Stage.WAITING:
        raise Conflict("the caller is verified already")


def after_wrong(one: Verification) -> Verification:
    """(7)."""
    wrong = one.wrong + 1
    return replace(one, wrong=wrong, stage=Stage.FAILED if wrong >= TRIES else one.stage)


def used(one: Verification, operator: Sid, person: MvId, operation: str, now: datetime) -> Verification:
    """(6), (8). Raises MfaRefused."""
    _require_own(one, operator)
    if one.person != person:
        raise MfaRefused("another person was verified", remedy=_BEGIN)
    if one.stage is not Stage.PROVED or one.until <= now:
        raise MfaRefused("the caller is not verified, or no more", remedy=_BEGIN)
    return replace(one, stage=Stage.USED, operation=operation)


def _require_own(one: Verification, operator: Sid) -> None:
    if one.operator != operator:
        raise MfaRefused("another operator began this verification", remedy=_BEGIN)
