"""The embedded demo plays to its end, quickly, without the extras `ad` and `postgres`, and leaves nothing behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from bastide.cli.main import app

#: Imports of the extras fail in there, as on a machine that has them not.
WITHOUT_EXTRAS = """
import sys
for name in ("ldap", "gssapi", "dns", "psycopg", "psycopg_binary"):
    sys.modules[name] = None
sys.argv = ["bastide", "demo"]
from bastide.cli.main import main
main()
"""


def test_the_demo_plays_to_its_end(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--json"], env={"TMPDIR": str(tmp_path)})
    assert result.exit_code == 0, result.stderr
    steps = {step["step"]: step["outcome"] for step in json.loads(result.stdout)}
    outcomes = list(steps.values())
    assert "the share opens" in outcomes
    assert any(outcome.startswith("refused: her PRIV account is dormant") for outcome in outcomes)
    assert any("nobody approves a request of their own" in outcome for outcome in outcomes)
    assert any(outcome.startswith("whole: ") for outcome in outcomes)
    assert any("true end of access" in outcome for outcome in outcomes)
    assert steps["alice tries the share with a fresh ticket"] == "refused"


def test_the_demo_says_that_its_clock_jumps() -> None:
    assert "the clock jumps" in CliRunner().invoke(app, ["demo"]).stdout


def test_the_demo_needs_no_extras_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
