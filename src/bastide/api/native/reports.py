"""Reports for auditors: tables that say what they cover and what they could not see."""

from datetime import datetime
from typing import Any

from litestar import get
from litestar.params import FromPath

from bastide.api.native.given import When, moment
from bastide.api.native.views import View
from bastide.domain.errors import NotFound
from bastide.domain.ids import typed
from bastide.domain.people import Right
from bastide.domain.tables import Subject, Table
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases


class TableView(View, frozen=True, kw_only=True):
    """`rows` have a cell for each of `columns`: text, a number, a time, or null. `notes`: what could not be seen."""

    report: str
    title: str
    about: str
    made_at: datetime
    since: datetime | None
    columns: list[str]
    rows: list[list[Any]]
    notes: list[str]


@get(
    "/reports/{name:str}",
    opt=needs(Right.ADMINISTER, also=Right.AUDIT),
    sync_to_thread=True,
    tags=["reports"],
    summary="A report",
)
def show_report(name: FromPath[str], actor: Caller, services: UseCases, since: When = "") -> TableView:
    """`name`: eligible, activations, unused, standing or approvals. `since`: what happened from then on counts; 90 days unless it is said."""
    try:
        subject = Subject(name)
    except ValueError:
        raise NotFound(
            f"there is no report {typed(name)}", remedy=f"there are {', '.join(Subject)}"
        ) from None
    return _view(services.oversight.tables.table(actor, subject, moment("since", since)))


def _view(made: Table) -> TableView:
    return TableView(
        report=made.subject.value,
        title=made.title,
        about=made.about,
        made_at=made.made_at,
        since=made.since,
        columns=list(made.columns),
        rows=[list(row) for row in made.rows],
        notes=list(made.notes),
    )


HANDLERS = [show_report]
