"""What callers get. Lengths of time are whole seconds; times are RFC 3339 in UTC. No view has a field for a secret but the two that exist to
hand one over once: NewSession and Enrolled, and an Invitation's code.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from bastide.domain.audit import Record
from bastide.domain.ids import GroupId, ObjectRef
from bastide.domain.people import Actor, MfaProof, PamUser
from bastide.domain.policy import describe_window
from bastide.domain.requests import Request, Vote
from bastide.domain.roles import PamGroup, Role, Stage, Subject, Ttl, Window
from bastide.services.audit import Held, Verdict
from bastide.services.ports import Factor
from bastide.services.requests import RoleOffer


class View(msgspec.Struct, frozen=True, kw_only=True):
    """An answer."""


class DryRunnable(View, frozen=True, kw_only=True):
    """`dry_run` is there, and true, if nothing was changed."""

    dry_run: bool | UnsetType = UNSET


class MfaView(View, frozen=True, kw_only=True):
    method: str
    factor: str
    at: datetime


class Me(View, frozen=True, kw_only=True):
    sid: str
    name: str
    forest: str
    rights: list[str]
    via: str
    mfa: MfaView | None
    pam_user: str | None


class NewSession(View, frozen=True, kw_only=True):
    """`token` is shown this once; send it as `Authorization: Bearer`."""

    token: str
    actor: Me

    def __repr__(self) -> str:
        return "NewSession(<hidden>)"


class FactorView(View, frozen=True, kw_only=True):
    id: str
    method: str
    created_at: datetime
    confirmed: bool
    locked_until: datetime | None
    recovery_codes_left: int


class Factors(View, frozen=True, kw_only=True):
    items: list[FactorView]


class Enrolled(View, frozen=True, kw_only=True):
    """Shown this once. `uri`: what the QR code says."""

    factor: str
    uri: str
    recovery_codes: list[str]

    def __repr__(self) -> str:
        return "Enrolled(<hidden>)"


class Invitation(View, frozen=True, kw_only=True):
    """Shown this once: hand it over in person."""

    account: str
    code: str

    def __repr__(self) -> str:
        return "Invitation(<hidden>)"


class FactorsReset(View, frozen=True, kw_only=True):
    account: str
    removed: int


class TtlView(View, frozen=True, kw_only=True):
    """Seconds."""

    default: int
    minimum: int
    maximum: int


class OfferView(View, frozen=True, kw_only=True):
    """`why_not`: why the role cannot be asked for now; empty: it can."""

    id: str
    name: str
    description: str
    ttl: TtlView
    mfa: bool
    justification: bool
    ticket_pattern: str
    needs_approval: bool
    extension: bool
    window: str
    why_not: str


class Offers(View, frozen=True, kw_only=True):
    items: list[OfferView]


class VoteView(View, frozen=True, kw_only=True):
    name: str
    decision: str
    reason: str
    stage: str
    at: datetime


class RequestView(View, frozen=True, kw_only=True):
    """`true_end`: access really ends then at the latest, with the last ticket. `directory_end`: when the directory ends it by itself if
    Bastide stops now; null: it would stay. `missing`: stage to the approvals it still needs.
    """

    id: str
    state: str
    role: str
    role_id: str
    user: str
    created_at: datetime
    pending_until: datetime
    ttl_seconds: int
    start_at: datetime | None
    active_from: datetime | None
    ends_at: datetime | None
    extend_to: datetime | None
    true_end: datetime | None
    directory_end: datetime | None
    closed_at: datetime | None
    enforcer: str | None
    justification: str
    ticket: str
    reason: str
    votes: list[VoteView]
    missing: dict[str, int]


class Requests(View, frozen=True, kw_only=True):
    """`next_before`: the value of `before` for the next page; null: there is none."""

    items: list[RequestView]
    next_before: datetime | None = None


class Killed(View, frozen=True, kw_only=True):
    """The requests that were ended. Tickets bought before live on until each one's true end."""

    items: list[RequestView]


class NamedRef(View, frozen=True, kw_only=True):
    id: str
    name: str


class SubjectView(View, frozen=True, kw_only=True):
    sid: str
    name: str
    is_group: bool


class StageView(View, frozen=True, kw_only=True):
    name: str
    approvers: list[SubjectView]
    needed: int


class WindowView(View, frozen=True, kw_only=True):
    days: list[int]
    opens: str
    closes: str
    zone: str


class RoleView(DryRunnable, frozen=True, kw_only=True):
    """`changes` is there after a change: rule to [old, new]."""

    id: str
    name: str
    description: str
    privileges: list[NamedRef]
    candidates: list[SubjectView]
    stages: list[StageView]
    ttl: TtlView
    mfa: bool
    justification: bool
    ticket_pattern: str
    window: WindowView | None
    pending_life: int
    owner_auto_approval: bool
    floor: str
    extension: bool
    enabled: bool
    created_at: datetime
    version: int
    changes: dict[str, Any] | UnsetType = UNSET


class Roles(View, frozen=True, kw_only=True):
    items: list[RoleView]


class DirectoryObject(View, frozen=True, kw_only=True):
    name: str
    sid: str
    guid: str
    dn: str


class PamUserView(DryRunnable, frozen=True, kw_only=True):
    """`ticket_cap`: the longest life of a ticket, in seconds, as read back from the directory."""

    id: str
    name: str
    corp: DirectoryObject
    priv: DirectoryObject
    ticket_cap: int
    kept_alive: bool
    adopted: bool
    enabled: bool
    created_at: datetime


class PamUsers(View, frozen=True, kw_only=True):
    items: list[PamUserView]


