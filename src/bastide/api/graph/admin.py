"""What administrators do by way of Graph: they make people candidates and take that away, and they end access. They give none.

(1) Nobody is given access that they did not ask for, and nobody's access is lengthened for them: refused, whatever end is said.
(2) Ending needs a reason, and withdraws what still waits: it is the kill switch, aimed at one person and one role.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bastide.api.graph.activate import chosen
from bastide.api.graph.errors import ABSENT, BAD, EXISTS, SCHEDULE, GraphRefused, rule_failed
from bastide.api.graph.given import Asked
from bastide.api.graph.rows import Dialect, Holder, holder
from bastide.api.graph.shape import Row
from bastide.domain.errors import InvalidInput, NotFound
from bastide.domain.people import Actor, PamUser, Right, require
from bastide.domain.policy import PAST_TOLERANCE
from bastide.domain.requests import GRANTING, Request, State
from bastide.domain.roles import Role
from bastide.services.profiles import everyday
from bastide.wiring import Services

_TWO = "there are adminAssign and adminRemove"
#: What Graph calls an assignment: access that is there, on its way, or to come.
_ASSIGNED = GRANTING | {State.SCHEDULED}
_GIVES_NOTHING: Mapping[str, tuple[str, str]] = {
    "adminAssign": (
        "nobody is given access that they did not ask for",
        "make the person eligible with roleEligibilityScheduleRequests; the person asks with selfActivate",
    ),
    "adminUpdate": (
        "an administrator ends access, and does not change its time",
        "adminRemove ends it; the person asks again",
    ),
    "adminExtend": ("an administrator does not lengthen access", "the person does, with selfExtend"),
    "adminRenew": ("an administrator does not give access again", "the person asks with selfActivate"),
}


@dataclass(frozen=True, slots=True)
class Removal:
    """One call of an administrator about somebody's access."""

    services: Services
    actor: Actor
    dialect: Dialect
    asked: Asked

    def done(self) -> Row:
        """The latest of the requests that ended. Raises GraphRefused and what the use case raises."""
        require(self.actor, Right.ADMINISTER)
        asked = self.asked
        if asked.action in _GIVES_NOTHING:  # (1)
            why, instead = _GIVES_NOTHING[asked.action]
            raise rule_failed("ExpirationRule", why, instead)
        hit = self._assigned()
        with _reason_asked_for():
            ended = [one for aim in self._aims(hit) for one in self._kill(*aim)]
        if not ended:
            raise _absent()
        last = max(ended, key=lambda one: (one.state is State.CLOSING, one.created_at))
        return self.dialect.request(last, asked.action, validation_only=asked.validation_only)

    def _aims(self, hit: list[Request]) -> Iterator[tuple[str, str, str]]:
        """Request, role, person. Several roles may give the same group."""
        if self.asked.schedule:
            yield hit[0].id, "", ""
            return
        for role in {one.role for one in hit}:
            yield "", role, self.asked.principal

    def _kill(self, request: str, role: str, user: str) -> tuple[Request, ...]:
        """(2). Empty: somebody else was quicker."""
        try:
            return self.services.requests.kill(
                self.actor,
                self.asked.justification,
                request=request,
                role=role,
                user=user,
                dry_run=self.asked.validation_only,
            )
        except NotFound:
            return ()

    def _assigned(self) -> list[Request]:
        """The access that is meant. Raises GraphRefused."""
        asked = self.asked
        key = asked.schedule.rpartition("_")[2]
        hit = [
            one
            for one in self.services.requests.open(self.actor)
            if one.state in _ASSIGNED
            and one.user == asked.principal
            and self.dialect.aims(asked.target, one)
            and (not asked.schedule or key == one.id)
        ]
        if not hit:
            raise _absent()
        return hit


def _absent() -> GraphRefused:
    return GraphRefused(ABSENT, "The Role assignment does not exist.")


@contextmanager
def _reason_asked_for() -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        if error.field == "reason":
            raise rule_failed("JustificationRule", error.message, error.remedy) from None
        raise


@dataclass(frozen=True, slots=True)
class Nomination:
    """One call of an administrator that makes somebody a candidate of a role, or takes that away."""

    services: Services
    actor: Actor
    dialect: Dialect
    asked: Asked

    def done(self) -> Row:
        """The eligibility. Raises GraphRefused and what the use cases raise."""
        asked = self.asked
        if not asked.by_administrator:
            raise GraphRefused(BAD, f"{asked.action} is no action on eligibility", remedy=_TWO)
        if asked.action not in {"adminAssign", "adminRemove"}:
            raise GraphRefused(
                SCHEDULE,
                f"{asked.action}: eligibility has no end in Bastide that could be changed",
                remedy=_TWO,
            )
        role = self._role()
        user = self._user()
        change, held = self._add(user) if asked.action == "adminAssign" else self._remove(user)
        _, after = self.services.roles.adjust(self.actor, role.id, change, dry_run=asked.validation_only)
        return self.dialect.eligibility_request(
            after, held, asked.action, validation_only=asked.validation_only
        )

    def _role(self) -> Role:
        try:
            return chosen(self.dialect, self.asked.target, list(self.services.roles.all(self.actor)))
        except GraphRefused as error:
            if "EligibilityRule" in error.message:
                raise NotFound("no such role or group, or no role that gives this group alone") from None
            raise

    def _user(self) -> PamUser | None:
        """Anybody who is no PAM user is a SID."""
        if self.asked.principal.startswith("s-1-"):
            return None
        return self.services.accounts.user(self.actor, self.asked.principal)

    def _add(self, user: PamUser | None) -> tuple[Callable[[Role], Role], Holder]:
        asked, now = self.asked, self.services.clock.now()
        if user is None:
            raise GraphRefused(
                BAD,
                "principalId is not a PAM user",
                remedy="`bastide role edit` takes groups and other accounts",
            )
        if asked.end is not None or asked.span is not None:
            raise GraphRefused(SCHEDULE, "eligibility has no end in Bastide", remedy="say noExpiration")
        if asked.start is not None and asked.start > now + PAST_TOLERANCE:
            raise GraphRefused(
                SCHEDULE, "eligibility begins at once in Bastide", remedy="leave startDateTime out"
            )
        subject = everyday(user)

        def add(role: Role) -> Role:
            if any(one.sid in user.sids for one in role.candidates):
                raise GraphRefused(EXISTS, "The Role assignment already exists.")
            return replace(role, candidates=(*role.candidates, subject))

        return add, Holder(user.id, user.name)

    def _remove(self, user: PamUser | None) -> tuple[Callable[[Role], Role], Holder]:
        sids = user.sids if user is not None else frozenset({self.asked.principal.upper()})

        def remove(role: Role) -> Role:
            left = tuple(one for one in role.candidates if one.sid not in sids)
            if left == role.candidates:
                raise _absent()
            return replace(role, candidates=left)

        if user is not None:
            return remove, Holder(user.id, user.name)
        sid = self.asked.principal.upper()
        named = next(
            (s for r in self.services.roles.all(self.actor) for s in r.candidates if s.sid == sid), None
        )
        return remove, holder(named, {}) if named is not None else Holder(sid, sid)
