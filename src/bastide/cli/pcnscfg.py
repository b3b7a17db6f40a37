"""`pcnscfg`: the configuration utility with the syntax that scripts for Microsoft's PCNS use. The same as `bastide pcns`."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import MISSING, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bastide.cli import pcns
from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop, as_stop
from bastide.domain.ids import typed

if TYPE_CHECKING:
    from bastide.services.passwords.notification import NotificationSettings

_ADD = 'pcnscfg addtarget /N:bastide /A:bastide.corp.example.com /S:PCNSCLNT/bastide.corp.example.com /FI:"Domain Users" /FE:"Domain Admins"'
_USAGE = """\
pcnscfg COMMAND [/OPTION:VALUE ...]

Commands:
  list             the settings for all targets, and each target
  service          change the settings for all targets: any of /L: /A: /R: /I:
  addtarget        a new target: /N: /A: /S: /FI:, and any other option of a target
  modifytarget     change a target: /N:, and what is to change
  securetarget     change its groups: /N:, and /FI: or /FE: or both
  enabletarget     queue changes for it again: /N:
  disabletarget    queue nothing for it, and discard what waits: /N:
  deletetarget     forget it, and what waits for it: /N:      (also: removetarget)

Options of `service`:
{service}

Options of a target:
{target}

Of every command:
  /SERVER:host     a domain controller; else one from DNS
  /DOMAIN:name     DNS name of the domain; else that of your ticket

Begin here:
  kinit Administrator@CORP.EXAMPLE.COM
  {add}
  pcnscfg service /A:259200 /I:60
  pcnscfg list

