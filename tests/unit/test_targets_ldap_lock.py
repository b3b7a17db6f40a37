"""Locks of LDAP servers as their attributes tell of them: what counts as locked, what as unknown. Servers themselves: tests/contract/test_targets.py."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import ldap
import pytest

from bastide.directory.entries import Entry
from bastide.directory.session import Session
from bastide.domain.errors import NoSuchObject
from bastide.domain.passwords import Code
from bastide.services.passwords.ports import Look
from bastide.targets.ldap_lock import COUNT, LOCKED, RESET, UNLOCKED, Lack, State, state_of, unlock

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


class Raw:
    """What python-ldap's connection object does here: a Compare is answered by the name that it asks for."""

    def __init__(self, compares: Mapping[str, type[ldap.LDAPError]], modify: ldap.LDAPError | None) -> None:
        self.compares, self.modify = compares, modify
        self.answers: list[ldap.LDAPError | None] = []
        self.modified: list[object] = []

    def compare_ext(self, _dn: str, name: str, _value: bytes) -> int:
        self.answers.append(self.compares[name]({"desc": "x"}))
        return len(self.answers) - 1

    def modify_ext(self, _dn: str, changes: object, _controls: object) -> int:
        self.modified.append(changes)
        self.answers.append(self.modify)
        return len(self.answers) - 1

    def result3(self, number: int, **_: object) -> tuple[int, list[object], int, list[object]]:
        answer = self.answers[number]
        if answer is not None:
            raise answer
        return 0, [], number, []


class Server(Session):
    """One entry and its policy; `entry` None: it is not there."""

    def __init__(
        self,
        entry: Mapping[str, str] | None,
        *,
        none: bool = True,
        policy: Mapping[str, str] | None = None,
        modify: ldap.LDAPError | None = None,
    ) -> None:
        kind = ldap.NO_SUCH_ATTRIBUTE if none else ldap.UNDEFINED_TYPE
        names = (LOCKED, UNLOCKED, COUNT, "nsAccountLock", RESET)
        compares = {name: kind if name == LOCKED else ldap.UNDEFINED_TYPE for name in names}
        super().__init__(Raw(compares, modify), "h", 1.0)
        self.entry, self.policy = entry, policy

    def read(self, dn: str, *_: object, **__: object) -> Entry | None:
        shown = self.entry if dn == "uid=a" else self.policy
        if shown is None:
            raise NoSuchObject("x")
        return Entry.read(dn, {name: [value.encode()] for name, value in shown.items()})


def test_what_keeps_no_lock_says_so_and_what_is_not_there_is_missing() -> None:
    done = unlock(Server({}, none=False), "uid=a", NOW)
    assert (done.code, "no lock" in done.detail) == (Code.SET_UNSUPPORTED, True)
    assert unlock(Server(None), "uid=a", NOW).code is Code.OBJECT_MISSING
    assert state_of(Server(None), "uid=a") is None


def test_a_lock_that_somebody_else_changed_at_that_moment_is_not_called_taken_away() -> None:
    raced = Server({LOCKED: HOUR_AGO}, modify=ldap.NO_SUCH_ATTRIBUTE({"desc": "x"}))
    done = unlock(raced, "uid=a", NOW)
    assert (done.code, "look at it again" in done.detail) == (Code.FAILED, True)


def test_what_is_not_locked_is_not_written() -> None:
    """Nor what its own policy has let run out."""
    clean = Server({})
    over = Server({LOCKED: HOUR_AGO, "pwdPolicySubentry": "cn=p"}, policy={"pwdLockoutDuration": "3600"})
    unread = Server({LOCKED: HOUR_AGO, "pwdPolicySubentry": "cn=p"})
    for server, written in ((clean, 0), (over, 0), (unread, 1)):
        assert unlock(server, "uid=a", NOW).code is Code.SUCCESS
        assert len(server.raw.modified) == written
