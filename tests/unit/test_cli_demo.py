"""The embedded demo plays to its end, quickly, without the extras `ad` and `postgres`, and leaves nothing behind."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bastide.cli import demo_embedded_passwords
from bastide.cli.demo_embedded_passwords import NEW
from bastide.cli.main import app
from bastide.store import keys
from bastide.targets.memory import Account, MemorySystem
from tests.support.world import QuickHasher

#: Imports of the extras fail in there, as on a machine that has them not.
WITHOUT_EXTRAS = """
import sys
for name in ("ldap", "gssapi", "dns", "psycopg", "psycopg_binary"):
    sys.modules[name] = None
sys.argv = ["bastide", "demo"]
from bastide.cli.main import main
main()
"""


def test_both_acts_play_to_their_end(tmp_path: Path) -> None:
    """Once for both: a play takes seconds."""
    result = CliRunner().invoke(app, ["demo", "--json"], env={"TMPDIR": str(tmp_path)})
    assert result.exit_code == 0, result.stderr
    steps = {step["step"]: step["outcome"] for step in json.loads(result.stdout)}
    _access_was_temporary(steps)
    _one_password_is_everywhere(steps)
    assert NEW not in result.stdout


def _access_was_temporary(steps: dict[str, str]) -> None:
    outcomes = list(steps.values())
    assert "the share opens" in outcomes
    assert any(outcome.startswith("refused: her PRIV account is dormant") for outcome in outcomes)
    assert any("nobody approves a request of their own" in outcome for outcome in outcomes)
    assert any(outcome.startswith("whole: ") for outcome in outcomes)
    assert any("true end of access" in outcome for outcome in outcomes)
    assert steps["alice tries the share with a fresh ticket"] == "refused"
    audit = re.match(
        r"whole: (\d+) records, signed up to record (\d+)\. ",
        steps["an auditor verifies the audit of both acts"],
    )
    assert audit is not None
    assert 0 < int(audit[2]) <= int(audit[1])


def _one_password_is_everywhere(steps: dict[str, str]) -> None:
    assert (
        "are one person, by join rule 1"
        in steps["an administrator connects three systems, and imports who is there"]
    )
    changed = steps["bob changes the password once, in CORP"]
    assert all(f"{name} after " in changed for name in ("openldap", "postgresql", "mariadb"))
    told = steps["an administrator asks what became of it"]
    assert told.count("A sign-in with it was tried and worked.") == 3
    assert "key was destroyed" in steps["who can still read bob's password?"]


class Stubborn(MemorySystem):
    """Says yes, and keeps the password it had."""

    def _store(self, account: Account, password: str) -> None: ...


def test_the_second_act_fails_where_a_system_keeps_the_old_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_embedded_passwords, "MemorySystem", Stubborn)
    monkeypatch.setattr(demo_embedded_passwords, "_PATIENCE", 0.5)
    monkeypatch.setattr(keys, "Argon2Hasher", QuickHasher)  # for the codes of the first act
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code != 0
    assert "not everywhere" in result.output


def test_the_demo_needs_no_extras_leaves_nothing_and_says_that_its_clock_jumps(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    assert "the clock jumps" in done.stdout
