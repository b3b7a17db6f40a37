"""What the contract tests of password times stand on: the twin in memory, and PRIV on Samba with its two controllers."""

import itertools
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

from bastide.directory.entries import by_sid, from_filetime
from bastide.directory.ldap import Controllers, SealedConnect, listed
from bastide.directory.memory_password_times import MemoryPasswordTimes
from bastide.directory.password_times import AdPasswordTimes
from bastide.directory.session import REPLACE, Session
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.services.reset.ports import PasswordTimes
from tests.support.directory_lab import PRIV, DirectoryLab

HOSTS = ("privdc", "privdc2")
_WAIT = 60.0
_numbers = itertools.count(1)


class TimesWorld(Protocol):
    """A domain with two controllers, 0 and 1."""

    def person(self) -> Sid:
        """Whom both know."""

    def nobody(self) -> Sid:
        """Whom none of them knows."""

    def set(self, person: Sid, controller: int) -> datetime:
        """A password, where that controller takes it; when that was. The other one hears of it, unless they are apart."""

    def tick(self, person: Sid) -> None:
        """To change at next logon is ticked, later than the password was set, and unticked."""

    def apart(self) -> AbstractContextManager[None]:
        """The controllers hear nothing of each other."""

    def reader(self, *within_reach: int) -> PasswordTimes:
        """As the service account. Those that are not named are out of reach."""


class MemoryTimesWorld:
    def __init__(self) -> None:
        self._held = MemoryPasswordTimes(*HOSTS)
        self._now = datetime(2026, 3, 2, 9, tzinfo=UTC)
        self._apart = False

    def person(self) -> Sid:
        return Sid(f"S-1-5-21-1-2-3-{1000 + next(_numbers)}")

    def nobody(self) -> Sid:
        return self.person()

    def set(self, person: Sid, controller: int) -> datetime:
        self._now += timedelta(seconds=1)
        for name in HOSTS[controller : controller + 1] if self._apart else HOSTS:
            self._held.known[name][person] = self._now
        return self._now

    def tick(self, person: Sid) -> None:
        """No such date is held here."""

    @contextmanager
    def apart(self) -> Iterator[None]:
        self._apart = True
        yield
        self._apart = False

    def reader(self, *within_reach: int) -> PasswordTimes:
        self._held.away = {name for number, name in enumerate(HOSTS) if number not in within_reach}
        return self._held


class SambaTimesWorld:
    """What is arranged is written by the administrator with plain LDAP, on the controller that is meant."""

    def __init__(self, forests: DirectoryLab) -> None:
        self._forests = forests
        self._lab = forests.lab
        self._admins = forests.admins[Forest.PRIV]
        self._is_apart = False

    def person(self) -> Sid:
        return self._forests.add_user(Forest.PRIV, self._forests.new_name("pt")).sid

    def nobody(self) -> Sid:
        return Sid(f"{self._forests.service_sid.domain}-99999999")

    def set(self, person: Sid, controller: int) -> datetime:
        quoted = f'"Correct-Horse-{next(_numbers)}"'.encode("utf-16-le")

        def write(session: Session) -> str:
            session.modify(by_sid(person), [(REPLACE, "unicodePwd", [quoted])])
            return _date(session, person)

        date = self._admins.on(self._lab.fqdn(HOSTS[controller]), write)
        if not self._is_apart:
            self._await(person, date)
        found = from_filetime(int(date))
        assert found is not None
        return found

    def tick(self, person: Sid) -> None:
        time.sleep(3)  # more than lies between the two dates of one set

        def twice(session: Session) -> str:
            for value in (b"0", b"-1"):
                session.modify(by_sid(person), [(REPLACE, "pwdLastSet", [value])])
            return _date(session, person)

        self._await(person, self._admins.on(self._lab.fqdn(HOSTS[0]), twice))

    @contextmanager
    def apart(self) -> Iterator[None]:
        self._is_apart = True
        for one, other in (HOSTS, HOSTS[::-1]):
            self._lab.cut(one, other)
        try:
            yield
        finally:
            self._is_apart = False
            for one in HOSTS:
                self._lab.mend(one)
        self.person()

    def reader(self, *within_reach: int) -> PasswordTimes:
        """Nothing listens on the client's host."""
        names = [self._lab.fqdn(one if n in within_reach else "client") for n, one in enumerate(HOSTS)]
        connect = SealedConnect(self._forests.identity("svc-bastide", "priv"), self._forests.now)
        made = Controllers(PRIV, listed(names), connect, time.monotonic)
        self._forests.closing.append(made)
        return AdPasswordTimes(made)

    def _await(self, person: Sid, date: str) -> None:
        deadline = time.monotonic() + _WAIT
        while set(self._admins.on_each(lambda session: _date(session, person)).values()) != {date}:
            assert time.monotonic() < deadline, "it did not replicate"
            time.sleep(0.1)


def _date(session: Session, person: Sid) -> str:
    return session.must_read(by_sid(person), ["pwdLastSet"]).text("pwdLastSet")
