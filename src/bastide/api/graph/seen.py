"""What a caller may see of each resource: auditors and administrators everything, everybody else what is theirs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from bastide.api.graph import rows
from bastide.api.graph.addresses import DIRECTORY, GROUP
from bastide.api.graph.query import Row, Shape
from bastide.api.graph.rows import Dialect, Holder
from bastide.domain.errors import InvalidInput
from bastide.domain.people import Actor, Right
from bastide.domain.requests import Place, Request, State
from bastide.domain.roles import Role
from bastide.services.requests import HISTORY_LIMIT
from bastide.wiring import Services

#: Access that is to come, or there; and access that is there, or may be.
_SCHEDULED = frozenset({State.SCHEDULED, State.PROCESSING, State.ACTIVE, State.CLOSING})
_THERE = frozenset({State.ACTIVE, State.CLOSING})
PRINCIPAL = "principal"
_CURRENT = (PRINCIPAL, "createdby", "approver")


@dataclass(frozen=True, slots=True)
class Seen:
    """One call's view. `on`: what filterByCurrentUser says; empty: all that the caller may see."""

    services: Services
    actor: Actor
    on: str = ""

    @property
    def everything(self) -> bool:
        return not self.on and bool(self.actor.rights & {Right.ADMINISTER, Right.AUDIT})

    def roles(self) -> tuple[Role, ...]:
        """All roles, or those that the caller is a candidate of."""
        if self.everything:
            return self.services.roles.all(self.actor)
        if self.services.profiles.own(self.actor) is None:
            return ()
        return tuple(offer.role for offer in self.services.requests.offers(self.actor))

    def requests(self) -> Iterator[Request]:
        """Newest first. Raises InvalidInput."""
        if self.on not in {"", *_CURRENT}:
            raise InvalidInput("on", "is not known here", remedy=f"there are {', '.join(_CURRENT)}")
        if self.on == "approver":
            yield from self.services.requests.to_approve(self.actor)
        elif self.everything or self.services.profiles.own(self.actor) is not None:
            yield from self._history()

    def _history(self) -> Iterator[Request]:
        ask = self.services.requests.all if self.everything else self.services.requests.mine
        before: Place | None = None
        while True:
            page = ask(self.actor, limit=HISTORY_LIMIT, before=before)
            yield from page
            if len(page) < HISTORY_LIMIT:
                return
            before = Place(page[-1].created_at, page[-1].id)

    def eligible(self) -> Iterator[tuple[Role, Holder]]:
        """Roles and who may ask for them. Raises InvalidInput."""
        if self.on not in {"", PRINCIPAL}:
            raise InvalidInput("on", "is not known here", remedy="there is principal")
        if self.everything:
            users = {sid: user for user in self.services.accounts.users(self.actor) for sid in user.sids}
            for role in self.roles():
                for subject in role.candidates:
                    yield role, rows.holder(subject, users)
            return
        user = self.services.profiles.own(self.actor)
        if user is None:
            return
        for role in self.roles():
            named = any(subject.sid in user.sids for subject in role.candidates)
            yield role, Holder(user.id, user.name, by_group=not named)


@dataclass(frozen=True, slots=True)
class Resource:
    """A list of rows, and the name that `@odata.context` has for it."""

    shape: Shape
    rows: Callable[[Seen], Iterable[Row]]


def _fits(dialect: Dialect, privileges: tuple[object, ...]) -> bool:
    """A role that gives several groups is not eligibility for one of them: activated, it would give more than was asked for."""
    return not dialect.of_group or len(privileges) == 1


def _requests(dialect: Dialect, seen: Seen, states: frozenset[State]) -> Iterator[Request]:
    return (one for one in seen.requests() if one.state in states and _fits(dialect, one.privileges))


def _eligible(dialect: Dialect, seen: Seen) -> Iterator[tuple[Role, Holder]]:
    return (pair for pair in seen.eligible() if _fits(dialect, pair[0].privileges))


def _resources(dialect: Dialect, root: str, assignment: str, eligibility: str) -> Mapping[str, Resource]:
    text = str
    schedule = dialect.schedule_shape(assignmentType=text)
    instance = dialect.instance_shape(assignmentType=text, **{dialect.schedule_name: text})
    may = dialect.instance_shape(**{dialect.eligibility_name: text})
    return {
        f"{root}/{assignment}ScheduleRequests": Resource(
            dialect.request_shape(),
            lambda seen: map(dialect.request, _requests(dialect, seen, frozenset(State))),
        ),
        f"{root}/{assignment}Schedules": Resource(
            schedule, lambda seen: map(dialect.schedule, _requests(dialect, seen, _SCHEDULED))
        ),
        f"{root}/{assignment}ScheduleInstances": Resource(
            instance, lambda seen: map(dialect.instance, _requests(dialect, seen, _THERE))
        ),
        f"{root}/{eligibility}ScheduleRequests": Resource(
            dialect.request_shape(),
            lambda seen: (dialect.eligibility_request(*pair) for pair in _eligible(dialect, seen)),
        ),
        f"{root}/{eligibility}Schedules": Resource(
            dialect.schedule_shape(),
            lambda seen: (dialect.eligibility(*pair) for pair in _eligible(dialect, seen)),
        ),
        f"{root}/{eligibility}ScheduleInstances": Resource(
            may, lambda seen: (dialect.eligibility_instance(*pair) for pair in _eligible(dialect, seen))
        ),
    }


#: Those with filterByCurrentUser.
OWNED: Mapping[str, Resource] = {
    **_resources(rows.ROLES, DIRECTORY, "roleAssignment", "roleEligibility"),
    **_resources(rows.GROUPS, GROUP, "assignment", "eligibility"),
}
DEFINITIONS = f"{DIRECTORY}/roleDefinitions"
RESOURCES: Mapping[str, Resource] = {
    DEFINITIONS: Resource(rows.DEFINITION, lambda seen: map(rows.definition, seen.roles())),
    **OWNED,
}
