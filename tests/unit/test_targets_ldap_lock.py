"""Locks of LDAP servers as their attributes tell of them: what counts as locked, what as unknown. Servers themselves: tests/contract/test_targets.py."""

from datetime import UTC, datetime, timedelta

import ldap
import pytest

from bastide.directory.entries import Entry
from bastide.services.passwords.ports import Look
from bastide.targets.ldap_lock import COUNT, LOCKED, RESET, UNLOCKED, Lack, State

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
HOUR_AGO, LATER, EPOCH = "20261120080000Z", "20261120100000Z", "19700101000000Z"
#: What the two servers say of attributes that an entry has none of.
SLAPD = dict.fromkeys((LOCKED, RESET), Lack.NONE) | dict.fromkeys(
    (UNLOCKED, COUNT, "nsAccountLock"), Lack.NO_SUCH
)
DS389 = dict.fromkeys((LOCKED, RESET, UNLOCKED, COUNT, "nsAccountLock"), Lack.NONE)
HIDDEN = dict.fromkeys(DS389, Lack.HIDDEN)


def state(lacks: dict[str, Lack], lasts: timedelta | None = None, **shown: str) -> State:
    entry = Entry.read("uid=a", {name: [value.encode()] for name, value in shown.items()})
    return State(entry, {name: lack for name, lack in lacks.items() if name not in shown}, lasts)


@pytest.mark.parametrize(
    ("one", "locked"),
    [
        (state(SLAPD), False),
        (state(SLAPD, pwdAccountLockedTime=HOUR_AGO), True),
        (state(SLAPD, timedelta(0), pwdAccountLockedTime=HOUR_AGO), True),
        (state(SLAPD, timedelta(hours=2), pwdAccountLockedTime=HOUR_AGO), True),
        (state(SLAPD, timedelta(hours=1), pwdAccountLockedTime=HOUR_AGO), False),
        (state(SLAPD, timedelta(hours=1), pwdAccountLockedTime="no time at all"), True),
        (state(SLAPD | {LOCKED: Lack.HIDDEN}), None),
        (state(dict.fromkeys(DS389, Lack.NO_SUCH)), None),
        (state(HIDDEN), None),
        (state(DS389), False),
        (state(DS389, accountUnlockTime=EPOCH, passwordRetryCount="3"), True),
        (state(DS389, accountUnlockTime=LATER, passwordRetryCount="3"), True),
        (state(DS389, accountUnlockTime=HOUR_AGO, passwordRetryCount="3"), False),
        # What a set leaves there, and no lock any more: measured.
        (state(DS389, accountUnlockTime=EPOCH, passwordRetryCount="0"), False),
        (state(DS389, accountUnlockTime=EPOCH), False),
        (state(DS389 | {COUNT: Lack.HIDDEN}, accountUnlockTime=EPOCH), None),
        (state(DS389, pwdAccountLockedTime=HOUR_AGO), True),
    ],
)
def test_what_counts_as_locked(one: State, locked: bool | None) -> None:
    assert one.locked(NOW) is locked


def test_what_an_administrator_has_locked_is_disabled_and_not_locked() -> None:
    one = state(SLAPD, pwdAccountLockedTime="000001010000Z", pwdReset="TRUE")
    assert one.look(NOW) == Look(locked=False, disabled=True, must_change=True)


def test_what_is_hidden_is_not_known() -> None:
    assert state(HIDDEN).look(NOW) == Look()
    assert state(dict.fromkeys(DS389, Lack.NO_SUCH)).look(NOW) == Look()
    assert not state(dict.fromkeys(DS389, Lack.NO_SUCH)).is_kept
    assert state(DS389).look(NOW) == Look(locked=False, disabled=False)


def test_a_lock_is_taken_away_as_it_was_seen_and_nothing_else_is() -> None:
    """With ppolicy the value goes with the change: what somebody else has put there meanwhile stays."""
    assert state(SLAPD, pwdAccountLockedTime=HOUR_AGO).opening() == [
        (ldap.MOD_DELETE, LOCKED, [HOUR_AGO.encode()])
    ]
    names = {name for _, name, _ in state(DS389, accountUnlockTime=EPOCH, passwordRetryCount="3").opening()}
    assert names == {UNLOCKED, COUNT, "retryCountResetTime"}
