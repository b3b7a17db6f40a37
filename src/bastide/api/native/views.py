"""What callers get. Lengths of time are whole seconds; times are RFC 3339 in UTC. No view has a field for a secret but the two that exist to
hand one over once: NewSession and Enrolled, and an Invitation's code.
"""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType


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
    rights_with_code: list[str]
    via: str
    mfa: MfaView | None
    pam_user: str | None


class NewToken(View, frozen=True, kw_only=True):
    """`token` is shown this once; send it as `Authorization: Bearer`."""

    token: str
    rights: list[str]
    expires_at: datetime

    def __repr__(self) -> str:
        return "NewToken(<hidden>)"


class NewSession(View, frozen=True, kw_only=True):
    """`token` is shown this once; send it as `Authorization: Bearer`."""

    token: str
    actor: Me

    def __repr__(self) -> str:
        return "NewSession(<hidden>)"


class OpenSessionView(View, frozen=True, kw_only=True):
    """`id` names it and opens nothing. `used_at` is right to five minutes. `code_at`: when a second factor was last shown in it."""

    id: str
    via: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    address: str
    agent: str
    code_at: datetime | None
    current: bool


class OpenSessions(View, frozen=True, kw_only=True):
    items: list[OpenSessionView]


class SessionsEnded(View, frozen=True, kw_only=True):
    ended: int


class FactorView(View, frozen=True, kw_only=True):
    """`name` and `last_used_at`: of a security key (method webauthn)."""

    id: str
    method: str
    name: str
    created_at: datetime
    last_used_at: datetime | None
    confirmed: bool
    locked_until: datetime | None
    recovery_codes_left: int


class Factors(View, frozen=True, kw_only=True):
    items: list[FactorView]


class Asked(View, frozen=True, kw_only=True):
    """`options`: for the browser, as in PublicKeyCredential.parseCreationOptionsFromJSON or parseRequestOptionsFromJSON. `challenge`: to be sent
    back with the answer.
    """

    challenge: str
    options: dict[str, Any]


class AskedToSign(Asked, frozen=True, kw_only=True):
    """`stage`: the one that the vote will count in."""

    stage: str


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
    """`why_not`: why the role cannot be asked for now; empty: it can. `opens_at`: when its window opens, if it is closed. `lacks`: what the
    caller must set up before a request goes on; empty: nothing.
    """

    id: str
    name: str
    description: str
    ttl: TtlView
    mfa: bool
    factor: str
    justification: bool
    ticket_pattern: str
    needs_approval: bool
    extension: bool
    window: str
    why_not: str
    opens_at: datetime | None
    lacks: str


class Offers(View, frozen=True, kw_only=True):
    items: list[OfferView]


class VoteView(View, frozen=True, kw_only=True):
    name: str
    decision: str
    reason: str
    stage: str
    at: datetime
    signed: bool


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
    """`next_before`: the value of `before` for the next page, to be passed on as it is; null: there is none."""

    items: list[RequestView]
    next_before: str | None = None


class OpenedView(View, frozen=True, kw_only=True):
    """A group that a request opens. `by`: through which PAM group. `carried`: it is the one that the PAM group carries; others come with it,
    because that one is in them. `protected`: AdminSDHolder guards it, as it does Domain Admins.
    """

    name: str
    sid: str
    forest: str
    by: str
    carried: bool
    protected: bool


class Gives(View, frozen=True, kw_only=True):
    """`problems`: what could not be found out, in sentences; then `items` is not all."""

    items: list[OpenedView]
    problems: list[str]


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
    """`changes` is there after a change: rule to [old, new]. With `proposal`, its id, nothing was changed: a second administrator decides."""

    id: str
    name: str
    description: str
    privileges: list[NamedRef]
    candidates: list[SubjectView]
    stages: list[StageView]
    ttl: TtlView
    mfa: bool
    factor: str
    approval_factor: str
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
    proposal: str | UnsetType = UNSET


class ProposalView(View, frozen=True, kw_only=True):
    """`action`: add, edit or remove. `changes`: rule to [old, new], or all rules of a role that is to come or go."""

    id: str
    action: str
    role: str
    role_id: str
    by: str
    made_at: datetime
    changes: dict[str, Any]


class Proposals(View, frozen=True, kw_only=True):
    items: list[ProposalView]


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


class Switched(View, frozen=True, kw_only=True):
    """The PAM user as it is now, and the ids of the requests that end with it."""

    user: PamUserView
    ended: list[str]


class PamUsers(View, frozen=True, kw_only=True):
    items: list[PamUserView]


class FindingView(View, frozen=True, kw_only=True):
    """`key` is stable. `forest` is empty for what is about both."""

    key: str
    forest: str
    severity: str
    text: str
    evidence: str
    remedy: str


class PamGroupView(DryRunnable, frozen=True, kw_only=True):
    id: str
    name: str
    carrier: str
    scope: str
    corp: DirectoryObject
    priv: DirectoryObject
    link: str
    adopted: bool
    enabled: bool
    created_at: datetime
    #: In the answer to preparing it only.
    findings: list[FindingView] | UnsetType = UNSET


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
    state: str
    since: datetime
    until: datetime | None
    true_end: datetime | None
    justification: str
    ticket: str


class Holders(View, frozen=True, kw_only=True):
    items: list[HeldView]


class Findings(View, frozen=True, kw_only=True):
    items: list[FindingView]


class Health(View, frozen=True, kw_only=True):
    status: str
