"""From the domain's objects to what callers get: no decisions here."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from msgspec import UNSET

from bastide.api.native import views
from bastide.domain.audit import Record
from bastide.domain.health import Finding
from bastide.domain.ids import GroupId, ObjectRef
from bastide.domain.people import Actor, Forest, MfaProof, PamUser
from bastide.domain.policy import describe_window
from bastide.domain.proposals import Proposal
from bastide.domain.requests import Request, Vote
from bastide.domain.roles import PamGroup, Role, Stage, Subject, Ttl, Window
from bastide.domain.webauthn import METHOD
from bastide.services.audit import Held, Verdict
from bastide.services.offers import RoleOffer
from bastide.services.reach import Reached
from bastide.services.roles import change_record
from bastide.services.sessions import OpenSession
from bastide.services.signin import Factor, SecurityKey


def me(actor: Actor, user: PamUser | None) -> views.Me:
    return views.Me(
        sid=str(actor.sid),
        name=actor.name,
        forest=actor.forest.value,
        rights=sorted(right.value for right in actor.rights),
        rights_with_code=sorted(right.value for right in actor.withheld),
        via=actor.via,
        mfa=None if actor.mfa is None else proof(actor.mfa),
        pam_user=None if user is None else user.name,
    )


def proof(shown: MfaProof) -> views.MfaView:
    return views.MfaView(method=shown.method, factor=shown.factor, at=shown.at)


def factor(one: Factor) -> views.FactorView:
    return views.FactorView(
        id=one.id,
        method=one.method,
        name="",
        created_at=one.created_at,
        last_used_at=None,
        confirmed=one.confirmed,
        locked_until=one.locked_until,
        recovery_codes_left=len(one.recovery_hashes),
    )


def security_key(one: SecurityKey) -> views.FactorView:
    return views.FactorView(
        id=one.id,
        method=METHOD,
        name=one.name,
        created_at=one.created_at,
        last_used_at=one.last_used_at,
        confirmed=True,
        locked_until=None,
        recovery_codes_left=0,
    )


def offer(one: RoleOffer) -> views.OfferView:
    role = one.role
    return views.OfferView(
        id=role.id,
        name=role.name,
        description=role.description,
        ttl=_ttl(role.ttl),
        mfa=role.mfa,
        factor=role.factor.value,
        justification=role.justification,
        ticket_pattern=role.ticket_pattern,
        needs_approval=bool(role.stages),
        extension=role.extension,
        window=one.window or describe_window(role),
        why_not=one.why_not,
        opens_at=one.opens_at,
        lacks=one.lacks,
    )


def open_session(one: OpenSession) -> views.OpenSessionView:
    return views.OpenSessionView(
        id=one.id,
        via=one.via,
        created_at=one.began,
        used_at=one.used,
        expires_at=one.ends,
        address=one.address,
        agent=one.agent,
        code_at=one.proved,
        current=one.current,
    )


def gives(found: Iterable[Reached]) -> views.Gives:
    items: list[views.OpenedView] = []
    problems: list[str] = []
    for one in found:
        by, corp = one.group.name, one.group.corp
        first = views.OpenedView(
            name=corp.name,
            sid=str(corp.sid),
            forest=one.forest.value,
            by=by,
            carried=True,
            protected=one.protected,
        )
        more = (
            views.OpenedView(
                name=group.name,
                sid=str(group.sid),
                forest=group.forest.value,
                by=by,
                carried=False,
                protected=group.protected,
            )
            for group in one.further
        )
        items += [first, *more]
        problems += [f"{by}: {problem}" for problem in one.problems]
    return views.Gives(items=items, problems=problems)


def request(one: Request, missing: Mapping[str, int]) -> views.RequestView:
    return views.RequestView(
        id=one.id,
        state=one.state.value,
        role=one.role_name,
        role_id=one.role,
        user=one.user_name,
        created_at=one.created_at,
        pending_until=one.pending_until,
        ttl_seconds=_seconds(one.ttl),
        start_at=one.start_at,
        active_from=one.active_from,
        ends_at=one.ends_at,
        extend_to=one.extend_to,
        true_end=one.true_end,
        directory_end=one.directory_end,
        closed_at=one.closed_at,
        enforcer=None if one.enforcer is None else one.enforcer.value,
        justification=one.justification,
        ticket=one.ticket,
        reason=one.reason,
        votes=[_vote(vote) for vote in one.votes],
        missing=dict(missing),
    )


def role(
    one: Role,
    groups: Iterable[PamGroup],
    *,
    dry_run: bool = False,
    changes: Mapping[str, object] | None = None,
    proposal: Proposal | None = None,
) -> views.RoleView:
    names = {group.id: group.name for group in groups}
    return views.RoleView(
        id=one.id,
        name=one.name,
        description=one.description,
        privileges=[_privilege(privilege, names) for privilege in one.privileges],
        candidates=[_subject(subject) for subject in one.candidates],
        stages=[_stage(stage) for stage in one.stages],
        ttl=_ttl(one.ttl),
        mfa=one.mfa,
        factor=one.factor.value,
        approval_factor=one.approval_factor.value,
        justification=one.justification,
        ticket_pattern=one.ticket_pattern,
        window=None if one.window is None else _window(one.window),
        pending_life=_seconds(one.pending_life),
        owner_auto_approval=one.owner_auto_approval,
        floor=one.floor.value,
        extension=one.extension,
        enabled=one.enabled,
        created_at=one.created_at,
        version=one.version,
        dry_run=dry_run or UNSET,
        changes=UNSET if changes is None else dict(changes),
        proposal=UNSET if proposal is None or dry_run else proposal.id,
    )


def proposal(one: Proposal, groups: Iterable[PamGroup]) -> views.ProposalView:
    names: Mapping[object, str] = {group.id: group.name for group in groups}
    changes = change_record(one.before, one.after)
    if (gives := changes.get("privileges")) is not None:
        changes["privileges"] = _named(gives, names)
    return views.ProposalView(
        id=one.id,
        action=one.action.value,
        role=one.subject.name,
        role_id=one.role,
        by=one.by_name,
        made_at=one.made_at,
        changes=changes,
    )


def _named(said: object, names: Mapping[object, str]) -> object:
    """Groups by name, in lists of lists too."""
    return [_named(one, names) for one in said] if isinstance(said, list) else names.get(said, said)


def pam_user(one: PamUser, *, dry_run: bool = False) -> views.PamUserView:
    return views.PamUserView(
        id=one.id,
        name=one.name,
        corp=_object(one.corp),
        priv=_object(one.priv),
        ticket_cap=_seconds(one.ticket_cap),
        kept_alive=one.kept_alive,
        adopted=one.adopted,
        enabled=one.enabled,
        created_at=one.created_at,
        dry_run=dry_run or UNSET,
    )


def pam_group(
    one: PamGroup, *, dry_run: bool = False, findings: Sequence[Finding] = ()
) -> views.PamGroupView:
    return views.PamGroupView(
        id=one.id,
        name=one.name,
        carrier=one.carrier.value,
        scope=one.scope.value,
        corp=_object(one.corp),
        priv=_object(one.priv),
        link=one.link.value,
        adopted=one.adopted,
        enabled=one.enabled,
        created_at=one.created_at,
        findings=[finding(found) for found in findings] or UNSET,
        dry_run=dry_run or UNSET,
    )


def record(one: Record) -> views.RecordView:
    return views.RecordView(
        seq=one.seq,
        at=one.at,
        kind=one.kind,
        actor=one.actor,
        actor_name=one.actor_name,
        subject=one.subject,
        subject_name=one.subject_name,
        request=one.request,
        data=json.loads(one.data),
        previous=one.previous,
        hash=one.hash,
    )


def verdict(one: Verdict) -> views.VerdictView:
    return views.VerdictView(seq=one.seq, head=one.head, checkpoints=one.checkpoints, signed=one.signed)


def held(one: Held) -> views.HeldView:
    return views.HeldView(
        person=one.person,
        group=one.group,
        role=one.role,
        request=one.request,
        state=one.state.value,
        since=one.since,
        until=one.until,
        true_end=one.true_end,
        justification=one.justification,
        ticket=one.ticket,
    )


def finding(one: Finding, forest: Forest | None = None) -> views.FindingView:
    return views.FindingView(
        key=one.key,
        forest="" if forest is None else forest.value,
        severity=one.severity.value,
        text=one.text,
        evidence=one.evidence,
        remedy=one.remedy,
    )


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


def _ttl(ttl: Ttl) -> views.TtlView:
    return views.TtlView(
        default=_seconds(ttl.default), minimum=_seconds(ttl.minimum), maximum=_seconds(ttl.maximum)
    )


def _vote(vote: Vote) -> views.VoteView:
    return views.VoteView(
        name=vote.name,
        decision=vote.decision.value,
        reason=vote.reason,
        stage=vote.stage,
        at=vote.at,
        signed=vote.signature is not None,
    )


def _privilege(id_: GroupId, names: Mapping[GroupId, str]) -> views.NamedRef:
    return views.NamedRef(id=id_, name=names.get(id_, id_))


def _subject(subject: Subject) -> views.SubjectView:
    return views.SubjectView(sid=str(subject.sid), name=subject.name, is_group=subject.is_group)


def _stage(stage: Stage) -> views.StageView:
    return views.StageView(
        name=stage.name, approvers=[_subject(s) for s in stage.approvers], needed=stage.needed
    )


def _window(window: Window) -> views.WindowView:
    return views.WindowView(
        days=sorted(window.days),
        opens=f"{window.opens:%H:%M}",
        closes=f"{window.closes:%H:%M}",
        zone=window.zone,
    )


def _object(ref: ObjectRef) -> views.DirectoryObject:
    return views.DirectoryObject(name=ref.name, sid=str(ref.sid), guid=ref.guid, dn=ref.dn)
