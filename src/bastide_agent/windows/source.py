"""The source of changes on Windows: the filter's pipe, served by a thread of its own, and what becomes of each change (capture.py)."""

from threading import Thread

from bastide.pcns import Configuration
from bastide_agent.failures import Stop
from bastide_agent.windows.capture import WindowsCapture
from bastide_agent.windows.pipe import Pipe, serve

#: Seconds for the change that is just being taken: a caller has fewer (pipe.py), and the directory answers at once or not at all.
_PATIENCE = 5.0


class FilterSource:
    """As ChangeSource says."""

    def __init__(self, capture: WindowsCapture, pipe: Pipe) -> None:
        self._capture = capture
        self._pipe = pipe
        self._died: BaseException | None = None
        self._thread = Thread(target=self._serve, name="filter", daemon=True)

    def begin(self, base: str, invocation: str) -> None:
        """As the port says. The filter is heard from now on; until the first round it is told to keep what it has."""
        self._capture.begin(base, invocation)
        self._thread.start()

    def come_back(self, base: str, invocation: str) -> None:
        """As the port says."""
        self._capture.come_back(base, invocation)

    def round(self, configuration: Configuration) -> int:
        """As the port says. Raises Stop (6028) when nobody serves the pipe any more."""
        if self._died is not None:
            raise Stop(6028, f"the filter is not heard any more: {type(self._died).__name__}")
        return self._capture.round(configuration)

    def flush(self) -> None:
        """As the port says: what was answered is in the queue, and nobody new is heard. If the directory is slow about the last change, that one finds the queue closed, and the filter keeps it."""
        self._pipe.close()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    @property
    def seen_usn(self) -> int:
        """As the port says."""
        return self._capture.seen_usn

    def _serve(self) -> None:
        try:
            serve(self._pipe, self._capture.take)
        except BaseException as error:  # noqa: BLE001  # the agent must hear of it (6028)
            self._died = error
