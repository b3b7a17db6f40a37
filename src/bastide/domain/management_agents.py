"""Management agents: connected systems, what is read from them, and whether passwords go there.

Words are MIM's: connector space (CS), metaverse (MV), join, projection; see docs/reference/glossary.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from bastide.domain import credentials
from bastide.domain.errors import InvalidInput
from bastide.domain.ids import NAME_LIMIT, Sid, parse_name

MaId = NewType("MaId", str)
CsId = NewType("CsId", str)
MvId = NewType("MvId", str)
#: An attribute has any number of values; their order means nothing. No attribute ever holds a password.
Attributes = Mapping[str, tuple[str, ...]]


class Operation(StrEnum):
    """Which password operations an agent supports."""

    SET = "set"
    CHANGE = "change"
    BOTH = "set-and-change"


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordManagement:
    """An agent as a target. Off until it is enabled. `require_secure` False is the audited waiver for a connection not known to be secure."""

    enabled: bool = False
    operation: Operation = Operation.SET
    retry_limit: int = 10
    retry_interval: timedelta = timedelta(seconds=60)
    require_secure: bool = True
    must_change: bool = False
    unlock: bool = False
    #: Prove an accepted password with one bind.
    verify: bool = False
    #: All but the write.
    shadow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordSource:
    """An agent's domain as a source. `targets` are the agents its changes go to. `own_accounts`: never passed on (6912)."""

    domain: str
    enabled: bool = False
    targets: tuple[MaId, ...] = ()
    #: Changes of one object in 24 hours (6917); 0: no limit.
    daily_limit: int = 20
    own_accounts: tuple[Sid, ...] = ()


