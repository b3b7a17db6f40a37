"""`bastide pcns`: who is told of changed passwords, kept in the directory. With the ticket of the person who calls: no server takes part."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bastide.cli import ask
from bastide.cli.console import Column, Screen
from bastide.cli.exits import Exit, Stop
from bastide.cli.group import Group
from bastide.cli.group import group as commands
from bastide.cli.remote import local
from bastide.cli.text import seconds
from bastide.domain.errors import InvalidInput

if TYPE_CHECKING:
    from bastide.pcns import ServiceSettings, Target
    from bastide.services.passwords.notification import Done, NotificationSettings, Shown, TargetChange

_ADD = "bastide pcns target add bastide --server-address bastide.corp.example.com --spn PCNSCLNT/bastide.corp.example.com --include 'Domain Users' --exclude 'Domain Admins'"
app = commands(
    "Who is told of changed passwords: the PCNS configuration in Active Directory.",
    (
        "sign in: these commands act as you, and no server of Bastide takes part",
        "kinit Administrator@CORP.EXAMPLE.COM",
    ),
    (
        "the schema, once for each forest, as a member of Schema Admins; it cannot be undone",
        "bastide pcns extend-schema --domain corp.example.com",
    ),
    ("tell the controllers of the domain about the server", _ADD),
    ("look at it; agents follow without a restart", "bastide pcns list"),
)
target = typer.Typer(help="The servers that are told.", no_args_is_help=True)
app.add_typer(target, name="target", cls=Group)

Domain = Annotated[str, typer.Option(metavar="DNS", help="The domain. Default: that of your ticket.")]
Controller = Annotated[
    str, typer.Option(metavar="HOST", help="This domain controller. Default: one from DNS.")
]
Name = Annotated[str, typer.Argument(help="The target.")]
Host = Annotated[
    str | None, typer.Option("--server-address", metavar="HOST", help="Where the target listens.")
]
Spn = Annotated[str | None, typer.Option(help="Its service principal name: PCNSCLNT/host.domain.")]
Include = Annotated[str | None, typer.Option(metavar="GROUP", help="Members are included, nested ones too.")]
Exclude = Annotated[
    str | None, typer.Option(metavar="GROUP", help="Members are not, whatever else; empty: no such group.")
]
KeepAlive = Annotated[str | None, typer.Option(metavar="TIME", help="A heartbeat after so much silence.")]
Level = Annotated[int | None, typer.Option(help="Warn when so many changes wait; 0: never.")]
Interval = Annotated[int | None, typer.Option(metavar="MINUTES", help="How often to warn.")]
Certificate = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The target's OpenPGP certificate, for Windows controllers."),
]
Format = Annotated[int | None, typer.Option(help="User name format, kept for Windows agents.")]


@contextmanager
def opened(domain: str, controller: str) -> Iterator["NotificationSettings"]:
    """The settings of a domain. python-ldap and Kerberos are loaded here only."""
    from bastide.wiring.notification import notification_settings  # noqa: PLC0415

    with notification_settings(domain, controller) as settings:
        yield settings


_HOUR = 3600
_OF_SERVICE = MappingProxyType(
    {"L": "--max-length", "A": "--max-age", "R": "--max-retries", "I": "--retry-interval"}
)
_OF_TARGET = MappingProxyType(
    {
        "N": "NAME",
        "A": "--server-address",
        "S": "--spn",
        "FI": "--include",
        "FE": "--exclude",
        "F": "--name-format",
        "I": "--keep-alive",
        "WL": "--warning-level",
        "WI": "--warning-interval",
    }
)


@contextmanager
def by_option(names: Mapping[str, str], help_: str = "--help") -> Iterator[None]:
    """What is wrong with a value is said by the name of its option, and is wrong usage. Raises Stop."""
    try:
        yield
    except InvalidInput as error:
        said = error.message.removeprefix(f"{error.field}: ")
        raise Stop(
            f"{names.get(error.field, error.field)} {said}",
            remedy=error.remedy or f"{help_} says what each option takes, with an example",
            status=Exit.USAGE,
            code=error.code,
        ) from None


@local(app, "extend-schema", example="bastide pcns extend-schema --domain corp.example.com")
def extend_schema(
    screen: Screen,
    as_json: bool,
    domain: Domain = "",
    controller: Controller = "",
    ldif: Annotated[bool, typer.Option("--ldif", help="Print it as LDIF and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Add Microsoft's PCNS classes and attributes to the schema; once for each forest, by a member of Schema Admins. Cannot be undone."""
    with opened(domain, controller) as settings:
        if ldif:
            text = settings.schema_ldif()
            screen.json({"ldif": text}) if as_json else screen.line(text)
            return
        ask.confirm("Extend the schema of the forest? It cannot be undone.", yes=yes)
        added = settings.extend_schema()
    if as_json:
        screen.json({"added": list(added)})
        return
    screen.line("\n".join(f"added {dn}" for dn in added) or "the schema has everything already")


