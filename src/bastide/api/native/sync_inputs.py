"""What callers send about management agents and joins. The rules themselves are in domain/; limits here keep values countable."""

from datetime import timedelta
from typing import Annotated, Any

from msgspec import Meta, field

from bastide.api.native.inputs import Body, Name, SecretBody
from bastide.domain.ids import Sid
from bastide.domain.management_agents import (
    RULES_LIMIT,
    Condition,
    Filter,
    Flow,
    ImportPlan,
    ImportRules,
    JoinRule,
    MaId,
    ManagementAgent,
    Operation,
    PasswordManagement,
    PasswordSource,
    Test,
)
from bastide.services.passwords.imports import Mode
from bastide.services.passwords.management_agents import SECRET_LIMIT, AgentDraft

_VALUE = 4096
_LISTED = 500
Attribute = Annotated[str, Meta(min_length=1, max_length=256)]
Value = Annotated[str, Meta(max_length=_VALUE)]
Span = Annotated[int, Meta(ge=0, le=366 * 86_400, description="Seconds.")]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Anchor = Annotated[str, Meta(min_length=1, max_length=_VALUE, description="Id or anchor of a CS object.")]
OptionalAgent = Annotated[str, Meta(max_length=256, description="Name or id of its agent.")]


class ConditionIn(Body, frozen=True, kw_only=True):
    """One comparison with an attribute of a CS object, without case. `value` is not needed for `present` and `absent`."""

    attribute: Attribute
    test: Test
    value: Value = ""


class FilterIn(Body, frozen=True, kw_only=True):
    """Keeps an object out when all conditions hold."""

    conditions: Annotated[list[ConditionIn], Meta(max_length=_LISTED)]


class PairIn(Body, frozen=True, kw_only=True):
    """A CS attribute and the MV attribute that it must have a value in common with."""

    cs: Attribute
    mv: Attribute


class JoinRuleIn(Body, frozen=True, kw_only=True):
    """Fits when every pair does."""

    pairs: Annotated[list[PairIn], Meta(max_length=_LISTED)]


class FlowIn(Body, frozen=True, kw_only=True):
    """An attribute of the CS goes into one of the MV. The lowest `rank` that has a value wins, then the agent's name."""

    source: Attribute
    target: Attribute
    rank: Count = 100


class PasswordsIn(Body, frozen=True, kw_only=True):
    """The agent as a target of passwords. `require_secure` false is a waiver, and audited as one."""

    enabled: bool = False
    operation: Operation = Operation.SET
    retry_limit: Count = 10
    retry_interval: Span = 60
    require_secure: bool = True
    must_change: bool = False
    unlock: bool = False
    verify: bool = False
    shadow: bool = False

    def rules(self) -> PasswordManagement:
        """In the words of the domain."""
        return PasswordManagement(
            enabled=self.enabled,
            operation=self.operation,
            retry_limit=self.retry_limit,
            retry_interval=timedelta(seconds=self.retry_interval),
            require_secure=self.require_secure,
            must_change=self.must_change,
            unlock=self.unlock,
            verify=self.verify,
            shadow=self.shadow,
        )


class SourceIn(Body, frozen=True, kw_only=True):
    """The agent's DNS domain as a source of passwords, and the agents that they go to, by name. `own_accounts`: SIDs never passed on."""

    domain: Name
    enabled: bool = False
    targets: Annotated[list[Name], Meta(max_length=_LISTED)] = field(default_factory=list)
    daily_limit: Count = 20
    own_accounts: Annotated[list[Annotated[str, Meta(max_length=200)]], Meta(max_length=_LISTED)] = field(
        default_factory=list
    )

    def source(self) -> PasswordSource:
        """In the words of the domain, without its targets. Raises InvalidInput."""
        return PasswordSource(
            domain=self.domain,
            enabled=self.enabled,
            daily_limit=self.daily_limit,
            own_accounts=tuple(Sid.parse(text) for text in self.own_accounts),
        )


class ImportsIn(Body, frozen=True, kw_only=True):
    """`every`: seconds between imports; 0: only when asked for. `fuse`: percentage of objects that a full import may disconnect."""

    every: Span = 0
    fuse: Annotated[int, Meta(ge=0, le=100)] = 10

    def plan(self) -> ImportPlan:
        """In the words of the domain."""
        return ImportPlan(every=timedelta(seconds=self.every) if self.every else None, fuse=self.fuse)


class AgentIn(Body, frozen=True, kw_only=True):
    """All that can be said of a management agent. What is left out has its default, also when one is replaced. `settings` are those of its
    kind of system, and hold no secret. `project`: MV type that is made when nothing joins; empty: never. `version`: that of the agent as it
    was read; a change that somebody else made since is then not overwritten.
    """

    name: Name
    connector: Name
    settings: dict[str, Any] = field(default_factory=dict)
    filters: Annotated[list[FilterIn], Meta(max_length=RULES_LIMIT)] = field(default_factory=list)
    joins: Annotated[list[JoinRuleIn], Meta(max_length=RULES_LIMIT)] = field(default_factory=list)
    project: Annotated[str, Meta(max_length=256)] = ""
    flows: Annotated[list[FlowIn], Meta(max_length=RULES_LIMIT)] = field(default_factory=list)
    passwords: PasswordsIn = PasswordsIn()
    source: SourceIn | None = None
    imports: ImportsIn = ImportsIn()
    version: Count = 0

    def draft(self) -> AgentDraft:
        """In the words of the use case; the id is filled in there. Raises InvalidInput."""
        rules = ImportRules(
            filters=tuple(
                Filter(tuple(Condition(c.attribute, c.test, c.value) for c in one.conditions))
                for one in self.filters
            ),
            joins=tuple(JoinRule(tuple((p.cs, p.mv) for p in one.pairs)) for one in self.joins),
            project=self.project,
            flows=tuple(Flow(one.source, one.target, one.rank) for one in self.flows),
        )
        agent = ManagementAgent(
            id=MaId(""),
            name=self.name,
            connector=self.connector,
            settings=self.settings,
            rules=rules,
            passwords=self.passwords.rules(),
            source=None if self.source is None else self.source.source(),
            imports=self.imports.plan(),
            version=self.version,
        )
        return AgentDraft(agent, () if self.source is None else tuple(self.source.targets))


class SecretIn(SecretBody, frozen=True, kw_only=True):
    """What the agent signs in with. Empty: it has none."""

    secret: Annotated[str, Meta(max_length=SECRET_LIMIT)]


class SwitchIn(Body, frozen=True, kw_only=True):
    """Whether passwords go to the agent (`target`) and come from it (`source`). What is left out stays."""

    target: bool | None = None
    source: bool | None = None


class ImportIn(Body, frozen=True, kw_only=True):
    """`force`: past the fuse. `background`: a worker does it, and the answer does not wait."""

    mode: Mode = Mode.AUTO
    force: bool = False
    background: bool = False


class JoinIn(Body, frozen=True, kw_only=True):
    """Connect a CS object with an MV object."""

    object: Anchor
    agent: OptionalAgent = ""
    person: Name


class ProjectIn(Body, frozen=True, kw_only=True):
    """Make an MV object of a CS object. `type`: of the MV object; empty: as the agent's rules say."""

    object: Anchor
    agent: OptionalAgent = ""
    type: Annotated[str, Meta(max_length=256)] = ""
