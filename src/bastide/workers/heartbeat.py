"""One thread of a node that says, again and again, that it is alive. Between two heartbeats it sleeps."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from bastide.domain.errors import BastideError

_log = logging.getLogger(__name__)


class Heartbeat:
    """Calls `beat` every `rhythm` until `stop`. What goes wrong is said once, until it goes right again."""

    def __init__(self, beat: Callable[[], None], rhythm: timedelta) -> None:
        self._beat = beat
        self._rhythm = rhythm.total_seconds()
        self._stop = threading.Event()
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin; the first beat is due after one rhythm."""
        self._thread.start()

    def stop(self) -> None:
        """No beat comes after this."""
        self._stop.set()
        self._thread.join()

    def once(self) -> None:
        """One beat."""
        problem = ""
        try:
            self._beat()
        except BastideError as error:
            problem = error.message
        except Exception as error:  # noqa: BLE001  # a thread that dies here would let the node be taken for lost
            problem = type(error).__name__
            _log.exception("the heartbeat failed unexpectedly")
        if problem and problem != self._problem:
            _log.error("no heartbeat: %s", problem)
        elif self._problem and not problem:
            _log.info("the heartbeat goes on")
        self._problem = problem

    def _run(self) -> None:
        while not self._stop.wait(self._rhythm):
            self.once()
