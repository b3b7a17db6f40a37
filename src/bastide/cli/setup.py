"""`bastide init`: from nothing to /etc/bastide/bastide.toml, looking at each answer as it comes.

Answers come from a file with the tables of bastide.toml (only what is not to be guessed), or are asked for. Whatever follows from another
answer is filled in: containers from the domain, principals from names.
"""

import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import typer

from bastide.cli import ask, config_file
from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop
from bastide.cli.files import document_of
from bastide.cli.remote import local
from bastide.cli.validate import look, print_result
from bastide.clock import SystemClock
from bastide.config import DEFAULT_PATH, Config, contradiction
from bastide.domain.health import Finding, together

Answers = dict[str, Any]
_SECOND_KEYS = (
    "`bastide config check` says whether the service can use what is there; `{}` makes others in another directory; "
    "`bastide keys generate --openpgp` makes the key of password synchronization, and only that"
)
_SECOND_OPENPGP = (
    "`bastide config check` says whether the service can use it; to change it, `{}` makes one in another directory, and "
    "passwords.openpgp names both, the new one first"
)
_SECOND_BACKUP = "`{}` makes one in another directory; backups name every public key that may open them"
#: Asked for, in this order: path, question, what it is by default (with what was answered before).
_QUESTIONS = (
    ("priv.domain", "DNS name of the PRIV forest", ""),
    ("priv.principal", "Service account in PRIV", "svc-bastide@{PRIV}"),
    ("priv.keytab", "Its keytab", "/etc/bastide/bastide.keytab"),
    ("priv.preparer.principal", "Preparer account (- for none)", "svc-bastide-prepare@{PRIV}"),
    ("priv.preparer.keytab", "Keytab of the preparer", "/etc/bastide/preparer.keytab"),
    ("corp.domain", "DNS name of the CORP forest (- if it is the same forest)", ""),
    ("http.keytab", "Keytab with the HTTP/ names of this server", "/etc/bastide/http.keytab"),
    ("server.url", "Address of this server", "https://bastide.{priv}:8443"),
    ("server.certificate", "Its certificate (PEM)", "/etc/bastide/tls/server.crt"),
    ("server.key", "Its private key (PEM)", "/etc/bastide/tls/server.key"),
    ("rights.administrators", "PRIV group of administrators", "Bastide Administrators"),
    ("rights.auditors", "PRIV group of auditors", "Bastide Auditors"),
    ("rights.approvers", "Group of approvers", "Bastide Approvers"),
)
_LISTS = {"rights.administrators", "rights.auditors", "rights.approvers"}
_NEXT = """\
Next:
  1. bastide db upgrade --config {file}     (bastide.service does it too, at each start)
  2. bastide delegation script --forest priv --config {file}     (an administrator of PRIV runs it)
     bastide delegation script --forest corp --corp-group GROUP --config {file}     (of CORP)
     bastide delegation script --for policy --config {file}     (an Enterprise Admin of PRIV: the ticket cap)
  3. name keys and keytabs as credentials of the unit, whose user may not read the files: docs/operations/install.md, "Settings and keys"
  4. systemctl enable --now bastide.service
  5. bastide config check --config {file}
"""


def add_to(app: typer.Typer) -> None:
    """Put `init` on the root."""
    local(app, "init", example="bastide init --answers answers.toml")(init)


def init(
    screen: Screen,
    as_json: bool,
    answers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Tables of bastide.toml; asks for nothing.")
    ] = None,
    output: Annotated[Path, typer.Option(metavar="FILE", help="The settings to write.")] = DEFAULT_PATH,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the key files go. Default: keys, beside the settings."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not look at DNS, directories or files.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the settings. Keys are never overwritten.")
    ] = False,
) -> None:
    """Set this server up: settings, keys, and a look at everything they need. Exit code 1 if a check found a problem; all is written then too."""
    if output.exists() and not force:
        raise Stop(f"{output} exists", remedy="say --force to overwrite it, or --output for another file")
    given = document_of(answers, remedy="leave --answers out to be asked") if answers else {}
    checks: list[Finding] = []
    if answers is None:
        _ask_all(screen, given, checks, offline=offline)
    _fill(given, keys or output.parent / "keys")
    config = _convert(given)
    made = _missing_keys(config)
    bad = [check.about for check in checks if not check.ok]
    if answers is not None and not offline:
        bad = _look(screen, config, output, as_json=as_json)
    _write(output, config_file.render(config), force=force)
    if as_json:
        screen.json({"config": str(output), "keys": [str(path) for path in made], "problems": bad})
    else:
        _report(screen, output, config, made, bad)
    if bad:
        raise typer.Exit(int(Exit.REFUSED))


