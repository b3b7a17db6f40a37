"""Traces: which operations can be looked at step by step, and for how long.

The rules this module keeps:
  (1) An operation is one of OPERATIONS: a kind of durable work, or the use cases of a subject.
  (2) A trace has an end, and is no longer than LONGEST. When it is over it is off, whoever forgot it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.errors import InvalidInput, NotFound
from bastide.domain.ids import typed

DEFAULT = timedelta(minutes=15)
LONGEST = timedelta(hours=4)
#: In front of a kind of durable work.
WORK = "work."
_WORK = (
    "account", "alert", "alert-late", "alert-look", "break-glass", "checkpoint", "export", "help-desk", "help-desk-text", "import", "intake", "link", "mark", "monitor", "notify", "password", "reconcile", "reset", "reset-text", "review", "watch",
)  # fmt: skip
#: The use cases of a subject, as the composition root calls them.
SUBJECTS = (
    "accounts", "alerts", "audit", "authn", "break_glass", "factors", "help_desk", "imports", "intake", "management_agents", "monitoring", "nodes", "oversight", "passwords", "probes", "profiles",
    "reach", "reports", "requests", "reset", "roles", "security_keys", "sessions", "spaces", "switches",
)  # fmt: skip
OPERATIONS = (*SUBJECTS, *(WORK + kind for kind in _WORK))
#: The columns of a recorded trace.
COLUMNS = ("at", "node", "partition", "operation", "trace", "step", "seconds", "outcome", "subject")


@dataclass(frozen=True, slots=True)
class Trace:
    """An operation that is traced until `ends_at`; `by` switched it on at `since`."""

    operation: str
    since: datetime
    ends_at: datetime
    by: str

    def on(self, now: datetime) -> bool:
        """Rule (2)."""
        return now < self.ends_at


def begin(operation: str, length: timedelta, by: str, now: datetime) -> Trace:
    """Rules (1) and (2). Raises NotFound, InvalidInput."""
    known(operation)
    if not timedelta(0) < length <= LONGEST:
        raise InvalidInput(
            "seconds",
            f"a trace lasts from 1 second to {LONGEST.seconds // 3600} hours",
            remedy="switch it on again when it is over",
        )
    return Trace(operation, now, now + length, by)


def known(operation: str) -> None:
    """Rule (1). Raises NotFound."""
    if operation not in OPERATIONS:
        raise NotFound(
            f"{typed(operation)} is nothing that can be traced", remedy=f"there are {', '.join(OPERATIONS)}"
        )


def operation_of(kind: str) -> str:
    """Of a kind of work; those of a notification channel (`notify:NAME`) are one."""
    return WORK + kind.partition(":")[0]
