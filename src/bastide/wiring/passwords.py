"""The use cases of password synchronization: take in, deliver, queue, switch, explain, coverage."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.contacts import SILENCE_MINUTES
from bastide.services.passwords.accept import Accept
from bastide.services.passwords.at_once import AtOnce
from bastide.services.passwords.callers import Callers
from bastide.services.passwords.coverage import FRESH, CoverageProof
from bastide.services.passwords.deliver import Deliver
from bastide.services.passwords.erase import Eraser
from bastide.services.passwords.explain import Explain
from bastide.services.passwords.lanes import Lanes
from bastide.services.passwords.person import PersonPasswords
from bastide.services.passwords.ports import (
    ChannelAcceptor,
    ConnectedSystems,
    ControllerRegister,
    Envelope,
    EventLog,
    NtHasher,
    Opener,
    OrderRules,
    PasswordDates,
    Vault,
)
from bastide.services.passwords.queue import Queue
from bastide.services.passwords.silence import Silence
from bastide.services.passwords.switch import Switchboard
from bastide.services.ports import Random, Sealer, Store
from bastide.wiring.spaces import NoSystems


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordAdapters:
    """What password synchronization touches besides the store and the connected systems. Without `acceptor` and `register` nothing can be taken in
    from the network; without `dates` there is no coverage.
    """

    vault: Vault
    envelope: Envelope
    opener: Opener
    hasher: NtHasher
    events: EventLog
    acceptor: ChannelAcceptor | None = None
    register: ControllerRegister | None = None
    dates: PasswordDates | None = None
    #: Targets that one batch serves at the same time; 1: one after the other.
    threads: int = 8
    #: A controller that is not heard for longer is reported; zero: none is.
    silence: timedelta = timedelta(minutes=SILENCE_MINUTES)
    #: A change that nobody told of is missed when it is older.
    fresh: timedelta = FRESH


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwords:
    """The use cases, and what a receiver needs."""

    accept: Accept
    deliver: Deliver
    queue: Queue
    switchboard: Switchboard
    explain: Explain
    person: PersonPasswords
    at_once: AtOnce
    coverage: CoverageProof
    silence: Silence
    events: EventLog
    acceptor: ChannelAcceptor | None
    callers: Callers | None


def assemble_passwords(
    adapters: PasswordAdapters,
    *,
    store: Store,
    systems: ConnectedSystems | None,
    sealer: Sealer,
    random: Random,
    now: Callable[[], datetime],
    orders: OrderRules | None = None,
) -> Passwords:
    """Wire them. `orders` None: there is nobody who orders."""
    vault, events = adapters.vault, adapters.events
    eraser = Eraser(store=store, vault=vault)
    switchboard = Switchboard(store=store, vault=vault, eraser=eraser, events=events, now=now)
    return Passwords(
        accept=Accept(
            store=store,
            vault=vault,
            envelope=adapters.envelope,
            opener=adapters.opener,
            hasher=adapters.hasher,
            events=events,
            random=random,
            now=now,
        ),
        deliver=Deliver(
            store=store,
            vault=vault,
            envelope=adapters.envelope,
            sealer=sealer,
            systems=systems or NoSystems(),
            switchboard=switchboard,
            eraser=eraser,
            events=events,
            now=now,
            lanes=Lanes(),
            orders=orders,
            threads=adapters.threads,
        ),
        queue=Queue(store=store, eraser=eraser, events=events, now=now),
        switchboard=switchboard,
        explain=Explain(store=store, now=now),
        at_once=AtOnce(
            store=store,
            vault=vault,
            systems=systems or NoSystems(),
            sealer=sealer,
            events=events,
            random=random,
            now=now,
        ),
        person=PersonPasswords(store=store, vault=vault, envelope=adapters.envelope, random=random, now=now),
        coverage=CoverageProof(store=store, dates=adapters.dates, now=now, fresh=adapters.fresh),
        silence=Silence(store=store, events=events, now=now, after=adapters.silence),
        events=events,
        acceptor=adapters.acceptor,
        callers=None if adapters.register is None else Callers(register=adapters.register, events=events),
    )