def _report(screen: Screen, output: Path, config: Config, made: tuple[Path, ...], bad: list[str]) -> None:
    """What was done, and what comes next."""
    screen.line(f"wrote {output}" + "".join(f"\nmade {path}" for path in made), "green")
    if config.corp is None:
        screen.line("single-forest mode: no [corp]", "yellow")
    if bad:
        screen.line(f"{len(bad)} checks found a problem; `bastide config check` looks again", "yellow")
    screen.line(_NEXT.format(file=shlex.quote(str(output))), whole=True)


def make_openpgp(directory: Path) -> tuple[str, tuple[Path, ...]]:
    """The fingerprint, and openpgp.key (mode 0600) with openpgp.pgp, its certificate. Raises Stop if one exists."""
    from bastide.store.openpgp import PRIVATE, PUBLIC, generate_openpgp  # noqa: PLC0415  # takes its time

    with _making(directory, "bastide keys generate --openpgp --to", _SECOND_OPENPGP):
        fingerprint = generate_openpgp(directory)
    return fingerprint, (directory / PRIVATE, directory / PUBLIC)


def make_backup_key(directory: Path) -> tuple[str, Path]:
    """The public key, and backup.key (mode 0600). Raises Stop if one exists."""
    from bastide.backup.sealed import KEY, generate  # noqa: PLC0415  # takes its time

    with _making(directory, "bastide keys generate --backup --to", _SECOND_BACKUP):
        public = generate(directory)
    return public, directory / KEY


def make_keys(directory: Path, command: str = "bastide keys generate --to") -> tuple[Path, ...]:
    """master.key and signing.key, mode 0600, in a directory for nobody else; `command` is what the person said. Raises Stop if one exists."""
    from bastide.store.keys import MASTER, SIGNING, generate_key_files  # noqa: PLC0415  # cryptography takes its time

    with _making(directory, command, _SECOND_KEYS):
        generate_key_files(directory)
    return (directory / MASTER, directory / SIGNING)


