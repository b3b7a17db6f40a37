"""What callers send. A Struct holds what a caller may say and nothing else: no state, no approver, no votes, no other person (F1, F9).

Lengths of time are whole seconds; times are RFC 3339 with an offset. Limits here keep values countable; the rules themselves are in domain/.
"""

from datetime import datetime, time, timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from bastide.domain.approvals import REASON_LIMIT
from bastide.domain.ids import NAME_LIMIT, RoleId
from bastide.domain.people import Demand, Right
from bastide.domain.policy import JUSTIFICATION_LIMIT, TICKET_LIMIT, Draft
from bastide.domain.requests import Decision
from bastide.domain.roles import (
    DESCRIPTION_LIMIT,
    PATTERN_LIMIT,
    TTL_CEILING,
    Carrier,
    Enforcer,
    Role,
    Ttl,
    Window,
)
from bastide.services.roles import RoleDraft, StageDraft
from bastide.services.security_keys import Answer

_LONGEST = int(TTL_CEILING.total_seconds())
_LISTED = 500

Seconds = Annotated[int, Meta(ge=1, le=_LONGEST, description="Seconds.")]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset.")]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_LIMIT)]
OptionalName = Annotated[str, Meta(max_length=NAME_LIMIT)]
Names = Annotated[list[Name], Meta(max_length=_LISTED)]
Reason = Annotated[str, Meta(max_length=REASON_LIMIT)]
Code = Annotated[str, Meta(max_length=64)]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]
Clock = Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="HH:MM, local time.")]
Day = Annotated[int, Meta(ge=0, le=6, description="0 is Monday.")]


