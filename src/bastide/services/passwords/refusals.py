"""How much one controller may have refused, so that a controller that invents notifications fills neither audit nor database."""

import threading
from collections import OrderedDict
from datetime import datetime, timedelta

#: Refusals that a controller may have at once, and in each WINDOW.
ALLOWED = 2000
WINDOW = timedelta(hours=1)
#: Notifications that are remembered as being in the audit.
_REMEMBERED = 10_000
_CONTROLLERS = 1000


class Refusals:
    """In memory, for one node: after a start all begin anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recorded: OrderedDict[str, None] = OrderedDict()
        self._left: OrderedDict[str, tuple[float, datetime]] = OrderedDict()

    def recorded(self, reference: str) -> bool:
        """Whether a refusal of this notification, which its agent keeps and sends again, is in the audit."""
        with self._lock:
            return reference in self._recorded

    def record(self, reference: str) -> None:
        """It is in the audit: say so after the commit."""
        with self._lock:
            self._recorded[reference] = None
            while len(self._recorded) > _REMEMBERED:
                self._recorded.popitem(last=False)

    def allow(self, controller: str, now: datetime) -> bool:
        """Count one more refusal that leaves something behind. False: it must leave nothing now."""
        with self._lock:
            left, at = self._left.pop(controller, (float(ALLOWED), now))
            gained = max((now - at) / WINDOW, 0.0) * ALLOWED
            left = min(left + gained, float(ALLOWED))
            allowed = left >= 1
            self._left[controller] = (left - 1 if allowed else left, now)
            while len(self._left) > _CONTROLLERS:
                self._left.popitem(last=False)
            return allowed
