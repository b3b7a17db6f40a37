"""When passwords were set, in memory: the twin of password_times.py."""

from datetime import datetime

from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.ids import Sid


class MemoryPasswordTimes:
    """As the port PasswordTimes. `known`: by controller, what it has heard so far. `away`: controllers out of reach."""

    def __init__(self, *controllers: str) -> None:
        self.known: dict[str, dict[Sid, datetime]] = {name: {} for name in controllers or ("dc1",)}
        self.away: set[str] = set()

    def set_at(self, person: Sid) -> datetime | None:
        reached = [known for name, known in self.known.items() if name not in self.away]
        if not reached:
            raise DirectoryUnavailable("no domain controller answers")
        return max((known[person] for known in reached if person in known), default=None)
