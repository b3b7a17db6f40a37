"""A PAM role: what it gives, to whom, who agrees, and the rules of activation.

A role is checked as a whole when it is made (`check`): what can never work is refused there, not on the night it is needed.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bastide.domain.errors import InvalidInput
from bastide.domain.ids import GroupId, ObjectRef, RoleId, Sid, parse_name, parse_text
from bastide.domain.people import Demand

TTL_FLOOR = timedelta(seconds=60)
TTL_CEILING = timedelta(days=30)
PENDING_FLOOR = timedelta(minutes=1)
PENDING_CEILING = timedelta(days=30)
DESCRIPTION_LIMIT = 1000
_WEEK = 7
PATTERN_LIMIT = 200
#: A repeated group or repetition takes exponential time; a look around or a set in a set is not needed here.
_COSTLY = re.compile(r"[+*}?]\)?[+*{]|\)[+*{]|\\[1-9]|\(\?|\[\^?\[|\[[^\]]+(--|&&|~~|\|\|)")
#: Every open choice multiplies the time; four of them over 100 characters still take milliseconds.
_CHOICES = re.compile(r"(?<!\\)[*+?]|\{\d*,\d*\}")
CHOICES_LIMIT = 4


class Carrier(StrEnum):
    """How a PAM group carries the rights of a CORP group."""

    FOREIGN_PRINCIPAL = "foreign-principal"
    SHADOW_PRINCIPAL = "shadow-principal"
    DIRECT = "direct"


class Scope(StrEnum):
    """groupType of a CORP group ([MS-ADTS] 2.2.12)."""

    BUILTIN = "builtin"
    DOMAIN_LOCAL = "domain-local"
    GLOBAL = "global"
    UNIVERSAL = "universal"


class Enforcer(StrEnum):
    """Who ends a grant, strongest first. What happens when Bastide is down differs: see DESIGN."""

    LINK_TTL = "link-ttl"
    DORMANT_ACCOUNT = "dormant-account"
    REMOVAL = "removal"

    @property
    def strength(self) -> int:
        return {Enforcer.LINK_TTL: 2, Enforcer.DORMANT_ACCOUNT: 1, Enforcer.REMOVAL: 0}[self]


class Link(StrEnum):
    """What is known of a PAM group's link on the CORP side. Only what was read back is PRESENT or ABSENT."""

    ABSENT = "absent"
    CHANGING = "changing"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class PamGroup:
    """The PRIV group (or shadow principal) that carries a CORP group's rights. For `direct` both are the same group."""

    id: GroupId
    name: str
    carrier: Carrier
    corp: ObjectRef
    priv: ObjectRef
    scope: Scope
    created_at: datetime
    enabled: bool = True
    #: A grant is confirmed only while the link is PRESENT, and ended only once an unused one is ABSENT.
    link: Link = Link.ABSENT
    adopted: bool = False
    version: int = 0

    @property
    def needs_link(self) -> bool:
        return self.carrier is Carrier.FOREIGN_PRINCIPAL

    @property
    def is_ours(self) -> bool:
        """Whether Bastide made the PRIV group: nobody else has business in it."""
        return self.carrier is not Carrier.DIRECT and not self.adopted


@dataclass(frozen=True, slots=True)
class Subject:
    """A user or a group of users, by SID. `name` is for people."""

    sid: Sid
    name: str
    is_group: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """`needed` different people out of `approvers` must agree. All stages of a role must pass; one person counts in one stage only."""

    name: str
    approvers: tuple[Subject, ...]
    needed: int = 1


@dataclass(frozen=True, slots=True)
class Ttl:
    """How long an activation lasts."""

    default: timedelta = timedelta(hours=1)
    minimum: timedelta = timedelta(minutes=5)
    maximum: timedelta = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Window:
    """When a role may start: days of the week (0 = Monday), from and to as local time in `zone`. `to` before `from` runs over midnight;
    the day then counts as the one on which the window opened.
    """

    days: frozenset[int]
    opens: time
    closes: time
    zone: str

    def contains(self, moment: datetime) -> bool:
        """Whether the window is open at that moment. Half-open: the closing minute is outside."""
        local = moment.astimezone(ZoneInfo(self.zone))
        clock, day = local.time().replace(tzinfo=None), local.weekday()
        if self.opens < self.closes:
            return day in self.days and self.opens <= clock < self.closes
        if clock >= self.opens:
            return day in self.days
        return clock < self.closes and (day - 1) % 7 in self.days

    def next_opening(self, after: datetime) -> datetime | None:
        """When it next opens, in UTC; None: never. Where a change of the clocks leaves that hour out, the moment that takes its place."""
        zone = ZoneInfo(self.zone)
        today = after.astimezone(zone).date()
        for ahead in range(_WEEK + 1):
            day = today + timedelta(days=ahead)
            moment = datetime.combine(day, self.opens, zone).astimezone(UTC)
            if day.weekday() in self.days and moment > after:
                return moment
        return None