`bastide pcns` does the same. A value with a space goes in quotes.
"""
_MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "max_queue_length": "/L:changes       that may wait; 0: no limit",
        "max_queue_age": "/A:seconds       that a change may wait; 0: no limit",
        "max_notification_retries": "/R:tries         of one change after the first; 0: no limit",
        "retry_interval": "/I:seconds       between two tries",
        "name": "/N:name          its name",
        "server": "/A:host          where the target listens: host, or host:port",
        "spn": "/S:SPN           PCNSCLNT/host.domain",
        "inclusion": "/FI:group        its members are told of, nested ones too",
        "exclusion": "/FE:group        its members are not, whatever else they are; empty: no such group",
        "user_name_format": "/F:format        user name format, kept for Windows agents",
        "keep_alive": "/I:seconds       of silence before a heartbeat",
        "disabled": "/D:True|False    whether it is disabled",
        "warning_level": "/WL:changes      waiting from which the agent warns; 0: never",
        "warning_interval": "/WI:minutes      between two warnings",
    }
)
Options = dict[str, str]
_COMMON = frozenset({"SERVER", "DOMAIN"})
_SERVICE = frozenset({"L", "A", "R", "I"})
_TARGET = frozenset({"N", "A", "S", "FI", "FE", "F", "I", "D", "WL", "WI"})
_NAME = frozenset({"N"})
_MOST_DIGITS = 20
_TRUTH: Mapping[str, bool] = MappingProxyType({"TRUE": True, "FALSE": False})


def main() -> None:
    """The entry point."""
    sys.exit(int(run(sys.argv[1:], Screen())))


def usage() -> str:
    """With the ranges and the defaults of the code."""
    from bastide.pcns import ServiceSettings, Target  # noqa: PLC0415
    from bastide.services.passwords.notification import SERVICE_NUMBERS, TARGET_NUMBERS  # noqa: PLC0415

    ranges = {name: allowed for _, name, allowed in (*SERVICE_NUMBERS, *TARGET_NUMBERS)}
    of_service = {one.name: one.default for one in fields(ServiceSettings)}
    of_target = {one.name: one.default for one in fields(Target)}

    def line(name: str, default: object) -> str:
        allowed = ranges.get(name)
        said = (
            f"{allowed.start}-{allowed.stop - 1}, default {default}" if allowed else _without_range(default)
        )
        return f"  {_MEANINGS[name]}  [{said}]"

    return _USAGE.format(
        add=_ADD,
        service="\n".join(line(name, of_service[name]) for name in of_service),
        target="\n".join(line(name, of_target[name]) for name in _MEANINGS if name in of_target),
    )


def _without_range(default: object) -> str:
    if default is MISSING:
        return "needed"
    return f"default {'none' if default == '' else default}"


def run(arguments: Sequence[str], screen: Screen) -> Exit:
    """One command; the exit code as of `bastide`. What is wrong with the arguments is said before anything is connected to."""
    if not arguments or any(one.lower() in {"/?", "-?", "/help", "-h", "--help"} for one in arguments):
        screen.line(usage())
        return Exit.OK if arguments else Exit.USAGE
    try:
        prepare, allowed = _command(arguments[0])
        options = parse(arguments[1:], allowed | _COMMON)
        with _by_option():
            work = prepare(options)
        where = pcns.opened(options.get("DOMAIN", ""), options.get("SERVER", ""))
        with _by_option(), where as settings:
            work(settings, screen)
    except Exception as error:
        stop = as_stop(error)
        if stop is None:
            raise
        screen.stop(stop)
        return stop.status
    return Exit.OK


def _by_option() -> AbstractContextManager[None]:
    return pcns.by_option({name: f"/{name}:" for name in _SERVICE | _TARGET}, "pcnscfg /?")


def parse(arguments: Sequence[str], allowed: frozenset[str]) -> Options:
    """`/N:name` (or `-N:name`) to a mapping, in upper case. Raises Stop."""
    found: Options = {}
    for argument in arguments:
        name, colon, value = argument[1:].partition(":")
        if argument[:1] not in {"/", "-"} or not colon or name.upper() not in allowed:
            raise Stop(
                f"{typed(argument)} is not an option here",
                remedy=f"write {', '.join(f'/{one}:' for one in sorted(allowed))}; pcnscfg /? says what each is",
                status=Exit.USAGE,
            )
        if name.upper() in found:
            raise Stop(f"/{name.upper()}: is given twice", remedy="give it once", status=Exit.USAGE)
        found[name.upper()] = value.strip('"')
    return found


def _command(name: str) -> tuple["Prepare", frozenset[str]]:
    if name.lower() not in _COMMANDS:
        raise Stop(f"{typed(name)} is not a command", remedy="pcnscfg /? shows all", status=Exit.USAGE)
    return _COMMANDS[name.lower()]


def _list(_: Options) -> "Work":
    return _show


def _show(settings: "NotificationSettings", screen: Screen) -> None:
    shown = settings.show()
    service = shown.configuration.service
    screen.line("Service Configuration")
    _lines(
        screen,
        ("MaxQueueLength", service.max_queue_length),
        ("MaxQueueAge", f"{service.max_queue_age} seconds"),
        ("MaxNotificationRetries", service.max_notification_retries),
        ("RetryInterval", f"{service.retry_interval} seconds"),
    )
    screen.line("\nTargets")
    for one in pcns.as_dict(shown)["targets"]:
        _show_target(screen, one)
    screen.line(f"Total targets: {len(shown.configuration.targets)}")


def _show_target(screen: Screen, one: Mapping[str, Any]) -> None:
    _lines(
        screen,
        ("Target Name", one["name"]),
        ("Target GUID", one["guid"].upper()),
        ("Server FQDN or Address", one["server"]),
        ("Service Principal Name", one["spn"]),
        ("Authentication Service", one["authentication_service"]),
        ("Inclusion Group Name", one["inclusion"]),
        ("Exclusion Group Name", one["exclusion"]),
        ("Keep Alive Interval", f"{one['keep_alive']} seconds"),
        ("User Name Format", one["user_name_format"]),
        ("Queue Warning Level", one["warning_level"]),
        ("Queue Warning Interval", f"{one['warning_interval']} minutes"),
        ("Disabled", one["disabled"]),
    )
    screen.line("")


def _lines(screen: Screen, *pairs: tuple[str, object]) -> None:
    for name, value in pairs:
        screen.line(f"  {name}{'.' * (26 - len(name))}: {value}")


def _service(options: Options) -> "Work":
    from bastide.services.passwords.notification import ServiceChange, check_service  # noqa: PLC0415

    change = ServiceChange(
        max_queue_length=_number(options, "L"),
        max_queue_age=_number(options, "A"),
        max_notification_retries=_number(options, "R"),
        retry_interval=_number(options, "I"),
    )
    check_service(change)

    def work(settings: "NotificationSettings", screen: Screen) -> None:
        settings.change_service(change)
        screen.line("The service configuration was changed.")

    return work


def _add(options: Options) -> "Work":
    pcns.require({f"/{name}:": options.get(name) for name in ("N", "A", "S", "FI")}, f"as in `{_ADD}`")
    name, change = _name(options), _change(options, new=True)
    return lambda settings, screen: _said(screen, settings.add(name, change))


def _modify(options: Options) -> "Work":
    name, change = _name(options), _change(options, new=False)
    if not options.keys() - _COMMON - _NAME:
        raise Stop(
            "nothing would change",
            remedy=f"say what beside /N:{name}, as in /I:60; pcnscfg /? shows all",
            status=Exit.USAGE,
        )
    return lambda settings, screen: _said(screen, settings.modify(name, change))


def _secure(options: Options) -> "Work":
    if not options.keys() & {"FI", "FE"}:
        raise Stop(
            "securetarget needs /FI: or /FE:",
            remedy='/FI:"Domain Users" includes a group, /FE:"Domain Admins" leaves one out',
            status=Exit.USAGE,
        )
    return _modify(options)


def _enable(options: Options) -> "Work":
    return _modify({**options, "D": "False"})


def _disable(options: Options) -> "Work":
    return _modify({**options, "D": "True"})


def _delete(options: Options) -> "Work":
    name = _name(options)
    return lambda settings, screen: screen.line(f"The target {settings.remove(name).name} was deleted.")


def _said(screen: Screen, done: Any) -> None:
    screen.line(f"The target {done.target.name} was saved.")
    for warning in done.warnings:
        screen.note(f"Warning: {warning}", "yellow")


def _change(options: Options, *, new: bool) -> Any:
    from bastide.services.passwords.notification import TargetChange, check_target  # noqa: PLC0415

    change = TargetChange(
        server=options.get("A"),
        spn=options.get("S"),
        inclusion=options.get("FI"),
        exclusion=options.get("FE"),
        user_name_format=_number(options, "F"),
        keep_alive=_number(options, "I"),
        disabled=_truth(options),
        warning_level=_number(options, "WL"),
        warning_interval=_number(options, "WI"),
    )
    check_target(_name(options), change, new=new)
    return change


def _name(options: Options) -> str:
    if not options.get("N"):
        raise Stop("/N:name is needed", remedy="pcnscfg list shows the names", status=Exit.USAGE)
    return options["N"]


def _number(options: Options, name: str) -> int | None:
    if name not in options:
        return None
    if not options[name].isascii() or not options[name].isdigit():
        raise Stop(
            f"/{name}: {typed(options[name], 40)} is not a number",
            remedy="pcnscfg /? shows what it may be",
            status=Exit.USAGE,
        )
    if len(options[name]) > _MOST_DIGITS:
        raise Stop(
            f"/{name}: has {len(options[name])} digits, more than any number here",
            remedy="pcnscfg /? shows what it may be",
            status=Exit.USAGE,
        )
    return int(options[name])


def _truth(options: Options) -> bool | None:
    if "D" not in options:
        return None
    if options["D"].upper() not in _TRUTH:
        raise Stop("/D: is neither True nor False", remedy="write /D:True or /D:False", status=Exit.USAGE)
    return _TRUTH[options["D"].upper()]


Work = Callable[["NotificationSettings", Screen], None]
#: Reads and checks the options of a command, and gives what is then done with the directory.
Prepare = Callable[[Options], Work]
_COMMANDS: Mapping[str, tuple[Prepare, frozenset[str]]] = MappingProxyType(
    {
        "list": (_list, frozenset()),
        "service": (_service, _SERVICE),
        "addtarget": (_add, _TARGET),
        "modifytarget": (_modify, _TARGET),
        "securetarget": (_secure, frozenset({"N", "FI", "FE"})),
        "enabletarget": (_enable, _NAME),
        "disabletarget": (_disable, _NAME),
        "deletetarget": (_delete, _NAME),
        "removetarget": (_delete, _NAME),
    }
)


if __name__ == "__main__":
    main()
