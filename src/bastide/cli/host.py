"""Commands on the server itself: `bastide serve`, `worker`, `db`, `keys`, `config`, `delegation`."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop
from bastide.cli.group import group as commands
from bastide.cli.remote import local
from bastide.cli.validate import look, print_result
from bastide.config import DEFAULT_PATH, load
from bastide.domain.health import together

db = typer.Typer(help="The database.", no_args_is_help=True)
keys = commands(
    "The key files.",
    ("the master key and the audit's signing key; `bastide init` makes them too", "bastide keys generate"),
    ("for password synchronization: the key that controllers encrypt to", "bastide keys generate --openpgp"),
    ("see whether the service can use them", "bastide config check"),
)
config_app = typer.Typer(help="The settings.", no_args_is_help=True)
delegation = typer.Typer(help="The rights of Bastide's accounts in the directories.", no_args_is_help=True)

Settings = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings.")]


def add_to(app: typer.Typer) -> None:
    """Put `serve` and `worker` on the root."""
    local(app, "serve", example="bastide serve --config /etc/bastide/bastide.toml")(serve)
    local(app, "worker", example="bastide worker --config /etc/bastide/bastide.toml")(worker)


def serve(
    screen: Screen,  # noqa: ARG001  # one shape for all commands
    as_json: bool,
    config: Settings = DEFAULT_PATH,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Answer the API only.")] = False,
) -> None:
    """Run the service: API and workers in one process, until SIGTERM."""
    _become("serve", config, *(["--no-worker"] if no_worker else []), *(["--json"] if as_json else []))


def worker(screen: Screen, as_json: bool, config: Settings = DEFAULT_PATH) -> None:  # noqa: ARG001
    """Run the workers without the API, until SIGTERM."""
    _become("worker", config, *(["--json"] if as_json else []))


def _become(what: str, config: Path, *flags: str) -> None:
    """This process becomes the service (service.py), under the same process id. -P: what lies in the working directory is no module."""
    program = [sys.executable, "-P", "-m", "bastide.cli.service", what, str(config), *flags]
    os.execv(sys.executable, program)  # noqa: S606  # there is no shell to start it in


@local(db, "upgrade", example="bastide db upgrade")
def db_upgrade(screen: Screen, as_json: bool, config: Settings = DEFAULT_PATH) -> None:
    """Bring the database to the newest schema; makes a SQLite file that is missing."""
    from bastide.store import migrations  # noqa: PLC0415
    from bastide.store.engine import is_sqlite, sqlite_path  # noqa: PLC0415
    from bastide.wiring.database import database_url  # noqa: PLC0415

    url = database_url(load(config))
    if is_sqlite(url) and not (parent := Path(sqlite_path(url)).absolute().parent).is_dir():
        raise Stop(
            f"the database's directory {parent} does not exist",
            remedy=f"install -d -m 0700 {shlex.quote(str(parent))}   (the unit takes it over; or just start bastide.service)",
            status=Exit.UNAVAILABLE,
        )
    version = migrations.upgrade(url)
    _said(screen, {"version": version}, f"the database has version {version}", as_json=as_json)


@local(db, "check", example="bastide db check")
def db_check(screen: Screen, as_json: bool, config: Settings = DEFAULT_PATH) -> None:
    """Whether the database has the schema this program needs, or a newer one that carries it. Exit code 3 if not."""
    from bastide.store import migrations  # noqa: PLC0415
    from bastide.wiring.database import database_url  # noqa: PLC0415

    fit = migrations.check(database_url(load(config)))
    said = f"the database fits: it has version {fit.found}, this program needs {fit.needed}; programs from {fit.floor} on can work on it"
    found = {"version": fit.found, "needed": fit.needed, "floor": fit.floor}
    _said(screen, found, said, as_json=as_json)


@local(db, "reconcile", example='bastide db reconcile --reason "PRIV was restored from a backup"')
def db_reconcile(
    screen: Screen,
    as_json: bool,
    reason: Annotated[str, typer.Option(help="Why, for the audit.")],
    config: Settings = DEFAULT_PATH,
) -> None:
    """Compare the directory with the database, and grant nothing until both agree: after either came back from an earlier time."""
    from bastide.cli.words import who  # noqa: PLC0415
    from bastide.clock import SystemClock  # noqa: PLC0415
    from bastide.wiring.database import database_url  # noqa: PLC0415
    from bastide.wiring.reconciliation import ask_for  # noqa: PLC0415  # SQLAlchemy takes its time

    anew = ask_for(database_url(load(config)), reason, who(), SystemClock().now())
    said = "nothing is granted until the directory was compared; a node that runs does it"
    again = "; it was being compared already, and is compared anew"
    _said(screen, {"anew": anew}, said + again if anew else said, as_json=as_json)


@local(keys, "generate", example="bastide keys generate --to /etc/bastide/keys")
def keys_generate(
    screen: Screen,
    as_json: bool,
    to: Annotated[Path, typer.Option(metavar="DIR", help="The directory.")] = Path("/etc/bastide/keys"),
    openpgp: Annotated[
        bool, typer.Option("--openpgp", help="Only the key that domain controllers encrypt passwords to.")
    ] = False,
    backup: Annotated[
        bool,
        typer.Option("--backup", help="Only the key that backups are sealed to; it belongs on no server."),
    ] = False,
) -> None:
    """Make the master key and the audit's signing key, or the OpenPGP key of password synchronization, or the key of backups, mode 0600. Never overwrites."""
    from bastide.cli.setup import make_backup_key, make_keys, make_openpgp  # noqa: PLC0415

    if openpgp and backup:
        raise Stop("--openpgp and --backup are two keys; make one after the other", status=Exit.USAGE)
    if backup:
        public, file = make_backup_key(to)
        said = f"made {file}\npublic key {public}\n\ntake the file to where the backups are not; the server needs the public key alone"
        _said(screen, {"files": [str(file)], "public": public}, said, as_json=as_json)
        return

    if openpgp:
        fingerprint, files = make_openpgp(to)
        facts = {"files": [str(path) for path in files], "fingerprint": fingerprint}
        said = f"made {', '.join(map(str, files))}\nfingerprint {fingerprint}"
        _said(screen, facts, said, as_json=as_json)
        return
    made = make_keys(to)
    _said(
        screen, {"files": [str(path) for path in made]}, f"made {', '.join(map(str, made))}", as_json=as_json
    )
    if not as_json:
        screen.note(
            "Keep a copy where the database's backup is not: without the master key no second factor works."
        )


