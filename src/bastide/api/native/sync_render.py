"""From agents, objects and people to what callers get: no decisions here."""

from collections.abc import Mapping

from msgspec import UNSET

from bastide.api.native import sync_views as views
from bastide.domain.joins import Trial
from bastide.domain.management_agents import (
    Attributes,
    CsObject,
    JoinRule,
    ManagementAgent,
    MvObject,
    PasswordManagement,
    PasswordSource,
)
from bastide.services.passwords.imports import Outcome
from bastide.services.passwords.management_agents import Shown
from bastide.services.passwords.spaces import Explanation, Seen, SeenPerson, Told


def agent(
    shown: Shown,
    *,
    dry_run: bool = False,
    changes: Mapping[str, object] | None = None,
    secret_forgotten: bool = False,
    target_disabled: bool = False,
) -> views.AgentView:
    one = shown.agent
    every = one.imports.every
    return views.AgentView(
        id=one.id,
        name=one.name,
        connector=one.connector,
        settings=dict(one.settings),
        filters=_filters(one),
        joins=[views.JoinRuleView(pairs=_pairs(rule)) for rule in one.rules.joins],
        project=one.rules.project,
        flows=[views.FlowView(source=f.source, target=f.target, rank=f.rank) for f in one.rules.flows],
        passwords=_passwords(one.passwords),
        source=None if one.source is None else _source(one.source, shown.targets),
        imports=views.ImportsView(every=int(every.total_seconds()) if every else 0, fuse=one.imports.fuse),
        secret=shown.secret,
        objects=dict(shown.objects),
        imported_at=one.imported_at,
        version=one.version,
        note=shown.note,
        system=list(one.system),
        changes=dict(changes or {}),
        secret_forgotten=secret_forgotten,
        target_disabled=target_disabled,
        dry_run=True if dry_run else UNSET,
    )


def outcome(one: Outcome) -> views.ImportView:
    return views.ImportView(
        agent=one.agent,
        asked=False,
        mode=one.mode.value,
        started=one.started,
        ended=one.ended,
        statistics=one.statistics.figures(),
        steps=[views.StepView(what=s.what, agent=s.agent, dn=s.dn, because=s.because) for s in one.steps],
        fuse=one.fuse,
        dry_run=True if one.dry_run else UNSET,
    )


def asked(one: ManagementAgent) -> views.ImportView:
    return views.ImportView(
        agent=one.name, asked=True, mode="", started=None, ended=None, statistics={}, steps=[], fuse=""
    )


def seen(one: Seen) -> views.ObjectView:
    return _object(one.object, one.agent)


def person(one: SeenPerson) -> views.PersonView:
    return views.PersonView(
        id=one.person.id,
        type=one.person.type,
        attributes=_attributes(one.person.attributes),
        origins=dict(one.origins),
        connectors=[seen(connector) for connector in one.connectors],
    )


def found(one: MvObject) -> views.FoundPerson:
    return views.FoundPerson(id=one.id, type=one.type, attributes=_attributes(one.attributes))


def explanation(one: Explanation) -> views.ExplanationView:
    return views.ExplanationView(
        object=seen(one.seen),
        filter=one.filter,
        rules=[_rule(told) for told in one.rules],
        verdict=one.verdict.link.value,
        because=one.verdict.because,
        people=[found(mv) for mv in one.people],
    )


def _rule(told: Told) -> views.RuleView:
    trial: Trial = told.trial
    return views.RuleView(
        number=trial.rule,
        pairs=_pairs(told.rule),
        looked_for=[views.LookedFor(attribute=a, values=list(v)) for a, v in trial.looked_for],
        missing=list(trial.missing),
        found=list(trial.found),
        outcome=trial.outcome,
        decides=told.decides,
    )


def _object(one: CsObject, agent_name: str) -> views.ObjectView:
    return views.ObjectView(
        id=one.id,
        agent=agent_name,
        anchor=one.anchor,
        dn=one.dn,
        type=one.type,
        attributes=_attributes(one.attributes),
        link=one.link.value,
        person=one.mv,
        because=one.because,
        seen_at=one.seen_at,
    )


def _attributes(attributes: Attributes) -> dict[str, list[str]]:
    return {name: list(values) for name, values in attributes.items()}


def _pairs(rule: JoinRule) -> list[views.PairView]:
    return [views.PairView(cs=cs, mv=mv) for cs, mv in rule.pairs]


def _filters(one: ManagementAgent) -> list[views.FilterView]:
    return [
        views.FilterView(
            conditions=[
                views.ConditionView(attribute=c.attribute, test=c.test.value, value=c.value)
                for c in rule.conditions
            ]
        )
        for rule in one.rules.filters
    ]


def _passwords(one: PasswordManagement) -> views.PasswordsView:
    return views.PasswordsView(
        enabled=one.enabled,
        operation=one.operation.value,
        retry_limit=one.retry_limit,
        retry_interval=int(one.retry_interval.total_seconds()),
        require_secure=one.require_secure,
        must_change=one.must_change,
        unlock=one.unlock,
        verify=one.verify,
        shadow=one.shadow,
    )


def _source(one: PasswordSource, targets: tuple[str, ...]) -> views.SourceView:
    return views.SourceView(
        domain=one.domain,
        enabled=one.enabled,
        targets=list(targets),
        daily_limit=one.daily_limit,
        own_accounts=[str(sid) for sid in one.own_accounts],
    )
