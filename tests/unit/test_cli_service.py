"""The service's own command: TLS or loopback, no core dumps, JSON logs, and the units that run it."""

import configparser
import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bastide.cli import server
from bastide.cli.exits import Stop
from bastide.config import Config, Keys, Priv, Rights, Server
from bastide.journal.lines import JsonLines

ROOT = Path(__file__).parents[2]
#: The server's. That of the agent starts as root and is another kind: test_agent_packaging.py.
UNITS = sorted(p for p in (ROOT / "deploy" / "systemd").glob("*.service") if p.stem != "bastide-agent")
CONFIG = Config(
    keys=Keys(master="m", signing="s"),
    priv=Priv(domain="d", principal="p", keytab="k", users_container="u", groups_container="g"),
    rights=Rights(administrators=[], auditors=[], approvers=[]),
)


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        (Server(address="127.0.0.1"), False),
        (Server(address="::1"), False),
        (Server(address="0.0.0.0"), True),
        (Server(address="10.0.0.1", certificate="c", key="k"), False),
        (Server(address="127.0.0.1", certificate="c"), True),
        (Server(address="127.0.0.1", key="k"), True),
    ],
)
def test_tls_or_loopback(settings: Server, refused: bool) -> None:
    config = msgspec.structs.replace(CONFIG, server=settings)
    if refused:
        with pytest.raises(Stop):
            server.check_tls(config)
    else:
        server.check_tls(config)


def test_no_core_and_not_dumpable() -> None:
    """In a process of its own, because there is no way back."""
    code = (
        "import resource, ctypes; from bastide.cli.server import harden; harden()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(0, 0) 0"


def test_a_log_line_is_one_json_object() -> None:
    record = logging.LogRecord(
        "bastide.x", logging.WARNING, "f", 1, "forged\n%s", ('{"level":"info"}',), None
    )
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == 'forged\n{"level":"info"}'


# ---------------------------------------------------------------------------------------------------------------- units


def _unit(path: Path) -> dict[str, list[str]]:
    """All settings of [Service]; systemd lets a key stand several times."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.name)
def test_units_are_well_formed(path: Path) -> None:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    parser.read(path)
    assert set(parser.sections()) == {"Unit", "Service", "Install"}


def test_there_are_two_units() -> None:
    assert [path.name for path in UNITS] == ["bastide-worker.service", "bastide.service"]


@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.name)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("AmbientCapabilities", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectKernelLogs", "yes"),
        ("ProtectControlGroups", "yes"),
        ("ProtectClock", "yes"),
        ("ProtectProc", "invisible"),
        ("LockPersonality", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictNamespaces", "yes"),
        ("RestrictRealtime", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("SystemCallArchitectures", "native"),
        ("LimitCORE", "0"),
        ("MemorySwapMax", "0"),
        ("UMask", "0077"),
        ("StateDirectoryMode", "0700"),
    ],
)
def test_units_are_hardened(path: Path, key: str, value: str) -> None:
    assert _unit(path)[key] == [value]


@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.name)
def test_units_give_secrets_as_credentials_only(path: Path) -> None:
    unit = _unit(path)
    names = [credential.partition(":")[0] for credential in unit["LoadCredential"]]
    assert {"master.key", "signing.key", "bastide.keytab"} <= set(names)
    assert not [
        value for value in unit["Environment"] if "PASSWORD" in value.upper() or "KEY=" in value.upper()
    ]
    assert unit["SystemCallFilter"][0] == "@system-service"
    assert unit["SystemCallFilter"][1].startswith("~@privileged")


@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.name)
def test_units_run_commands_that_exist(path: Path) -> None:
    (command,) = _unit(path)["ExecStart"]
    verb = command.split()[1]
    assert verb == ("worker" if "worker" in path.name else "serve")


def test_the_units_differ_in_their_job_only() -> None:
    """What one of them got and the other did not was forgotten: so the worker's never upgraded its database."""
    worker, whole = (_unit(path) for path in UNITS)
    assert {key for key in worker | whole if worker.get(key) != whole.get(key)} == {
        "ExecStart",
        "LoadCredential",
    }
    assert set(whole["LoadCredential"]) - set(worker["LoadCredential"]) == {
        "http.keytab:/etc/bastide/http.keytab",
        "server.key:/etc/bastide/tls/server.key",
    }


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.name)
def test_systemd_reads_the_units_without_a_complaint(path: Path, tmp_path: Path) -> None:
    """Parsed, not started. The program is put where this machine has one: a missing program is all that would be said."""
    unit = tmp_path / path.name
    unit.write_text(re.sub(r"/usr/bin/bastide", shutil.which("true") or "/bin/true", path.read_text()))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
