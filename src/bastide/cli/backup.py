"""`bastide backup` and `bastide restore`: on the server, without its API, while it runs."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bastide.cli.console import Screen
from bastide.cli.remote import local
from bastide.cli.text import when
from bastide.config import DEFAULT_PATH, load

if TYPE_CHECKING:
    from bastide.backup.dump import Content
    from bastide.backup.smb_login import Login

_MAKE = "bastide backup --to /var/backups/bastide --recipient age1..."
_CHECK = "bastide restore FILE --identity backup.key --check"

Settings = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings.")]
To = Annotated[
    str, typer.Option(metavar="DIR|SHARE", help="The folder, or a share: smb://server/share/folder.")
]
Ticket = Annotated[
    bool,
    typer.Option("--ticket", help="Sign in to the share with your own ticket, not as the service does."),
]
Recipient = Annotated[
    list[str],
    typer.Option("--recipient", metavar="KEY", help="Who can open it: a public key of age. May be repeated."),
]
Keep = Annotated[int, typer.Option(metavar="N", min=1, help="How many of this node's stay there.")]
File = Annotated[
    str, typer.Argument(metavar="FILE", help="The backup: a file, or smb://server/share/folder/name.")
]
Identity = Annotated[Path, typer.Option(metavar="FILE", help="The private key, as in backup.key.")]
Check = Annotated[
    bool,
    typer.Option("--check", help="Only prove that it can be put back; the database is left as it is."),
]


def add_to(app: typer.Typer) -> None:
    """Put both on the root."""
    local(app, "backup", example=_MAKE)(backup)
    local(app, "restore", example=_CHECK)(restore)


def backup(
    screen: Screen,
    as_json: bool,
    *,
    to: To,
    recipient: Recipient,
    keep: Keep = 14,
    ticket: Ticket = False,
    config: Settings = DEFAULT_PATH,
) -> None:
    """Seal the whole database into one file, read it back, and remove the oldest beyond --keep."""
    from bastide.backup import backups  # noqa: PLC0415  # SQLAlchemy takes its time
    from bastide.clock import SystemClock  # noqa: PLC0415
    from bastide.wiring.database import database_url  # noqa: PLC0415
    from bastide.wiring.process import node_name  # noqa: PLC0415
    from bastide.wiring.storage import place  # noqa: PLC0415

    settings = load(config)
    made = backups.make(
        database_url(settings),
        to=place(to, login(config, own=ticket)),
        recipients=recipient,
        keep=keep,
        node=node_name(settings),
        version=importlib.metadata.version("bastide"),
        now=SystemClock().now(),
    )
    if as_json:
        screen.json(
            {
                "file": str(made.written.path),
                "size": made.written.size,
                "sha256": made.written.sha256,
                "seq": made.header.head[0],
                "lost": list(made.written.lost),
                "removed": [str(path) for path in made.removed],
            }
        )
        return
    screen.line(f"made {made.written.path} ({made.written.size:,} bytes), read back", "green")
    for reason in made.written.lost:
        screen.line(f"went on after: {reason}", "yellow")
    for path in made.removed:
        screen.line(f"removed {path}")
    screen.note(
        "Keep its private key where the backup is not, and prove one now and then: `bastide restore --check`."
    )


def restore(
    screen: Screen,
    as_json: bool,
    file: File,
    *,
    identity: Identity,
    check: Check = False,
    ticket: Ticket = False,
    config: Settings = DEFAULT_PATH,
) -> None:
    """Put a backup into a new, empty database; or with --check only prove that it can be."""
    from bastide.backup import backups  # noqa: PLC0415  # SQLAlchemy takes its time
    from bastide.clock import SystemClock  # noqa: PLC0415
    from bastide.wiring.database import database_url  # noqa: PLC0415
    from bastide.wiring.storage import backup as named  # noqa: PLC0415

    one = named(file, login(config, own=ticket))
    if check:
        content = backups.prove(one, identity)
    else:
        content = backups.restore(database_url(load(config)), one, identity, SystemClock().now())
    if as_json:
        screen.json(_shown(content, restored=not check))
        return
    done = "can be put back" if check else "is in the database now"
    header = content.header
    screen.line(f"{file} {done}: {sum(content.rows.values()):,} rows; the audit chain is whole", "green")
    screen.line(
        f"made {when(header.made_at.isoformat())} by {header.node}, Bastide {header.version}; the chain ends with record {header.head[0]}"
    )
    if not check:
        screen.note(
            "Do not start the service yet: docs/operations/backup.md says what an old database means, and what comes first."
        )


def login(config: Path, *, own: bool) -> "Callable[[], Login]":
    """Who signs in to a share, if there is one: a folder needs no settings."""
    from bastide.wiring.storage import by_own_ticket, by_settings  # noqa: PLC0415  # SQLAlchemy takes its time

    return by_own_ticket if own else lambda: by_settings(load(config))


def _shown(content: "Content", *, restored: bool) -> dict[str, Any]:
    header = content.header
    return {
        "restored": restored,
        "made_at": header.made_at.isoformat(),
        "node": header.node,
        "version": header.version,
        "schema": header.schema,
        "seq": header.head[0],
        "rows": dict(content.rows),
    }