@local(app, "list", example="bastide pcns list --domain corp.example.com")
def list_settings(screen: Screen, as_json: bool, domain: Domain = "", controller: Controller = "") -> None:
    """The settings for all targets, and each target."""
    with opened(domain, controller) as settings:
        found = settings.show()
    if as_json:
        screen.json(as_dict(found))
        return
    screen.fields(service_fields(found.configuration.service))
    screen.table(
        _COLUMNS, as_dict(found)["targets"], empty="there is no target: nobody is told of changed passwords"
    )


@local(app, "service", example="bastide pcns service --max-age 72h --retry-interval 60s")
def service(
    screen: Screen,
    as_json: bool,
    max_length: Annotated[
        int | None,
        typer.Option(help="Changes that may wait; 0: no limit. The newest of each person survives."),
    ] = None,
    max_age: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long a change may wait; 0: for ever.")
    ] = None,
    max_retries: Annotated[int | None, typer.Option(help="Tries per change; 0: no limit.")] = None,
    retry_interval: Annotated[str | None, typer.Option(metavar="TIME", help="10 s to 1 h.")] = None,
    domain: Domain = "",
    controller: Controller = "",
) -> None:
    """Change the settings for all targets; makes the configuration if there is none."""
    from bastide.services.passwords.notification import ServiceChange, check_service  # noqa: PLC0415

    change = ServiceChange(
        max_queue_length=max_length,
        max_queue_age=_age(max_age),
        max_notification_retries=max_retries,
        retry_interval=_seconds(retry_interval),
    )
    with by_option(_OF_SERVICE):
        check_service(change)
    with opened(domain, controller) as settings:
        after = settings.change_service(change)
    if as_json:
        screen.json(service_dict(after))
    else:
        screen.fields(service_fields(after))


@local(
    target,
    "add",
    example=_ADD,
)
def add(
    screen: Screen,
    as_json: bool,
    name: Name,
    server_address: Host = None,
    spn: Spn = None,
    include: Include = None,
    exclude: Exclude = None,
    keep_alive: KeepAlive = None,
    warning_level: Level = None,
    warning_interval: Interval = None,
    certificate: Certificate = None,
    name_format: Format = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Make it, and tell it nothing yet.")] = False,
    domain: Domain = "",
    controller: Controller = "",
) -> None:
    """A new target. An inclusion group is required: nobody's password is sent by default."""
    require({"--server-address": server_address, "--spn": spn, "--include": include}, f"as in `{_ADD}`")
    change = _change(
        server_address, spn, include, exclude, keep_alive, warning_level, warning_interval, certificate, name_format,
        disabled=disabled,
    )  # fmt: skip
    _check(name, change, new=True)
    with by_option(_OF_TARGET), opened(domain, controller) as settings:
        report(screen, settings.add(name, change), as_json=as_json)


@local(
    target, "edit", example="bastide pcns target edit bastide --exclude 'Domain Admins' --warning-level 100"
)
def edit(
    screen: Screen,
    as_json: bool,
    name: Name,
    server_address: Host = None,
    spn: Spn = None,
    include: Include = None,
    exclude: Exclude = None,
    keep_alive: KeepAlive = None,
    warning_level: Level = None,
    warning_interval: Interval = None,
    certificate: Certificate = None,
    name_format: Format = None,
    domain: Domain = "",
    controller: Controller = "",
) -> None:
    """Change a target; what is not named stays."""
    change = _change(
        server_address, spn, include, exclude, keep_alive, warning_level, warning_interval, certificate, name_format,
        disabled=None,
    )  # fmt: skip
    _check(name, change, new=False)
    with by_option(_OF_TARGET), opened(domain, controller) as settings:
        report(screen, settings.modify(name, change), as_json=as_json)


@local(target, "enable", example="bastide pcns target enable bastide")
def enable(
    screen: Screen, as_json: bool, name: Name, domain: Domain = "", controller: Controller = ""
) -> None:
    """Changes are queued for it from now on."""
    _set_disabled(screen, name, domain, controller, disabled=False, as_json=as_json)


@local(target, "disable", example="bastide pcns target disable bastide")
def disable(
    screen: Screen,
    as_json: bool,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    domain: Domain = "",
    controller: Controller = "",
) -> None:
    """Nothing is queued for it any more, and agents discard what waits."""
    ask.confirm(f"Disable {name}? What waits for it on the controllers is discarded.", yes=yes)
    _set_disabled(screen, name, domain, controller, disabled=True, as_json=as_json)


@local(target, "remove", example="bastide pcns target remove bastide")
def remove(
    screen: Screen,
    as_json: bool,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    domain: Domain = "",
    controller: Controller = "",
) -> None:
    """Forget a target, and what waits for it."""
    ask.confirm(f"Remove {name}? What waits for it on the controllers is discarded.", yes=yes)
    with opened(domain, controller) as settings:
        gone = settings.remove(name)
    screen.json({"removed": gone.name}) if as_json else screen.line(f"removed {gone.name}")


def _set_disabled(
    screen: Screen, name: str, domain: str, controller: str, *, disabled: bool, as_json: bool
) -> None:
    from bastide.services.passwords.notification import TargetChange  # noqa: PLC0415

    with opened(domain, controller) as settings:
        report(screen, settings.modify(name, TargetChange(disabled=disabled)), as_json=as_json)


