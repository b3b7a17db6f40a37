"""Who approves, as Graph's approval rule says it: stages with users and groups by their ids, read out of a role and written back. Pure.

(1) What a client does not say stays as it is.
(2) Of a stage Graph says the approvers; its name, and how many of them must agree, stay those of the role's stage in the same place.
(3) What a role has no place for is refused: other people after a while, an approver's justification, a manager as approver.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import msgspec

from bastide.api.graph.errors import BAD, GraphRefused
from bastide.domain.errors import InvalidInput
from bastide.domain.ids import Sid
from bastide.domain.roles import Role, Stage, Subject
from bastide.http.bodies import decode

_NONE = "NoApproval"
_MODES = ("SingleStage", "Serial", "Parallel", _NONE)
_BY_HAND = "`bastide role edit --stage` sets what Graph has no place for"


class Approver(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """A user or a group; the description is for people."""

    user_id: str | None = None
    group_id: str | None = None
    description: str | None = None
    is_backup: bool | None = None

    @property
    def named(self) -> "Named":
        """Raises InvalidInput."""
        if bool(self.user_id) == bool(self.group_id):
            raise InvalidInput("primaryApprovers", "an approver is a userId or a groupId")
        return Named((self.group_id or self.user_id or "").lower(), is_group=bool(self.group_id))


class SaidStage(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    approval_stage_time_out_in_days: int | None = None
    is_approver_justification_required: bool | None = None
    escalation_time_in_minutes: int | None = None
    is_escalation_enabled: bool | None = None
    primary_approvers: list[Approver] | None = None
    escalation_approvers: list[Approver] | None = None


class Setting(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    is_approval_required: bool | None = None
    is_approval_required_for_extension: bool | None = None
    is_requestor_justification_required: bool | None = None
    approval_mode: str | None = None
    approval_stages: list[SaidStage] | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """An approver as a client names one: a PAM user's id, or a SID, in small letters."""

    id: str
    is_group: bool


@dataclass(frozen=True, slots=True)
class Book:
    """Who has which id. `users`: the ids of PAM users by the SIDs of both accounts. `subjects`: approvers that a client named and that were found."""

    users: Mapping[Sid, str] = field(default_factory=dict)
    subjects: Mapping[Named, Subject] = field(default_factory=dict)

    def id_of(self, subject: Subject) -> str:
        """A PAM user's, else the SID."""
        return subject.sid if subject.is_group else self.users.get(subject.sid, subject.sid)


def read(role: Role, book: Book) -> dict[str, Any]:
    """The rule's `setting`."""
    return {
        "setting": {
            "isApprovalRequired": bool(role.stages),
            "isApprovalRequiredForExtension": False,
            "isRequestorJustificationRequired": role.justification,
            "approvalMode": _mode(role),
            "approvalStages": [_stage(stage, role.pending_life, book) for stage in role.stages],
        }
    }


def named(role: Role, value: Any, book: Book) -> Iterator[Named]:
    """The approvers in a `setting` that are not the role's already. Raises InvalidInput."""
    known = _known(role, book)
    for stage in _said(value).approval_stages or ():
        for one in stage.primary_approvers or ():
            if one.named not in known:
                yield one.named


def written(role: Role, value: Any, book: Book) -> Role:
    """The role with what a client wants: (1) to (3). Raises InvalidInput, GraphRefused."""
    said = _said(value)
    if said.approval_mode not in {None, *_MODES}:
        raise InvalidInput("approvalMode", "is not known here", remedy=f"there are {', '.join(_MODES)}")
    if said.is_approval_required_for_extension:  # (3)
        raise _no_place(
            "isApprovalRequiredForExtension", "what needs approval is asked for again, not extended"
        )
    if said.is_requestor_justification_required is not None:
        role = replace(role, justification=said.is_requestor_justification_required)
    if said.is_approval_required is False or said.approval_mode == _NONE:
        if said.is_approval_required:
            raise InvalidInput("approvalMode", "contradicts isApprovalRequired")
        return replace(role, stages=())
    if said.approval_stages is not None:
        role = _with_stages(role, said.approval_stages, book)
    _check_mode(role, said)
    return role


