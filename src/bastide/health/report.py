"""A report as JSON and as one HTML page, and the folder that reports are kept in: mode 0700, each file 0600, named by date and node."""

import os
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.domain.health import Category, Change, Move, Report, Severity, together
from bastide.domain.ids import typed
from bastide.health.page import template

FOLDER = Path("/var/lib/bastide/reports")
_HERE = Path(__file__).parent / "templates"
_FORMAT = 1
_PLAIN = re.compile(r"[^A-Za-z0-9.-]+")
_LARGEST = 32 * 1024 * 1024
_MOVES = {
    Move.WORSE: "became worse",
    Move.NEW: "is new",
    Move.UNKNOWN: "could not be looked at this time",
    Move.BETTER: "became better",
    Move.GONE: "is gone",
}


class _Kept(msgspec.Struct, frozen=True):
    """What stands in a file."""

    format: int
    report: Report


def to_json(report: Report) -> str:
    """With a line for each result."""
    return msgspec.json.format(msgspec.json.encode(_Kept(_FORMAT, report)), indent=1).decode()


def from_json(text: str | bytes) -> Report:
    """Raises InvalidInput."""
    try:
        kept = msgspec.json.decode(text, type=_Kept)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput("report", f"it is no report of `bastide validate`: {error}") from None
    if kept.format != _FORMAT:
        raise InvalidInput("report", f"it has format {kept.format}; this version reads {_FORMAT}")
    return kept.report


def to_html(
    report: Report, since: Report | None = None, changes: Sequence[Change] = (), heading: str = ""
) -> str:
    """One page that asks nobody for anything. `since`: the report that `changes` are counted from. `heading`: of a report on something else than a node."""
    categories = [one for one in Category if any(result.category is one for result in report.results)]
    return template(_HERE, "report.html").render(
        report=report,
        results=together(report.results),
        problems=together(report.problems),
        heading=heading or f"Is {report.node} as Bastide needs it?",
        categories=categories,
        severities=list(Severity),
        since=since,
        changes=changes,
        moves=_MOVES,
        moment=_moment,
    )


def keep(folder: Path, report: Report, page: str) -> tuple[Path, Path]:
    """Write both files; a folder that is missing is made. Returns JSON and HTML. Raises OSError, Conflict if others may enter the folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        raise Conflict(
            f"others may look into {folder}, and a report says what is weak here",
            remedy=f"chmod 700 {folder}, or name another folder with --reports",
        )
    stem = f"{report.began:%Y%m%dT%H%M%SZ}-{_PLAIN.sub('-', report.node) or 'node'}"
    files = folder / f"{stem}.json", folder / f"{stem}.html"
    for file, text in zip(files, (to_json(report), page), strict=True):
        write_private(file, text)
    return files


def write_private(file: Path, text: str) -> None:
    """Whole or not at all, mode 0600, whatever the umask. Raises OSError, Conflict for a place that is a link, a device or the like."""
    if os.path.lexists(file) and (file.is_symlink() or not file.is_file()):
        raise Conflict(f"{file} is no regular file", remedy="name a file that is there, or a new one")
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(text)
    new.replace(file)


def read(file: Path) -> Report:
    """A kept report. Raises NotFound, InvalidInput, OSError."""
    try:
        with file.open("rb") as source:
            return from_json(source.read(_LARGEST))
    except FileNotFoundError:
        raise NotFound(f"there is no report {file}", remedy="name one of the folder of reports") from None


def latest(folder: Path, node: str, only: Collection[Category] = ()) -> Report:
    """The newest report of this node and of these categories (none: all) that is kept there. Raises NotFound, OSError."""
    what = f"of {', '.join(sorted(only))}" if only else "of all categories"
    for file in sorted(folder.glob("*Z-*.json"), reverse=True) if folder.is_dir() else ():
        try:
            report = read(file)
        except InvalidInput:  # of another program, or of another version
            continue
        if report.node == node and report.only == tuple(sorted(only)):
            return report
    raise NotFound(
        f"no report of node {typed(node)} {what} is kept in {folder}",
        remedy="run it once without --since, or name a report's file",
    )


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
