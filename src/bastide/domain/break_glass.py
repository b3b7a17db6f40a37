"""Emergency accounts: their envelopes, what a controller shows of their use, and what that means.

An envelope is a password that nobody knows, split so that `threshold` of its custodians together have it, and fewer have nothing (SLIP-39). Bastide keeps
no password and no share of it; it keeps who has one, and what the directory showed when it was sealed. It is good for one use.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain.errors import InvalidInput
from bastide.domain.ids import Sid, parse_name, typed

#: Bytes of a secret: 128 bits, which nobody guesses and which 20 words carry.
SECRET_BYTES = 16
#: An identifier of SLIP-39 has 15 bits.
NUMBERS = 1 << 15
#: SLIP-39: a group has at most 16 members.
MOST_CUSTODIANS = 16
#: One for a holiday, one for an illness.
ENOUGH_CUSTODIANS = 3
CUSTODIAN_LIMIT = 64
REASON_LIMIT = 400
#: Two clocks may differ by so much (RFC 4120, 1.6); a sign-in that much before an opening may belong to it.
SKEW = timedelta(minutes=5)
#: How often the worker looks at the accounts.
EVERY = timedelta(minutes=1)
#: How long after its envelope was opened a sign-in is still that opening's.
USE = timedelta(days=1)
#: From the record that an account is sealed anew to the sign-in that proves it: a minute for replication, and two clocks.
RENEWAL = SKEW + timedelta(minutes=2)
#: Sign-ins that an envelope keeps one by one.
MOST_USES = 20
_GROUP = 5


class State(StrEnum):
    """`used`: it was opened, its account signed in, or its password is another one. Only `sealed` is good for an emergency."""

    SEALED = "sealed"
    USED = "used"
    REPLACED = "replaced"
    REMOVED = "removed"

    @property
    def is_current(self) -> bool:
        """Whether it is the envelope of its account."""
        return self in {State.SEALED, State.USED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The account as one controller shows it. Sign-ins and wrong passwords are counted by each controller for itself ([MS-ADA1] lastLogon, logonCount,
    badPwdCount, badPasswordTime: not replicated). Not `shown`: these are kept from whoever asks, and their absence says nothing.
    """

    last_logon: datetime | None = None
    logons: int = 0
    last_wrong: datetime | None = None
    wrong: int = 0
    shown: bool = True
    password_set: datetime | None = None
    enabled: bool = True
    locked: bool = False
    #: accountExpires; None: never.
    expires: datetime | None = None
    password_expires: bool = False
    smartcard: bool = False
    #: In Protected Users.
    guarded: bool = False
    #: DNs of the groups it is directly in, sorted.
    groups: tuple[str, ...] = ()


