"""`pcnscfg`: the configuration utility with the syntax that scripts for Microsoft's PCNS use. The same as `bastide pcns`."""

import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bastide.cli import pcns
from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop, as_stop

if TYPE_CHECKING:
    from bastide.services.passwords.notification import NotificationSettings

USAGE = """\
pcnscfg COMMAND [/OPTION:VALUE ...]

  list                 the settings for all targets, and each target
  service              /L:changes /A:seconds /R:tries /I:seconds      settings for all targets
  addtarget            /N:name /A:host /S:SPN /FI:group [...]         a new target
  modifytarget         /N:name [...]                                  change a target
  securetarget         /N:name /FI:group /FE:group                    change its groups; an empty /FE: takes the exclusion group away
  enabletarget         /N:name                                        queue changes for it again
  disabletarget        /N:name                                        queue nothing for it, and discard what waits
  deletetarget         /N:name      (also: removetarget)              forget it, and what waits for it

Options of a target: /A:host /S:SPN /FI:group /FE:group /F:format /I:keep-alive in seconds /D:True|False
                     /WL:changes /WI:minutes
Every command also takes /SERVER:controller and /DOMAIN:dns-name. It runs with your Kerberos ticket: kinit first.
"""
Options = dict[str, str]
_COMMON = frozenset({"SERVER", "DOMAIN"})
_SERVICE = frozenset({"L", "A", "R", "I"})
_TARGET = frozenset({"N", "A", "S", "FI", "FE", "F", "I", "D", "WL", "WI"})
_NAME = frozenset({"N"})
_TRUTH: Mapping[str, bool] = MappingProxyType({"TRUE": True, "FALSE": False})


def main() -> None:
    """The entry point."""
    sys.exit(int(run(sys.argv[1:], Screen())))


def run(arguments: Sequence[str], screen: Screen) -> Exit:
    """One command; the exit code as of `bastide`."""
    if not arguments or any(one.lower() in {"/?", "-?", "/help", "-h", "--help"} for one in arguments):
        screen.line(USAGE)
        return Exit.OK if arguments else Exit.USAGE
    try:
        command, allowed = _command(arguments[0])
        options = parse(arguments[1:], allowed | _COMMON)
        with pcns.opened(options.get("DOMAIN", ""), options.get("SERVER", "")) as settings:
            command(settings, options, screen)
    except Exception as error:
        stop = as_stop(error)
        if stop is None:
            raise
        screen.stop(stop)
        return stop.status
    return Exit.OK


def parse(arguments: Sequence[str], allowed: frozenset[str]) -> Options:
    """`/N:name` (or `-N:name`) to a mapping, in upper case. Raises Stop."""
    found: Options = {}
    for argument in arguments:
        name, colon, value = argument[1:].partition(":")
        if argument[:1] not in {"/", "-"} or not colon or name.upper() not in allowed:
            raise Stop(
                f"{argument[:80]!r} is not an option here", remedy="pcnscfg /? shows all", status=Exit.USAGE
            )
        if name.upper() in found:
            raise Stop(f"/{name.upper()} is given twice", status=Exit.USAGE)
        found[name.upper()] = value.strip('"')
    return found


def _command(name: str) -> tuple["Command", frozenset[str]]:
    if name.lower() not in _COMMANDS:
        raise Stop(f"{name[:80]!r} is not a command", remedy="pcnscfg /? shows all", status=Exit.USAGE)
    return _COMMANDS[name.lower()]


def _list(settings: "NotificationSettings", _: Options, screen: Screen) -> None:
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


def _service(settings: "NotificationSettings", options: Options, screen: Screen) -> None:
    from bastide.services.passwords.notification import ServiceChange  # noqa: PLC0415

    settings.change_service(
        ServiceChange(
            max_queue_length=_number(options, "L"),
            max_queue_age=_number(options, "A"),
            max_notification_retries=_number(options, "R"),
            retry_interval=_number(options, "I"),
        )
    )
    screen.line("The service configuration was changed.")


def _add(settings: "NotificationSettings", options: Options, screen: Screen) -> None:
    _said(screen, settings.add(_name(options), _change(options)))


def _modify(settings: "NotificationSettings", options: Options, screen: Screen) -> None:
    _said(screen, settings.modify(_name(options), _change(options)))


def _secure(settings: "NotificationSettings", options: Options, screen: Screen) -> None:
    if not options.keys() & {"FI", "FE"}:
        raise Stop("securetarget needs /FI: or /FE:", status=Exit.USAGE)
    _modify(settings, options, screen)


def _enable(settings: "NotificationSettings", options: Options, screen: Screen) -> None:
    _modify(settings, {**options, "D": "False"}, screen)


def _disable(settings: "NotificationSettings", options: Options, screen: Screen) -> None:
    _modify(settings, {**options, "D": "True"}, screen)


def _delete(settings: "NotificationSettings", options: Options, screen: Screen) -> None:
    screen.line(f"The target {settings.remove(_name(options)).name} was deleted.")


def _said(screen: Screen, done: Any) -> None:
    screen.line(f"The target {done.target.name} was saved.")
    for warning in done.warnings:
        screen.note(f"Warning: {warning}", "yellow")


def _change(options: Options) -> Any:
    from bastide.services.passwords.notification import TargetChange  # noqa: PLC0415

    return TargetChange(
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


def _name(options: Options) -> str:
    if not options.get("N"):
        raise Stop("/N:name is needed", status=Exit.USAGE)
    return options["N"]


def _number(options: Options, name: str) -> int | None:
    if name not in options:
        return None
    if not options[name].isascii() or not options[name].isdigit():
        raise Stop(f"/{name}: {options[name][:40]!r} is not a number", status=Exit.USAGE)
    return int(options[name])


def _truth(options: Options) -> bool | None:
    if "D" not in options:
        return None
    if options["D"].upper() not in _TRUTH:
        raise Stop("/D: is True or False", status=Exit.USAGE)
    return _TRUTH[options["D"].upper()]


Command = Callable[["NotificationSettings", Options, Screen], None]
_COMMANDS: Mapping[str, tuple[Command, frozenset[str]]] = MappingProxyType(
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
