"""`bastide validate`: everything that can be looked at on this node, as results, a page and a report that the next one is compared with."""

import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop
from bastide.cli.remote import local
from bastide.clock import SystemClock
from bastide.config import DEFAULT_PATH, Config, ConfigError, load
from bastide.domain.health import Category, Change, Finding, Report, Result, Severity, compare, together
from bastide.domain.ids import typed

if TYPE_CHECKING:
    from bastide.health.check import Check

#: As health/report.py has it; that module is heavy, and --help shows the default.
REPORTS = Path("/var/lib/bastide/reports")
_NAMES = ", ".join(Category)
STYLE = {
    Severity.OK: "green",
    Severity.SKIPPED: "dim",
    Severity.WARNING: "yellow",
    Severity.ERROR: "bold red",
    Severity.CRITICAL: "bold red",
}


def add_to(app: typer.Typer) -> None:
    """Put `validate` on the root."""
    local(app, "validate", example="bastide validate --since latest --html report.html")(validate)


def validate(
    screen: Screen,
    as_json: bool,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="CATEGORY", help=f"This category only. May be repeated. One of: {_NAMES}."),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the checks; run none.")] = False,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page there as well, mode 0600.")
    ] = None,
    since: Annotated[
        str,
        typer.Option(
            metavar="REPORT",
            help="Compare with that report (JSON), or with the `latest` of this node and these categories.",
        ),
    ] = "",
    reports: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where each report is kept, as JSON and HTML.")
    ] = REPORTS,
    recovery: Annotated[
        bool,
        typer.Option(
            "--recovery", help="After an outage: in which order things come back, and which is next."
        ),
    ] = False,
    config: Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings.")] = DEFAULT_PATH,
) -> None:
    """Look at everything that Bastide needs on this node, and change nothing. Exit code 1 if anything is an error."""
    from bastide.health import report as kept  # noqa: PLC0415  # jinja and SQLAlchemy take their time
    from bastide.health.registry import chosen  # noqa: PLC0415

    categories = _categories(only or ())
    if recovery:
        from bastide.cli.recovery_order import walk  # noqa: PLC0415  # it needs this module

        if only or listing or html or since:
            raise Stop("--recovery stands alone", status=Exit.USAGE)
        require_settings(config)
        walk(screen, config, as_json=as_json)
        return
    checks = chosen(categories)
    if listing:
        _list(screen, checks, as_json=as_json)
        return
    if not as_json:
        require_settings(config)
    before = _before(since, reports, _node(config), categories)
    found = replace(run_all(screen, checks, config), only=categories)
    changes = compare(before, found) if before is not None else ()
    page = kept.to_html(found, before, changes)
    files = _keep(found, page, html, reports)
    if as_json:
        screen.raw_json(kept.to_json(found))
    else:
        _print(screen, found, before, changes)
        screen.line(f"kept {', '.join(map(str, files))}", "dim")
    if found.failed:
        raise typer.Exit(int(Exit.REFUSED))


def require_settings(file: Path) -> None:
    """Without them nothing can be looked at, and fifty lines that say so hide the one thing to do. Raises Stop."""
    from bastide.cli.config_file import remedy_for  # noqa: PLC0415  # only where it is needed

    try:
        load(file)
    except ConfigError as error:
        raise Stop(f"{error}; nothing was looked at", remedy=remedy_for(str(error))) from None


def run_all(screen: Screen, checks: "Sequence[Check]", file: Path) -> Report:
    """One run of these checks. Settings that cannot be used are a result."""
    from bastide.cli.config_file import remedy_for  # noqa: PLC0415  # only where it is needed
    from bastide.health.registry import with_settings  # noqa: PLC0415  # SQLAlchemy takes its time
    from bastide.health.runner import refuse  # noqa: PLC0415

    clock = SystemClock()
    began, start = clock.now(), clock.monotonic()
    node = socket.gethostname()
    try:
        settings = load(file)
    except ConfigError as error:
        results = refuse(with_settings(checks), str(error), remedy_for(str(error)))
    else:
        node = settings.server.node or node
        results = look(screen, checks, settings, file)
    took = timedelta(seconds=clock.monotonic() - start)
    return Report(node=node, version=version("bastide"), began=began, took=took, results=results)


