"""What breaks, how often and for how long, by chance; and how it is mended. At the end everything is mended at once."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from bastide.services.readback import SKEW
from tests.simulation.cluster import SITES, SimulatedNode
from tests.simulation.universe import UniverseClock

if TYPE_CHECKING:
    from tests.simulation.story import Story

#: How many of each come in an hour.
PER_HOUR = {
    "node killed": 20.0,
    "node paused": 20.0,
    "database fails over": 4.0,
    "answers of commits lost": 4.0,
    "site cut off": 1.0,
    "controller silent": 4.0,
    "replication late": 6.0,
    "controller forgets writes": 6.0,
    "clock of a node wrong": 12.0,
    "clock of a controller wrong": 3.0,
    "wake-ups lost": 12.0,
}
LIKELY = 0.2


class Faults:
    """Each is planned for a moment; whoever is hit is drawn then."""

    def __init__(self, story: "Story") -> None:
        self._story = story
        self._cluster = story.cluster
        self._universe = story.universe
        self._chance = story.universe.chance
        self._mend: list[Callable[[], None]] = []
        self.going_on = True

    def plan(self, until: timedelta) -> None:
        acts = {
            "node killed": lambda: self.kill(self._node()),
            "node paused": lambda: self.pause(self._node()),
            "database fails over": self._fail_over,
            "answers of commits lost": self._lose_answers,
            "site cut off": self._cut,
            "controller silent": self._silence,
            "replication late": self._isolate,
            "controller forgets writes": self._forget,
            "clock of a node wrong": lambda: self._set(self._node().clock),
            "clock of a controller wrong": lambda: self._set(
                self._chance.choice([*self._cluster.books.dc_clocks.values()])
            ),
            "wake-ups lost": self._deafen,
        }
        for name, per_hour in PER_HOUR.items():
            moment = timedelta(hours=self._chance.expovariate(per_hour))
            while moment < until:
                self._story.later(moment, partial(self._strike, name, acts[name]))
                moment += timedelta(hours=self._chance.expovariate(per_hour))

    def stop(self) -> None:
        """Everything is mended, and everybody is there again."""
        self.going_on = False
        for mend in self._mend:
            mend()
        for node in self._cluster.nodes:
            if not node.lives:
                self._start(node)
            self.resume(node)
            node.clock.ahead = timedelta(0)
            node.deaf_until = self._universe.now

    def kill(self, node: SimulatedNode) -> None:
        """What it holds stays claimed until the lease is over."""
        if not node.lives:
            return
        self._story.counted["kills"] += 1
        node.lives = False
        turns, node.turns = [*node.turns.values()], {}
        for turn in turns:
            self._story.forget(turn)
        self._after(300, lambda: self._start(node))

    def pause(self, node: SimulatedNode) -> None:
        """For it no time passes; its leases run out."""
        if node.paused or not node.lives:
            return
        node.paused = True
        process = node.processes
        self._after(120, lambda: self.resume(node, process))

    def resume(self, node: SimulatedNode, process: int = 0) -> None:
        """It goes on where it was."""
        if node.paused and node.lives and process in {0, node.processes}:
            node.paused = False
            for kind, turn in [*node.turns.items()]:
                self._story.resume(node, kind, turn)

    # ----------------------------------------------------------------------------------------------------------------------

    def _strike(self, name: str, act: Callable[[], None]) -> None:
        self._story.counted[name] += 1
        act()

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        """After some such time, if the faults are not over before."""
        self._story.later(
            timedelta(seconds=self._chance.expovariate(1 / seconds)), lambda: act() if self.going_on else None
        )

    def _for_a_while(self, seconds: float, mend: Callable[[], None]) -> None:
        self._mend.append(mend)
        self._after(seconds, mend)

    def _node(self) -> SimulatedNode:
        return self._chance.choice(self._cluster.nodes)

    def _start(self, node: SimulatedNode) -> None:
        """As systemd does, again and again until the database answers."""
        if node.lives:
            return
        if self._cluster.moods.down or not self._cluster.moods.reaches(node.site):
            self._after(5, lambda: self._start(node))
            return
        node.start()
        node.services.nodes.join()

    def _fail_over(self) -> None:
        """Nobody is answered; then another site has the primary."""

        def elected() -> None:
            self._cluster.moods.down = False
            reachable = [site for site in SITES if site not in self._cluster.network.apart]
            self._cluster.primary = self._chance.choice(reachable or SITES)

        self._cluster.moods.down = True
        self._for_a_while(20, elected)

    def _lose_answers(self) -> None:
        moods = self._cluster.moods
        moods.after = moods.before = LIKELY

        def mend() -> None:
            moods.after = moods.before = 0.0

        self._for_a_while(60, mend)

    def _cut(self) -> None:
        """From the other two. Where the primary was there, the others elect one."""
        site = self._chance.choice(SITES)
        self._cluster.network.apart.add(site)
        if site == self._cluster.primary:
            self._fail_over()
        self._for_a_while(90, partial(self._join, site))

    def _join(self, site: str) -> None:
        self._cluster.network.apart.discard(site)
        self._cluster.priv.replicate()
        self._cluster.corp.replicate()

    def _silence(self) -> None:
        forest = self._chance.choice((self._cluster.priv, self._cluster.corp))
        name = self._chance.choice([*forest.replicas()])
        forest.cut(name)
        self._for_a_while(60, lambda: forest.heal(name))

    def _isolate(self) -> None:
        forest = self._chance.choice((self._cluster.priv, self._cluster.corp))
        name = self._chance.choice([*forest.replicas()])
        forest.isolate(name)
        self._for_a_while(240, lambda: forest.heal(name))

    def _forget(self) -> None:
        """A controller that is reset loses what it had not written down; for a moment it does with everything."""
        forest = self._chance.choice((self._cluster.priv, self._cluster.corp))
        name = self._chance.choice([*forest.replicas()])
        forest.losing.add(name)
        self._for_a_while(30, lambda: forest.losing.discard(name))

    def _set(self, clock: UniverseClock) -> None:
        def put(ahead: timedelta) -> None:
            clock.ahead = ahead
            self._universe.changed = True

        put(SKEW * self._chance.uniform(-1, 1))

        self._for_a_while(600, lambda: put(timedelta(0)))

    def _deafen(self) -> None:
        """It hears of work late: when its own clock tells it to look, which is at least once a minute."""
        self._node().deaf_until = self._universe.now + timedelta(seconds=60 * self._chance.random())
