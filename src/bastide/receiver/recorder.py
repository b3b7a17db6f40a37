"""Writes down which controllers were heard (services/passwords/silence.py), in a thread of its own: no conversation waits for the database."""

import logging
import threading

from bastide.domain.errors import StoreError
from bastide.services.passwords.silence import Silence

_log = logging.getLogger(__name__)
#: Seconds. How soon a controller that is heard for the first time is on record.
PACE = 5.0
#: Seconds until it is tried again. What was heard is kept meanwhile.
PAUSE = 30.0


class Recorder:
    """Works until `stop`."""

    def __init__(self, silence: Silence, pace: float = PACE, pause: float = PAUSE) -> None:
        """`pace`, `pause`: seconds between two looks, and after a failure."""
        self._silence = silence
        self._pace = pace
        self._pause = pause
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="contacts", daemon=True)

    def start(self) -> None:
        """In a thread of its own."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Waits `timeout` seconds for a commit that has begun. What is not on record then is at most a minute of contacts. May be called before `start`."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self._pace if self._written() else self._pause)

    def _written(self) -> bool:
        try:
            self._silence.write_down()
        except StoreError as error:
            _log.warning("which controllers were heard is not on record: %s", error.message)
            return False
        except Exception:  # noqa: BLE001  # a thread that dies would make all controllers silent
            _log.exception("unexpected, while writing down which controllers were heard")
            return False
        return True
