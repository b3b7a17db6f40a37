"""Names of the durable work, and how it is tried again."""

from collections.abc import Callable
from datetime import timedelta

from bastide.domain.people import Forest

ACCOUNT = "account"
LINK = "link"
CHECKPOINT = "checkpoint"
EXPORT = "export"
IMPORT = "import"
#: Who was not heard any more is looked for.
WATCH = "watch"
#: What is to be told is read off the audit; the messages of a channel are work of a kind of their own, `notify:NAME`.
NOTIFY = "notify"
#: The audit is looked at for alerts; what a destination is told is work of a kind of its own, `alert:NAME`.
ALERT = "alert"
#: Nobody took an alert in hand: others are told.
ALERT_LATE = "alert-late"
#: A state is measured for alerts; the key says which.
ALERT_LOOK = "alert-look"
#: Domains are read for changes; each by work of a kind of its own, so that one that is slow does not hold up another.
MONITOR = {Forest.PRIV: "monitor:priv", Forest.CORP: "monitor:corp"}
#: What domain controllers told of is judged.
INTAKE = "intake"
#: Emergency accounts are looked at.
BREAK_GLASS = "break-glass"
#: The vault's mark follows the audit.
MARK = "mark"
#: The directory is compared with a database that came back from the past.
RECONCILE = "reconcile"
#: A person is told of what the help desk did, or that a code goes elsewhere; the key says which. To telephones: another kind, so that their program holds up no mail.
HELP_DESK, HELP_DESK_TEXT = "help-desk", "help-desk-text"
#: A code or a notice of a self-service reset, to one destination; the key says which. To telephones: another kind here too.
RESET, RESET_TEXT = "reset", "reset-text"
#: An access review begins, reminds, ends; the key is its id.
REVIEW = "review"
#: One row for each target object with an undelivered password; the key is its CS id.
PASSWORD = "password"  # noqa: S105  # the name of a kind of work

#: Of the database and not of a partition: there is one of each, which follows what all nodes do, and any node may do it.
SHARED = frozenset(
    {
        ALERT,
        ALERT_LATE,
        ALERT_LOOK,
        BREAK_GLASS,
        CHECKPOINT,
        EXPORT,
        MARK,
        NOTIFY,
        RECONCILE,
        REVIEW,
        WATCH,
        *MONITOR.values(),
        INTAKE,
    }
)

#: A right or a group that is missing may only not have replicated yet; after this many attempts (25 s) it is taken as said.
DENIED_LIMIT = 8
#: After this, a link that is there already is looked at again for those who came to use it meanwhile.
LOOK_AGAIN = timedelta(seconds=1)
_FIRST = timedelta(milliseconds=100)
_LONGEST = timedelta(seconds=30)
_DOUBLINGS = 12


def delay(jitter: Callable[[], float], attempts: int) -> timedelta:
    """Back-off before the next attempt: 0.1 s, doubled each time, at most 30 s, and a quarter more or less. `jitter` gives 0 to 1."""
    grown = min(_FIRST * float(2 ** min(attempts, _DOUBLINGS)), _LONGEST)
    return grown * (0.75 + jitter() / 2)
