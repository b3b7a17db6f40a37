"""Checks of the intake of events and of what is new beside it: sources, the door's certificate, receivers, authorities, the program of self-service reset."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bastide.config import Config, Keys, Server, Telemetry
from bastide.directory.memory import MemoryDirectory
from bastide.directory.memory_forest import MemoryForest
from bastide.domain.health import Finding, Severity
from bastide.domain.people import Forest
from bastide.health.checks import certificates, configuration, directory, events, ports, service
from bastide.notify.program import problem
from bastide.sections import AlertDestination, Alerts, EventSource, Intake, Reset, ResetRule
from tests.support.certificates import issue
from tests.support.health import MINIMAL, ToldNetwork, by_key, looking_at
from tests.support.intake_world import STRANGER, WINDOWS, IntakeWorld, nxlog, samba_sign_in
from tests.support.world import START

SOURCES = [
    EventSource(name="dc1", format="samba", subject="dc1.corp.bastide.test", silence_minutes=60),
    EventSource(name="wec", format="windows", subject="wec.corp.bastide.test", complete=True),
]
TOLD = msgspec.structs.replace(MINIMAL, intake=Intake(ca="/ca", sources=SOURCES))
_SERVICE = 47_110
LINE = samba_sign_in(STRANGER, "eve")


@pytest.fixture
def world() -> Iterator[IntakeWorld]:
    made = IntakeWorld()
    yield made
    made.close()


def seen(world: IntakeWorld, name: str = "dc1") -> Finding:
    return by_key(events.sources(looking_at(TOLD, store=world.store, clock=world.clock)))[name]


# -------------------------------------------------------------------------------------------------------------- sources


def test_without_the_table_nothing_is_looked_at() -> None:
    (sources,), (door,) = events.sources(looking_at()), certificates.door(looking_at())
    assert sources.severity is door.severity is Severity.SKIPPED
    assert list(configuration.reset(looking_at())) == []


def test_a_source_that_was_never_heard(world: IntakeWorld) -> None:
    assert seen(world).severity is Severity.ERROR
    assert seen(world).text == "dc1 was never heard"


def test_a_source_that_is_heard_until_it_is_silent(world: IntakeWorld) -> None:
    world.take(LINE)
    assert seen(world).severity is Severity.OK
    world.clock.move(minutes=60)
    assert seen(world).severity is Severity.OK
    world.clock.move(minutes=1)
    assert seen(world).severity is Severity.ERROR
    assert "may be silent for 60 minutes" in seen(world).text


def test_a_source_that_may_be_silent_is_asked_about_after_a_week(world: IntakeWorld) -> None:
    world.take(nxlog(1, 4634), source=WINDOWS)
    world.clock.move(days=7)
    assert seen(world, "wec").severity is Severity.OK
    world.clock.move(minutes=1)
    assert seen(world, "wec").severity is Severity.WARNING
    assert "set silence_minutes" in seen(world, "wec").remedy


def test_refused_lines_are_told_for_two_days(world: IntakeWorld) -> None:
    world.take(LINE, b"junk")
    assert seen(world).severity is Severity.WARNING
    assert seen(world).text == "lines of dc1 are refused, the last because it holds no JSON"
    assert seen(world).evidence == "1 lines taken, 1 refused"
    world.clock.move(days=2, minutes=1)
    world.take(LINE)
    assert seen(world).severity is Severity.OK


def test_missing_records_are_told_for_two_days_also_after_a_silence(world: IntakeWorld) -> None:
    world.take(nxlog(10, 4634), nxlog(14, 4634), source=WINDOWS)
    world.take(LINE)
    world.clock.move(hours=2)
    world.work()
    assert [one["because"] for one in world.audited("intake.gap")] == ["record numbers jump", "silent"]
    assert seen(world, "wec").severity is Severity.ERROR
    assert "record 11 of windc.corp.bastide.test was expected, 14 came" in seen(world, "wec").text
    world.clock.move(days=2)
    assert seen(world, "wec").severity is Severity.OK


# ------------------------------------------------------------------------------------------------------------- the door


def shown(folder: Path, name: str, config: Config = TOLD) -> dict[str, Finding]:
    """By the door, which has what the file `server` had when the service started."""
    pair = issue(folder, name, "a.test")
    told = msgspec.structs.replace(
        config, server=Server(certificate=str(folder / "server.crt"), key=str(folder / "server.key"))
    )
    network = ToldNetwork(certificates={("127.0.0.1", 6515): pair.certificate.read_text()})
    return by_key(certificates.door(looking_at(told, network=network)))


def test_the_door_shows_what_the_file_has(tmp_path: Path) -> None:
    found = shown(tmp_path, "server")
    assert list(found) == ["events: certificate"]
    assert found["events: certificate"].severity in {Severity.OK, Severity.WARNING}


def test_a_certificate_that_was_renewed_is_shown_after_a_restart_only(tmp_path: Path) -> None:
    issue(tmp_path, "server", "a.test")
    found = shown(tmp_path, "before")
    assert found["events: file"].severity is Severity.WARNING
    assert found["events: file"].remedy == "restart bastide.service"


def test_a_door_that_shows_none_is_the_finding_of_another_check() -> None:
    (found,) = certificates.door(looking_at(TOLD))
    assert found.severity is Severity.SKIPPED
    assert "see service.listening" in found.text


@pytest.mark.parametrize(("why", "severity"), [("", Severity.OK), ("refused", Severity.WARNING)])
def test_the_door_is_knocked_at(why: str, severity: Severity) -> None:
    network = ToldNetwork(shut={("127.0.0.1", 6515): why})
    found = by_key(service.listening(looking_at(TOLD, network=network)))
    assert found["the door for events"].severity is severity


# -------------------------------------------------------------------------------------------- receivers and authorities


def alerted(ca: str = "", syslog_ca: str = "") -> Config:
    return msgspec.structs.replace(
        MINIMAL,
        alerts=Alerts(
            ca=ca,
            destinations=[
                AlertDestination(name="siem", syslog="tls://siem.test", syslog_ca=syslog_ca),
                AlertDestination(name="other", syslog="tls://other.test:7000", syslog_ca=syslog_ca),
                AlertDestination(name="here", syslog="unix:/dev/log"),
                AlertDestination(name="people", url="/etc/bastide/people.url"),
            ],
        ),
    )


def test_receivers_of_alerts_and_spans_are_knocked_at() -> None:
    config = msgspec.structs.replace(
        alerted(), telemetry=Telemetry(endpoint="http://otel.test:4318/v1/traces")
    )
    assert [(way.host, way.port, way.what) for way in ports.ways(config)] == [
        ("siem.test", 6514, "the receiver of alerts siem"),
        ("other.test", 7000, "the receiver of alerts other"),
        ("otel.test", 4318, "the collector of spans"),
    ]


def test_authorities_of_alerts_and_of_forwarders(tmp_path: Path) -> None:
    ended = issue(tmp_path, "ended", "ca.test", ended=True).certificate
    good = issue(tmp_path, "good", "ca.test").certificate
    config = msgspec.structs.replace(
        alerted(str(good), str(ended)),
        intake=Intake(ca=str(ended), sources=SOURCES),
        telemetry=Telemetry(endpoint="https://otel.test", ca=str(tmp_path / "none")),
    )
    found = by_key(certificates.authorities(looking_at(config)))
    assert {name: one.severity.is_problem for name, one in found.items() if name != "alerts.ca"} == {
        "alerts.destinations.syslog_ca: siem, other": True,
        "intake.ca": True,
        "telemetry.ca": True,
    }
    assert found["alerts.ca"].severity in {Severity.OK, Severity.WARNING}
    assert found["intake.ca"].remedy.endswith("and restart bastide.service")


# ---------------------------------------------------------------------------------------------------- self-service reset


def resetting(folder: Path, program: Path) -> Config:
    master = folder / "master.key"
    master.touch()
    table = Reset(mail="mail", text_program=str(program), rules=[ResetRule(gates=["sms"])])
    return msgspec.structs.replace(MINIMAL, keys=Keys(master=str(master), signing="/s"), reset=table)


def test_the_program_that_others_can_change_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "send"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    config = resetting(tmp_path, program)
    (good,) = configuration.reset(looking_at(config))
    assert good.ok
    program.chmod(0o777)
    (wrong,) = configuration.reset(looking_at(config))
    assert wrong.text == f"{program} can be written by others"
    assert wrong.severity is Severity.ERROR


def test_the_files_of_self_service_reset_are_looked_at_before_the_start(tmp_path: Path) -> None:
    words, lost = tmp_path / "words", tmp_path / "lost"
    table = Reset(mail="mail", banned_words=str(words), breached=str(lost), rules=[ResetRule(gates=["mail"])])
    world = looking_at(msgspec.structs.replace(MINIMAL, reset=table))
    missing = by_key(configuration.reset(world))
    assert {one.severity for one in missing.values()} == {Severity.ERROR}
    assert str(words) in missing["reset: banned_words"].text
    assert "leave reset.banned_words out" in missing["reset: banned_words"].remedy
    assert str(lost) in missing["reset: breached"].text
    words.write_text("# ours\nBastide\n", encoding="utf-8")
    lost.mkdir()
    there = by_key(configuration.reset(world))
    assert there["reset: banned_words"].text == f"{words} holds 1 word"
    assert there["reset: breached"].ok
    words.write_bytes(b"\xff\xfe")
    assert not by_key(configuration.reset(world))["reset: banned_words"].ok


def test_groups_that_resets_go_by_are_looked_for() -> None:
    forest = MemoryForest(Forest.PRIV, lambda: START)
    forest.add_group("Finance")
    board = forest.add_group("Board").ref
    rules = [ResetRule(gates=["mail", "totp"], groups=["Finance", "CORP\\Sales"]), ResetRule(gates=["mail"])]
    table = Reset(mail="mail", excluded=[str(board.sid)], rules=rules)
    directories = {Forest.PRIV: MemoryDirectory(forest)}
    config = msgspec.structs.replace(MINIMAL, reset=table)
    found = by_key(directory.reset_groups(looking_at(config, forests=directories)))
    assert {key: one.ok for key, one in found.items()} == {
        f"reset: {board.sid}": True,
        "reset: Finance": True,
        "reset: CORP\\Sales": False,
    }
    assert "or its SID" in found["reset: CORP\\Sales"].remedy
    (none,) = directory.reset_groups(looking_at(MINIMAL))
    assert none.severity is Severity.SKIPPED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to somebody else")
def test_who_looks_is_not_who_starts_the_program(tmp_path: Path) -> None:
    """Root looks for the service, whose program may be the service's own."""
    program = tmp_path / "send"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    os.chown(program, _SERVICE, _SERVICE)
    assert problem(program, _SERVICE) == ""
    assert problem(program) == f"{program} belongs to somebody else"
