"""Password policies in memory: the twin of password_policy.py."""

from bastide.domain.ids import Sid
from bastide.domain.reset.password_rules import Policy


class MemoryPolicyReader:
    """As the port PolicyReader. `own`: fine-grained policies by person."""

    def __init__(self, domain: Policy | None = None) -> None:
        self.domain = domain
        self.own: dict[Sid, Policy] = {}

    def policy(self, person: Sid) -> Policy | None:
        return self.own.get(person, self.domain)