class PamGroupView(DryRunnable, frozen=True, kw_only=True):
    id: str
    name: str
    carrier: str
    scope: str
    corp: DirectoryObject
    priv: DirectoryObject
    linked: bool
    adopted: bool
    enabled: bool
    created_at: datetime


class PamGroups(View, frozen=True, kw_only=True):
    items: list[PamGroupView]


class WorkView(View, frozen=True, kw_only=True):
    """Durable work: what is to be done, when, and what went wrong the last time."""

    items: list[dict[str, Any]]


class RecordView(View, frozen=True, kw_only=True):
    seq: int
    at: datetime
    kind: str
    actor: str
    actor_name: str
    subject: str
    subject_name: str
    request: str
    data: dict[str, Any]
    previous: str
    hash: str


class Records(View, frozen=True, kw_only=True):
    """`next_after_seq`: the value of `after_seq` for the next page; null: nothing more now."""

    items: list[RecordView]
    next_after_seq: int | None


class VerdictView(View, frozen=True, kw_only=True):
    """The chain is whole up to `seq`, and signed up to `signed`. A chain that is broken is answered as the problem audit-broken."""

    seq: int
    head: str
    checkpoints: int
    signed: int


class HeldView(View, frozen=True, kw_only=True):
    person: str
    group: str
    role: str
    request: str
    since: datetime
    until: datetime | None
    true_end: datetime | None


class Holders(View, frozen=True, kw_only=True):
    items: list[HeldView]


class Health(View, frozen=True, kw_only=True):
    status: str


def me(actor: Actor, user: PamUser | None) -> Me:
    return Me(
        sid=str(actor.sid),
        name=actor.name,
        forest=actor.forest.value,
        rights=sorted(right.value for right in actor.rights),
        via=actor.via,
        mfa=None if actor.mfa is None else proof(actor.mfa),
        pam_user=None if user is None else user.name,
    )


def proof(shown: MfaProof) -> MfaView:
    return MfaView(method=shown.method, factor=shown.factor, at=shown.at)


def factor(one: Factor) -> FactorView:
    return FactorView(
        id=one.id,
        method=one.method,
        created_at=one.created_at,
        confirmed=one.confirmed,
        locked_until=one.locked_until,
        recovery_codes_left=len(one.recovery_hashes),
    )


def offer(one: RoleOffer) -> OfferView:
    role = one.role
    return OfferView(
        id=role.id,
        name=role.name,
        description=role.description,
        ttl=_ttl(role.ttl),
        mfa=role.mfa,
        justification=role.justification,
        ticket_pattern=role.ticket_pattern,
        needs_approval=bool(role.stages),
        extension=role.extension,
        window=one.window or describe_window(role),
        why_not=one.why_not,
    )


def request(one: Request, missing: Mapping[str, int]) -> RequestView:
    return RequestView(
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
) -> RoleView:
    names = {group.id: group.name for group in groups}
    return RoleView(
        id=one.id,
        name=one.name,
        description=one.description,
        privileges=[_privilege(privilege, names) for privilege in one.privileges],
        candidates=[_subject(subject) for subject in one.candidates],
        stages=[_stage(stage) for stage in one.stages],
        ttl=_ttl(one.ttl),
        mfa=one.mfa,
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
    )


def pam_user(one: PamUser, *, dry_run: bool = False) -> PamUserView:
    return PamUserView(
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


def pam_group(one: PamGroup, *, dry_run: bool = False) -> PamGroupView:
    return PamGroupView(
        id=one.id,
        name=one.name,
        carrier=one.carrier.value,
        scope=one.scope.value,
        corp=_object(one.corp),
        priv=_object(one.priv),
        linked=one.linked,
        adopted=one.adopted,
        enabled=one.enabled,
        created_at=one.created_at,
        dry_run=dry_run or UNSET,
    )


def record(one: Record) -> RecordView:
    return RecordView(
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


def verdict(one: Verdict) -> VerdictView:
    return VerdictView(seq=one.seq, head=one.head, checkpoints=one.checkpoints, signed=one.signed)


def held(one: Held) -> HeldView:
    return HeldView(
        person=one.person,
        group=one.group,
        role=one.role,
        request=one.request,
        since=one.since,
        until=one.until,
        true_end=one.true_end,
    )


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


def _ttl(ttl: Ttl) -> TtlView:
    return TtlView(
        default=_seconds(ttl.default), minimum=_seconds(ttl.minimum), maximum=_seconds(ttl.maximum)
    )


def _vote(vote: Vote) -> VoteView:
    return VoteView(
        name=vote.name, decision=vote.decision.value, reason=vote.reason, stage=vote.stage, at=vote.at
    )


def _privilege(id_: GroupId, names: Mapping[GroupId, str]) -> NamedRef:
    return NamedRef(id=id_, name=names.get(id_, id_))


def _subject(subject: Subject) -> SubjectView:
    return SubjectView(sid=str(subject.sid), name=subject.name, is_group=subject.is_group)


def _stage(stage: Stage) -> StageView:
    return StageView(name=stage.name, approvers=[_subject(s) for s in stage.approvers], needed=stage.needed)


def _window(window: Window) -> WindowView:
    return WindowView(
        days=sorted(window.days),
        opens=f"{window.opens:%H:%M}",
        closes=f"{window.closes:%H:%M}",
        zone=window.zone,
    )


def _object(ref: ObjectRef) -> DirectoryObject:
    return DirectoryObject(name=ref.name, sid=str(ref.sid), guid=ref.guid, dn=ref.dn)
