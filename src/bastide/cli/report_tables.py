"""The reports that the server makes, and how they are handed on."""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from bastide.cli.console import Column
from bastide.cli.exits import Exit, Stop
from bastide.cli.remote import Call, remote
from bastide.cli.text import moment, when
from bastide.domain.errors import Conflict
from bastide.domain.tables import Subject


class Form(StrEnum):
    """How a report is written."""

    TEXT = "text"
    HTML = "html"
    CSV = "csv"
    JSON = "json"


FormOption = Annotated[Form, typer.Option("--format", help="text, html, csv or json.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Write it there, mode 0600. Default: standard output."),
]
Since = Annotated[
    str,
    typer.Option(metavar="TIME", help="What happened from then on counts: 2026-03-01, -180d. Default: -90d."),
]


def add_to(app: typer.Typer) -> None:
    """The commands of this file."""
    remote(app, "eligible", example="bastide report eligible --format csv --out eligible.csv")(eligible)
    remote(app, "activations", example="bastide report activations --since -30d")(activations)
    remote(app, "unused", example="bastide report unused --since -180d")(unused)
    remote(app, "standing", example="bastide report standing --format html --out standing.html")(standing)
    remote(app, "privileged-changes", example="bastide report privileged-changes --since -7d --unexplained")(
        privileged_changes
    )
    remote(app, "approvals", example="bastide report approvals --since 2026-01-01")(approvals)


def eligible(call: Call, form: FormOption = Form.TEXT, since: Since = "", out: Out = None) -> None:
    """Who may ask for which role, and what they did with it."""
    _report(call, Subject.ELIGIBLE, form, since, out)


def activations(call: Call, form: FormOption = Form.TEXT, since: Since = "", out: Out = None) -> None:
    """Every access that began, with its reason and who approved it."""
    _report(call, Subject.ACTIVATIONS, form, since, out)


def unused(call: Call, form: FormOption = Form.TEXT, since: Since = "", out: Out = None) -> None:
    """Who may ask for a role and did not use it."""
    _report(call, Subject.UNUSED, form, since, out)


def standing(call: Call, form: FormOption = Form.TEXT, out: Out = None) -> None:
    """Members of privileged groups that no grant explains, in all forests: the list to eliminate. Exit code 1 if there is one."""
    found = _report(call, Subject.STANDING, form, "", out)
    if found["rows"]:
        raise typer.Exit(int(Exit.REFUSED))


def approvals(call: Call, form: FormOption = Form.TEXT, since: Since = "", out: Out = None) -> None:
    """Every decision of every approver."""
    _report(call, Subject.APPROVALS, form, since, out)


def privileged_changes(
    call: Call,
    form: FormOption = Form.TEXT,
    since: Since = "",
    unexplained: Annotated[
        bool, typer.Option("--unexplained", help="Only what no grant explains. Exit code 1 if there is any.")
    ] = False,
    out: Out = None,
) -> None:
    """What domain controllers told of: memberships, passwords and sign-ins, with the grant that explains each."""
    begin = moment(since, call.world.now()) if since else ""
    found = call.client.get(
        "/privileged-changes", since=begin, unexplained="true" if unexplained else ""
    ).fields
    hand_on(call, found, Form.JSON if call.as_json else form, out)
    if unexplained and found["rows"]:
        raise typer.Exit(int(Exit.REFUSED))


def _report(call: Call, subject: Subject, form: Form, since: str, out: Path | None) -> Mapping[str, Any]:
    begin = moment(since, call.world.now()) if since else ""
    found = call.client.get(f"/reports/{subject.value}", since=begin).fields
    hand_on(call, found, Form.JSON if call.as_json else form, out)
    return found


def hand_on(call: Call, report: Mapping[str, Any], form: Form, out: Path | None) -> None:
    """A table of the API to the terminal or into a file. Raises Stop."""
    if form is Form.TEXT and out is None:
        _print(call, report)
        return
    text = _written(report, form)
    if out is None:
        call.screen.out.file.write(text)
        return
    keep(out, text)
    call.screen.note(f"{len(report['rows'])} rows in {out}")


def keep(out: Path, text: str) -> None:
    """Into a file that nobody else can read. Raises Stop."""
    from bastide.health.report import write_private  # noqa: PLC0415  # jinja takes its time

    try:
        write_private(out, text)
    except OSError as error:
        said = (error.strerror or type(error).__name__).lower()
        raise Stop(
            f"{out} cannot be written: {said}", remedy="name a file where you may write", status=Exit.USAGE
        ) from None
    except Conflict as error:
        raise Stop(error.message, remedy=error.remedy, status=Exit.USAGE) from None


def _written(report: Mapping[str, Any], form: Form) -> str:
    from bastide.cli.report_page import shown, to_csv, to_html  # noqa: PLC0415  # jinja takes its time

    if form is Form.JSON:
        return json.dumps(dict(report), ensure_ascii=False, indent=1) + "\n"
    if form is Form.CSV:
        return to_csv(report["columns"], report["rows"])
    if form is Form.HTML:
        return to_html(report)
    lines = [report["title"], "", "\t".join(report["columns"])]
    lines += ["\t".join(shown(cell) for cell in row) for row in report["rows"]]
    return "\n".join([*lines, *(f"not seen: {note}" for note in report["notes"])]) + "\n"


def _column(name: str) -> Column:
    from bastide.cli.report_page import shown  # noqa: PLC0415  # jinja takes its time

    return name.upper(), lambda row: shown(row[name])


def _print(call: Call, report: Mapping[str, Any]) -> None:
    for note in report["notes"]:
        call.screen.note(f"not seen: {note}", "yellow")
    since = f", since {when(report['since'])}" if report["since"] else ""
    call.screen.note(f"{report['title']}{since}", "bold")
    names = report["columns"]
    columns = [_column(name) for name in names]
    rows = [dict(zip(names, row, strict=True)) for row in report["rows"]]
    call.screen.table(columns, rows, empty="no row")
