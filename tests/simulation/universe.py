"""Time, chance, and who may go on: one thread at a time, so that a seed always tells the same story.

A turn is one job of one node on its way through the product's own code. It can be killed or halted at each of its steps: before a transaction, after a commit,
before a question to a directory and before a write on a controller. A turn that was halted goes on later as if nothing had happened: that is what SIGSTOP, a
virtual machine that is moved, and a slow network look like from inside.
"""

import random
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from bastide.domain.ids import Sid
from bastide.services.ports import AccountState

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
#: Real seconds. A turn that takes longer hangs, and says so.
HANGS = 600.0


class Killed(BaseException):
    """SIGKILL: no handler runs, so it is no Exception."""


class Universe:
    """The true time, which no machine of the simulation knows, and chance."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.now = START
        #: Whose code runs now; None: the world's own, which nothing happens to.
        self.turn: Turn | None = None
        #: Something was written, in the database or on a controller, or a clock was set: the books are to look.
        self.changed = True

    @property
    def since_start(self) -> timedelta:
        return self.now - START

    def step(self) -> None:
        """Between two effects of the code that runs."""
        if self.turn is not None:
            self.turn.step()

    def sometimes(self, likely: float) -> bool:
        return self.chance.random() < likely


class UniverseClock:
    """The wall clock of one machine, `ahead` of the truth; what is monotonic is right everywhere."""

    def __init__(self, universe: Universe) -> None:
        self._universe = universe
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return self._universe.now + self.ahead

    def monotonic(self) -> float:
        return self._universe.now.timestamp()


class Turn:
    """Runs `act` in a thread of its own, as long as it is let. `kill_at`, `halt_at`: at which of its steps; 0: at none."""

    def __init__(
        self, universe: Universe, site: str, act: Callable[[], object], *, kill_at: int = 0, halt_at: int = 0
    ) -> None:
        self._universe = universe
        self.site = site
        self._act = act
        self.kill_at = kill_at
        self._halt_at = halt_at
        self._steps = 0
        self._deep = 0
        self._go = threading.Event()
        self._back = threading.Event()
        self._thread: threading.Thread | None = None
        self.error: BaseException | None = None
        self.over = False
        #: What controllers of each forest showed it since it last wrote there.
        self.seen: dict[str, Mapping[str, Mapping[Sid, AccountState]]] = {}

    # What the world calls.

    def run(self) -> None:
        """Until it is over, or halts."""
        before, self._universe.turn = self._universe.turn, self
        try:
            if not self._halt_at:
                self._whole()
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._in_thread, daemon=True)
                self._thread.start()
            else:
                self._go.set()
            if not self._back.wait(HANGS):
                raise TimeoutError("a turn hangs")
            self._back.clear()
        finally:
            self._universe.turn = before

    def kill(self) -> None:
        """At its next step; that of one that halts is this one."""
        self.kill_at = self._steps + 1
        if self._thread is not None and not self.over:
            self._steps += 1
            self.run()

    # What the code calls.

    def step(self) -> None:
        """Maybe the last one."""
        self._steps += 1
        if self._steps == self.kill_at:
            raise Killed
        if self._halt_at and self._steps >= self._halt_at and not self._deep:
            self._halt_at += 1_000_000
            self._back.set()
            self._go.wait()
            self._go.clear()
            if self._steps == self.kill_at:
                raise Killed

    def enter(self) -> None:
        """A transaction is open: it is not halted there, because the database would end it."""
        self._deep += 1

    def leave(self) -> None:
        self._deep -= 1

    def _in_thread(self) -> None:
        try:
            self._whole()
        finally:
            self._back.set()

    def _whole(self) -> None:
        try:
            self._act()
        except BaseException as error:  # noqa: BLE001  # whoever started the turn looks at what it was
            self.error = error
        self.over = True
