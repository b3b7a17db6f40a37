"""What administrators and auditors see of resets, and how a person is unlocked."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.errors import Conflict, NotFound
from bastide.domain.ids import Sid, typed
from bastide.domain.people import Actor, Right, require, require_reader
from bastide.domain.reset.gates import Gate
from bastide.domain.reset.lockout import Count, Kind, folded, key_of
from bastide.services.events import by_actor
from bastide.services.ports import Store, UnitOfWork
from bastide.services.reset import counters
from bastide.services.reset.people import Found, People
from bastide.services.reset.ports import Corpus, Registration, Settings
from bastide.services.reset.registered import Registered
from bastide.services.reset.rules import NewPasswords

_LOCKING = (Kind.PAIR, Kind.NAME, Kind.NEAR)


@dataclass(frozen=True, slots=True)
class Locked:
    """A person who waits. `everywhere`: at all addresses that somebody registered from, or at all others. `until` None: until an administrator unlocks it."""

    name: str
    everywhere: bool
    until: datetime | None
    locks: int


@dataclass(frozen=True, slots=True)
class State:
    """`corpus` None: no list of lost passwords is set up."""

    rules: tuple[tuple[tuple[str, ...], tuple[Gate, ...], float], ...]
    registered: int
    locked: tuple[Locked, ...]
    corpus: Corpus | None


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of one person. `excluded`: why the person may not reset here; empty: may, if `gates` has some."""

    name: str
    excluded: str
    gates: tuple[Gate, ...]
    registered: tuple[Gate, ...]
    password: tuple[str, ...]


class Administration:
    """The use cases."""

    def __init__(
        self,
        *,
        store: Store,
        people: People,
        registered: Registered,
        passwords: NewPasswords,
        settings: Settings,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._people = people
        self._registered = registered
        self._passwords = passwords
        self._settings = settings
        self._now = now

    def state(self, actor: Actor) -> State:
        """Raises NotAuthorized, NotConfigured."""
        require_reader(actor)
        now = self._now()
        with self._store.read() as uow:
            counts = uow.resets.counts(_LOCKING)
            registered = len(uow.resets.registrations())
        locked = tuple(_locked(one) for one in counts if one.locked_at(now))
        rules = tuple((one.groups, one.gates, one.cooling.total_seconds()) for one in self._settings.rules)
        return State(rules, registered, locked, self._passwords.corpus())

    def registrations(self, actor: Actor) -> tuple[Registration, ...]:
        """By name. Raises NotAuthorized."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.resets.registrations()

    def rules(self, actor: Actor, account: str) -> Rules:
        """What a person goes through. Raises NotAuthorized, NotFound, DirectoryError."""
        require_reader(actor)
        found = self._found(account)
        sid = found.person.ref.sid
        with self._store.read() as uow:
            held = uow.resets.registration(sid)
        return Rules(
            name=found.person.ref.name,
            excluded=found.excluded,
            gates=found.rule.gates if found.rule is not None else (),
            registered=held.gates if held is not None else (),
            password=self._passwords.rules(sid),
        )

    def unlock(self, actor: Actor, account: str) -> str:
        """Forget the wrong answers of a person, at all addresses; the name. Raises NotAuthorized, NotFound, Conflict if nothing is counted."""
        require(actor, Right.ADMINISTER)
        found = self._found(account)
        person = found.person.ref
        with self._store.write() as uow:
            removed = counters.forget(uow, key_of(Kind.NAME, folded(person.name)), person.name)
            if not removed:
                raise Conflict(f"nothing is counted against {person.name}")
            uow.audit.append(by_actor("reset.unlocked", self._now(), actor, subject=person.sid, subject_name=person.name, data={"counts": removed}))  # fmt: skip
            uow.commit()
        return person.name

    def unregister(self, actor: Actor, account: str) -> str:
        """Take away what is registered, and end resets that are under way; the name that it was registered by. Raises NotAuthorized, NotFound, DirectoryError."""
        require(actor, Right.ADMINISTER)
        bare = self._people.bare(account)
        sid = self._people.sid_of(bare)
        with self._store.write() as uow:
            held = _registration(uow, sid, bare)
            if held is None:
                raise NotFound(
                    f"nothing is registered for {typed(account)}", remedy="`bastide reset registrations`"
                )
            now = self._now()
            self._registered.take_away(uow, held.person, now)
            uow.audit.append(by_actor("reset.unregistered", now, actor, subject=held.person, subject_name=held.name))  # fmt: skip
            uow.commit()
        return held.name

    def _found(self, account: str) -> Found:
        named = self._people.find(self._people.bare(account))
        found = None if named is None else self._people.of(named.person.ref.sid)
        if found is None:
            raise NotFound(
                f"there is no enabled account {typed(account)}",
                remedy="write the account's name, or CORP\\name",
            )
        return found


def _registration(uow: UnitOfWork, sid: Sid | None, name: str) -> Registration | None:
    """Of the account that has the name now; by the name that was stored only where no account has it any more."""
    if sid is not None:
        return uow.resets.registration(sid)
    return next((one for one in uow.resets.registrations() if one.name.casefold() == name.casefold()), None)


def _locked(count: Count) -> Locked:
    until = None if count.for_good else count.until
    return Locked(count.name, count.kind is not Kind.PAIR, until, count.locks)