def _change(
    server: str | None,
    spn: str | None,
    include: str | None,
    exclude: str | None,
    keep_alive: str | None,
    level: int | None,
    interval: int | None,
    certificate: Path | None,
    name_format: int | None,
    *,
    disabled: bool | None,
) -> "TargetChange":
    from bastide.services.passwords.notification import TargetChange  # noqa: PLC0415

    return TargetChange(
        server=server,
        spn=spn,
        inclusion=include,
        exclusion=exclude,
        user_name_format=name_format,
        keep_alive=_seconds(keep_alive),
        disabled=disabled,
        warning_level=level,
        warning_interval=interval,
        certificate=_read(certificate) if certificate else None,
    )


def _check(name: str, change: "TargetChange", *, new: bool) -> None:
    """Before anything is connected to."""
    from bastide.services.passwords.notification import TargetChange, check_target  # noqa: PLC0415

    if change == TargetChange():
        raise Stop(
            "nothing would change",
            remedy="say what, as in --keep-alive 1m; --help shows all",
            status=Exit.USAGE,
        )
    with by_option(_OF_TARGET):
        check_target(name, change, new=new)


def require(given: Mapping[str, object], remedy: str) -> None:
    """All options of a new target that are missing, at once. Raises Stop."""
    absent = [name for name, value in given.items() if not value]
    if absent:
        *most, last = absent
        said = f"{', '.join(most)} and {last} are" if most else f"{last} is"
        raise Stop(f"{said} needed for a new target", remedy=remedy, status=Exit.USAGE)


def _read(path: Path) -> bytes:
    """Everybody who can sign in may read what lies in the directory: a private key is refused. Raises StoreUnavailable."""
    from bastide.store.openpgp import read_certificate  # noqa: PLC0415  # takes its time

    return read_certificate(path)


def _seconds(text: str | None) -> int | None:
    return None if text is None else seconds(text)


def _age(text: str | None) -> int | None:
    """A change that is too old is discarded, so hours that were read as seconds would lose passwords. Raises Stop."""
    if text is not None and text.strip().isdecimal() and 0 < seconds(text) < _HOUR:
        raise Stop(
            f"--max-age {text.strip()} would be seconds, after which a change is discarded",
            remedy=f"say the unit: {text.strip()}h or {text.strip()}s",
            status=Exit.USAGE,
        )
    return _seconds(text)


# ------------------------------------------------------------------------------------------------------------- showing

_COLUMNS: list[Column] = [
    ("TARGET", lambda t: t["name"]),
    ("SERVER", lambda t: t["server"]),
    ("SPN", lambda t: t["spn"]),
    ("INCLUDED", lambda t: t["inclusion"]),
    ("EXCLUDED", lambda t: t["exclusion"]),
    ("KEEP-ALIVE", lambda t: f"{t['keep_alive']} s"),
    ("WARNING", lambda t: f"at {t['warning_level']}" if t["warning_level"] else ""),
    ("STATE", lambda t: "disabled" if t["disabled"] else "enabled"),
]


def report(screen: Screen, done: "Done", *, as_json: bool) -> None:
    """A target as it is now; warnings on standard error."""
    if as_json:
        screen.json({**target_dict(done.target), "warnings": list(done.warnings)})
        return
    screen.fields(target_dict(done.target).items())
    for warning in done.warnings:
        screen.note(f"warning: {warning}", "yellow")


def as_dict(shown: "Shown") -> dict[str, Any]:
    """The configuration with names of groups."""
    names = shown.groups
    targets = []
    for one in shown.configuration.targets:
        named = {"inclusion": names.get(one.inclusion, ""), "exclusion": names.get(one.exclusion, "")}
        targets.append({**target_dict(one), **named})
    return {"service": service_dict(shown.configuration.service), "targets": targets}


def service_dict(settings: "ServiceSettings") -> dict[str, int]:
    """By the names of the setting."""
    return {
        "max_queue_length": settings.max_queue_length,
        "max_queue_age": settings.max_queue_age,
        "max_notification_retries": settings.max_notification_retries,
        "retry_interval": settings.retry_interval,
    }


def service_fields(settings: "ServiceSettings") -> list[tuple[str, object]]:
    """For people: 0 is no limit."""

    def limit(value: int, unit: str = "") -> str:
        return f"{value}{unit}" if value else "no limit"

    return [
        ("Waiting changes", limit(settings.max_queue_length)),
        ("Age of a change", limit(settings.max_queue_age, " s")),
        ("Tries", limit(settings.max_notification_retries)),
        ("Retry interval", f"{settings.retry_interval} s"),
    ]


def target_dict(one: "Target") -> dict[str, object]:
    """A target; groups as SIDs."""
    return {
        "name": one.name,
        "guid": str(one.guid),
        "server": one.server,
        "spn": one.spn,
        "authentication_service": "Kerberos",
        "inclusion": one.inclusion,
        "exclusion": one.exclusion,
        "keep_alive": one.keep_alive,
        "user_name_format": one.user_name_format,
        "warning_level": one.warning_level,
        "warning_interval": one.warning_interval,
        "disabled": one.disabled,
    }
