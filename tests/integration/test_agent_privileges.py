"""The agent's start as root: a real change of user, after which nothing brings the rights back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

DROP = """
import os, sys, json
from pathlib import Path
from bastide_agent import privileges
privileges.drop(sys.argv[1], (Path(sys.argv[2]),))
again = []
for name, call in (("setuid", lambda: os.setuid(0)), ("setgid", lambda: os.setgid(0)), ("groups", lambda: os.setgroups([0]))):
    try:
        call()
        again.append(name)
    except PermissionError:
        pass
print(json.dumps([os.getresuid(), os.getgroups(), again]))
"""


def test_rights_are_given_up_for_good(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("only root has rights to give up. Run as root: make test", pytrace=False)
    state = tmp_path / "state"
    done = subprocess.run(
        [sys.executable, "-c", DROP, "nobody", str(state)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    ids, groups, again = json.loads(done.stdout)
    assert ids == [65534] * 3
    assert groups == []
    assert again == []
    assert state.stat().st_uid == 65534
    assert state.stat().st_mode & 0o777 == 0o700