class Test(StrEnum):
    """How a condition compares; without case."""

    EQUALS = "equals"
    STARTS = "starts-with"
    ENDS = "ends-with"
    CONTAINS = "contains"
    PRESENT = "present"
    ABSENT = "absent"
    BIT = "bit-on"


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison with an attribute of a CS object."""

    attribute: str
    test: Test
    value: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """Keeps an object out when all of its conditions hold (connector filter)."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class JoinRule:
    """Joins when every (CS attribute, MV attribute) pair has a value in common, compared without case."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Flow:
    """An attribute of the CS goes into one of the MV. The lowest `rank` that has a value wins (precedence); then the agent's name."""

    source: str
    target: str
    rank: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRules:
    """What becomes of an imported object, in this order: filter, join, projection, flow."""

    filters: tuple[Filter, ...] = ()
    joins: tuple[JoinRule, ...] = ()
    #: MV type that is made when nothing joins; empty: never.
    project: str = ""
    flows: tuple[Flow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """When objects are read without being asked for (None: never), and the fuse: a full import that would disconnect more than `fuse`
    percent of the objects stops.
    """

    every: timedelta | None = None
    fuse: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementAgent:
    """One connected system. `connector` names the kind (targets/), `settings` is its own JSON; secrets are kept apart."""

    id: MaId
    name: str
    connector: str
    settings: Mapping[str, object]
    rules: ImportRules = ImportRules()
    passwords: PasswordManagement = PasswordManagement()
    source: PasswordSource | None = None
    imports: ImportPlan = ImportPlan()
    #: The connector's own mark of how far a delta import has come; in base64. Empty: a full import is next.
    cookie: str = ""
    imported_at: datetime | None = None
    #: The import that may write; a newer one takes it over, and the older one stops. Empty: none since the last change.
    run: str = ""
    #: What the system said it is, when it was last asked: the same for every name it can be reached by. Empty: it was not asked, or has no such thing.
    system: tuple[str, ...] = ()
    version: int = 0


class Link(StrEnum):
    """What ties a CS object to the MV, or keeps it from it."""

    NONE = "none"  # no rule matched
    FILTERED = "filtered"
    JOINED = "joined"
    PROJECTED = "projected"
    MANUAL = "manual"  # a person said so; rules do not undo it
    CONFLICT = "conflict"  # several MV objects fit; never a guess
    APART = "kept-apart"  # a person took the join away; rules do not bring it back


@dataclass(frozen=True, slots=True, kw_only=True)
class CsObject:
    """An object of a connected system as last seen. `anchor` never changes there; `dn` is how it is addressed today."""

    id: CsId
    ma: MaId
    anchor: str
    dn: str
    type: str
    attributes: Attributes
    link: Link = Link.NONE
    mv: MvId | None = None
    #: Why, for people: the rule that matched, or the MV objects that compete.
    because: str = ""
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MvObject:
    """One person. `origins`: MV attribute to the agent it came from."""

    id: MvId
    type: str
    attributes: Attributes = field(default_factory=dict)
    origins: Mapping[str, MaId] = field(default_factory=dict)


#: Numbers that a person may set.
RETRY_LIMIT = 1000
INTERVALS = (timedelta(seconds=10), timedelta(hours=1))
EVERY = (timedelta(seconds=30), timedelta(days=31))
DAILY_CEILING = 10_000
RULES_LIMIT = 200
RANK_LIMIT = 10_000


def check(agent: ManagementAgent) -> ManagementAgent:
    """The agent as it may be saved: names trimmed, the source's domain in lower case. Raises InvalidInput naming the field."""
    name = parse_name("name", agent.name)
    _check_rules(agent.rules)
    _check_passwords(agent.passwords)
    if not 0 <= agent.imports.fuse <= 100:  # noqa: PLR2004  # percent
        raise InvalidInput("imports.fuse", "is a percentage from 0 to 100")
    if agent.imports.every is not None and not EVERY[0] <= agent.imports.every <= EVERY[1]:
        raise InvalidInput("imports.every", "is 30 seconds to 31 days")
    source = None if agent.source is None else _checked_source(agent.source)
    return replace(agent, name=name, source=source)


def _check_rules(rules: ImportRules) -> None:
    for field_name, many in (("filters", rules.filters), ("joins", rules.joins), ("flows", rules.flows)):
        if len(many) > RULES_LIMIT:
            raise InvalidInput(field_name, f"has {len(many)} rules; the limit is {RULES_LIMIT}")
    for one in rules.filters:
        _check_filter(one)
    for rule in rules.joins:
        _check_join(rule)
    for flow in rules.flows:
        _check_attributes("flows", flow.source, flow.target)
        if not 0 <= flow.rank <= RANK_LIMIT:
            raise InvalidInput("flows", f"a rank is 0 to {RANK_LIMIT}; the lowest wins")
    if rules.project:
        parse_name("project", rules.project)


def _check_filter(one: Filter) -> None:
    if not one.conditions:
        raise InvalidInput("filters", "a filter without a condition would keep everything out")
    for condition in one.conditions:
        _check_condition(condition)


def _check_join(rule: JoinRule) -> None:
    if not rule.pairs:
        raise InvalidInput("joins", "a join rule without a pair would join anything")
    for pair in rule.pairs:
        _check_attributes("joins", *pair)


def _check_condition(condition: Condition) -> None:
    _check_attributes("filters", condition.attribute)
    if condition.test in {Test.PRESENT, Test.ABSENT}:
        return
    if not condition.value:
        raise InvalidInput("filters", f"{condition.attribute} {condition.test.value}: compared with what?")
    if condition.test is Test.BIT and not (condition.value.isascii() and condition.value.isdigit()):
        raise InvalidInput("filters", f"{condition.attribute}: {condition.value[:40]!r} is no number of bits")


def _check_attributes(field_name: str, *names: str) -> None:
    for name in names:
        parse_name(field_name, name)
        if credentials.denied(name):
            raise InvalidInput(
                field_name, f"{name} is a credential", remedy="passwords travel on their own channel only"
            )


def _check_passwords(rules: PasswordManagement) -> None:
    if not 0 <= rules.retry_limit <= RETRY_LIMIT:
        raise InvalidInput("passwords.retry_limit", f"is 0 to {RETRY_LIMIT}")
    if not INTERVALS[0] <= rules.retry_interval <= INTERVALS[1]:
        raise InvalidInput("passwords.retry_interval", "is 10 to 3600 seconds")


def _checked_source(source: PasswordSource) -> PasswordSource:
    domain = parse_name("source.domain", source.domain).rstrip(".").lower()
    if len(domain) > NAME_LIMIT or not all(
        part and part.replace("-", "").isalnum() for part in domain.split(".")
    ):
        raise InvalidInput("source.domain", f"{domain[:80]!r} is no DNS name")
    if not 0 <= source.daily_limit <= DAILY_CEILING:
        raise InvalidInput("source.daily_limit", f"is 0 (no limit) to {DAILY_CEILING}")
    return replace(source, domain=domain)
