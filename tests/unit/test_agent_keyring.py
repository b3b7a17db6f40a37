"""The key that Samba encrypts to: what is said of it before every change of a password fails."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bastide_agent.keyring import CannotTell, KeyRing, ids_in, judge
from tests.support.agent import NOON

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
