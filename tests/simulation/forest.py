"""The forest in memory over a network that can be cut: what a node sees depends on where it stands, and what a controller hears too."""

from collections.abc import Collection, Mapping

from bastide.directory.memory import MemoryDirectory
from bastide.directory.memory_forest import Key, MemoryForest, Replica
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.services.ports import AccountState, Controller
from tests.simulation.universe import Universe


class Network:
    """`apart`: sites that reach nothing but themselves."""

    def __init__(self) -> None:
        self.apart: set[str] = set()

    def reaches(self, one: str, other: str) -> bool:
        return one == other or not {one, other} & self.apart


class SimulatedForest(MemoryForest):
    """`site_of`: where each controller stands. `losing`: controllers that acknowledge writes and forget them."""

    def __init__(
        self, forest: Forest, universe: Universe, network: Network, site_of: Mapping[str, str]
    ) -> None:
        self.universe = universe
        self._network = network
        self._site_of = site_of
        self.losing: set[str] = set()
        super().__init__(forest, lambda: universe.now, controllers=site_of)

    def reachable(self) -> Mapping[str, Replica]:
        found = {name: replica for name, replica in self._replicas.items() if self._answers(name)}
        if not found:
            raise DirectoryUnavailable(f"no domain controller of {self.dns_name} answers")
        return found

    def controllers(self) -> tuple[Controller, ...]:
        return tuple(Controller(name, "" if self._answers(name) else "cut off") for name in self._replicas)

    def write(self, controller: str, what: str, rows: Mapping[Key, object]) -> None:
        self.universe.step()
        self.universe.changed = True
        if self.universe.turn is not None:
            self.universe.turn.seen.pop(self.forest.value, None)
        if controller not in self.losing:
            super().write(controller, what, rows)
            self._spread(controller, rows)

    def replicate(self) -> None:
        """What can meet, meets."""
        self.universe.changed = True
        for one, mine in self._replicas.items():
            for other, theirs in self._replicas.items():
                if one != other and self._meet(one, other):
                    theirs.learn(mine)

    def replicas(self) -> Mapping[str, Replica]:
        """All of them, for who wants the truth."""
        return self._replicas

    def _spread(self, controller: str, rows: Mapping[Key, object]) -> None:
        written = {key: self._replicas[controller].rows[key] for key in rows}
        for name, replica in self._replicas.items():
            if name != controller and self._meet(controller, name):
                for key, (stamp, value) in written.items():
                    replica.put(stamp, key, value)

    def _connected(self) -> set[str]:
        return set()  # `write` tells nobody else: `_spread` knows who hears of it

    def _meet(self, one: str, other: str) -> bool:
        still = self._cut | self._isolated
        return not {one, other} & still and self._network.reaches(self._site_of[one], self._site_of[other])

    def _answers(self, controller: str) -> bool:
        turn = self.universe.turn
        return controller not in self._cut and (
            turn is None or self._network.reaches(turn.site, self._site_of[controller])
        )


class SimulatedDirectory(MemoryDirectory):
    """A step before each question that the worker asks; writes are steps on each controller."""

    world: SimulatedForest

    def observe(self, accounts: Collection[Sid]) -> Mapping[str, Mapping[Sid, AccountState]]:
        self.world.universe.step()
        states = super().observe(accounts)
        if self.world.universe.turn is not None:
            self.world.universe.turn.seen[self.forest.value] = states
        return states

    def observe_link(self, group: ObjectRef, member: Sid) -> Mapping[str, bool | None]:
        self.world.universe.step()
        return super().observe_link(group, member)