@local(config_app, "check", example="bastide config check")
def config_check(screen: Screen, as_json: bool, config: Settings = DEFAULT_PATH) -> None:
    """Open everything the settings name: keys, database, keytabs, controllers. Exit code 1 if anything is wrong."""
    from bastide.health.registry import of_settings  # noqa: PLC0415  # SQLAlchemy takes its time

    results = look(screen, of_settings(), load(config), config)
    if as_json:
        screen.json(msgspec.to_builtins(results))
    else:
        for one in together(results):
            print_result(screen, one)
    if any(one.severity.is_error for one in results):
        raise typer.Exit(int(Exit.REFUSED))


_DIALECTS = {"samba", "windows", "policy"}


@local(delegation, "script", example="bastide delegation script --forest corp --corp-group FileAdmins")
def delegation_script(
    screen: Screen,
    as_json: bool,
    forest: Annotated[str, typer.Option(metavar="FOREST", help="For which forest: priv or corp.")] = "priv",
    dialect: Annotated[
        str,
        typer.Option(
            "--for", metavar="DIALECT", help="samba (sh), windows (cmd), or policy (LDIF of the ticket cap)."
        ),
    ] = "samba",
    corp_group: Annotated[
        list[str] | None,
        typer.Option("--corp-group", metavar="NAME", help="A CORP group to be. May be repeated."),
    ] = None,
    reset_account: Annotated[
        str,
        typer.Option(metavar="NAME", help="The CORP account that resets passwords for self-service."),
    ] = "",
    reset_container: Annotated[
        list[str] | None,
        typer.Option("--reset-container", metavar="DN", help="Where it resets them. May be repeated."),
    ] = None,
    config: Settings = DEFAULT_PATH,
) -> None:
    """Print the script that gives Bastide's accounts their rights, and no more. A domain administrator reads and runs it."""
    if dialect not in _DIALECTS or forest not in {"priv", "corp"}:
        raise Stop("--forest is priv or corp; --for is samba, windows or policy", status=Exit.USAGE)
    from bastide.cli import rights  # noqa: PLC0415

    text = rights.script(
        config,
        forest=forest,
        dialect=dialect,
        corp_groups=corp_group or [],
        reset_account=reset_account,
        reset_containers=reset_container,
    )
    if as_json:
        screen.json({"forest": forest, "for": dialect, "script": text})
    else:
        screen.out.file.write(text)


def _said(screen: Screen, value: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        screen.json(value)
    else:
        screen.line(sentence, "green")
