"""What callers get about management agents, connector space and metaverse. Nothing here has a field for a secret."""

from datetime import datetime
from typing import Any

from msgspec import field

from bastide.api.native.views import DryRunnable, View


class ConditionView(View, frozen=True, kw_only=True):
    attribute: str
    test: str
    value: str


class FilterView(View, frozen=True, kw_only=True):
    conditions: list[ConditionView]


class PairView(View, frozen=True, kw_only=True):
    cs: str
    mv: str


class JoinRuleView(View, frozen=True, kw_only=True):
    pairs: list[PairView]


class FlowView(View, frozen=True, kw_only=True):
    source: str
    target: str
    rank: int


class PasswordsView(View, frozen=True, kw_only=True):
    """`retry_interval` in seconds."""

    enabled: bool
    operation: str
    retry_limit: int
    retry_interval: int
    require_secure: bool
    must_change: bool
    unlock: bool
    verify: bool
    shadow: bool


class SourceView(View, frozen=True, kw_only=True):
    domain: str
    enabled: bool
    targets: list[str]
    daily_limit: int
    own_accounts: list[str]


class ImportsView(View, frozen=True, kw_only=True):
    """`every` in seconds; 0: only when asked for."""

    every: int
    fuse: int


class AgentView(DryRunnable, frozen=True, kw_only=True):
    """`secret`: whether it has one. `objects`: link to how many. `note`: what to know before relying on its kind of system. `system`: what
    the system said it is, whatever name led there. `changes`: field to old and new, after a change. `secret_forgotten`: its kind or settings changed, so it must be set again.
    `target_disabled`: it was a target, and what its settings lead to now has not said yet what it is, so no passwords go there before it is enabled again.
    """

    id: str
    name: str
    connector: str
    settings: dict[str, Any]
    filters: list[FilterView]
    joins: list[JoinRuleView]
    project: str
    flows: list[FlowView]
    passwords: PasswordsView
    source: SourceView | None
    imports: ImportsView
    secret: bool
    objects: dict[str, int]
    imported_at: datetime | None
    version: int
    note: str
    system: list[str]
    changes: dict[str, Any] = field(default_factory=dict)
    secret_forgotten: bool = False
    target_disabled: bool = False


class Agents(View, frozen=True, kw_only=True):
    items: list[AgentView]


class StepView(View, frozen=True, kw_only=True):
    what: str
    agent: str
    dn: str
    because: str


class ImportView(DryRunnable, frozen=True, kw_only=True):
    """`mode`: full or delta. `steps` (of a preview, the first 200): what would be done. `fuse`: why a preview would stop. `asked`: a worker
    does it.
    """

    agent: str
    asked: bool
    mode: str
    started: datetime | None
    ended: datetime | None
    statistics: dict[str, int]
    steps: list[StepView]
    fuse: str


class ObjectView(View, frozen=True, kw_only=True):
    """`person`: id of the MV object it is connected with. `because`: why it is, or is not."""

    id: str
    agent: str
    anchor: str
    dn: str
    type: str
    attributes: dict[str, list[str]]
    link: str
    person: str | None
    because: str
    seen_at: datetime | None


class Objects(View, frozen=True, kw_only=True):
    items: list[ObjectView]


class PersonView(View, frozen=True, kw_only=True):
    """`origins`: attribute to the agent it came from, by name."""

    id: str
    type: str
    attributes: dict[str, list[str]]
    origins: dict[str, str]
    connectors: list[ObjectView]


class FoundPerson(View, frozen=True, kw_only=True):
    id: str
    type: str
    attributes: dict[str, list[str]]


class People(View, frozen=True, kw_only=True):
    items: list[FoundPerson]


class LookedFor(View, frozen=True, kw_only=True):
    """`values` without case."""

    attribute: str
    values: list[str]


class RuleView(View, frozen=True, kw_only=True):
    """One join rule as it fares now. `missing`: CS attributes without a value. `found`: ids of MV objects."""

    number: int
    pairs: list[PairView]
    looked_for: list[LookedFor]
    missing: list[str]
    found: list[str]
    outcome: str
    decides: bool


class ExplanationView(View, frozen=True, kw_only=True):
    """`filter`: number of the filter that keeps the object out. `verdict`: the link that the rules would give it if it had none."""

    object: ObjectView
    filter: int | None
    rules: list[RuleView]
    verdict: str
    because: str
    people: list[FoundPerson]