def _check_mode(role: Role, said: Setting) -> None:
    if said.is_approval_required and not role.stages:
        raise InvalidInput("approvalStages", "approval is required, and nobody is named who approves")
    if not role.stages or said.approval_mode is None:
        return
    if said.approval_mode == "Serial":
        raise _no_place("approvalMode", "stages stand beside each other, and none waits for another one")
    if said.approval_mode != _mode(role):
        raise InvalidInput("approvalMode", f"does not go with {len(role.stages)} stages")


def _mode(role: Role) -> str:
    """The stages of a role stand beside each other: nobody waits for another one."""
    return _NONE if not role.stages else "SingleStage" if len(role.stages) == 1 else "Parallel"


def _with_stages(role: Role, said: list[SaidStage], book: Book) -> Role:
    known = {**book.subjects, **_known(role, book)}
    stages = []
    for index, one in enumerate(said):
        before = role.stages[index] if index < len(role.stages) else Stage(_new_name(role, index), ())
        _refuse_escalation(one)
        if one.primary_approvers is None:
            stages.append(before)
            continue
        found = dict.fromkeys(_subject(approver.named, known) for approver in one.primary_approvers)
        stages.append(replace(before, approvers=tuple(found)))  # (2)
    if any(not stage.approvers for stage in stages):
        raise InvalidInput("primaryApprovers", "a stage without approvers approves nothing")
    return replace(role, stages=tuple(stages), pending_life=_life(role.pending_life, said))


def _subject(one: Named, known: Mapping[Named, Subject]) -> Subject:
    if one not in known:
        kind = "group" if one.is_group else "user"
        raise InvalidInput(
            "primaryApprovers",
            f"there is no {kind} {one.id[:80]!r}",
            remedy="a PAM user goes by its id, another account and a group by the SID",
        )
    return known[one]


def _refuse_escalation(said: SaidStage) -> None:
    """(3)."""
    if said.is_escalation_enabled or said.escalation_approvers:
        raise _no_place("escalationApprovers", "nobody is asked in the place of the approvers")
    if said.is_approver_justification_required:
        raise _no_place("isApproverJustificationRequired", "a rejection needs a reason, an approval does not")


def _no_place(name: str, why: str) -> GraphRefused:
    return GraphRefused(BAD, f"{name}: {why}", remedy=_BY_HAND)


def _life(life: timedelta, said: list[SaidStage]) -> timedelta:
    """How long approvers have is one for all stages, and may be shorter than the day that Graph shows."""
    days = {one.approval_stage_time_out_in_days for one in said} - {None, _days(life)}
    if len(days) > 1:
        raise InvalidInput("approvalStageTimeOutInDays", "is the same for all stages")
    wanted = days.pop() if days else None
    if wanted is not None and not 0 < wanted < timedelta.max.days:
        raise InvalidInput("approvalStageTimeOutInDays", "is a number of days")
    return timedelta(days=wanted) if wanted is not None else life


def _days(life: timedelta) -> int:
    return max(1, life.days)


def _stage(stage: Stage, life: timedelta, book: Book) -> dict[str, Any]:
    return {
        "approvalStageTimeOutInDays": _days(life),
        "isApproverJustificationRequired": False,
        "escalationTimeInMinutes": 0,
        "isEscalationEnabled": False,
        "primaryApprovers": [_approver(subject, book) for subject in stage.approvers],
        "escalationApprovers": [],
    }


def _approver(subject: Subject, book: Book) -> dict[str, Any]:
    kind, key = ("groupMembers", "groupId") if subject.is_group else ("singleUser", "userId")
    return {
        "@odata.type": f"#microsoft.graph.{kind}",
        key: book.id_of(subject),
        "description": subject.name,
    }


def _known(role: Role, book: Book) -> dict[Named, Subject]:
    """The role's own approvers, by the ids that a client read: one that is gone from the directory can be sent back."""
    subjects = [subject for stage in role.stages for subject in stage.approvers]
    return {Named(book.id_of(one).lower(), one.is_group): one for one in subjects}


def _new_name(role: Role, index: int) -> str:
    names = {stage.name for stage in role.stages}
    return next(name for name in (f"stage {index + 1}", f"stage {index + 1} of Graph") if name not in names)


def _said(value: Any) -> Setting:
    if not isinstance(value, dict):
        raise InvalidInput("setting", "is an object")
    said: Setting = decode(msgspec.json.encode(value), Setting)
    return said
