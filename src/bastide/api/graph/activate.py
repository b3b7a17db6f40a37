"""Schedule requests as use cases: a person's own activation, and what makes somebody a candidate.

A `self...` action is about the caller. A principal who is anybody else, or a group, is refused: Graph once activated a role for every member of the
group that was named (azure-docs #113251).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from bastide.api.graph.errors import ABSENT, BAD, DENIED, EXISTS, PENDING, SCHEDULE, GraphRefused, rule_failed
from bastide.api.graph.given import Asked
from bastide.api.graph.query import Row
from bastide.api.graph.rows import METHOD, Dialect, Holder, holder
from bastide.api.graph.seen import Seen
from bastide.domain.errors import Conflict, InvalidInput, MfaRefused, NotAuthorized, NotFound
from bastide.domain.people import Actor, PamUser
from bastide.domain.policy import PAST_TOLERANCE, Draft
from bastide.domain.requests import GRANTING, Request
from bastide.domain.requests import PENDING as WAITING
from bastide.domain.roles import Role, Subject
from bastide.wiring import Services

_RULES = {"ttl": "ExpirationRule", "justification": "JustificationRule", "ticket": "TicketingRule"}


@dataclass(frozen=True, slots=True)
class Activation:
    """One call that asks for, ends or lengthens the caller's own access."""

    services: Services
    actor: Actor
    dialect: Dialect
    asked: Asked

    def done(self) -> Row:
        """The request as it is then. Raises GraphRefused and what the use cases raise."""
        doing: dict[str, Callable[[], Request]] = {
            "selfActivate": self._activate,
            "selfDeactivate": self._deactivate,
            "selfExtend": self._extend,
        }
        action = self.asked.action
        if action not in doing:
            raise GraphRefused(
                BAD, f"{action} is not done here", remedy=_INSTEAD.get(action[:5], _INSTEAD["self"])
            )
        user = self.services.profiles.own(self.actor)
        if user is None or self.asked.principal != user.id:
            raise GraphRefused(
                DENIED,
                "principalId is not the caller: nobody activates a role for another person or for a group",
                status=403,
                remedy="GET /v1.0/me shows your id",
            )
        return self.dialect.request(doing[action](), action, validation_only=self.asked.validation_only)

    def _activate(self) -> Request:
        asked, role = self.asked, self._role()
        draft = Draft(
            ttl=asked.ttl(self.services.clock.now()),
            start_at=asked.start,
            justification=asked.justification,
            ticket=asked.ticket,
            method=METHOD,
        )
        try:
            with _in_words_of_rules():
                return self.services.requests.submit(
                    self.actor, role.id, draft, proved=True, dry_run=asked.validation_only
                )
        except Conflict as error:
            if any(one.role == role.id and one.state in WAITING for one in self._mine()):
                raise GraphRefused(PENDING, error.message, remedy=error.remedy) from None
            raise

    def _deactivate(self) -> Request:
        asked, mine = self.asked, self._granting()
        why, dry_run = asked.justification, asked.validation_only
        if asked.schedule:
            return self.services.requests.close(self.actor, mine[0].id, why, dry_run=dry_run)
        give_back = self.services.requests.give_back
        ended = [give_back(self.actor, role, why, dry_run=dry_run) for role in {one.role for one in mine}]
        return max(ended, key=lambda one: one.created_at)

    def _extend(self) -> Request:
        asked = self.asked
        latest = max(self._granting(), key=lambda one: one.ends_at or one.created_at)
        end = asked.end
        if end is None and asked.span is not None:
            end = (asked.start or latest.last_end()) + asked.span
        if end is None:
            raise GraphRefused(
                SCHEDULE, "scheduleInfo: an extension says until when", remedy="say afterDuration"
            )
        with _in_words_of_rules():
            return self.services.requests.extend(
                self.actor, latest.id, end - latest.last_end(), dry_run=asked.validation_only
            )

    def _mine(self) -> Iterator[Request]:
        return Seen(self.services, self.actor, "principal").requests()

    def _granting(self) -> list[Request]:
        """The caller's access that is meant. Raises GraphRefused."""
        key = self.asked.schedule.rpartition("_")[2]
        found = [
            one
            for one in self._mine()
            if one.state in GRANTING and self._aims(one.role, one.privileges) and key in {"", one.id}
        ]
        if not found:
            raise GraphRefused(ABSENT, "The Role assignment does not exist.")
        return found

    def _role(self) -> Role:
        """The role that is meant, out of those the caller is a candidate of: others do not exist for them. Raises GraphRefused."""
        offers = self.services.requests.offers(self.actor)
        return chosen(self.dialect, self.asked.target, [offer.role for offer in offers])

    def _aims(self, role: str, privileges: tuple[str, ...]) -> bool:
        target = self.asked.target
        return privileges == (target,) if self.dialect.of_group else role == target


_INSTEAD = {
    "admin": "make the person eligible with roleEligibilityScheduleRequests; `bastide kill` ends access",
    "self": "ask again with selfActivate",
}


def chosen(dialect: Dialect, target: str, roles: list[Role]) -> Role:
    """The role that is meant: by its id, or because it gives that group and nothing else. Raises GraphRefused."""
    found = [one for one in roles if (one.privileges == (target,) if dialect.of_group else one.id == target)]
    if not found:
        raise rule_failed("EligibilityRule", "the caller is not eligible for it")
    if len(found) > 1:
        names = ", ".join(f"{one.name} ({one.id})" for one in found)
        raise GraphRefused(BAD, f"several roles give this group: {names}", remedy="ask for one of the roles")
    return found[0]


@contextmanager
def _in_words_of_rules() -> Iterator[None]:
    """A refusal by a rule says which, as Graph does."""
    try:
        yield
    except MfaRefused as error:
        raise rule_failed("MfaRule", error.message, error.remedy) from None
    except NotAuthorized as error:
        raise rule_failed("EligibilityRule", error.message, error.remedy) from None
    except InvalidInput as error:
        if error.field in {"start_at", "by"}:
            raise GraphRefused(SCHEDULE, error.message, remedy=error.remedy) from None
        if error.field in _RULES:
            raise rule_failed(_RULES[error.field], error.message, error.remedy) from None
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
        if asked.action not in {"adminAssign", "adminRemove"}:
            raise GraphRefused(
                BAD,
                f"{asked.action} is not done here",
                remedy="eligibility has no end; there are adminAssign and adminRemove",
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
        forest = "PRIV" if user.corp.sid == user.priv.sid else "CORP"
        subject = Subject(user.corp.sid, f"{forest}\\{user.corp.name}")

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
                raise GraphRefused(ABSENT, "The Role assignment does not exist.")
            return replace(role, candidates=left)

        if user is not None:
            return remove, Holder(user.id, user.name)
        sid = self.asked.principal.upper()
        named = next(
            (s for r in self.services.roles.all(self.actor) for s in r.candidates if s.sid == sid), None
        )
        return remove, holder(named, {}) if named is not None else Holder(sid, sid)
