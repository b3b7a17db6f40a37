"""psycopg is installed and finds no libpq: a half-done installation, as with `pip install psycopg` on a machine without libpq5."""

import subprocess
import sys
from pathlib import Path

import pytest

from bastide.cli.exits import Exit

#: psycopg's own error, in a process of its own: neither its compiled halves nor the system's library can be loaded.
WITHOUT_LIBPQ = """
import ctypes.util, sys
for name in ("psycopg_c", "psycopg_binary"):
    sys.modules[name] = None
ctypes.util.find_library = lambda name: None
from bastide.cli.main import main
main()
"""
SETTINGS = """
[database]
url = "postgresql://bastide:canary-w0rd@127.0.0.1:1/bastide"
[keys]
master = "/nowhere/master.key"
signing = "/nowhere/signing.key"
[priv]
domain = "priv.bastide.test"
principal = "svc-bastide@PRIV.BASTIDE.TEST"
keytab = "/nowhere/keytab"
users_container = "OU=Users,DC=priv,DC=bastide,DC=test"
groups_container = "OU=Groups,DC=priv,DC=bastide,DC=test"
[rights]
administrators = ["Bastide Administrators"]
auditors = ["Bastide Auditors"]
approvers = ["Bastide Approvers"]
"""


@pytest.mark.parametrize("command", [("db", "check"), ("db", "upgrade"), ("db", "check", "--json")])
def test_it_is_two_lines_and_no_traceback(tmp_path: Path, command: tuple[str, ...]) -> None:
    file = tmp_path / "bastide.toml"
    file.write_text(SETTINGS)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBPQ, *command, "--config", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == Exit.UNAVAILABLE, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "libpq) cannot be loaded" in done.stderr
    assert "libpq5" in done.stderr
    assert "canary-w0rd" not in done.stderr
