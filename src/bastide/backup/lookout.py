"""Has the server of one connection watched, in a thread of its own: a witness that is slow, silent or broken holds nothing up, and makes nothing fail."""

import logging
import threading
from collections.abc import Callable

from bastide.backup.witness import Notice, Unwatched, Watch, Witness

_log = logging.getLogger(__name__)

#: How often one that is gone is replaced by another.
_AGAIN = 3


class Lookout:
    """Begins at once. `told`: what to do about a notice, in that thread; it is called once at most, and not after `end`."""

    def __init__(self, witness: Witness, server: str, address: str, told: Callable[[Notice], None]) -> None:
        self._witness = witness
        self._server = server
        self._address = address
        self._told = told
        self._lock = threading.Lock()
        self._is_over = False
        self._watch: Watch | None = None
        threading.Thread(target=self._run, name="witness", daemon=True).start()

    def end(self) -> None:
        """Nothing is told any more. Without an error."""
        with self._lock:
            self._is_over = True
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _run(self) -> None:
        problem = ""
        for _ in range(_AGAIN):
            try:
                notice = self._next()
            except Unwatched as error:
                problem = error.message
                continue
            if notice is not None:
                self._tell(notice)
            return
        if not self._is_over:
            _log.warning("nobody tells early when %s is gone: %s", self._server, problem)

    def _next(self) -> Notice | None:
        """None: it is over. Raises Unwatched."""
        watch = self._witness.watch(self._server, self._address)
        with self._lock:
            is_over = self._is_over
            if not is_over:
                self._watch = watch
        if is_over:
            watch.close()
            return None
        return watch.wait()

    def _tell(self, notice: Notice) -> None:
        with self._lock:
            if self._is_over:
                return
            self._is_over, self._watch = True, None
        self._told(notice)
