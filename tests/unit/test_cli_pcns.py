"""`bastide pcns` and `pcnscfg`: what is wrong with the arguments is said before a ticket or a connection is asked for."""

import io
import re
import shlex
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import dns.resolver
import pytest
from typer.testing import CliRunner, Result

from bastide import pcns
from bastide.cli import pcns as pcns_cli
from bastide.cli import pcnscfg
from bastide.cli.console import Screen
from bastide.cli.exits import Exit
from bastide.cli.main import app
from bastide.domain.errors import DirectoryDenied, DirectoryUnavailable
from bastide.services.passwords.notification import SERVICE_NUMBERS, TARGET_NUMBERS
from bastide.store.openpgp import PRIVATE, PUBLIC, generate_openpgp
from bastide.wiring import notification as wiring
from tests.support.ccache import cache

NEW = ("/N:one", "/A:h.example.com", "/S:PCNSCLNT/h.example.com", "/FI:Domain Users")
ADD = ("--server-address", "h.example.com", "--spn", "PCNSCLNT/h.example.com", "--include", "Domain Users")


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Whoever connects finds that there is no ticket."""
    seen: list[tuple[str, str]] = []

    def opened(domain: str, controller: str) -> None:
        seen.append((domain, controller))
        raise DirectoryDenied("there is no Kerberos ticket")

    monkeypatch.setattr(pcns_cli, "opened", opened)
    return seen


def cfg(*arguments: str) -> tuple[Exit, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = pcnscfg.run(arguments, Screen(out, err))
    return status, out.getvalue(), err.getvalue()


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["pcns", *words])


# -------------------------------------------------------------------------------------------------------------- pcnscfg


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("service", "/I:9"), "/I: must be from 10 to 3600, not 9"),
        (("service", "/I:3601"), "/I: must be from 10 to 3600, not 3601"),
        (("service", "/R:1001"), "/R: must be from 0 to 1000"),
        (("service", "/L:4294967296"), "/L: must be from 0 to 4294967295"),
        (("service", "/L:many"), "/L: 'many' is not a number"),
        (("service", "/N:one"), "write /A:, /DOMAIN:, /I:, /L:, /R:, /SERVER:"),
        (("service", f"/I:{'9' * 5000}"), "/I: has 5000 digits"),
        (("addtarget",), "/N:, /A:, /S: and /FI: are needed for a new target"),
        (
            ("addtarget", "/N:one"),
            "/A:, /S: and /FI: are needed for a new target\n  -> as in `pcnscfg addtarget /N:",
        ),
        (("addtarget", "/N:one", "/A:h", "/FI:x"), "/S: is needed for a new target"),
        (("addtarget", *NEW[:3]), "/FI: is needed for a new target"),
        (("addtarget", *NEW, "/FE:domain users"), "/FE: is the inclusion group"),
        (("addtarget", *NEW, "/I:86401"), "/I: must be from 1 to 86400"),
        (("addtarget", *NEW, "/F:0"), "/F: must be from 1 to 12"),
        (("addtarget", *NEW, "/D:perhaps"), "write /D:True or /D:False"),
        (("addtarget", *NEW[1:]), "/N: is needed for a new target"),
        (("modifytarget", "/N:one"), "nothing would change"),
        (("modifytarget", "/N:one", "/SERVER:dc1"), "nothing would change"),
        (("modifytarget", "/N:one", "/A:h:port"), "write bastide.corp.example.com"),
        (("modifytarget", "/N:one", "/A:h:65536"), "is no host name or address"),
        (("modifytarget", "/N:one", "/S:h.example.com"), "write PCNSCLNT/host.domain"),
        (("modifytarget", "/N:one", "/FI:"), "disable the target instead"),
        (("securetarget", "/N:one"), "securetarget needs /FI: or /FE:"),
        (("securetarget", "/N:one", "/FI: "), "an inclusion group is required"),
        (("enabletarget",), "/N:name is needed"),
        (("disabletarget", "/N:"), "/N:name is needed"),
        (("deletetarget", "/I:5"), "is not an option here"),
    ],
    ids=lambda one: " ".join(one)[:40] if isinstance(one, tuple) else "",
)
def test_arguments_are_checked_before_anything_is_connected_to(
    connections: list[tuple[str, str]], arguments: tuple[str, ...], said: str
) -> None:
    status, _, told = cfg(*arguments)
    assert (status, connections) == (Exit.USAGE, [])
    assert said in told


@pytest.mark.parametrize(
    "arguments",
    [
        ("list",), ("service",), ("service", "/I:10", "/R:0"), ("addtarget", *NEW, "/I:86400", "/F:12"),
        ("modifytarget", "/N:one", "/A:h.example.com:8446"), ("securetarget", "/N:one", "/FE:"), ("removetarget", "/N:one"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_good_arguments_go_to_the_directory(
    connections: list[tuple[str, str]], arguments: tuple[str, ...]
) -> None:
    status, _, told = cfg(*arguments, "/SERVER:dc1", "/DOMAIN:corp.test")
    assert (status, connections) == (Exit.REFUSED, [("corp.test", "dc1")])
    assert "no Kerberos ticket" in told


def test_the_usage_shows_each_option_with_its_range_and_default() -> None:
    status, shown, _ = cfg("/?")
    assert status is Exit.OK
    defaults = {one.name: one.default for kind in (pcns.ServiceSettings, pcns.Target) for one in fields(kind)}
    for option, name, allowed in (*SERVICE_NUMBERS, *TARGET_NUMBERS):
        wanted = rf"^  /{option}:.*\[{allowed.start}-{allowed.stop - 1}, default {defaults[name]}\]$"
        assert re.search(wanted, shown, re.MULTILINE), name
    for option in pcnscfg._TARGET | pcnscfg._SERVICE:
        assert re.search(rf"^  /{option}:\S", shown, re.MULTILINE), option
    for command in pcnscfg._COMMANDS:
        assert command in shown


def test_the_example_of_the_usage_is_right(connections: list[tuple[str, str]]) -> None:
    examples = re.findall(r"^  pcnscfg (.*)$", cfg("/?")[1].partition("Begin here:")[2], re.MULTILINE)
    assert [one.split()[0] for one in examples] == ["addtarget", "service", "list"]
    for example in examples:
        assert cfg(*shlex.split(example))[0] is Exit.REFUSED
    assert len(connections) == len(examples)


# --------------------------------------------------------------------------------------------------------- bastide pcns


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("service", "--retry-interval", "9s"), "--retry-interval must be from 10 to 3600, not 9"),
        (("service", "--max-retries", "1001"), "--max-retries must be from 0 to 1000"),
        (
            ("target", "add", "one"),
            "--server-address, --spn and --include are needed for a new target\n  -> as in `bastide pcns target add",
        ),
        (("target", "add", "one", *ADD[:4]), "--include is needed for a new target"),
        (("target", "add", " ", *ADD), "NAME must not be empty"),
        (("target", "add", "one", *ADD, "--exclude", "Domain Users"), "--exclude is the inclusion group"),
        (("target", "edit", "one"), "nothing would change"),
        (("target", "edit", "one", "--keep-alive", "2d"), "--keep-alive must be from 1 to 86400"),
        (("target", "edit", "one", "--name-format", "13"), "--name-format must be from 1 to 12"),
        (("target", "edit", "one", "--spn", "x"), "--spn 'x' is no SPN"),
    ],
    ids=" ".join,
)
def test_the_other_command_names_its_own_options(
    connections: list[tuple[str, str]], arguments: tuple[str, ...], said: str
) -> None:
    result = run(*arguments)
    assert (result.exit_code, connections) == (Exit.USAGE, [])
    assert said in result.stderr


def test_the_controller_is_named_by_its_own_option(connections: list[tuple[str, str]]) -> None:
    """`--server` is the URL of a Bastide server, in every command that has it."""
    assert run("list", "--domain", "corp.test", "--controller", "dc1.corp.test").exit_code == Exit.REFUSED
    assert connections == [("corp.test", "dc1.corp.test")]
    assert run("list", "--server", "dc1.corp.test").exit_code == Exit.USAGE


def test_a_refusal_of_the_directory_says_whose_ticket_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rights are those of the person, so the delegation script of Bastide's own accounts is no remedy."""

    class Session:
        raw = SimpleNamespace(unbind_ext_s=lambda: None)

    class Denying:
        def __init__(self, session: Session) -> None:
            self.session = session

        def read(self) -> None:
            raise DirectoryDenied("cannot read it", remedy="run the delegation script again")

    ticket = SimpleNamespace(principal=lambda: "alice@CORP.TEST", realm=lambda: "CORP.TEST")
    monkeypatch.setattr(wiring, "CallerTicket", lambda: ticket)
    monkeypatch.setattr(wiring, "SealedConnect", lambda *_: lambda _: (Session(), None))
    monkeypatch.setattr(wiring, "AdNotificationDirectory", Denying)
    result = run("list", "--controller", "dc1.corp.test")
    assert result.exit_code == Exit.REFUSED
    assert "cannot read it" in result.stderr
    assert "the ticket of alice@CORP.TEST; `kinit` as a member of Domain Admins" in result.stderr
    assert "delegation" not in result.stderr


