"""Password synchronization: switch, queue, history, explanation, coverage."""

from typing import Annotated

from litestar import delete, get, put
from litestar.params import FromPath, QueryParameter

from bastide.api.native import password_views as views
from bastide.api.native.given import Text, When, moment
from bastide.domain.errors import InvalidInput
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.http.parts import needed
from bastide.wiring import Services
from bastide.wiring.passwords import Passwords

TAGS = ["passwords"]
_READ = needs(Right.AUDIT, also=Right.ADMINISTER)
_CHANGE = needs(Right.ADMINISTER)
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="At most so many.")]


def _passwords(services: Services) -> Passwords:
    return needed(services.passwords, "passwords")


@get("/passwords", opt=_READ, sync_to_thread=True, tags=TAGS, summary="Whether passwords are synchronized")
def status(actor: Caller, services: UseCases) -> views.PasswordStatus:
    """The switch, whether the database was restored from a backup, and how many deliveries wait."""
    return views.status(_passwords(services).switchboard.status(actor))


@put("/passwords/enabled", opt=_CHANGE, sync_to_thread=True, tags=TAGS, summary="Switch synchronization on")
def enable(actor: Caller, services: UseCases) -> views.PasswordStatus:
    """Notifications are taken in and delivered from now on (6910). After a restore: you have looked."""
    switchboard = _passwords(services).switchboard
    switchboard.enable(actor)
    return views.status(switchboard.status(actor))


@delete(
    "/passwords/enabled",
    opt=_CHANGE,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Switch synchronization off",
)
def disable(actor: Caller, services: UseCases) -> views.PasswordStatus:
    """Nothing is taken in and nothing delivered (6911); what waits goes on waiting."""
    switchboard = _passwords(services).switchboard
    switchboard.disable(actor)
    return views.status(switchboard.status(actor))


@get("/passwords/queue", opt=_READ, sync_to_thread=True, tags=TAGS, summary="Passwords on their way")
def queue(actor: Caller, services: UseCases, agent: Text = "", limit: Limit = 100) -> views.Deliveries:
    """Undelivered ones, the oldest first; of one management agent."""
    use = _passwords(services).queue
    found = use.list(actor, agent=agent, limit=limit)
    return views.Deliveries(items=[views.item(one) for one in found], total=use.length(actor, agent=agent))


@delete(
    "/passwords/queue",
    opt=_CHANGE,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Give up what is undelivered",
)
def clear_queue(actor: Caller, services: UseCases) -> views.Cleared:
    """It becomes history, and its passwords are gone (6925)."""
    return views.Cleared(count=_passwords(services).queue.clear(actor))


@get(
    "/passwords/history",
    opt=_READ,
    sync_to_thread=True,
    tags=TAGS,
    summary="Notifications and what became of them",
)
def history(
    actor: Caller, services: UseCases, user: Text = "", before: When = "", limit: Limit = 100
) -> views.Changes:
    """Newest first; of one user, by account name or objectGUID. For the next page pass the last `received_at` as `before`."""
    found = _passwords(services).queue.history(actor, user=user, before=moment("before", before), limit=limit)
    return views.Changes(items=[views.change(one) for one in found])


@delete(
    "/passwords/history",
    opt=_CHANGE,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Forget old notifications",
)
def clear_history(actor: Caller, services: UseCases, ending_before: When) -> views.Cleared:
    """Those that came before and are over (6924). Refused while the queue holds deliveries of that time."""
    until = moment("ending_before", ending_before)
    if until is None:
        raise InvalidInput("ending_before", "must not be empty")
    return views.Cleared(count=_passwords(services).queue.clear_history(actor, until))


@get(
    "/passwords/changes/{reference:str}",
    opt=_READ,
    sync_to_thread=True,
    tags=TAGS,
    summary="One notification",
)
def show(reference: FromPath[str], actor: Caller, services: UseCases) -> views.ChangeView:
    """With every delivery. The reference id is the one in the events of the domain controller."""
    return views.change(_passwords(services).queue.show(actor, reference))


@get(
    "/passwords/explanation",
    opt=_READ,
    sync_to_thread=True,
    tags=TAGS,
    summary="What became of a user's passwords",
)
def explain(actor: Caller, services: UseCases, user: Text) -> views.ExplanationView:
    """In plain words; by account name or objectGUID."""
    return views.explanation(_passwords(services).explain.user(actor, user))


@get(
    "/passwords/coverage", opt=_READ, sync_to_thread=True, tags=TAGS, summary="Changes that nobody told us of"
)
def coverage(actor: Caller, services: UseCases, domain: Text = "", since: When = "") -> views.CoverageAnswer:
    """Asks each source domain for its users' pwdLastSet, and compares. Since 30 days ago if nothing is said."""
    found = _passwords(services).coverage.measure(actor, domain, moment("since", since))
    return views.CoverageAnswer(items=[views.coverage(one) for one in found])


HANDLERS = [
    status, enable, disable, queue, clear_queue, history, clear_history, show, explain, coverage,
]  # fmt: skip
