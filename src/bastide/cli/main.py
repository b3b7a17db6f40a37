"""`bastide`: the root of all commands. Light to load: what is heavy is loaded by the command that needs it."""

import importlib.metadata
from typing import Annotated

import typer

from bastide.cli import (
    access,
    alert,
    approval,
    audit,
    backup,
    baseline,
    break_glass,
    cluster,
    cluster_log,
    cs,
    demo,
    diagnose,
    findings,
    helpdesk,
    host,
    join,
    ma,
    mfa,
    monitor,
    mv,
    node,
    notify,
    pam,
    passwords,
    pcns,
    person,
    report,
    request,
    reset,
    review,
    role,
    session,
    setup,
    storage,
    trace,
    validate,
)
from bastide.cli.group import Group
from bastide.cli.root import Root

_HELP = """\
Two jobs for Active Directory: temporary administrative power, and one password everywhere.

A person gets an administrator's groups for a set time, after approval; a password that is changed in the domain goes to all other systems.
`bastide demo` plays both in a few seconds, and `bastide init` sets a server up.
"""
_EPILOG = "Exit codes: 0 done, 1 refused or a problem found, 2 wrong usage, 3 out of reach, 4 not signed in."

app = typer.Typer(
    name="bastide",
    cls=Root,
    help=_HELP,
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables would print passwords.
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:  # typer calls it so
    if wanted:
        typer.echo(f"bastide {importlib.metadata.version('bastide')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # its callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What stands before any command."""


person.add_to(app)
cluster_log.add_to(cluster.app)
for _group, _name in (
    (request.app, "request"),
    (approval.app, "approval"),
    (mfa.app, "mfa"),
    (session.app, "session"),
    (pam.app, "pam"),
    (passwords.app, "passwords"),
    (helpdesk.app, "helpdesk"),
    (reset.app, "reset"),
    (ma.app, "ma"),
    (cs.app, "cs"),
    (mv.app, "mv"),
    (join.app, "join"),
    (notify.app, "notify"),
    (alert.app, "alert"),
    (monitor.app, "monitor"),
    (node.app, "node"),
    (pcns.app, "pcns"),
    (cluster.app, "cluster"),
    (break_glass.app, "break-glass"),
    (baseline.app, "baseline"),
    (trace.app, "trace"),
    (role.app, "role"),
    (report.app, "report"),
    (access.app, "access"),
    (review.app, "review"),
    (audit.app, "audit"),
    (findings.trust, "trust"),
    (findings.domain, "domain"),
    (person.work, "work"),
    (host.db, "db"),
    (host.keys, "keys"),
    (host.config_app, "config"),
    (host.delegation, "delegation"),
    (storage.app, "storage"),
):
    app.add_typer(_group, name=_name, cls=Group)
setup.add_to(app)
validate.add_to(app)
diagnose.add_to(app)
backup.add_to(app)
host.add_to(app)
demo.add_to(app)


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
