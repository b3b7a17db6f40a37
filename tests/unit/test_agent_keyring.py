"""The key that Samba encrypts to: what is said of it before every change of a password fails."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest

from bastide_agent import agent as agent_module
from bastide_agent.agent import Agent
from bastide_agent.keyring import CannotTell, KeyRing, KeyState, ids_in, judge
from bastide_agent.settings import Settings
from tests.support.agent import NOON, ManualClock, MemoryLog
from tests.unit.test_agent_life import NoOpener

PUB, SUB = (
    "pub:{}:255:22:AF7714C33D640FD5:1600000000:{}::u:::{}:::::ed25519:::0:",
    "sub:{}:255:18:AA:1600000000:{}:::::{}:::::cv25519::",
)


def listing(sub: str = "u", expires: str = "", capabilities: str = "e", pub: str = "u") -> str:
    return "\n".join(
        [
            "tru::1:1:0:3:1:5",
            PUB.format(pub, "", "cSC"),
            "fpr:::::::::54CD:",
            SUB.format(sub, expires, capabilities),
            "",
        ]
    )


def test_a_good_key() -> None:
    state = judge(["54CD"], lambda _id: listing(), NOON)
    assert (state.ids, state.fatal, state.warnings) == (("54CD",), (), ())


@pytest.mark.parametrize(
    "found",
    [
        "",
        listing(sub="e"),
        listing(sub="r"),
        listing(sub="d"),
        listing(sub="i"),
        listing(capabilities="s"),
        listing(expires="1700000000"),
    ],
    ids=["unknown", "expired", "revoked", "disabled", "invalid", "signs only", "past"],
)
def test_a_key_with_which_every_change_fails(found: str) -> None:
    (said,) = judge(["54CD"], lambda _id: found, NOON).fatal
    assert "54CD" in said
    assert "every change of a password fails" in said


def test_a_key_that_ends_soon_is_said_before() -> None:
    soon = str(int((NOON + timedelta(days=13)).timestamp()))
    later = str(int((NOON + timedelta(days=15)).timestamp()))
    assert judge(["X"], lambda _id: listing(expires=soon), NOON).warnings
    assert not judge(["X"], lambda _id: listing(expires=later), NOON).warnings
    assert not judge(["X"], lambda _id: listing(expires=soon), NOON).fatal


def test_no_key_at_all_is_said() -> None:
    (said,) = judge([], lambda _id: listing(), NOON).fatal
    assert "nothing is encrypted" in said
    assert ids_in(" AA, BB\tCC\n") == ("AA", "BB", "CC")


def test_one_of_two_keys_is_enough_to_fail() -> None:
    assert len(judge(["A", "B"], lambda name: listing() if name == "A" else "", NOON).fatal) == 1


def test_a_machine_without_samba_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ring = KeyRing(lambda: os.open("/dev/null", os.O_RDONLY), tmp_path / "smb.conf", tmp_path / "gnupg")
    with pytest.raises(CannotTell, match="testparm is not installed"):
        ring.look(datetime.now(UTC))


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, gpg: str) -> None:
    """A `testparm` that names a key, and a `gpg` that prints this (printf's way)."""
    (folder / "bin").mkdir()
    for name, said in (("testparm", "54CD\\n"), ("gpg", gpg)):
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\nprintf '{said}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")


def ring_in(folder: Path) -> KeyRing:
    return KeyRing(lambda: os.open("/dev/null", os.O_RDONLY), folder / "smb.conf", folder / "run" / "gnupg")


def test_a_name_in_another_encoding_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of before UTF-8 have user IDs in Latin-1, and GnuPG prints them as they are."""
    programs(tmp_path, monkeypatch, listing().replace("\n", "\\n") + "uid:u::::1:::J\\374rg M:\\n")
    (tmp_path / "run").mkdir()
    assert ring_in(tmp_path).look(NOON) == KeyState(("54CD",))


def test_a_copy_that_cannot_be_made_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(tmp_path, monkeypatch, "")
    with pytest.raises(CannotTell, match="cannot be copied: No such file"):
        ring_in(tmp_path).look(NOON)


@pytest.mark.parametrize("expires", ["soon", "20301231T235959", "9" * 30])
def test_an_expiry_that_is_no_moment_cannot_tell(expires: str) -> None:
    with pytest.raises(CannotTell, match="not understood"):
        judge(["54CD"], lambda _id: listing(expires=expires), NOON)


class Ring:
    """Fails in a way that nobody foresaw, then cannot tell, then is well."""

    def __init__(self) -> None:
        self.looks = 0

    def script(self) -> str:
        return ""

    def look(self, now: datetime) -> KeyState:
        self.looks += 1
        if self.looks == 1:
            raise ZeroDivisionError("CANARY", now)
        if self.looks == 2:
            raise CannotTell("gpg is not installed")
        return KeyState(("54CD",), warnings=("the key 54CD expires",))


def test_whatever_fails_the_key_is_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, ring = MemoryLog(), Ring()
    monkeypatch.setattr(agent_module, "key_ring", lambda _settings, _opener: ring)
    settings = Settings(state=str(tmp_path), runtime=str(tmp_path), key_check_interval=0)
    agent = Agent(settings, cast("Any", NoOpener()), log, ManualClock())
    watching = Thread(target=agent._watch_key, daemon=True)
    watching.start()
    deadline = time.monotonic() + 10
    while 6022 not in log.numbers():
        assert watching.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    agent.stop()
    watching.join(10)
    unforeseen, missing = log.of(6007)
    assert str(unforeseen["error"]).startswith("ZeroDivisionError at test_agent_keyring.py:")
    assert missing["error"] == "gpg is not installed"
    assert "CANARY" not in repr(log.lines)
    assert agent.status()["key"] == {"ids": ["54CD"], "problems": ["the key 54CD expires"]}
