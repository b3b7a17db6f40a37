"""A person's own activation: asked for, given back, lengthened.

A `self...` action is about the caller. A principal who is anybody else, or a group, is refused: Graph once activated a role for every member of the
group that was named (azure-docs #113251).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bastide.api.graph.errors import ABSENT, BAD, DENIED, PENDING, SCHEDULE, GraphRefused, rule_failed
from bastide.api.graph.given import Asked
from bastide.api.graph.rows import METHOD, Dialect
from bastide.api.graph.shape import Row
from bastide.domain.errors import Conflict, InvalidInput, MfaRefused, NotAuthorized
from bastide.domain.people import Actor
from bastide.domain.policy import Draft
from bastide.domain.requests import GRANTING, Request
from bastide.domain.requests import PENDING as WAITING
from bastide.domain.roles import Role
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
                ABSENT,
                f"{action}: access that is over is not there any more",
                remedy="ask again with selfActivate",
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
            key=asked.key,
        )
        try:
            with _in_words_of_rules():
                return self.services.requests.submit(
                    self.actor, role.id, draft, proved=True, dry_run=asked.validation_only
                )
        except Conflict as error:
            if any(one.role == role.id and one.state in WAITING for one in self._open()):
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
                self.actor, latest.id, end - latest.last_end(), key=asked.key, dry_run=asked.validation_only
            )

    def _open(self) -> tuple[Request, ...]:
        return self.services.requests.current(self.actor)

    def _granting(self) -> list[Request]:
        """The caller's access that is meant. Raises GraphRefused."""
        asked = self.asked
        key = asked.schedule.rpartition("_")[2]
        found = [
            one
            for one in self._open()
            if one.state in GRANTING
            and self.dialect.aims(asked.target, one)
            and (not asked.schedule or key == one.id)
        ]
        if not found:
            raise GraphRefused(ABSENT, "The Role assignment does not exist.")
        return found

    def _role(self) -> Role:
        """The role that is meant, out of those the caller is a candidate of: others do not exist for them. Raises GraphRefused."""
        offers = self.services.requests.offers(self.actor)
        return chosen(self.dialect, self.asked.target, [offer.role for offer in offers])


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
