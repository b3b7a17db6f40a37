"""The commands that people and systemd start. See privileges.py for the order in which `run` becomes unprivileged."""

import argparse
import codecs
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bastide.clock import Clock, SystemClock
from bastide.pcns import Target
from bastide.wire import WireError
from bastide_agent import filter as asking
from bastide_agent import remedies
from bastide_agent.agent import Agent, key_ring, keytab, paths
from bastide_agent.channel import KerberosConnector
from bastide_agent.configuration import Reader, active
from bastide_agent.deliver import Connector
from bastide_agent.events import CATALOG, EventLog, JsonLog, key
from bastide_agent.failures import AgentError, Stop, where
from bastide_agent.host import identify
from bastide_agent.keyring import CannotTell
from bastide_agent.ldapi import Directory
from bastide_agent.privileges import Opener, close_memory, drop, split_off
from bastide_agent.settings import DEFAULT_PATH, NAME, Settings, load
from bastide_agent.spool import KEY
from bastide_agent.spool_file import load_key

FAILED = 1


def perform(command: str, arguments: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog=f"bastide-agent {command}")
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_PATH, help="the settings (default: %(default)s)"
    )
    if command == "status":
        parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    clock = SystemClock()
    try:
        settings = load(options.config)
        if command == "status":
            return _status(settings, as_json=options.json)
        return _check(settings, clock) if command == "check" else _run(settings, clock)
    except Stop as error:
        if command == "run":
            say_stop(JsonLog(clock), error)
        else:
            tell_stop(error)
        return FAILED


def tell_stop(error: Stop) -> None:
    """For the person who typed the command: one sentence, and what to do."""
    remedy = remedies.of_stop(error)
    sys.stderr.write(f"{error}\n" + (f"  -> {remedy}\n" if remedy else ""))


def say_stop(log: EventLog, error: Stop) -> None:
    """The event that a Stop names, with its sentence where the number has fields for it."""
    fields = {key(field) for field in CATALOG[error.number].fields}
    match error.number:
        case 6007 | 6008:
            log.write(error.number, key="settings", value="", error=str(error))
        case _ if "error_code" in fields:
            log.write(error.number, error_code="stop", detail=str(error))
        case _:
            log.write(error.number, detail=str(error))


def become(settings: Settings) -> Opener:
    """Root's last act. Raises Stop."""
    close_memory()
    if os.geteuid() != 0:
        raise Stop(
            7000, "start it as root: only root can open the privileged ldapi socket; it then runs as `user`"
        )
    for codec in ("utf-8", "utf-16-le", "ascii", "idna", "latin-1"):
        codecs.lookup(
            codec
        )  # loaded at first use, from files that the unprivileged user need not be able to read
    opener = split_off(paths(settings))
    try:
        drop(settings.user, (Path(settings.state), Path(settings.runtime)))
    except BaseException:
        opener.close()
        raise
    return opener


# -------------------------------------------------------------------------------------------------------------------- run


def _run(settings: Settings, clock: Clock) -> int:
    log = JsonLog(clock, settings.log_level)
    log.write(2105)
    opener = become(settings)
    agent = Agent(settings, opener, log, clock)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    try:
        agent.run()
    except Stop as error:
        if error.number != 2104:  # noqa: PLR2004  # told to stop while it waited for the directory
            say_stop(log, error)
            return FAILED
    except Exception as error:  # noqa: BLE001  # its text could hold what it was working on
        log.write(7000, error_code=type(error).__name__, detail=where(error))
        return FAILED
    finally:
        opener.close()
    return 0


# ----------------------------------------------------------------------------------------------------------------- status


def _status(settings: Settings, *, as_json: bool) -> int:
    try:
        found = asking.ask(str(Path(settings.runtime) / NAME), {"ask": "status"})
    except (OSError, ValueError) as error:
        sys.stderr.write(
            f"the agent does not answer ({type(error).__name__})\n"
            "  -> be root; `systemctl status bastide-agent` says whether it runs, `bastide-agent check` why it cannot\n"
        )
        return FAILED
    sys.stdout.write(json.dumps(found, indent=1) + "\n" if as_json else "".join(_for_people(found)))
    return 0


def _for_people(found: dict[str, object]) -> Iterator[str]:
    yield (
        f"waiting   {found['waiting']}"
        + (f", the oldest since {found['oldest']}" if found["oldest"] else "")
        + "\n"
    )
    yield f"captured  {found['captured']} since the start\n"
    match found:
        case {
            "problem": str(problem),
            "key": {"problems": list(problems)},
            "filter": dict(asked),
            "targets": list(targets),
        }:
            for sentence in (problem, *problems):
                if sentence:
                    yield f"PROBLEM   {sentence}\n"
            yield from _filter_for_people(asked)
            for target in targets:
                yield from _target_for_people(target)
        case _:
            yield "PROBLEM   the agent answers in words of another version\n"


