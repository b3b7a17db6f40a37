"""One thread for each target. Whatever ends one unforeseen is kept, for the agent to see."""

from collections.abc import Callable, Mapping
from threading import Event, Thread

from bastide.pcns import Configuration, ServiceSettings, Target
from bastide_agent.configuration import active, connection
from bastide_agent.deliver import Delivery
from bastide_agent.events import EventLog
from bastide_agent.spool import Spool

_STOP_PATIENCE = 15.0
#: A thread that waits looks up now and then, should a wake-up ever be lost.
_LOOK_UP = 60.0


class TargetThread:
    """Delivers to one target until it is stopped."""

    def __init__(self, delivery: Delivery, spool: Spool, log: EventLog) -> None:
        self.delivery = delivery
        self.died: BaseException | None = None
        self._spool = spool
        self._log = log
        self._stop = Event()
        self._thread = Thread(target=self._run, name=f"target-{delivery.target.name}"[:40], daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """It ends after what it is just doing; `join` waits for that."""
        self._stop.set()
        with self._spool.changed:
            self._spool.changed.notify_all()

    def join(self, seconds: float = _STOP_PATIENCE) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        self._log.write(2300, target=self.delivery.target.name)
        try:
            while not self._stop.is_set():
                self._turn()
        except BaseException as error:  # noqa: BLE001  # the agent must hear of any end (6028)
            self.died = error
        finally:
            self.delivery.hang_up()
            self._log.write(2301, target=self.delivery.target.name)

    def _turn(self) -> None:
        with self._spool.changed:
            job = self.delivery.next_job()
            if isinstance(job, float):
                if not self._stop.is_set():
                    self._spool.changed.wait(min(job, _LOOK_UP))
                return
        job()


class TargetThreads:
    """Those of the present configuration. Used by one thread."""

    def __init__(
        self, make: Callable[[Target, ServiceSettings], Delivery], spool: Spool, log: EventLog
    ) -> None:
        self._make = make
        self._spool = spool
        self._log = log
        self._running: dict[str, TargetThread] = {}

    def follow(self, configuration: Configuration) -> None:
        """Start, stop and replace threads. One whose connection is the same goes on, with the new rules."""
        wanted = {str(target.guid): target for target in active(configuration)}
        for guid in [*self._running]:
            target, thread = wanted.get(guid), self._running[guid]
            if target is None or connection(target) != connection(thread.delivery.target):
                thread.stop()
                # In order: the new thread must not send a user's next change while the old one sends the last.
                thread.join()
                del self._running[guid]
            else:
                thread.delivery.target, thread.delivery.service = target, configuration.service
        for guid, target in wanted.items():
            if guid not in self._running:
                self._running[guid] = TargetThread(
                    self._make(target, configuration.service), self._spool, self._log
                )
                self._running[guid].start()
        with self._spool.changed:
            self._spool.changed.notify_all()

    def dead(self) -> BaseException | None:
        """The first error that ended a thread."""
        return next((thread.died for thread in self._running.values() if thread.died), None)

    def stop(self) -> None:
        """All of them, and wait."""
        for thread in self._running.values():
            thread.stop()
        for thread in self._running.values():
            thread.join()
        self._running.clear()

    def deliveries(self) -> Mapping[str, Delivery]:
        """By the GUID of the target."""
        return {guid: thread.delivery for guid, thread in [*self._running.items()]}