def test_where_dns_does_not_help_the_remedy_names_an_option_and_no_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No server takes part, so bastide.toml is no place to name a controller."""
    ticket = SimpleNamespace(principal=lambda: "alice@CORP.TEST", realm=lambda: "CORP.TEST")
    monkeypatch.setattr(wiring, "CallerTicket", lambda: ticket)

    def silent(*_: object, **__: object) -> None:
        raise dns.resolver.NoNameservers

    monkeypatch.setattr(dns.resolver.Resolver, "resolve", silent)
    result = run("list")
    assert result.exit_code == Exit.UNAVAILABLE
    assert (
        "`host -t SRV _ldap._tcp.dc._msdcs.corp.test` must answer here; or name a controller" in result.stderr
    )
    assert "--controller (pcnscfg: /SERVER:)" in result.stderr
    assert "bastide.toml" not in result.stderr


def test_a_controller_that_is_not_found_is_looked_up_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(name: str) -> None:
        raise DirectoryUnavailable(f"cannot sign in on {name}: Can't contact LDAP server")

    monkeypatch.setattr(wiring, "SealedConnect", lambda *_: connect)
    result = run("list", "--controller", "no such dc")
    assert result.exit_code == Exit.UNAVAILABLE
    assert "`getent hosts 'no such dc'` must give an address here" in result.stderr


def test_a_private_key_is_not_put_where_everybody_reads_it(
    connections: list[tuple[str, str]], tmp_path: Path
) -> None:
    generate_openpgp(tmp_path)
    refused = run("target", "edit", "one", "--certificate", str(tmp_path / PRIVATE))
    assert "holds a private key" in refused.stderr
    assert PUBLIC in refused.stderr
    assert "is not an OpenPGP certificate" in run("target", "edit", "one", "--certificate", "/nowhere").stderr
    assert connections == []
    assert run("target", "edit", "one", "--certificate", str(tmp_path / PUBLIC)).exit_code == Exit.REFUSED
    assert connections == [("", "")]


# -------------------------------------------------------------------------------------------------------------- tickets


@pytest.mark.parametrize(
    ("ends", "said"),
    [(2, "your Kerberos ticket has expired"), (None, "there is no Kerberos ticket: No Kerberos credentials")],
    ids=["expired", "none"],
)
def test_without_a_good_ticket_nobody_is_signed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: int | None, said: str
) -> None:
    """Exit code 4, as docs/reference/commands.md has it. With real GSS-API."""
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/ccache")
    if ends is not None:
        (tmp_path / "ccache").write_bytes(cache("alice@PRIV.TEST", ends=ends))
    result = run("list")
    assert (result.exit_code, cfg("list")[0]) == (Exit.NOT_SIGNED_IN, Exit.NOT_SIGNED_IN)
    for words in (result.stderr, cfg("list")[2]):
        assert said in words
        assert "kinit" in words
        assert "Success" not in words


@pytest.mark.parametrize(("typed", "refused"), [("72", True), ("3600", False), ("0", False), ("72s", False)])
def test_hours_are_not_read_as_seconds(
    connections: list[tuple[str, str]], typed: str, *, refused: bool
) -> None:
    result = run("service", "--max-age", typed)
    assert bool(connections) is not refused
    if refused:
        assert result.exit_code == Exit.USAGE
        assert "--max-age 72 would be seconds" in result.stderr
        assert "say the unit: 72h or 72s" in result.stderr
