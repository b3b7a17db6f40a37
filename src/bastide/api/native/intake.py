"""Privileged changes as domain controllers tell of them, with what explains each."""

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from bastide.api.native.given import When, moment
from bastide.api.native.reports import TableView
from bastide.domain.observed import Judged
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.http.parts import needed

Unexplained = Annotated[bool, QueryParameter(description="Only those that nothing explains.")]
COLUMNS = [
    "at", "verdict", "what", "target", "group", "actor", "because", "request", "address", "source", "computer", "event", "record",
]  # fmt: skip


@get(
    "/privileged-changes",
    opt=needs(Right.ADMINISTER, also=Right.AUDIT),
    sync_to_thread=True,
    tags=["reports"],
    summary="Privileged changes",
)
def privileged_changes(
    actor: Caller, services: UseCases, since: When = "", unexplained: Unexplained = False
) -> TableView:
    """What domain controllers told of since then (90 days unless it is said), newest first, at most 10,000."""
    changes = needed(services.intake, "intake").changes
    made = changes.report(actor, moment("since", since), unexplained=unexplained)
    return TableView(
        report="privileged-changes",
        title="Unexplained privileged changes" if unexplained else "Privileged changes",
        about="group memberships, passwords and sign-ins as domain controllers told of them, with the grant that explains each",
        made_at=made.made_at,
        since=made.since,
        columns=COLUMNS,
        rows=[_row(one) for one in made.changes],
        notes=list(made.notes),
    )


def _row(one: Judged) -> list[object]:
    change = one.change
    return [
        change.at, one.verdict.value, change.kind.value, change.target.shown, change.group.shown, change.actor.shown, one.because, one.request,
        change.address, change.source, change.computer, change.event, change.record,
    ]  # fmt: skip


HANDLERS = [privileged_changes]
