"""Connected systems in memory: the twin of the real ones in this room, held to the same contract suite. What can go wrong is switched on by
whoever holds the MemorySystem.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from bastide.domain.errors import (
    BadSource,
    BastideError,
    CapabilityMissing,
    InvalidInput,
    NotConfigured,
    TargetDenied,
    TargetUnavailable,
)
from bastide.domain.management_agents import CsObject, ManagementAgent
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Imported, Look, NewPassword, Page, Result, Security

KIND = "memory"
_NO_POLICY = ""


@dataclass(slots=True)
class Account:
    """What a system keeps for one object. Its repr shows no password."""

    entry: Imported
    password: str = field(default="", repr=False)
    history: list[str] = field(default_factory=list, repr=False)
    must_change: bool = False
    locked: bool = False
    failures: int = 0


@dataclass(slots=True)
class Faults:
    """What goes wrong, and until when it is left so."""

    #: Nobody answers: TargetUnavailable wherever a connection is needed.
    down: bool = False
    #: Raised once each, one for every opening, in this order.
    openings: list[BastideError] = field(default_factory=list)
    #: The connection breaks after so many accounts of a batch were served (None: it holds).
    break_after: int | None = None
    #: A read breaks after so many pages (None: it does not).
    break_after_pages: int | None = None
    #: Anchor to what is said about that account instead of doing anything.
    answers: dict[str, Result] = field(default_factory=dict)
    #: Anchor of accounts that take a password and then refuse it.
    liars: set[str] = field(default_factory=set)


class MemorySystem:
    """One system. `secret`: what an agent must present (empty: anything). `policy`: why a password is refused, or nothing. `lockout`: failed
    binds after which an account locks. Safe for several threads.
    """

    def __init__(
        self,
        *,
        secret: str = "",
        page_size: int = 500,
        delta: bool = True,
        settable: bool = True,
        security: Security = Security.SECURE,
        lockout: int = 5,
        policy: Callable[[str], str] = lambda _: _NO_POLICY,
    ) -> None:
        self.secret = secret
        self.page_size = page_size
        self.delta = delta
        self.settable = settable
        self.security = security
        self.lockout = lockout
        self.policy = policy
        self.faults = Faults()
        #: What it says it is, and which of its servers takes passwords now.
        self.says: tuple[str, ...] = ()
        self.origin = ""
        #: Anchors in the order in which passwords arrived, and how many connections and binds there were.
        self.served: list[str] = []
        self.opened = 0
        self.binds = 0
        self._accounts: dict[str, Account] = {}
        self._journal: list[str] = []
        self._tombs: dict[str, Imported] = {}
        self._lock = threading.RLock()

    def put(
        self,
        anchor: str,
        *,
        dn: str = "",
        type: str = "user",  # noqa: A002  # the port's word
        password: str | None = None,
        **attributes: str | Sequence[str],
    ) -> None:
        """Make or change an object. Attributes replace all it had; a text is one value. The password stays unless one is given."""
        values = {n: (v,) if isinstance(v, str) else tuple(v) for n, v in attributes.items()}
        entry = Imported(anchor, dn or f"CN={anchor}", type, values)
        with self._lock:
            account = self._accounts.setdefault(anchor, Account(entry))
            account.entry = entry
            if password is not None:
                account.password = password
            self._tombs.pop(anchor, None)
            self._journal.append(anchor)

    def delete(self, anchor: str) -> None:
        """The object is gone. Raises KeyError if it never was there."""
        with self._lock:
            entry = self._accounts.pop(anchor).entry
            self._tombs[anchor] = Imported(anchor, entry.dn, entry.type, {}, deleted=True)
            self._journal.append(anchor)

    def account(self, anchor: str) -> Account:
        """What it keeps, to look at and to set. Raises KeyError."""
        return self._accounts[anchor]

    def opens(self, anchor: str, password: str) -> bool:
        """Whether a person gets in with that password. Counts as no bind."""
        account = self._accounts.get(anchor)
        return (
            account is not None
            and not account.locked
            and bool(password)
            and account.password == password
            and anchor not in self.faults.liars
        )

    # ------------------------------------------------------------------------------------------- what its connections use

    def open(self, secret: str) -> None:
        """Raises TargetUnavailable, TargetDenied, or what `faults.openings` holds next."""
        with self._lock:
            if self.faults.openings:
                raise self.faults.openings.pop(0)
            self.check_up()
            if self.secret and secret != self.secret:
                raise TargetDenied("the system refused our account", remedy="set the agent's secret again")
            self.opened += 1

    def check_up(self) -> None:
        """Raises TargetUnavailable."""
        if self.faults.down:
            raise TargetUnavailable("the system does not answer")

    def pages(self, cookie: bytes) -> Iterator[Page]:
        """All of it, or what the journal has since the cookie. Raises TargetUnavailable, BadSource."""
        since = self._position(cookie)
        with self._lock:
            end = len(self._journal)
            found = self._changed(since) if cookie else [one.entry for one in self._accounts.values()]
        starts = range(0, max(len(found), 1), self.page_size)
        for number, start in enumerate(starts):
            if self.faults.break_after_pages is not None and number >= self.faults.break_after_pages:
                raise TargetUnavailable("the connection broke")
            self.check_up()
            last = start + self.page_size >= len(found)
            yield Page(
                tuple(found[start : start + self.page_size]),
                str(end).encode() if last else cookie,
            )

    def write(self, anchor: str, new: NewPassword) -> Result:
        """Set as an administrator does: no history. Raises TargetUnavailable."""
        with self._lock:
            self.check_up()
            account, said = self._found(anchor, new.password)
            if account is None:
                return said
            self._store(account, new.password)
            account.must_change = new.must_change
            if new.unlock:
                account.locked, account.failures = False, 0
            return said

    def rewrite(self, anchor: str, old: str, new: str) -> Result:
        """Change as a person does: the old one must be right, and the new one never used. Raises TargetUnavailable."""
        with self._lock:
            self.check_up()
            account, said = self._found(anchor, new)
            if account is None:
                return said
            if account.locked or account.password != old:
                account.failures += 1
                account.locked = account.locked or account.failures >= self.lockout
                return Result(Code.DENIED, "the old password is not the one it has")
            if new in {account.password, *account.history}:
                return Result(Code.POLICY, "this password was used before")
            self._store(account, new)
            account.must_change, account.failures = False, 0
            return said

    def unlock(self, anchor: str) -> Result:
        """Without its password. Raises TargetUnavailable."""
        with self._lock:
            self.check_up()
            account = self._accounts.get(anchor)
            if account is None:
                return Result(Code.OBJECT_MISSING, "there is no such object")
            account.locked, account.failures = False, 0
            return Result(Code.SUCCESS)

    def look(self, anchor: str) -> Look:
        """Nothing is known of one that is gone. Raises TargetUnavailable."""
        with self._lock:
            self.check_up()
            account = self._accounts.get(anchor)
            return Look() if account is None else Look(account.locked, None, account.must_change, None)

    def bind(self, anchor: str, password: str) -> Proof:
        """One bind at most, none near a lock. Raises TargetUnavailable."""
        with self._lock:
            self.check_up()
            account = self._accounts.get(anchor)
            if account is None or account.locked or account.failures + 1 >= self.lockout:
                return Proof.NOT_TRIED
            self.binds += 1
            if self.opens(anchor, password):
                account.failures = 0
                return Proof.PROVED
            account.failures += 1
            return Proof.NOT_PROVED

    def _found(self, anchor: str, password: str) -> tuple[Account | None, Result]:
        """The account if the password may be written, and what is said."""
        if anchor in self.faults.answers:
            return None, self.faults.answers[anchor]
        account = self._accounts.get(anchor)
        if account is None:
            return None, Result(Code.OBJECT_MISSING, "there is no such object")
        if why := self.policy(password):
            return None, Result(Code.POLICY, why)
        return account, Result(Code.SUCCESS, origin=self.origin)

    def _store(self, account: Account, password: str) -> None:
        account.history.append(account.password)
        account.password = password
        self.served.append(account.entry.anchor)

    def _changed(self, since: int) -> list[Imported]:
        """Each object once, as it is now."""
        anchors = dict.fromkeys(self._journal[since:])
        return [self._accounts[a].entry if a in self._accounts else self._tombs[a] for a in anchors]

    def _position(self, cookie: bytes) -> int:
        if not cookie:
            return 0
        if not self.delta:
            raise CapabilityMissing("this system tells no changes", remedy="import all of it")
        text = cookie.decode("ascii", "replace")
        if not text.isdecimal() or int(text) > len(self._journal):
            raise BadSource("the mark of the last import is not known there", remedy="import all of it")
        return int(text)


class MemoryConnector:
    """Reads a MemorySystem."""

    def __init__(self, system: MemorySystem, secret: str) -> None:
        self._system = system
        self._secret = secret

    def read(self, cookie: bytes) -> Iterator[Page]:
        """All objects (empty cookie), or what changed since. Raises TargetUnavailable, TargetDenied, BadSource, CapabilityMissing."""
        self._system.open(self._secret)
        yield from self._system.pages(cookie)


class MemoryTarget:
    """Sets passwords in a MemorySystem."""

    def __init__(self, system: MemorySystem, secret: str) -> None:
        self._system = system
        self._secret = secret
        self._open = False

    def __enter__(self) -> Self:
        """Raises TargetUnavailable, TargetDenied."""
        self._system.open(self._secret)
        self._open = True
        return self

    def __exit__(self, *error: object) -> None:
        self._open = False

    def security(self) -> Security:
        """As the system was made."""
        self._connected()
        return self._system.security

    def set(self, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        """One result for each. Raises TargetUnavailable, and says nothing about who was served."""
        self._connected()
        results = []
        for number, new in enumerate(passwords):
            limit = self._system.faults.break_after
            if limit is not None and number >= limit:
                raise TargetUnavailable("the connection broke")
            results.append(self._system.write(new.object.anchor, new))
        return results

    def change(self, object: CsObject, old: str, new: str) -> Result:  # noqa: A002  # the port's word
        """With the old password. Raises TargetUnavailable."""
        self._connected()
        return self._system.rewrite(object.anchor, old, new)

    def verify(self, object: CsObject, password: str) -> Proof:  # noqa: A002  # the port's word
        """At most one bind. Raises TargetUnavailable."""
        self._connected()
        return self._system.bind(object.anchor, password)

    def unlock(self, objects: Sequence[CsObject]) -> Sequence[Result]:
        """Take locks away. Raises TargetUnavailable."""
        self._connected()
        return [self._system.unlock(one.anchor) for one in objects]

    def look(self, objects: Sequence[CsObject]) -> Sequence[Look]:
        """How accounts stand. Raises TargetUnavailable."""
        self._connected()
        return [self._system.look(one.anchor) for one in objects]

    def _connected(self) -> None:
        if not self._open:
            raise TargetUnavailable("the connection is closed")


class MemorySystems:
    """ConnectedSystems over MemorySystems, by name: settings are `{"system": NAME}`."""

    def __init__(self, **systems: MemorySystem) -> None:
        self.systems: dict[str, MemorySystem] = dict(systems)
        self.notes: dict[str, str] = {}

    def check(self, connector: str, settings: Mapping[str, object]) -> None:
        """Raises InvalidInput naming the field."""
        if connector != KIND:
            raise InvalidInput(
                "connector",
                f"there is no kind of system {connector[:80]!r}",
                remedy=f"the kinds are: {KIND}",
            )
        for name in settings:
            if name != "system":
                raise InvalidInput(f"settings.{name}", "is no setting of this kind of system")
        if settings.get("system") not in self.systems:
            raise InvalidInput("settings.system", "names no system in memory")

    def note(self, connector: str) -> str:
        """As the kind says."""
        return self.notes.get(connector, "")

    def connector(self, agent: ManagementAgent, secret: str) -> MemoryConnector:
        """Raises InvalidInput."""
        return MemoryConnector(self._system(agent), secret)

    def identity(self, agent: ManagementAgent, secret: str) -> tuple[str, ...]:
        """What the system was told to say. Raises InvalidInput, TargetUnavailable, TargetDenied."""
        system = self._system(agent)
        if system.says:
            system.open(secret)
        return system.says

    def target(self, agent: ManagementAgent, secret: str) -> MemoryTarget:
        """Raises InvalidInput, NotConfigured."""
        system = self._system(agent)
        if not system.settable:
            raise NotConfigured(f"{agent.name} names no way to set passwords")
        return MemoryTarget(system, secret)

    def _system(self, agent: ManagementAgent) -> MemorySystem:
        self.check(agent.connector, agent.settings)
        return self.systems[str(agent.settings["system"])]
