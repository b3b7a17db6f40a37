"""One thread of a process that looks at what is asked of all nodes: which operations are traced, whose logs are wanted."""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from bastide.domain.errors import BastideError
from bastide.services.ports import Store

_log = logging.getLogger(__name__)
#: Between two looks at least, however often others wake it.
_PAUSE_SECONDS = 1.0


class Watcher:
    """Calls each of `looks` when the store wakes it, and every `rhythm`, until `stop`. What goes wrong is said once, until it goes right again."""

    def __init__(self, store: Store, looks: tuple[Callable[[], object], ...], rhythm: timedelta) -> None:
        self._store = store
        self._looks = looks
        self._rhythm = rhythm.total_seconds()
        self._stop = threading.Event()
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin, with a look."""
        self._thread.start()

    def stop(self) -> None:
        """No look comes after this."""
        self._stop.set()
        self._store.wake()
        self._thread.join()

    def once(self) -> None:
        """One look at each."""
        problem = ""
        for look in self._looks:
            try:
                look()
            except BastideError as error:
                problem = error.message
            except Exception as error:  # noqa: BLE001  # a thread that dies here would leave a trace on, and nodes without an answer
                problem = type(error).__name__
                _log.exception("a look at what is asked of all nodes failed unexpectedly")
        if problem and problem != self._problem:
            _log.error("what is asked of all nodes is not known: %s", problem)
        self._problem = problem

    def _run(self) -> None:
        self._store.wait(0)  # from here on a wake-up counts, also one that comes during the first look
        while not self._stop.is_set():
            self.once()
            self._stop.wait(_PAUSE_SECONDS)
            if not self._stop.is_set():
                self._store.wait(self._rhythm)
