"""Password policies in memory: the twin of password_policy.py."""

from bastide.domain.ids import Sid
from bastide.domain.reset.password_rules import Policy


class MemoryPolicyReader:
    """As the port PolicyReader. `own`: fine-grained policies by person. `may`: False shows none of them. `gone`: people that are not there."""

    def __init__(
        self, domain: Policy | None = None, own: dict[Sid, Policy] | None = None, *, may: bool = True
    ) -> None:
        self.domain = domain
        self.own: dict[Sid, Policy] = {} if own is None else own
        self.gone: set[Sid] = set()
        self._may = may

    def policy(self, person: Sid) -> Policy | None:
        if person in self.gone or (person in self.own and not self._may):
            return None
        return self.own.get(person, self.domain)
