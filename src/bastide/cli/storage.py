"""`bastide storage`: what the place of backups really is. On the server, without its API."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from bastide.cli.backup import login
from bastide.cli.console import Screen
from bastide.cli.group import group
from bastide.cli.remote import local
from bastide.config import DEFAULT_PATH

_TEST = "bastide storage test smb://files.priv.example.com/backups/bastide"
_MEGABYTES = 1024 * 1024
app = group("The share that backups go to.")

Share = Annotated[str, typer.Argument(metavar="SHARE", help="The share: smb://server/share/folder.")]
Megabytes = Annotated[int, typer.Option(metavar="N", min=1, max=4096, help="How much is written and read.")]
Ticket = Annotated[
    bool,
    typer.Option("--ticket", help="Sign in to the share with your own ticket, not as the service does."),
]
Settings = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings.")]


@app.callback()
def _group() -> None:
    """So that it stays a group with one command."""


@local(app, "test", example=_TEST)
def storage_test(
    screen: Screen,
    as_json: bool,
    share: Share,
    *,
    megabytes: Megabytes = 64,
    ticket: Ticket = False,
    config: Settings = DEFAULT_PATH,
) -> None:
    """Say what a share really offers: encryption, failover, early notice of it, speed. Writes a file of its own, cuts its own connection, and removes the file."""
    from bastide.backup.probe import LEVELS, probe  # noqa: PLC0415  # an extra
    from bastide.clock import SystemClock  # noqa: PLC0415
    from bastide.wiring.storage import share as named  # noqa: PLC0415
    from bastide.wiring.storage import witness  # noqa: PLC0415

    who = login(config, own=ticket)
    found = probe(named(share, who), witness(who()), megabytes * _MEGABYTES, SystemClock().monotonic)
    if as_json:
        screen.json({"share": share, "level": found.level, "means": LEVELS[found.level], **asdict(found)})
        return
    kept = f"{found.durable:g} s; " + ("resumed" if found.resumed else "NOT resumed after a cut")
    screen.fields(
        (
            ("dialect", f"SMB {found.dialect}"),
            ("encryption", f"{found.cipher}, required"),
            ("signing", found.signing),
            ("open file kept", kept if found.durable else "no"),
            ("persistent handles", "offered; not used" if found.persistent else "no"),
            ("cluster", "several servers serve it" if found.clustered else "no"),
            (
                "witness",
                f"registered at {found.watched_by}" if found.watched_by else f"no: {found.unwatched}",
            ),
            ("interfaces", ", ".join(found.interfaces) or "not told"),
            ("snapshots", "not told" if found.snapshots < 0 else found.snapshots),
            ("write", _speed(found.writes)),
            ("read", _speed(found.reads)),
        )
    )
    screen.line(f"level {found.level} of {len(LEVELS) - 1}: {LEVELS[found.level]}", "green")


def _speed(value: float) -> str:
    return f"{value / 1_000_000:,.0f} MB/s"