class What(StrEnum):
    """What became of an emergency account."""

    SIGN_IN = "sign-in"
    WRONG_PASSWORD = "wrong-password"  # noqa: S105  # a kind of sign
    PASSWORD = "password-changed"  # noqa: S105  # as above
    STANDING = "enabled-changed"
    GROUPS = "groups-changed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that happened between two looks. `at`: when, where the controller says it. `times`: how often, where it counts."""

    what: What
    controller: str
    at: datetime | None
    text: str
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """An opening, as it was written down where it happened. It carries no secret, and no signature: there is no key of ours in an emergency."""

    id: str
    number: int
    account: str
    opened_at: datetime
    by: str
    host: str
    reason: str
    #: Places of the shares that were used, from 0 on.
    shares: tuple[int, ...]
    #: `shown` on the terminal, or `ticket`: bought with it, and not shown.
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One sealing. `verifier`: Argon2id of the secret, which is 128 random bits: there is nothing to guess."""

    number: int
    account: Sid
    name: str
    #: DNS name in lower case.
    domain: str
    sealed_at: datetime
    sealed_by: str
    sealer: str
    threshold: int
    custodians: tuple[str, ...]
    verifier: str = field(repr=False)
    #: By controller: as it was sealed, and as it was seen last.
    baseline: Mapping[str, Trace]
    seen: Mapping[str, Trace]
    looked_at: datetime | None = None
    state: State = State.SEALED
    ended_at: datetime | None = None
    why: str = ""
    drilled_at: datetime | None = None
    #: When a new password was going to be set, for the envelope after this one.
    renewed_at: datetime | None = None
    receipts: tuple[Receipt, ...] = ()
    #: The first sign-ins that were told. A controller shows the last one alone, which a receipt may explain while it explains none before it.
    uses: tuple[Sign, ...] = ()

    @property
    def principal(self) -> str:
        """As Kerberos names it."""
        return f"{self.name}@{self.domain.upper()}"

    def ended(self, state: State, now: datetime, why: str) -> "Envelope":
        """The first reason stays."""
        if self.state is state:
            return self
        return replace(self, state=state, ended_at=now, why=why)


def parse_custodians(text: str) -> tuple[str, ...]:
    """`Ann, Ben, Cy`. Raises InvalidInput."""
    names = tuple(parse_name("custodians", one) for one in text.split(","))
    for name in names:
        if len(name) > CUSTODIAN_LIMIT:
            raise InvalidInput("custodians", f"{typed(name)} is longer than {CUSTODIAN_LIMIT} characters")
    if len({name.casefold() for name in names}) != len(names):
        raise InvalidInput("custodians", "a custodian is named twice", remedy="each share is somebody else's")
    return names


def check_split(threshold: int, count: int) -> None:
    """Raises InvalidInput for what is no sharing at all; what is only unwise is a finding of checks.py."""
    if not 2 <= count <= MOST_CUSTODIANS:  # noqa: PLR2004  # one share would be the secret itself
        raise InvalidInput(
            "custodians", f"{count} custodians; there are 2 to {MOST_CUSTODIANS}", remedy="name three or more"
        )
    if not 2 <= threshold <= count:  # noqa: PLR2004  # as above
        raise InvalidInput(
            "threshold",
            f"{threshold} of {count} custodians: it is at least 2, and no more than there are",
            remedy="2 of 3 or 3 of 5 lets one or two be out of reach",
        )


def password_of(secret: bytes) -> str:
    """What is typed at a console: all of the secret, in base32, as small letters and digits with dots between, none of them l, o, 0 or 1. `A9.` before it
    makes four classes of characters, and is no part of a name, which AD would refuse.
    """
    text = base64.b32encode(secret).decode().rstrip("=").lower().translate(_UNLIKE)
    groups = [text[at : at + _GROUP] for at in range(0, len(text), _GROUP)]
    return ".".join(["A9", *groups])


#: Base32 has l and o, which are read as 1 and 0; it has neither 8 nor 9.
_UNLIKE = str.maketrans("lo", "89")


# ------------------------------------------------------------------------------------------------- what the directory shows


#: What makes an envelope used: it cannot be opened in an emergency any more, or somebody was in.
SPENT = frozenset({What.SIGN_IN, What.PASSWORD, What.GONE})


def signs(before: Mapping[str, Trace], now: Mapping[str, Trace], since: datetime) -> tuple[Sign, ...]:
    """What happened. `since` judges a controller of which nothing was known before: what is counted there is later than that, or is not ours."""
    return (*_password(before, now), *_on_each(before, now, since), *_standing(before, now))


def _on_each(before: Mapping[str, Trace], now: Mapping[str, Trace], since: datetime) -> Iterator[Sign]:
    for name, trace in now.items():
        old = before.get(name)
        if old is None or not old.shown:
            old = Trace(last_logon=since, last_wrong=since, logons=trace.logons, wrong=trace.wrong)
        if trace.logons > old.logons or _later(trace.last_logon, old.last_logon):
            times = max(trace.logons - old.logons, 1)
            yield Sign(What.SIGN_IN, name, trace.last_logon, f"signed in on {name}", times)
        if trace.wrong > old.wrong or _later(trace.last_wrong, old.last_wrong):
            times = max(trace.wrong - old.wrong, 1)
            text = f"a wrong password was tried on {name}"
            yield Sign(What.WRONG_PASSWORD, name, trace.last_wrong, text, times)


def _password(before: Mapping[str, Trace], now: Mapping[str, Trace]) -> Iterator[Sign]:
    """The newest of all counts: a controller that lags behind is not a change."""
    old, new = _newest(before.values()), _newest(now.values())
    if _later(new, old):
        where = next(name for name, trace in now.items() if trace.password_set == new)
        yield Sign(What.PASSWORD, where, new, f"its password was changed ({where})")


def _standing(before: Mapping[str, Trace], now: Mapping[str, Trace]) -> Iterator[Sign]:
    """Each once, however many controllers say it: what any of them said before is no news from another."""
    enabled, groups = {one.enabled for one in before.values()}, {one.groups for one in before.values()}
    for name, trace in now.items():
        if trace.enabled not in enabled:
            enabled.add(trace.enabled)
            said = "enabled" if trace.enabled else "disabled"
            yield Sign(What.STANDING, name, None, f"it was {said} ({name})")
        if trace.groups not in groups:
            known = before.get(name) or next(iter(before.values()), Trace())
            groups.add(trace.groups)
            more, less = set(trace.groups) - set(known.groups), set(known.groups) - set(trace.groups)
            changes = [f"into {dn}" for dn in sorted(more)] + [f"out of {dn}" for dn in sorted(less)]
            yield Sign(What.GROUPS, name, None, f"it was put {' and '.join(changes)} ({name})")


def _newest(traces: Iterable[Trace]) -> datetime | None:
    return max((one.password_set for one in traces if one.password_set), default=None)


def _later(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and (other is None or one > other)


def looked(envelope: Envelope, now: Mapping[str, Trace], at: datetime) -> tuple[Envelope, tuple[Sign, ...]]:
    """The envelope after a look, and what is new since the one before. A controller that did not answer keeps what it showed last."""
    found = signs(envelope.seen, now, envelope.sealed_at)
    told = tuple(one for one in found if not _is_renewal(envelope, one))
    # What the sealing did is never taken as seen: another sign-in beside its one is told then.
    seen = envelope.seen if found and not told else {**envelope.seen, **now}
    uses = (*envelope.uses, *(one for one in told if one.what is What.SIGN_IN))[:MOST_USES]
    after = replace(envelope, seen=seen, looked_at=at, uses=uses)
    if spent := next((one for one in told if one.what in SPENT), None):
        after = after.ended(State.USED, at, spent.text)
    elif len(told) < len(found):
        after = after.ended(State.USED, at, "its password was changed for another envelope")
    return after, told


def happened(envelope: Envelope, seen: Mapping[str, Trace]) -> tuple[Sign, ...]:
    """All since it was sealed, but for its own end: the password of the next one, and the sign-in that proves that."""
    each = {(one.controller, one.at) for one in envelope.uses}
    known = signs(envelope.baseline, envelope.seen, envelope.sealed_at)
    others = (one for one in known if one.what is not What.SIGN_IN or (one.controller, one.at) not in each)
    new = signs(envelope.seen, seen, envelope.sealed_at)
    return (*envelope.uses, *others, *(one for one in new if not _is_renewal(envelope, one)))


def _is_renewal(envelope: Envelope, sign: Sign) -> bool:
    """An administrator did it, and the audit has it as break-glass.sealing: no alarm. What came before that record was looked at when it was written."""
    if envelope.renewed_at is None or sign.at is None or sign.what not in {What.SIGN_IN, What.PASSWORD}:
        return False
    return sign.times == 1 and abs(sign.at - envelope.renewed_at) <= RENEWAL


def unexplained(envelope: Envelope, found: Sequence[Sign]) -> tuple[Sign, ...]:
    """Sign-ins that no receipt explains: before any opening, or more than a day after the last one."""
    return tuple(one for one in found if one.what is What.SIGN_IN and not _explained(envelope, one.at))


def _explained(envelope: Envelope, at: datetime | None) -> bool:
    """A sign-in without a time is explained by any opening."""
    openings = [one.opened_at for one in envelope.receipts]
    if at is None:
        return bool(openings)
    return any(opened - SKEW <= at <= opened + USE for opened in openings)
