"""Make, change and remove roles. A role is saved only when it could be used: names resolve, carriers fit, approvers can be reached.

The right to change a role is not the right to approve in it (GHSA-76cc-p55w-63g3): each comes from a directory group of its own.
With four eyes nothing here changes a role but `approve`, by another administrator than the one who proposed it (domain/proposals.py).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from bastide.domain import roles
from bastide.domain.audit import Event
from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.domain.ids import RoleId, Sid, parse_id, parse_text
from bastide.domain.people import Actor, Demand, Right, require, require_reader
from bastide.domain.proposals import REASON_LIMIT, Proposal, check_base, check_first, check_second
from bastide.domain.requests import OPEN
from bastide.domain.roles import Role, Stage, Subject, Ttl, Window, length
from bastide.domain.webauthn import RelyingParty, needed
from bastide.services.events import by_actor, by_worker
from bastide.services.lookup import find_groups, find_role, owner_of
from bastide.services.people import Subjects
from bastide.services.ports import Random, Store, UnitOfWork

#: Zero stands for "whichever it is" where somebody says which version a change is about.
FIRST_VERSION = 1
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class StageDraft:
    """A stage with its approvers as typed."""

    name: str
    approvers: tuple[str, ...]
    needed: int = 1


@dataclass(frozen=True, slots=True)
class RoleDraft:
    """A role as typed: `settings` holds all that needs no looking up; its id, privileges, candidates and stages are filled in here."""

    settings: Role
    privileges: tuple[str, ...]
    candidates: tuple[str, ...]
    stages: tuple[StageDraft, ...] = ()


@dataclass(frozen=True, slots=True)
class RoleChange:
    """A role before and after; None: it was not there, or is gone. With `proposal` nothing was done: it waits for a second administrator."""

    before: Role | None
    after: Role | None
    proposal: Proposal | None = None

    @property
    def role(self) -> Role:
        """As it is then, or as it was. Raises ValueError for a change of nothing."""
        known = self.after or self.before
        if known is None:
            raise ValueError("a change is about a role")
        return known


class Roles:
    """The use cases of role administration. All raise NotAuthorized."""

    def __init__(
        self,
        *,
        store: Store,
        subjects: Subjects,
        random: Random,
        now: Callable[[], datetime],
        party: RelyingParty | None,
        administers: Callable[[Sid], bool],
        four_eyes: bool = False,
    ) -> None:
        """`administers`: whether an account has that right now, without a sign-in."""
        self._store = store
        self._administers = administers
        self._subjects = subjects
        self._random = random
        self._now = now
        self._party = party
        self._four_eyes = four_eyes

    def add(self, actor: Actor, draft: RoleDraft, *, dry_run: bool = False) -> RoleChange:
        """Make a role. Raises InvalidInput, NotFound, Ambiguous, Conflict, DirectoryUnavailable."""
        require(actor, Right.ADMINISTER)
        role = replace(
            self._resolve(draft),
            id=RoleId(self._random.uuid()),
            created_at=self._now(),
            version=FIRST_VERSION,
        )
        with self._store.write() as uow:
            change = self._change(uow, actor, None, role)
            if not dry_run:
                uow.commit()
        return change

    def edit(self, actor: Actor, name: str, draft: RoleDraft, *, dry_run: bool = False) -> RoleChange:
        """Replace a role's rules. Requests already made keep what was approved. Raises as `add`."""
        require(actor, Right.ADMINISTER)
        resolved = self._resolve(draft)
        with self._store.write() as uow:
            before = find_role(uow, name)
            if draft.settings.version not in {0, before.version}:
                raise Conflict(
                    f"role {before.name} was changed by somebody else", remedy="read it again, then change it"
                )
            after = replace(resolved, id=before.id, created_at=before.created_at, version=before.version)
            change = self._change(uow, actor, before, after)
            if not dry_run:
                uow.commit()
        return change

    def adjust(
        self, actor: Actor, name: str, change: Callable[[Role], Role], *, dry_run: bool = False
    ) -> tuple[Role, Role]:
        """Change some rules of a role and leave the rest; answers before and after. `change` is pure. Not where four eyes are asked for.
        Raises NotFound, InvalidInput, Conflict, DirectoryUnavailable.
        """
        require(actor, Right.ADMINISTER)
        if self._four_eyes:
            raise Conflict(
                "here a second administrator approves each change of a role, and this way of changing one cannot wait for that",
                remedy="propose the change in the portal, or with `bastide role edit`",
            )
        with self._store.read() as uow:
            read = find_role(uow, name)
        wanted = roles.check(change(read))
        self._reachable(wanted)
        with self._store.write() as uow:
            before = uow.roles.get(read.id)
            if before.version != read.version:
                raise Conflict(
                    f"role {read.name} was changed by somebody else at this moment", remedy="try again"
                )
            _must_differ(before, wanted)
            saved = self._apply(uow, actor, before, wanted)
            if not dry_run:
                uow.commit()
        return before, saved or wanted

    def withdraw(
        self, uow: UnitOfWork, id_: RoleId, accounts: Collection[Sid], because: Mapping[str, object]
    ) -> Role:
        """In this transaction, take accounts out of the candidates, as the end of a review decided. The last candidate stays, and the role is switched off.
        What was proposed for the role is void. Raises NotFound, Conflict.
        """
        before = uow.roles.get(id_)
        left = tuple(one for one in before.candidates if one.sid not in accounts)
        after = replace(before, candidates=left) if left else replace(before, enabled=False)
        if after == before:
            raise Conflict(f"role {before.name} is like that already: nothing was changed")
        data = {**change_record(before, after), **because}
        uow.audit.append(by_worker("role.changed", self._now(), subject_name=before.name, data=data))
        saved = uow.roles.save(after)
        for void in uow.proposals.of_role(id_):
            uow.proposals.remove(void.id)
            said = {"proposal": void.id, "action": void.action.value, "by": void.by_name, **because}
            uow.audit.append(
                by_worker("role.proposal-void", self._now(), subject_name=void.subject.name, data=said)
            )
        return saved

    def remove(self, actor: Actor, name: str, *, dry_run: bool = False) -> RoleChange:
        """Remove a role that nobody uses. Raises NotFound, Conflict."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            change = self._change(uow, actor, find_role(uow, name), None)
            if not dry_run:
                uow.commit()
        return change

    # ------------------------------------------------------------------------------------------------------- four eyes

    @property
    def four_eyes(self) -> bool:
        """Whether each change waits for a second administrator."""
        return self._four_eyes

    def proposals(self, actor: Actor) -> tuple[Proposal, ...]:
        """What waits for a second administrator, oldest first."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.proposals.all()

    def proposal(self, actor: Actor, id_: str) -> Proposal:
        """One of them. Raises NotFound."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.proposals.get(parse_id("proposal", id_))

    def approve(self, actor: Actor, id_: str, *, dry_run: bool = False) -> RoleChange:
        """Do what another administrator proposed. Raises NotFound, NotAuthorized, Conflict, InvalidInput, DirectoryUnavailable."""
        require(actor, Right.ADMINISTER)
        shown = self.proposal(actor, id_)
        if shown.after is not None:
            self._reachable(roles.check(shown.after))
        check_first(shown, administers=self._administers(shown.by))
        with self._store.write() as uow:
            proposal = uow.proposals.get(shown.id)
            check_second(proposal, _accounts(uow, actor))
            check_base(proposal, _now_called(uow, proposal.role))
            _must_be_there(uow, proposal.after)
            uow.proposals.remove(proposal.id)
            self._check(uow, proposal.before, proposal.after)
            saved = self._apply(
                uow,
                actor,
                proposal.before,
                proposal.after,
                proposed_by=proposal.by_name,
                proposal=proposal.id,
            )
            if not dry_run:
                uow.commit()
        return RoleChange(proposal.before, saved)

    def reject(self, actor: Actor, id_: str, reason: str = "") -> Proposal:
        """Refuse what somebody proposed, or take one's own proposal back. Raises NotFound, InvalidInput."""
        require(actor, Right.ADMINISTER)
        text = parse_text("reason", reason, REASON_LIMIT)
        with self._store.write() as uow:
            proposal = uow.proposals.get(parse_id("proposal", id_))
            uow.proposals.remove(proposal.id)
            own = proposal.by == actor.sid
            kind = "role.proposal-withdrawn" if own else "role.proposal-rejected"
            uow.audit.append(self._on_proposal(kind, actor, proposal, reason=text))
            uow.commit()
        return proposal

    def _change(self, uow: UnitOfWork, actor: Actor, before: Role | None, after: Role | None) -> RoleChange:
        """Do it, or propose it where four eyes are asked for. Raises Conflict for what could not be done now."""
        self._check(uow, before, after)
        if not self._four_eyes:
            return RoleChange(before, self._apply(uow, actor, before, after))
        proposal = Proposal(
            id=self._random.uuid(),
            before=before,
            after=after,
            by=actor.sid,
            by_name=actor.name,
            accounts=_accounts(uow, actor),
            made_at=self._now(),
        )
        uow.proposals.add(proposal)
        uow.audit.append(
            self._on_proposal("role.proposed", actor, proposal, changes=change_record(before, after))
        )
        return RoleChange(before, after, proposal)

    def _check(self, uow: UnitOfWork, before: Role | None, after: Role | None) -> None:
        """What the database must allow. Raises Conflict."""
        if after is not None:
            self._unique(uow, after)
        if before is not None and after is not None:
            _must_differ(before, after)
        if before is not None and after is None and (in_use := uow.requests.of_role(before.id, OPEN)):
            raise Conflict(
                f"{len(in_use)} requests for {before.name} are open",
                remedy=f"`bastide kill --role {before.name!r}` ends them first",
            )

    def _apply(
        self, uow: UnitOfWork, actor: Actor, before: Role | None, after: Role | None, **approved: object
    ) -> Role | None:
        """With the record of what changed. What was proposed for the role as it was is void by that."""
        now, data = self._now(), {**change_record(before, after), **approved}
        saved = None
        if before is None and after is not None:
            uow.roles.add(after)
            saved = after
            uow.audit.append(by_actor("role.added", now, actor, subject_name=after.name, data=data))
        elif before is not None and after is not None:
            uow.audit.append(by_actor("role.changed", now, actor, subject_name=after.name, data=data))
            saved = uow.roles.save(after)
        elif before is not None:
            uow.roles.remove(before.id)
            uow.audit.append(by_actor("role.removed", now, actor, subject_name=before.name, data=data))
        for void in uow.proposals.of_role(before.id) if before is not None else ():
            uow.proposals.remove(void.id)
            uow.audit.append(self._on_proposal("role.proposal-void", actor, void))
        return saved

    def _on_proposal(self, kind: str, actor: Actor, proposal: Proposal, **data: object) -> Event:
        said = {"proposal": proposal.id, "action": proposal.action.value, "by": proposal.by_name, **data}
        return by_actor(kind, self._now(), actor, subject_name=proposal.subject.name, data=said)

    # ------------------------------------------------------------------------------------------------------------ read

    def show(self, actor: Actor, name: str) -> Role:
        """One role. Raises NotFound."""
        require_reader(actor)
        with self._store.read() as uow:
            return find_role(uow, name)

    def all(self, actor: Actor) -> tuple[Role, ...]:
        """All roles."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.roles.all()

    def _resolve(self, draft: RoleDraft) -> Role:
        """Look up every name, then check the role as a whole."""
        candidates = tuple(self._subjects.find("candidates", text) for text in draft.candidates)
        stages = tuple(
            Stage(
                s.name, tuple(self._subjects.find(f"stage {s.name}", text) for text in s.approvers), s.needed
            )
            for s in draft.stages
        )
        with self._store.read() as uow:
            privileges = tuple(group.id for group in find_groups(uow, draft.privileges))
        role = roles.check(
            replace(draft.settings, privileges=privileges, candidates=candidates, stages=stages)
        )
        self._reachable(role)
        return role

    def _reachable(self, role: Role) -> None:
        """Every gate must have enough enabled people behind it who are not the only candidate themselves, and a key that works here."""
        if Demand.WEBAUTHN in {role.factor, role.approval_factor}:
            needed(self._party)
        candidates = self._people(role.candidates)
        for stage in role.stages:
            approvers = self._people(stage.approvers)
            if len(approvers) < stage.needed:
                raise InvalidInput(
                    "stages",
                    f"stage {stage.name!r} needs {stage.needed} approvals and only {len(approvers)} enabled people could give one",
                    remedy="name more approvers, or enable their accounts",
                )
            if len(candidates) == 1 and len(approvers - candidates) < stage.needed:
                raise InvalidInput(
                    "stages",
                    f"the only candidate is needed as approver in stage {stage.name!r}; nobody approves a request of their own",
                    remedy="name another approver",
                )

    def _people(self, subjects: tuple[Subject, ...]) -> frozenset[str]:
        """The persons behind subjects; the two accounts of a PAM user are one person."""
        sids = frozenset().union(*(self._subjects.count_people(subject) for subject in subjects))
        with self._store.read() as uow:
            owner = {sid: user.id for user in uow.users.all() for sid in user.sids}
        return frozenset(owner.get(sid, sid) for sid in sids)  # type: ignore[call-overload]

    @staticmethod
    def _unique(uow: UnitOfWork, role: Role) -> None:
        for other in uow.roles.all():
            if other.name.casefold() == role.name.casefold() and other.id != role.id:
                raise Conflict(f"there is a role {other.name!r} already")


def _must_differ(before: Role, after: Role) -> None:
    if not differences(before, after):
        raise Conflict(f"role {before.name} is like that already: nothing was changed")


def _must_be_there(uow: UnitOfWork, role: Role | None) -> None:
    """The groups of a role that was proposed: one may have been forgotten since. Raises Conflict."""
    if role is not None and len(uow.groups.many(role.privileges)) != len(role.privileges):
        raise Conflict(
            f"a PAM group that {role.name} is to give is gone", remedy="propose the change again without it"
        )


def _accounts(uow: UnitOfWork, actor: Actor) -> frozenset[Sid]:
    return frozenset(owner_of(uow, actor)[1])


def _now_called(uow: UnitOfWork, role: RoleId) -> Role | None:
    try:
        return uow.roles.get(role)
    except NotFound:
        return None


def change_record(before: Role | None, after: Role | None) -> dict[str, object]:
    """What the audit holds of a change: all rules of a role that comes or goes, each rule that changed as [old, new]."""
    if before is not None and after is not None:
        return differences(before, after)
    known = after or before
    return describe(known) if known is not None else {}


def describe(role: Role) -> dict[str, object]:
    """All rules of a role in words and numbers, for audit and people."""
    return {
        field.name: _plain(getattr(role, field.name))
        for field in fields(role)
        if field.name not in {"version", "created_at"}
    }


def differences(before: Role, after: Role) -> dict[str, object]:
    """Rule to [old, new], for those that differ."""
    old, new = describe(before), describe(after)
    return {name: [old[name], new[name]] for name in old if old[name] != new[name]}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    words = _IN_WORDS.get(type(value))
    if words is not None:
        return words(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _of_ttl(ttl: Ttl) -> str:
    return f"{length(ttl.default)} ({length(ttl.minimum)} to {length(ttl.maximum)})"


def _of_stage(stage: Stage) -> str:
    return f"{stage.name}: {stage.needed} of {', '.join(subject.name for subject in stage.approvers)}"


def _of_window(window: Window) -> str:
    days = ",".join(_DAYS[day] for day in sorted(window.days))
    return f"{days} {window.opens:%H:%M}-{window.closes:%H:%M} {window.zone}"


#: What is neither text nor number nor yes or no, as the command line takes it.
_IN_WORDS: Mapping[type, Callable[[Any], str]] = {
    Subject: lambda subject: f"{subject.name} ({subject.sid})",
    Stage: _of_stage,
    Ttl: _of_ttl,
    Window: _of_window,
    timedelta: length,
}