@contextmanager
def _making(directory: Path, command: str, second: str) -> Iterator[None]:
    """`command`: what makes them, up to the directory. `second`: what to do where there are some already."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield
    except (FileExistsError, NotADirectoryError) as error:
        if not directory.is_dir():
            raise Stop(
                f"{directory} cannot be a directory: a file is in its place",
                remedy=f"`{command} DIR` with another directory",
            ) from None
        raise Stop(
            f"{error.filename} exists, and keys are never overwritten", remedy=second.format(f"{command} DIR")
        ) from None
    except PermissionError as error:
        raise Stop(
            f"{error.filename or directory} cannot be made by this user",
            remedy=f"`sudo {command} {shlex.quote(str(directory))}`, or `{command} DIR` with a directory of yours",
        ) from None
    except OSError as error:
        raise Stop(
            f"{error.filename or directory}: {(error.strerror or str(error)).lower()}",
            remedy=f"mend that, or `{command} DIR` with a directory elsewhere",
        ) from None


def _ask_all(screen: Screen, given: Answers, checks: list[Finding], *, offline: bool) -> None:
    """Ask, and look at each forest as soon as its answers are there."""
    if not sys.stdin.isatty():
        raise Stop("nobody can be asked here", remedy="give --answers FILE", status=Exit.USAGE)
    for path, question, default in _QUESTIONS:
        if path == "priv.preparer.keytab" and _get(given, "priv.preparer") is None:
            continue
        priv = _get(given, "priv.domain") or ""
        answer = ask.line(question, default.format(priv=priv, PRIV=priv.upper()))
        if answer == "-":
            continue
        _set(given, path, [answer] if path in _LISTS else answer)
        if not offline:
            for check in _after(path, given):
                print_result(screen, check)
                checks.append(check)


def _after(path: str, given: Answers) -> list[Finding]:
    """What can be looked at once this is answered."""
    from bastide.health import opened  # noqa: PLC0415  # SQLAlchemy takes its time
    from bastide.health.checks.kerberos import Identity  # noqa: PLC0415
    from bastide.health.look import secret  # noqa: PLC0415

    domain = _get(given, "priv.domain")
    match path:
        case "priv.domain" | "corp.domain":
            return list(opened.first_look(_get(given, path)))
        case "priv.keytab" | "priv.preparer.keytab":
            principal = _get(given, path.replace("keytab", "principal"))
            whose = Identity(domain, principal, _get(given, path))
            return list(opened.account(whose, SystemClock()))
        case "http.keytab" | "server.key":
            return [secret(path, _get(given, path))]
        case _:
            return []


def _fill(given: Answers, keys: Path) -> None:
    """What follows from other answers, where nothing was said."""
    domain, corp = str(_get(given, "priv.domain") or ""), str(_get(given, "corp.domain") or "")
    host = (
        urlsplit(str(_get(given, "server.url") or "")).hostname
        or f"{socket.gethostname().partition('.')[0]}.{domain}"
    )
    base = ",".join(f"DC={label}" for label in domain.split("."))
    for path, value in (
        ("priv.principal", f"svc-bastide@{domain.upper()}"),
        ("priv.keytab", "/etc/bastide/bastide.keytab"),
        ("priv.users_container", f"OU=Users,OU=PAM Objects,{base}"),
        ("priv.groups_container", f"OU=Groups,OU=PAM Objects,{base}"),
        ("http.priv_host", host),
        ("http.corp_host", f"{host.partition('.')[0]}.{corp}" if corp else ""),
        ("keys.master", str(keys / "master.key")),
        ("keys.signing", str(keys / "signing.key")),
        ("rights.administrators", ["Bastide Administrators"]),
        ("rights.auditors", ["Bastide Auditors"]),
        ("rights.approvers", ["Bastide Approvers"]),
    ):
        if _get(given, path) is None:
            _set(given, path, value)


def _convert(given: Answers) -> Config:
    if not _get(given, "priv.domain"):
        raise Stop(
            "the answers do not name the PRIV forest", remedy="set domain below [priv]", status=Exit.USAGE
        )
    try:
        config = msgspec.convert(given, Config)
    except msgspec.ValidationError as error:
        raise Stop(
            f"the answers: {error}", remedy="use the names of bastide.toml", status=Exit.USAGE
        ) from None
    if wrong := contradiction(config):
        raise Stop(f"the answers: {wrong}", remedy="answer otherwise; nothing was written", status=Exit.USAGE)
    return config


def _missing_keys(config: Config) -> tuple[Path, ...]:
    """Make the key files unless they are there, or come from systemd credentials."""
    master, signing = config.keys.master, config.keys.signing
    if master.startswith("credential:") or Path(master).exists() or Path(signing).exists():
        return ()
    if Path(master).parent != Path(signing).parent or (Path(master).name, Path(signing).name) != (
        "master.key",
        "signing.key",
    ):
        raise Stop(
            "the key files do not exist, and their names are not those that `bastide keys generate` gives",
            remedy="name DIR/master.key and DIR/signing.key, or make them first",
        )
    return make_keys(Path(master).parent, "bastide init --keys")


def _look(screen: Screen, config: Config, output: Path, *, as_json: bool) -> list[str]:
    """What is around: everything but keys and database. The names of what has a problem."""
    from bastide.health.registry import of_surroundings  # noqa: PLC0415  # SQLAlchemy takes its time

    results = look(screen, of_surroundings(), config, output)
    for one in [] if as_json else together(results):
        print_result(screen, one)
    return [one.subject for one in results if one.severity.is_error]


def _write(path: Path, text: str, *, force: bool) -> None:
    """Whole or not at all, readable by all whatever the umask: it holds no secret, and the service's own user reads it."""
    new = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        if force:
            new.replace(path)
        else:
            os.link(new, path)
            new.unlink()
    except FileExistsError:
        new.unlink(missing_ok=True)
        raise Stop(f"{path} exists", remedy="say --force to overwrite it") from None
    except OSError as error:
        raise Stop(
            f"{path}: {error.strerror}", remedy="run as root, or name another file with --output"
        ) from None


def _get(given: Answers, path: str) -> Any:
    value: Any = given
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _set(given: Answers, path: str, value: object) -> None:
    *tables, name = path.split(".")
    for table in tables:
        given = given.setdefault(table, {})
    given[name] = value
