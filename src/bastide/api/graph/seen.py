"""What a caller may see of each resource: auditors and administrators everything, everybody else what is theirs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from bastide.api.graph import rows
from bastide.api.graph.addresses import DIRECTORY, GROUP
from bastide.api.graph.rows import Dialect, Holder
from bastide.api.graph.shape import Row, Shape
from bastide.domain.errors import InvalidInput, NotFound
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

    def open(self) -> tuple[Request, ...]:
        """Requests that are not over, newest first. Raises InvalidInput."""
        if self._waits():
            return self._waiting()
        if self.everything:
            return self.services.requests.open(self.actor)
        return self.services.requests.current(self.actor)

    def history(self, place: Place | None, principal: str) -> tuple[tuple[Request, ...], Place | None]:
        """Some requests from a place on, newest first, and the place where the next ones begin; None: there are none. `principal`: the PAM user
        that is wanted alone, by id; empty: all. Raises InvalidInput.
        """
        if self._waits():
            left = [
                one
                for one in self._waiting()
                if place is None or (one.created_at, one.id) < (place.at, place.id)
            ]
            return tuple(left), None
        read = self._everybodys(place, principal) if self.everything else self._own(place)
        last = read[-1] if len(read) == HISTORY_LIMIT else None
        return read, Place(last.created_at, last.id) if last is not None else None

    def _waits(self) -> bool:
        if self.on not in {"", *_CURRENT}:
            raise InvalidInput("on", "is not known here", remedy=f"there are {', '.join(_CURRENT)}")
        return self.on == "approver"

    def _waiting(self) -> tuple[Request, ...]:
        return self.services.requests.to_approve(self.actor)[::-1]

    def _everybodys(self, place: Place | None, principal: str) -> tuple[Request, ...]:
        try:
            return self.services.requests.all(self.actor, user=principal, limit=HISTORY_LIMIT, before=place)
        except NotFound:
            return ()

    def _own(self, place: Place | None) -> tuple[Request, ...]:
        if self.services.profiles.own(self.actor) is None:
            return ()
        return self.services.requests.mine(self.actor, limit=HISTORY_LIMIT, before=place)

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


@dataclass(frozen=True, slots=True)
class History:
    """A list that grows without end: it is read from a place on (query.page_of_history)."""

    shape: Shape
    dialect: Dialect

    def read(self, seen: Seen, place: Place | None, principal: str) -> tuple[list[Row], Place | None]:
        """Some rows from a place on, and where the next ones begin. Raises InvalidInput."""
        read, following = seen.history(place, principal)
        return [self.dialect.request(one) for one in read if fits(self.dialect, one.privileges)], following


def fits(dialect: Dialect, privileges: tuple[object, ...]) -> bool:
    """A role that gives several groups is not eligibility for one of them: activated, it would give more than was asked for."""
    return not dialect.of_group or len(privileges) == 1


def _requests(dialect: Dialect, seen: Seen, states: frozenset[State]) -> Iterator[Request]:
    return (one for one in seen.open() if one.state in states and fits(dialect, one.privileges))


def _eligible(dialect: Dialect, seen: Seen) -> Iterator[tuple[Role, Holder]]:
    return (pair for pair in seen.eligible() if fits(dialect, pair[0].privileges))


def _resources(dialect: Dialect, root: str, assignment: str, eligibility: str) -> Mapping[str, Resource]:
    text = str
    schedule = dialect.schedule_shape(assignmentType=text)
    instance = dialect.instance_shape(assignmentType=text, **{dialect.schedule_name: text})
    may = dialect.instance_shape(**{dialect.eligibility_name: text})
    return {
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


HISTORIES: Mapping[str, History] = {
    f"{DIRECTORY}/roleAssignmentScheduleRequests": History(rows.ROLES.request_shape(), rows.ROLES),
    f"{GROUP}/assignmentScheduleRequests": History(rows.GROUPS.request_shape(), rows.GROUPS),
}
#: Those with filterByCurrentUser, beside the histories.
OWNED: Mapping[str, Resource] = {
    **_resources(rows.ROLES, DIRECTORY, "roleAssignment", "roleEligibility"),
    **_resources(rows.GROUPS, GROUP, "assignment", "eligibility"),
}
DEFINITIONS = f"{DIRECTORY}/roleDefinitions"
RESOURCES: Mapping[str, Resource] = {
    DEFINITIONS: Resource(rows.DEFINITION, lambda seen: map(rows.definition, seen.roles())),
    **OWNED,
}