def _filter_for_people(asked: dict[str, object]) -> Iterator[str]:
    state = "on" if asked["enabled"] else "off"
    known = asked["used_by_samba"]
    used = "not known whether Samba uses it" if known is None else f"{'' if known else 'not '}used by Samba"
    counts = f"asked {asked['asked']} times, {asked['refused']} refused, {asked['undecided']} undecided"
    yield f"filter    {state}, {used}, {counts}\n"
    if asked["problem"]:
        yield f"PROBLEM   filter: {asked['problem']}\n"


def _target_for_people(target: dict[str, object]) -> Iterator[str]:
    state = "connected" if target["connected"] else "not connected" if target["enabled"] else "disabled"
    contact = target["last_contact"] or "never"
    yield f"target    {target['name']} ({target['server']}): {state}, {target['waiting']} waiting, last contact {contact}\n"
    if target["problem"]:
        yield f"PROBLEM   {target['name']}: {target['problem']}\n"


# ------------------------------------------------------------------------------------------------------------------ check


@dataclass(slots=True)
class _Findings:
    """Printed as they come."""

    bad: int = 0

    def tell(self, what: str, problem: str = "", remedy: str = "") -> None:
        sys.stdout.write(f"{'FAIL' if problem else 'ok  '}  {what}{': ' if problem else ''}{problem}\n")
        if problem and remedy:
            sys.stdout.write(f"      -> {remedy}\n")
        self.bad += bool(problem)

    def reach(self, target: Target, connector: Connector, controller: str) -> None:
        """Connect to a target, shake hands, and hang up."""
        what = f"target {target.name} at {target.server}"
        try:
            connector.connect(target).close()
        except (AgentError, WireError) as error:
            self.tell(what, str(error), remedies.of_target(error, target, controller))
        except Exception as error:  # noqa: BLE001  # the other targets are looked at all the same; its text could hold anything
            self.tell(what, f"{type(error).__name__} at {where(error)}", remedies.of_defect())
        else:
            self.tell(what)


def _check(settings: Settings, clock: Clock) -> int:
    """As the user that `run` becomes. Raises Stop where nothing further can be looked at."""
    opener = become(settings)
    findings = _Findings()
    directory = Directory(opener.ldapi)
    try:
        findings.tell(f"runs as {settings.user}, and root's rights are gone")
        _check_queue_key(Path(settings.state) / KEY, findings)
        root, machine, _ = identify(directory)
        findings.tell(f"{machine.controller} is a writable domain controller of {machine.domain}")
        _check_key(settings, opener, clock, findings)
        reading = Reader(directory, root).read()
        if reading is None:
            remedy = remedies.of_configuration(there=False)
            findings.tell("configuration in the directory", "there is none", remedy)
            return FAILED
        for problem in reading.problems:
            remedy = remedies.of_configuration(there=True)
            findings.tell("configuration in the directory", problem, remedy)
        connector = KerberosConnector(machine, lambda: keytab(opener))
        for target in active(reading.configuration):
            findings.reach(target, connector, machine.controller)
        if not active(reading.configuration):
            remedy = remedies.of_nobody(any_target=bool(reading.configuration.targets))
            findings.tell("targets", "none is active: nobody is told of changed passwords", remedy)
    except Stop as error:
        findings.tell("directory", str(error), remedies.of_stop(error))
    except AgentError as error:
        findings.tell("directory", str(error), remedies.of_directory())
    finally:
        directory.close()
        opener.close()
    return FAILED if findings.bad else 0


def _check_queue_key(path: Path, findings: _Findings) -> None:
    """As `run` loads it; one that is missing is not made."""
    what = f"key of the queue {path}"
    try:
        if not path.exists():
            findings.tell(f"{what}: made at the first start")
            return
        load_key(path)
    except Stop as error:
        findings.tell(what, str(error), remedies.of_queue_key(path))
    except OSError as error:
        findings.tell(what, f"it cannot be reached: {error.strerror}", remedies.of_queue_key(path))
    else:
        findings.tell(what)


def _check_key(settings: Settings, opener: Opener, clock: Clock, findings: _Findings) -> None:
    try:
        state = key_ring(settings, opener).look(clock.now())
    except CannotTell as error:
        remedy = "on this controller: install samba's `testparm` and `gpg`, and see that both run"
        findings.tell("key of `password hash gpg key ids`", str(error), remedy)
        return
    for problem in (*state.fatal, *state.warnings):
        findings.tell("key of `password hash gpg key ids`", problem, remedies.of_key())
    if not state.fatal and not state.warnings:
        findings.tell(f"key of `password hash gpg key ids`: {' '.join(state.ids)}")
