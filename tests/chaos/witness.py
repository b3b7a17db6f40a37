"""Who looks on while things go wrong: people who activate a role again and again, and a watch on the domain controllers themselves.

The watch asks the directory with an administrator's account, on each controller, and nothing that Bastide says. A person's PRIV account is shut
unless a grant opens it, so an account that is open when no request covers it is a privilege that stayed.
"""

import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

import ldap

from bastide.directory.active_directory import ActiveDirectory
from bastide.directory.ldap import Controllers, clock_of, listed
from bastide.directory.session import Session, door
from bastide.domain.errors import BastideError, NotFound, StoreError
from bastide.domain.ids import Sid, UserId
from bastide.domain.people import Forest
from bastide.domain.requests import OPEN, State
from bastide_lab.lab import Lab
from tests.support import directory_lab
from tests.support.failover_load import Load, in_threads
from tests.support.failover_node import FailoverNode
from tests.support.failover_world import PAUSE, Caller, FailoverWorld
from tests.support.patience import PATIENCE

#: Seconds between two looks at every controller.
LOOK = 0.5
#: From here on a clock is wrong.
WRONG = timedelta(minutes=1)
NO_TIME = timedelta(0)
#: Seconds that a controller has to answer, and that a connection is used.
LIMIT, LASTING = 5, 900.0
#: Seconds somebody works with what he was given before he gives it back. The next time he lets it run out.
WORK = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """An account that was open on a controller, at some moment from `before` to `after`: it is asked and answers in between."""

    controller: str
    user: UserId
    before: datetime
    after: datetime


@dataclass(slots=True)
class View:
    """What was found open, and how often somebody looked."""

    seen: list[Seen] = field(default_factory=list)
    looks: int = 0


@dataclass(slots=True)
class Watch:
    """`right`: on every controller, by the right clock; `wrong`: on one whose clock is wrong, by its own."""

    people: Mapping[Sid, UserId]
    right: View = field(default_factory=View)
    wrong: View = field(default_factory=View)
    _stop: threading.Event = field(default_factory=threading.Event)

    def look_on(self, directory: ActiveDirectory) -> None:
        """Until told to stop. A controller that does not answer shows nothing."""
        while not self._stop.wait(LOOK):
            with suppress(BastideError):
                self._look(directory, self.right, NO_TIME)

    def look_askew(self, directory: ActiveDirectory) -> None:
        """The same at one controller, while its clock is wrong: before the look, and still after it."""
        while not self._stop.wait(LOOK):
            with suppress(BastideError):
                if abs(ahead := _ahead(directory)) >= WRONG:
                    view = View()
                    self._look(directory, view, ahead)
                    if abs(_ahead(directory)) >= WRONG:
                        self.wrong.seen += view.seen
                        self.wrong.looks += view.looks

    def _look(self, directory: ActiveDirectory, view: View, ahead: timedelta) -> None:
        before = datetime.now(UTC)
        found = directory.observe(list(self.people))
        after = datetime.now(UTC)
        view.looks += 1
        view.seen += [
            Seen(controller, self.people[sid], before, after)
            for controller, states in found.items()
            for sid, state in states.items()
            if state.open_at(after + ahead)
        ]

    def stop(self) -> None:
        self._stop.set()


def _ahead(directory: ActiveDirectory) -> timedelta:
    """How far the only controller's clock is ahead. Raises DirectoryError."""
    connections = directory.connections
    return connections.on(connections.names()[0], clock_of) - datetime.now(UTC)


