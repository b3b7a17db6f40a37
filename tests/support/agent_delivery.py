"""A queue of the agent, its targets, and the servers behind them, in memory."""

from collections.abc import Callable
from pathlib import Path

from bastide.pcns import ServiceSettings, Target
from bastide.wire import Answer, Notification, Verdict
from bastide_agent.deliver import Delivery
from bastide_agent.spool import Spool
from tests.support.agent import ManualClock, MemoryLog, MemoryServer, target
from tests.support.agent_spool import change

RETRY = 30
T0 = 1_000


class World:
    """A queue, one target or two, and the servers behind."""

    def __init__(self, path: Path, *targets: Target, **service: int) -> None:
        self.clock, self.log, self.server = ManualClock(), MemoryLog(), MemoryServer()
        self.spool = Spool(path, self.log, limit=1 << 22, aside=lambda: "now")
        self.targets = targets or (target(keep_alive=0),)
        self.service = ServiceSettings(**{"retry_interval": RETRY, **service})
        self.deliveries = [self.delivery(one, self.service) for one in self.targets]
        self.one = self.deliveries[0]

    def delivery(self, chosen: Target, service: ServiceSettings) -> Delivery:
        return Delivery(
            chosen,
            service,
            spool=self.spool,
            connector=self.server,
            log=self.log,
            clock=self.clock,
            ticks=lambda: T0,
            names=lambda: {str(one.guid): one.name for one in self.targets},
        )

    def queue(self, *references: str, user: str = "") -> None:
        guids = [str(one.guid) for one in self.targets]
        self.spool.add([(change(one, user or f"user-of-{one}"), guids) for one in references], T0)

    def work(self, delivery: Delivery | None = None) -> float:
        """All that is due now. Seconds until something is."""
        chosen = delivery or self.one
        for _ in range(1000):
            job = chosen.next_job()
            if isinstance(job, float):
                return job
            job()
        raise AssertionError("there is no end")

    def heard(self) -> list[tuple[str, int]]:
        return [(one.reference, one.attempt) for one in self.server.heard]


def say(verdict: Verdict, **more: int | str) -> Callable[[Notification], Answer]:
    return lambda one: Answer(reference=one.reference, verdict=verdict, **more)  # type: ignore[arg-type]
