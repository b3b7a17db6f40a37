"""Make, change and remove roles. A role is saved only when it could be used: names resolve, carriers fit, approvers can be reached.

The right to change a role is not the right to approve in it (GHSA-76cc-p55w-63g3): each comes from a directory group of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime

from bastide.domain import roles
from bastide.domain.errors import Conflict, InvalidInput
from bastide.domain.ids import RoleId
from bastide.domain.people import Actor, Right, require, require_reader
from bastide.domain.requests import OPEN
from bastide.domain.roles import Role, Stage, Subject
from bastide.services.events import by_actor
from bastide.services.lookup import find_groups, find_role
from bastide.services.people import Subjects
from bastide.services.ports import Random, Store, UnitOfWork


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


class Roles:
    """The use cases of role administration. All raise NotAuthorized."""

    def __init__(
        self, *, store: Store, subjects: Subjects, random: Random, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._subjects = subjects
        self._random = random
        self._now = now

    def add(self, actor: Actor, draft: RoleDraft, *, dry_run: bool = False) -> Role:
        """Make a role. Raises InvalidInput, NotFound, Ambiguous, Conflict, DirectoryUnavailable."""
        require(actor, Right.ADMINISTER)
        role = replace(
            self._resolve(draft), id=RoleId(self._random.uuid()), created_at=self._now(), version=0
        )
        with self._store.write() as uow:
            self._unique(uow, role)
            uow.roles.add(role)
            uow.audit.append(
                by_actor("role.added", self._now(), actor, subject_name=role.name, data=describe(role))
            )
            if not dry_run:
                uow.commit()
        return role

    def edit(self, actor: Actor, name: str, draft: RoleDraft, *, dry_run: bool = False) -> tuple[Role, Role]:
        """Replace a role's rules; answers before and after. Requests already made keep what was approved. Raises as `add`."""
        require(actor, Right.ADMINISTER)
        resolved = self._resolve(draft)
        with self._store.write() as uow:
            before = find_role(uow, name)
            if draft.settings.version not in {0, before.version}:
                raise Conflict(
                    f"role {before.name} was changed by somebody else", remedy="read it again, then change it"
                )
            after = replace(resolved, id=before.id, created_at=before.created_at, version=before.version)
            self._unique(uow, after)
            saved = self._save(uow, actor, before, after)
            if not dry_run:
                uow.commit()
        return before, saved

    def adjust(
        self, actor: Actor, name: str, change: Callable[[Role], Role], *, dry_run: bool = False
    ) -> tuple[Role, Role]:
        """Change some rules of a role and leave the rest; answers before and after. `change` is pure. Raises NotFound, InvalidInput, Conflict,
        DirectoryUnavailable.
        """
        require(actor, Right.ADMINISTER)
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
            saved = self._save(uow, actor, before, wanted)
            if not dry_run:
                uow.commit()
        return before, saved

    def remove(self, actor: Actor, name: str, *, dry_run: bool = False) -> Role:
        """Remove a role that nobody uses. Raises NotFound, Conflict."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            role = find_role(uow, name)
            if in_use := uow.requests.of_role(role.id, OPEN):
                raise Conflict(
                    f"{len(in_use)} requests for {role.name} are open",
                    remedy=f"`bastide kill --role {role.name!r}` ends them first",
                )
            uow.roles.remove(role.id)
            uow.audit.append(
                by_actor("role.removed", self._now(), actor, subject_name=role.name, data=describe(role))
            )
            if not dry_run:
                uow.commit()
        return role

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
        """Every gate must have enough enabled people behind it who are not the only candidate themselves."""
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

    def _save(self, uow: UnitOfWork, actor: Actor, before: Role, after: Role) -> Role:
        """With the record of what changed. Raises Conflict."""
        changed = differences(before, after)
        if not changed:
            raise Conflict(f"role {before.name} is like that already: nothing was changed")
        uow.audit.append(by_actor("role.changed", self._now(), actor, subject_name=after.name, data=changed))
        return uow.roles.save(after)

    @staticmethod
    def _unique(uow: UnitOfWork, role: Role) -> None:
        for other in uow.roles.all():
            if other.name.casefold() == role.name.casefold() and other.id != role.id:
                raise Conflict(f"there is a role {other.name!r} already")


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
    if isinstance(value, Subject):
        return f"{value.name} ({value.sid})"
    if isinstance(value, Stage):
        return f"{value.name}: {value.needed} of {', '.join(subject.name for subject in value.approvers)}"
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