class ByPassword:
    """An administrator over TLS: Kerberos would not take a clock that is so wrong."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def __call__(self, controller: str) -> tuple[Session, float]:
        with door("sign in", controller):
            raw = ldap.initialize(f"ldaps://{controller}", bytes_strictness="error")
            raw.set_option(ldap.OPT_REFERRALS, ldap.OPT_OFF)
            raw.set_option(ldap.OPT_NETWORK_TIMEOUT, LIMIT)
            raw.set_option(ldap.OPT_TIMEOUT, LIMIT)
            raw.set_option(ldap.OPT_X_TLS_CACERTFILE, str(self._lab.ca))
            raw.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
            raw.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
            name = r"priv\Administrator"
            raw.simple_bind_s(self._lab.principal(name), self._lab.password(name))
        return Session(raw, controller, LIMIT), LASTING


@contextmanager
def watched(world: FailoverWorld, people: Mapping[Sid, UserId], askew: str = "") -> Iterator[Watch]:
    """Until the end of the block. `askew`: the controller whose clock will be wrong; empty: none."""
    made = Watch(people)
    eyes = ActiveDirectory(Forest.PRIV, world.forests.controllers(Forest.PRIV, "Administrator"))
    work = [partial(made.look_on, eyes)]
    with ExitStack() as stack:
        if askew:
            names = listed([world.lab.fqdn(askew)])
            there = Controllers(directory_lab.PRIV, names, ByPassword(world.lab), time.monotonic)
            stack.callback(there.close)
            work.append(partial(made.look_askew, ActiveDirectory(Forest.PRIV, there)))
        threads = [threading.Thread(target=one) for one in work]
        for thread in threads:
            thread.start()
        try:
            yield made
        finally:
            made.stop()
            for thread in threads:
                thread.join(PATIENCE)


@dataclass(slots=True)
class Activations:
    """`asked`: ids that were acknowledged, and when (monotonic); `since`: just before each was asked for; `opened`: when it was seen active."""

    load: Load
    world: FailoverWorld
    asked: dict[str, float] = field(default_factory=dict)
    since: dict[str, datetime] = field(default_factory=dict)
    opened: dict[str, float] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def go_on(self, one: Caller, role: str) -> None:
        """Activate, work, give back; activate, let it run out; and again."""
        turn = 0
        while not self.stop.is_set():
            body = {"role": role, "justification": "chaos"}
            began = datetime.now(UTC)
            made = str(self.load.insist(one, "/requests", body, str(uuid.uuid4()), turn).json()["id"])
            self.asked[made], self.since[made] = time.monotonic(), began
            if self._until(made, {State.ACTIVE}) and turn % 2 == 0:
                self.opened[made] = time.monotonic()
                self.stop.wait(WORK)
                self.load.insist(one, f"/requests/{made}/close", {"reason": "done"}, "", turn + 1)
            self._until(made, set())
            turn += 1

    def _until(self, request: str, wanted: set[State]) -> bool:
        """Whether it came to one of these states, before it was over. A primary that was succeeded, and does not know it yet, may not know the
        request either: whether it is lost is looked at when the cluster is whole.
        """
        deadline, state = time.monotonic() + PATIENCE * 2, State.PROCESSING
        while time.monotonic() < deadline:
            with suppress(StoreError, NotFound):
                state = self.world.request(request).state
                if state in wanted or state not in OPEN:
                    return state in wanted
            time.sleep(PAUSE * 4)
        raise AssertionError(f"{request} is still {state}")


@contextmanager
def activating(
    world: FailoverWorld, nodes: Sequence[FailoverNode], callers: Sequence[Caller], role: str
) -> Iterator[Activations]:
    """Until the end of the block; then everybody waits for the end of what he has."""
    made = Activations(Load(nodes, role), world)
    for one in callers:
        one.token(nodes[0])
    with in_threads([partial(made.go_on, one, role) for one in callers], made.stop):
        yield made


def uncovered(
    seen: Sequence[Seen], covers: Mapping[UserId, Sequence[tuple[datetime, datetime]]]
) -> list[Seen]:
    """What was open although no grant covered it. Pure."""
    return [
        one
        for one in seen
        if not any(since <= one.after and one.before < until for since, until in covers.get(one.user, ()))
    ]


def longest_wait(moments: Sequence[float], since: float, until: float) -> float:
    """Seconds, the longest between two of the moments, or the ends of the span. Pure."""
    inner = [since, *sorted(one for one in moments if since <= one <= until), until]
    return max(after - before for before, after in pairwise(inner))