@dataclass(frozen=True, slots=True)
class Role:
    id: RoleId
    name: str
    privileges: tuple[GroupId, ...]
    candidates: tuple[Subject, ...]
    created_at: datetime
    description: str = ""
    stages: tuple[Stage, ...] = ()
    ttl: Ttl = field(default_factory=Ttl)
    mfa: bool = True
    #: Which second factor activates.
    factor: Demand = Demand.ANY
    #: Which second factor approves; WEBAUTHN: every approval is signed (domain/signatures.py).
    approval_factor: Demand = Demand.ANY
    justification: bool = True
    ticket_pattern: str = ""
    window: Window | None = None
    pending_life: timedelta = timedelta(hours=24)
    owner_auto_approval: bool = False
    floor: Enforcer = Enforcer.DORMANT_ACCOUNT
    extension: bool = True
    enabled: bool = True
    version: int = 0


def check(role: Role) -> Role:
    """The role with its texts trimmed. Raises InvalidInput for whatever can never work."""
    parse_name("name", role.name)
    parse_text("description", role.description, DESCRIPTION_LIMIT)
    if not role.privileges:
        raise InvalidInput("privileges", "a role must give at least one PAM group")
    if len(set(role.privileges)) != len(role.privileges):
        raise InvalidInput("privileges", "a PAM group is listed twice")
    if not role.candidates:
        raise InvalidInput("candidates", "a role without candidates can never be used")
    _check_ttl(role.ttl)
    if not PENDING_FLOOR <= role.pending_life <= PENDING_CEILING:
        raise InvalidInput(
            "pending_life", f"must be from {length(PENDING_FLOOR)} to {length(PENDING_CEILING)}"
        )
    _check_stages(role)
    _check_factors(role)
    _check_pattern(role.ticket_pattern)
    if role.window is not None:
        _check_window(role.window)
    return role


def _check_ttl(ttl: Ttl) -> None:
    if not TTL_FLOOR <= ttl.minimum <= ttl.default <= ttl.maximum <= TTL_CEILING:
        raise InvalidInput(
            "ttl",
            f"the shortest length is {length(ttl.minimum)}, the usual one {length(ttl.default)}, the longest "
            f"{length(ttl.maximum)}: they must not get shorter in this order, nor be outside {length(TTL_FLOOR)} to "
            f"{length(TTL_CEILING)}",
            remedy="say them with --min, --for and --max, as in --min 5m --for 1h --max 8h",
        )


def length(span: timedelta) -> str:
    """As people type one: `1h30m`."""
    left, parts = int(span.total_seconds()), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"


def _check_stages(role: Role) -> None:
    """A stage must be able to reach its number. Groups count as enough people here; the use case resolves their members."""
    for stage in role.stages:
        parse_name("stage name", stage.name)
        if stage.needed < 1:
            raise InvalidInput("stages", f"stage {stage.name!r} must need at least one approval")
        if len({s.sid for s in stage.approvers}) != len(stage.approvers):
            raise InvalidInput("stages", f"stage {stage.name!r} lists an approver twice")
        if not any(s.is_group for s in stage.approvers) and len(stage.approvers) < stage.needed:
            raise InvalidInput(
                "stages",
                f"stage {stage.name!r} needs {stage.needed} of only {len(stage.approvers)} approvers",
            )
    names = [stage.name for stage in role.stages]
    if len(set(names)) != len(names):
        raise InvalidInput("stages", "two stages have the same name")


def _check_factors(role: Role) -> None:
    if role.factor is not Demand.ANY and not role.mfa:
        raise InvalidInput("factor", "says which second factor is needed, and the role needs none")
    if role.approval_factor is Demand.ANY:
        return
    if not role.stages:
        raise InvalidInput("approval_factor", "says how approvals are given, and the role needs none")
    if role.owner_auto_approval:
        raise InvalidInput(
            "approval_factor",
            "an approval that is given by itself is signed by nobody",
            remedy="leave owner-auto-approval out",
        )


def _check_pattern(pattern: str) -> None:
    """What may take ages is refused: a pattern is matched against text that a candidate chose."""
    if len(pattern) > PATTERN_LIMIT:
        raise InvalidInput("ticket_pattern", f"has {len(pattern)} characters; the limit is {PATTERN_LIMIT}")
    if _COSTLY.search(pattern) or len(_CHOICES.findall(pattern)) > CHOICES_LIMIT:
        raise InvalidInput(
            "ticket_pattern",
            "repeats a group or a repetition, refers back, looks around, nests sets, or leaves too much open",
            remedy="write a simpler pattern, as in (INC|CHG)-[0-9]{4,8}",
        )
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidInput("ticket_pattern", f"is not a regular expression: {error}") from None


def _check_window(window: Window) -> None:
    if not window.days:
        raise InvalidInput("window", "has no days, so it never opens")
    if not window.days <= set(range(7)):
        raise InvalidInput("window", "days are 0 (Monday) to 6 (Sunday)")
    if window.opens == window.closes:
        raise InvalidInput(
            "window",
            "opens and closes at the same time, so it never opens",
            remedy="leave the window out for a role that is always open",
        )
    try:
        ZoneInfo(window.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            "window",
            f"unknown time zone {window.zone[:60]!r}",
            remedy="use an IANA name, as in Europe/Zurich",
        ) from None