class Body(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A body. An unknown field is refused."""


class SecretBody(Body, frozen=True, kw_only=True):
    """A body that no log and no traceback may show."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<hidden>)"


class SignIn(SecretBody, frozen=True, kw_only=True):
    """`account` as CORP-backslash-name or PRIV-backslash-name. `code`: the second factor; without it the session has none."""

    account: Name
    password: Password
    code: Code = ""


class NewToken(Body, frozen=True, kw_only=True):
    """A token for a program: how long it lives, and the rights that it gives, of those that the caller has."""

    minutes: Annotated[int, Meta(ge=1, le=60)] = 15
    rights: Annotated[tuple[Right, ...], Meta(min_length=1, max_length=4)] = (Right.USE,)


class Enrol(SecretBody, frozen=True, kw_only=True):
    """A CORP sign-in needs an invitation."""

    invitation: Code = ""


class Confirm(SecretBody, frozen=True, kw_only=True):
    """The first code of a new authenticator."""

    code: Code


class KeyAnswer(Body, frozen=True, kw_only=True):
    """What a security key answered. `challenge`: the id of what was asked. `credential`: the browser's PublicKeyCredential as JSON (toJSON)."""

    challenge: Code
    credential: dict[str, Any]

    def answer(self) -> Answer:
        """In the words of the use case."""
        return Answer(self.challenge, self.credential)


class NewKey(SecretBody, frozen=True, kw_only=True):
    """`name`: what its person calls it. The first second factor needs an invitation, or a ticket of the PRIV account."""

    name: Name
    challenge: Code
    credential: dict[str, Any]
    invitation: Code = ""

    def answer(self) -> Answer:
        """In the words of the use case."""
        return Answer(self.challenge, self.credential)


class Ballot(Body, frozen=True, kw_only=True):
    """How somebody is going to decide. `stage`: empty for the first one that is the caller's."""

    decision: Decision
    reason: Reason = ""
    stage: OptionalName = ""


class NewPassword(SecretBody, frozen=True, kw_only=True):
    """The PRIV password to set."""

    password: Password


class Switch(Body, frozen=True, kw_only=True):
    """Whether a PAM user may ask, and why."""

    enabled: bool
    reason: Reason


class Invite(Body, frozen=True, kw_only=True):
    """A PAM user, or FOREST-backslash-name."""

    account: Name


class Ask(Body, frozen=True, kw_only=True):
    """A request for a role, by name or id. Whose it is needs no saying: the caller's."""

    role: Name
    ttl_seconds: Seconds | None = None
    start_at: Moment | None = None
    justification: Annotated[str, Meta(max_length=JUSTIFICATION_LIMIT)] = ""
    ticket: Annotated[str, Meta(max_length=TICKET_LIMIT)] = ""

    def draft(self, key: str) -> Draft:
        """In the words of the domain. `key`: of the call."""
        return Draft(
            ttl=None if self.ttl_seconds is None else timedelta(seconds=self.ttl_seconds),
            start_at=self.start_at,
            justification=self.justification,
            ticket=self.ticket,
            method="api",
            key=key,
        )


class Extend(Body, frozen=True, kw_only=True):
    """By how much later the access is to end."""

    seconds: Seconds


class Close(Body, frozen=True, kw_only=True):
    """Why, for the audit."""

    reason: Reason = ""


class Signed(KeyAnswer, frozen=True, kw_only=True):
    """What a security key signed for this decision and reason; `stage` as it was asked for."""

    stage: Name


class Decide(Body, frozen=True, kw_only=True):
    """A rejection needs a reason. `signature`: where the role demands that approvals are signed."""

    decision: Decision
    reason: Reason = ""
    signature: Signed | None = None


class NewPamUser(Body, frozen=True, kw_only=True):
    """`corp`: the person's CORP account. `adopt`: take the existing PRIV account `priv_name`. `kept_alive`: not dormant between grants."""

    corp: Name
    priv_name: OptionalName = ""
    adopt: bool = False
    kept_alive: bool = False


class NewPamGroup(Body, frozen=True, kw_only=True):
    """`corp`: the CORP group whose rights it carries."""

    corp: Name
    carrier: Carrier = Carrier.FOREIGN_PRINCIPAL
    priv_name: OptionalName = ""
    adopt: bool = False


class Kill(Body, frozen=True, kw_only=True):
    """One of request, role, user and all; or role and user, for that person's access by that role."""

    reason: Reason
    request: OptionalName = ""
    role: OptionalName = ""
    user: OptionalName = ""
    all: bool = False


class StageIn(Body, frozen=True, kw_only=True):
    """`needed` different people out of `approvers`, each FOREST-backslash-name."""

    name: Name
    approvers: Names
    needed: Annotated[int, Meta(ge=1, le=_LISTED)] = 1


class TtlIn(Body, frozen=True, kw_only=True):
    """How long an activation lasts, in seconds."""

    default: Seconds = 3600
    minimum: Seconds = 300
    maximum: Seconds = 28_800


class WindowIn(Body, frozen=True, kw_only=True):
    """When access may start. `closes` before `opens` runs over midnight. `zone`: an IANA name."""

    days: Annotated[list[Day], Meta(max_length=7)]
    opens: Clock
    closes: Clock
    zone: Name

    def window(self) -> Window:
        """In the words of the domain."""
        return Window(frozenset(self.days), _time(self.opens), _time(self.closes), self.zone)


class RoleIn(Body, frozen=True, kw_only=True):
    """All rules of a role. What is left out has its default, also when a role is replaced. `version`: that of the role as it was read;
    a change that somebody else made since is then not overwritten.
    """

    name: Name
    privileges: Names
    candidates: Names
    description: Annotated[str, Meta(max_length=DESCRIPTION_LIMIT)] = ""
    stages: Annotated[list[StageIn], Meta(max_length=10)] = []
    ttl: TtlIn = TtlIn()
    mfa: bool = True
    factor: Demand = Demand.ANY
    approval_factor: Demand = Demand.ANY
    justification: bool = True
    ticket_pattern: Annotated[str, Meta(max_length=PATTERN_LIMIT)] = ""
    window: WindowIn | None = None
    pending_life: Seconds = 86_400
    owner_auto_approval: bool = False
    floor: Enforcer = Enforcer.DORMANT_ACCOUNT
    extension: bool = True
    enabled: bool = True
    version: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0

    def draft(self, now: datetime) -> RoleDraft:
        """In the words of the use case; id and time of birth are filled in there."""
        settings = Role(
            id=RoleId(""),
            name=self.name,
            privileges=(),
            candidates=(),
            created_at=now,
            description=self.description,
            ttl=Ttl(_span(self.ttl.default), _span(self.ttl.minimum), _span(self.ttl.maximum)),
            mfa=self.mfa,
            factor=self.factor,
            approval_factor=self.approval_factor,
            justification=self.justification,
            ticket_pattern=self.ticket_pattern,
            window=None if self.window is None else self.window.window(),
            pending_life=_span(self.pending_life),
            owner_auto_approval=self.owner_auto_approval,
            floor=self.floor,
            extension=self.extension,
            enabled=self.enabled,
            version=self.version,
        )
        stages = tuple(StageDraft(s.name, tuple(s.approvers), s.needed) for s in self.stages)
        return RoleDraft(settings, tuple(self.privileges), tuple(self.candidates), stages)


def _span(seconds: int) -> timedelta:
    return timedelta(seconds=seconds)


def _time(text: str) -> time:
    hours, _, minutes = text.partition(":")
    return time(int(hours), int(minutes))
