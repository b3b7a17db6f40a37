"""Tables in a terminal: what is copied is never broken, at any width."""

import io
import re
import shlex
from pathlib import Path

import pytest

from bastide.cli import audit, request, setup
from bastide.cli.console import Screen
from bastide.config import Config, Keys, Priv, Rights

IDS = ("6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11", "0d5d116f-1a52-6c1e-4f0e-9f640b6a5d0d")
HASH = "ab" * 32
REQUESTS = [
    {
        "id": one,
        "role": "File administrator",
        "user": "priv.alice",
        "state": "PendingApproval",
        "created_at": "2026-11-20T09:00:00+00:00",
        "ends_at": "2026-11-20T10:00:00+00:00",
        "true_end": "2026-11-20T10:15:00+00:00",
    }
    for one in IDS
]
RECORDS = [
    {
        "seq": 12,
        "at": "2026-11-20T09:00:00+00:00",
        "kind": "request.submitted",
        "actor_name": "CORP\\alice",
        "subject_name": "priv.alice",
        "request": IDS[0],
        "data": {"head": HASH, "ttl": 3600},
    }
]


CONFIG = Config(
    keys=Keys(master="/k/master.key", signing="/k/signing.key"),
    priv=Priv(domain="priv.test", principal="p", keytab="/k", users_container="u", groups_container="g"),
    rights=Rights(administrators=["a"], auditors=["b"], approvers=["c"]),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(monkeypatch: pytest.MonkeyPatch, width: int) -> tuple[Screen, Terminal]:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    return Screen(terminal, terminal), terminal


@pytest.mark.parametrize("width", [80, 100, 117, 118, 119, 130, 160, 250])
def test_an_id_is_whole_and_no_line_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    seen, terminal = screen(monkeypatch, width)
    seen.table(request.COLUMNS, REQUESTS, empty="none")
    shown = terminal.getvalue()
    assert all(one in shown for one in (*IDS, "PendingApproval", "administrator", "2026-11-20", "10:15:00"))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_record_of_the_audit_can_be_read(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    seen, terminal = screen(monkeypatch, width)
    seen.table(audit._COLUMNS, RECORDS, empty="none")
    assert all(whole in terminal.getvalue() for whole in (IDS[0], HASH, "request.submitted"))


def test_what_comes_next_after_init_is_whole_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, terminal = screen(monkeypatch, 60)
    file = Path("/etc/somewhere/with a name/that is rather long/bastide.toml")
    setup._report(seen, file, CONFIG, (), [])
    lines = terminal.getvalue().splitlines()
    assert f"  5. bastide config check --config {shlex.quote(str(file))}" in lines
    assert any(f"--corp-group GROUP --config {shlex.quote(str(file))}" in line for line in lines)
