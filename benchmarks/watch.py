"""When the domain controller shows something, seen over a connection of its own. The same eyes look at Bastide and at the bare script."""

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import ldap

from benchmarks import bare
from benchmarks.bare import Account

#: Between two looks. Times are late by this at most, plus the look itself.
PAUSE = 0.005
PATIENCE = 60.0
#: Looking for the end of a thousand: accounts looked at, and the pause.
SAMPLE = 10
LONG_PAUSE = 0.02
_NEVER = frozenset({0, 0x7FFFFFFFFFFFFFFF})


class Watcher:
    """Looks at the accounts that somebody waits for, all of them in one search."""

    def __init__(self, controller: str, container: str, group: str) -> None:
        self._connection = bare.connect(controller)
        self._container = container
        self._group = group.encode()
        self._waiting: dict[str, tuple[bool, threading.Event]] = {}
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error = ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def expect(self, account: Account, *, member: bool) -> Callable[[], float]:
        """From now on look for the account to be open in the group, or out of it. The result waits, and gives the moment (monotonic)."""
        event = threading.Event()
        with self._lock:
            self._waiting[account.name] = member, event

        def wait() -> float:
            if not event.wait(PATIENCE):
                raise TimeoutError(f"{account.name} is not what it should be after {PATIENCE:g} s")
            if self._error:
                raise RuntimeError(self._error)
            with self._lock:
                return self._seen.pop(account.name)

        return wait

    def _run(self) -> None:
        while not self._stop.wait(PAUSE):
            with self._lock:
                names = list(self._waiting)
            if not names:
                continue
            try:
                self._look(names)
            except ldap.LDAPError as error:
                self._error = f"the watcher cannot look: {type(error).__name__}"
                with self._lock:
                    for _, event in self._waiting.values():
                        event.set()
                return

    def _look(self, names: Sequence[str]) -> None:
        condition = "(|" + "".join(f"(sAMAccountName={name})" for name in names) + ")"
        attributes = ["sAMAccountName", "memberOf", "accountExpires"]
        found = self._connection.search_s(self._container, ldap.SCOPE_ONELEVEL, condition, attributes)
        seen, wall = time.monotonic(), time.time()
        with self._lock:
            for _, shown in found:
                name = shown["sAMAccountName"][0].decode()
                if name not in self._waiting:
                    continue
                wanted, event = self._waiting[name]
                if self._fits(shown, wall, wanted=wanted):
                    del self._waiting[name]
                    self._seen[name] = seen
                    event.set()

    def _fits(self, shown: dict[str, Any], now: float, *, wanted: bool) -> bool:
        member = self._group in shown.get("memberOf", ())
        if not wanted:
            return not member
        expires = int(shown["accountExpires"][0])
        return member and expires not in _NEVER and expires > bare.filetime(now)


def until_gone(controller: str, group: str, accounts: Sequence[Account]) -> float:
    """The moment (epoch) at which the group was first seen without any of them.

    A few of them are looked at first, and the group itself once those are out: to read a thousand values over and over would slow down
    the removals it waits for.
    """
    connection = bare.connect(controller)
    names = {account.dn for account in accounts}
    few = accounts[:: max(1, len(accounts) // SAMPLE)]
    condition = "(|" + "".join(f"(sAMAccountName={account.name})" for account in few) + ")"
    container = few[0].dn.partition(",")[2]
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = connection.search_s(container, ldap.SCOPE_ONELEVEL, condition, ["memberOf"])
        left = any(group.encode() in shown.get("memberOf", ()) for _, shown in found)
        if not left and not names.intersection(bare.members(connection, group)):
            return time.time()
        time.sleep(LONG_PAUSE)
    raise TimeoutError(f"members are left after {PATIENCE:g} s")