def look(screen: Screen, checks: "Sequence[Check]", settings: Config, file: Path) -> tuple[Result, ...]:
    """Run the checks, and show whoever watches what is still awaited."""
    from bastide.health.opened import opened  # noqa: PLC0415  # SQLAlchemy takes its time
    from bastide.health.runner import run  # noqa: PLC0415

    left = {check.id for check in checks}

    def done(check: "Check") -> None:
        left.discard(check.id)
        status.update(
            f"{len(checks) - len(left)} of {len(checks)} checks; waiting for {', '.join(sorted(left)[:3])}"
        )

    with opened(settings, file, SystemClock()) as world, screen.err.status("looking") as status:
        return run(checks, world, done=done)


def _categories(names: Sequence[str]) -> tuple[Category, ...]:
    """Sorted, each once, whatever the case."""
    known = {one.value: one for one in Category}
    for name in names:
        if name.lower() not in known:
            raise Stop(f"there is no category {typed(name)}", remedy=f"one of {_NAMES}", status=Exit.USAGE)
    return tuple(sorted({known[name.lower()] for name in names}))


def _node(file: Path) -> str:
    """As the report will name it."""
    try:
        return load(file).server.node or socket.gethostname()
    except ConfigError:
        return socket.gethostname()


def _before(since: str, reports: Path, node: str, only: Sequence[Category]) -> Report | None:
    from bastide.health import report as kept  # noqa: PLC0415  # jinja takes its time

    if not since:
        return None
    try:
        return kept.latest(reports, node, only) if since == "latest" else kept.read(Path(since))
    except OSError as error:
        said = (error.strerror or type(error).__name__).lower()
        raise Stop(f"{error.filename or since} cannot be read: {said}", status=Exit.USAGE) from None


def _keep(found: Report, page: str, html: Path | None, reports: Path) -> tuple[Path, ...]:
    from bastide.health import report as kept  # noqa: PLC0415  # jinja takes its time

    try:
        files = kept.keep(reports, found, page)
        if html is not None:
            kept.write_private(html, page)
            return (*files, html)
    except OSError as error:
        said = (error.strerror or type(error).__name__).lower()
        raise Stop(
            f"the report cannot be written: {error.filename or reports}: {said}",
            remedy="run as root or as the service's user, or name a folder of your own with --reports",
        ) from None
    return files


def _list(screen: Screen, checks: "Sequence[Check]", *, as_json: bool) -> None:
    rows = [
        {
            "check": one.id,
            "category": one.category.value,
            "subject": one.subject,
            "why": one.why,
            "needs": [need.value for need in one.needs],
            "timeout_seconds": one.timeout.total_seconds(),
        }
        for one in checks
    ]
    if as_json:
        screen.json(rows)
        return
    screen.table(
        [
            ("CHECK", lambda r: r["check"]),
            ("LOOKS AT", lambda r: r["subject"]),
            ("NEEDS", lambda r: r["needs"]),
            ("AT MOST", lambda r: f"{r['timeout_seconds']:g} s"),
        ],
        rows,
        empty="no checks",
    )


def _print(screen: Screen, found: Report, before: Report | None, changes: Sequence[Change]) -> None:
    """Every result by category; then what changed; then the sum."""
    category: Category | None = None
    for one in together(found.results):
        if one.category is not category:
            category = one.category
            screen.line(category.heading, "bold")
        print_result(screen, one)
    if before is not None:
        screen.line(f"since {before.began:%Y-%m-%d %H:%M:%S} UTC", "bold")
        for change in changes:
            shown = change.shown
            screen.line(f"{change.move.value.upper():9} {shown.subject}: {shown.text}", STYLE[shown.severity])
        if not changes:
            screen.line("nothing changed", "dim")
    counts = found.counts()
    screen.line(", ".join(f"{number} {severity.value}" for severity, number in counts.items()), "bold")


def print_result(screen: Screen, one: Result | Finding) -> None:
    """How bad, about what, what; below it the evidence of a problem, and what to do."""
    style = STYLE[one.severity]
    about = one.about if isinstance(one, Finding) else one.subject
    said = one.text if about in one.text else f"{about}: {one.text}"
    screen.line(f"{one.severity.value.upper():9} {said}", style)
    if one.severity.is_problem and one.evidence:
        screen.line(f"          {one.evidence}", "dim")
    if one.remedy and one.severity is not Severity.OK:
        screen.line(f"          -> {one.remedy}")
