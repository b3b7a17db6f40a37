"""The configuration of password notification: rules, both command lines, and what a Windows domain may hold."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import pytest
from typer.testing import CliRunner

from bastide import pcns, wire
from bastide.cli import pcns as pcns_cli
from bastide.cli import pcnscfg
from bastide.cli.console import Screen
from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.directory.memory_pcns import MemoryNotificationDirectory
from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.services.passwords.notification import NotificationSettings, ServiceChange, TargetChange
from bastide_agent.channel import address_of
from tests.support.world import SeededRandom

USERS, ADMINS, STAFF = "S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-512", "S-1-5-21-1-2-3-1104"
SPN = "PCNSCLNT/bastide.corp.example.com"
WHOLE = TargetChange(
    server="bastide.corp.example.com", spn=SPN, inclusion="Domain Users", exclusion="Domain Admins"
)
#: What agents cannot use (tests/unit/test_agent_deliver_unusable.py).
NO_ADDRESSES = (
    "bastide..corp.test", ".corp.test", "corp.test.", f"{'a' * 64}.test", ".".join(["a" * 60] * 5), "büro.test", "-a.test", "a-.test",
    "10.0.0.256", "10.0.0", "a b.test", "a\x00b.test", "a/b", "a@b", ":8446", "srv:", "srv:x", "srv:0", "srv:65536", "srv:00008446",
    "a:b:1", "srv:-1", "srv:١", "10.0.0.١", "[::1]:8446",
)  # fmt: skip
NO_PRINCIPALS = (
    "srv.test",
    "HTTP/srv.test",
    "PCNSCLNT/",
    "PCNSCLNT/a.b/c",
    "PCNSCLNT@X",
    "PCNSCLNT/@X",
    "/srv.test",
)


@pytest.fixture
def directory() -> MemoryNotificationDirectory:
    groups = {"Domain Users": USERS, "Domain Admins": ADMINS, "Staff": STAFF}
    names = ("CORP", "corp.example.com")
    made = MemoryNotificationDirectory(groups, {SPN: ("CN=svc-bastide,DC=corp",)}, names)
    made.extend_schema()
    return made


@pytest.fixture
def settings(directory: MemoryNotificationDirectory) -> NotificationSettings:
    return NotificationSettings(directory=directory, random=SeededRandom())


# --------------------------------------------------------------------------------------------------------------- rules


def test_a_target_is_added_changed_and_removed(settings: NotificationSettings) -> None:
    done = settings.add("bastide", WHOLE)
    assert done.warnings == ()
    assert (done.target.inclusion, done.target.exclusion) == (USERS, ADMINS)
    changed = settings.modify("BASTIDE", TargetChange(keep_alive=15, inclusion="CORP\\Staff"))
    assert (changed.target.keep_alive, changed.target.inclusion, changed.target.spn) == (15, STAFF, SPN)
    assert changed.target.guid == done.target.guid
    assert settings.show().groups == {STAFF: "Staff", ADMINS: "Domain Admins"}
    assert settings.remove("bastide").name == "bastide"
    with pytest.raises(NotFound):
        settings.remove("bastide")


def test_nobody_is_included_by_default(settings: NotificationSettings) -> None:
    with pytest.raises(InvalidInput, match="FI"):
        settings.add("bastide", TargetChange(server="h.example.com", spn=SPN))
    settings.add("bastide", WHOLE)
    with pytest.raises(InvalidInput, match="inclusion group is required"):
        settings.modify("bastide", TargetChange(inclusion=""))
    with pytest.raises(InvalidInput, match="nobody would be left"):
        settings.modify("bastide", TargetChange(exclusion="Domain Users"))


def test_what_is_probably_not_meant_is_said(settings: NotificationSettings) -> None:
    settings.add("bastide", WHOLE)
    opened = settings.modify("bastide", TargetChange(exclusion=""))
    assert any("taken away" in warning for warning in opened.warnings)
    assert any("administrators" in warning for warning in opened.warnings)
    assert any("discarded" in w for w in settings.modify("bastide", TargetChange(disabled=True)).warnings)
    moved = settings.modify("bastide", TargetChange(spn="PCNSCLNT/other.corp.example.com"))
    assert any("no account" in warning for warning in moved.warnings)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (TargetChange(server="two words"), "A"),
        (TargetChange(server=""), "A"),
        (TargetChange(spn="PCNSCLNT/short"), "S"),
        (TargetChange(spn="bastide.corp.example.com"), "S"),
        *((TargetChange(server=server), "A") for server in NO_ADDRESSES),
        *((TargetChange(spn=spn), "S") for spn in NO_PRINCIPALS),
        (TargetChange(spn="PCNSCLNT/bastide.corp.example.com@CORP.EXAMPLE.COM"), "S"),
        (TargetChange(keep_alive=0), "I"),
        (TargetChange(keep_alive=86_401), "I"),
        (TargetChange(warning_level=-1), "WL"),
        (TargetChange(warning_level=2**32), "WL"),
        (TargetChange(user_name_format=13), "F"),
    ],
)
def test_a_bad_value_is_refused_and_nothing_changes(
    settings: NotificationSettings, change: TargetChange, field: str
) -> None:
    before = settings.add("bastide", WHOLE).target
    with pytest.raises(InvalidInput, match=f"^{field}:"):
        settings.modify("bastide", change)
    assert settings.show().configuration.targets == (before,)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (ServiceChange(retry_interval=9), "I"),
        (ServiceChange(retry_interval=3601), "I"),
        (ServiceChange(max_notification_retries=1001), "R"),
        (ServiceChange(max_queue_length=2**32), "L"),
        (ServiceChange(max_queue_age=-1), "A"),
    ],
)
def test_ranges_of_the_service(settings: NotificationSettings, change: ServiceChange, field: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}:"):
        settings.change_service(change)
    with pytest.raises(NotFound):
        settings.show()
    assert settings.change_service(ServiceChange(retry_interval=3600)).max_queue_age == 259_200


@pytest.mark.parametrize(
    ("server", "read"),
    [
        ("bastide.corp.test", ("bastide.corp.test", wire.PORT)),
        ("bastide:99", ("bastide", 99)),
        (" 1bastide.corp.test:65535 ", ("1bastide.corp.test", 65_535)),
        ("corp_dc.corp.test", ("corp_dc.corp.test", wire.PORT)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        (f"{'a' * 63}.test", (f"{'a' * 63}.test", wire.PORT)),
    ],
)
def test_agents_can_use_what_is_configured(
    settings: NotificationSettings, server: str, read: tuple[str, int]
) -> None:
    settings.add("bastide", WHOLE)
    written = settings.modify("bastide", TargetChange(server=server)).target
    assert address_of(written) == read


@pytest.mark.parametrize(("seconds", "warned"), [(1, False), (900, False), (901, True), (86_400, True)])
def test_an_interval_that_looks_like_silence_is_said(
    settings: NotificationSettings, seconds: int, warned: bool
) -> None:
    done = settings.add("bastide", replace(WHOLE, keep_alive=seconds))
    assert [w for w in done.warnings if f"keep-alive interval of {seconds} s" in w] == list(done.warnings)
    assert bool(done.warnings) is warned
    again = settings.modify("bastide", TargetChange(warning_level=5))
    assert again.warnings == done.warnings, "at every change, as long as it is so"


def test_an_interval_of_windows_that_means_never_is_said(
    settings: NotificationSettings, directory: MemoryNotificationDirectory
) -> None:
    done = settings.add("bastide", WHOLE)
    found = directory.read()
    directory.save_target(found.dns["bastide"], replace(done.target, keep_alive=0))
    assert any("silent" in w for w in settings.modify("bastide", TargetChange(warning_level=5)).warnings)


def test_fifty_targets_and_no_more(settings: NotificationSettings) -> None:
    for number in range(pcns.MOST_TARGETS):
        settings.add(f"t{number}", WHOLE)
    with pytest.raises(Conflict, match="50"):
        settings.add("one more", WHOLE)
    with pytest.raises(Conflict, match="already"):
        settings.add("T7", WHOLE)


def test_nested_groups_count_and_exclusion_wins(settings: NotificationSettings) -> None:
    target = settings.add("bastide", WHOLE).target
    assert target.covers({USERS, STAFF})
    assert not target.covers({STAFF})
    assert not target.covers({USERS, ADMINS})
    assert not settings.modify("bastide", TargetChange(exclusion="")).target.covers(set())


# -------------------------------------------------------------------------------------------- what a domain may hold


def entry(**values: bytes) -> pcns.Entry:
    held = {
        f"MS-MIIS-PCNS-{name}" if name.startswith(("Target", "Service")) else name: [value]
        for name, value in values.items()
    }
    return "CN=one,CN=System", held


def test_numbers_of_windows_are_signed() -> None:
    found = pcns.parse(
        [entry(objectClass=b"mS-MIIS-PCNS-Service", ServiceMaxQueueLength=b"-1", ServiceRetryInterval=b"5")]
    )
    assert found.service.max_queue_length == 2**32 - 1
    assert found.service.retry_interval == 10


def test_a_sid_may_be_text_and_a_name_may_be_missing() -> None:
    one = entry(
        objectClass=b"mS-MIIS-PCNS-Target", cn=b"one", TargetGUID=bytes(16), TargetInclusionSID=USERS.encode()
    )
    (target,) = pcns.parse([one]).targets
    assert (target.inclusion, target.exclusion, target.guid, target.server) == (USERS, "", UUID(int=0), "")


@pytest.mark.parametrize(
    "wrong", [{"TargetGUID": b"short"}, {"TargetInclusionSID": b"\x01"}, {"TargetKeepAliveInterval": b"soon"}]
)
def test_what_cannot_be_read_names_the_object(wrong: dict[str, bytes]) -> None:
    good = {"objectClass": b"mS-MIIS-PCNS-Target", "cn": b"one", "TargetGUID": bytes(16)}
    with pytest.raises(pcns.PcnsError, match="CN=one,CN=System"):
        pcns.parse([entry(**{**good, **wrong})])


def test_sids_there_and_back() -> None:
    assert pcns.sid_text(pcns.sid_bytes(STAFF)) == STAFF


# ----------------------------------------------------------------------------------------------------- command lines


@pytest.fixture
def commands(settings: NotificationSettings, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []

    @contextmanager
    def opened(domain: str, server: str) -> Iterator[NotificationSettings]:
        seen.append((domain, server))
        yield settings

    monkeypatch.setattr(pcns_cli, "opened", opened)
    return seen


def cfg(*arguments: str) -> tuple[Exit, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = pcnscfg.run(arguments, Screen(out, err))
    return status, out.getvalue(), err.getvalue()


def test_the_original_syntax(commands: list[tuple[str, str]], settings: NotificationSettings) -> None:
    assert cfg("ADDTARGET", "/N:one", "/A:h.example.com", f"/S:{SPN}", '/FI:"Domain Users"', "/FE:Domain Admins",
               "/F:3", "/I:15", "/D:False", "/WL:100", "/WI:60", "/server:dc1")[0] is Exit.OK  # fmt: skip
    assert commands == [("", "dc1")]
    (one,) = settings.show().configuration.targets
    assert (one.name, one.keep_alive, one.warning_level, one.warning_interval) == ("one", 15, 100, 60)
    assert cfg("service", "/L:10", "/A:20", "/R:30", "/I:40")[0] is Exit.OK
    assert settings.show().configuration.service == pcns.ServiceSettings(
        max_queue_length=10, max_queue_age=20, max_notification_retries=30, retry_interval=40
    )
    assert cfg("disabletarget", "/N:one")[0] is Exit.OK
    assert settings.show().configuration.targets[0].disabled
    assert cfg("enabletarget", "-N:one")[0] is Exit.OK
    status, _, warned = cfg("securetarget", "/N:one", "/FE:")
    assert status is Exit.OK
    assert "taken away" in warned
    _, listed, _ = cfg("list")
    assert "Total targets: 1" in listed
    assert "Inclusion Group Name......: Domain Users" in listed
    assert "MaxQueueAge...............: 20 seconds" in listed
    assert cfg("removetarget", "/N:one")[0] is Exit.OK
    assert "Total targets: 0" in cfg("list")[1]


@pytest.mark.parametrize(
    "wrong",
    [
        [], ["nonsense"], ["addtarget", "/X:1"], ["addtarget", "N:one"], ["addtarget", "/N"],
        ["service", "/L:many"], ["modifytarget", "/A:h.example.com"], ["securetarget", "/N:one"],
        ["modifytarget", "/N:one", "/D:maybe"], ["modifytarget", "/N:one", "/n:two"], ["list", "/N:one"],
    ],
)  # fmt: skip
@pytest.mark.usefixtures("commands")
def test_wrong_usage_of_the_original_syntax(wrong: list[str]) -> None:
    assert cfg(*wrong)[0] is Exit.USAGE


@pytest.mark.usefixtures("commands")
def test_the_original_syntax_says_what_is_refused() -> None:
    status, _, said = cfg("modifytarget", "/N:none", "/I:15")
    assert status is Exit.REFUSED
    assert "no target" in said


@pytest.mark.usefixtures("commands")
def test_the_same_by_the_other_command(settings: NotificationSettings) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["pcns", "target", "add", "one", "--server-address", "h.example.com", "--spn", SPN,
                               "--include", "Domain Users", "--keep-alive", "1m"]).exit_code == 0  # fmt: skip
    assert settings.show().configuration.targets[0].keep_alive == 60
    assert (
        runner.invoke(
            app, ["pcns", "target", "edit", "one", "--exclude", "Domain Admins", "--json"]
        ).exit_code
        == 0
    )
    assert runner.invoke(app, ["pcns", "target", "disable", "one", "--yes"]).exit_code == 0
    assert runner.invoke(app, ["pcns", "target", "enable", "one"]).exit_code == 0
    assert runner.invoke(app, ["pcns", "service", "--max-age", "1h"]).exit_code == 0
    listed = runner.invoke(app, ["pcns", "list", "--json"])
    assert '"max_queue_age": 3600' in listed.output
    assert '"exclusion": "Domain Admins"' in listed.output
    assert runner.invoke(app, ["pcns", "extend-schema", "--yes"]).exit_code == 0
    assert "1.2.840.113556.1.5.249" in runner.invoke(app, ["pcns", "extend-schema", "--ldif"]).output
    assert runner.invoke(app, ["pcns", "target", "remove", "one", "--yes"]).exit_code == 0
    assert runner.invoke(app, ["pcns", "target", "remove", "one", "--yes"]).exit_code == 1
