"""The numbered events of password synchronization, component `sync`: the numbers, levels and fields that operators of the original know.

An event is written if its level is not above the one set (`passwords.event_level`, 0 to 3). It is for people and monitoring; what must not be
lost is in the audit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

COMPONENT = "sync"


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    INFORMATION = "information"


@dataclass(frozen=True, slots=True)
class SyncEvent:
    """One number. `fields` are always there, in this order; others may follow. `arises`: where in Bastide, and when."""

    number: int
    level: int
    severity: Severity
    meaning: str
    fields: tuple[str, ...]
    arises: str
    #: Not a number of the original.
    ours: bool = False


_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFORMATION
_DELIVERY = (
    "Tracking ID",
    "Reference ID",
    "Target management agent name",
    "Target DN",
    "Target ID",
    "RetryCount",
)
_SOURCE = ("Reference ID", "Source Object GUID", "Source DN", "Source management agent name")

EVENTS: Mapping[int, SyncEvent] = {
    event.number: event
    for event in (
        SyncEvent(
            6901,
            1,
            _W,
            "delivery to a target failed",
            _DELIVERY,
            "services/passwords/deliver: a target did not take it; it is tried again",
        ),
        SyncEvent(
            6902,
            2,
            _I,
            "delivered to a target",
            _DELIVERY,
            "services/passwords/deliver: a target accepted it. Not for a delivery in shadow mode, where nothing was set",
        ),
        SyncEvent(
            6903,
            2,
            _I,
            "notification received",
            (
                "Reference ID",
                "Password Last Change Time",
                "Source Object GUID",
                "Delivery Attempt",
                "Source User Name",
            ),
            "services/passwords/told: a notification of a source came in",
        ),
        SyncEvent(
            6904,
            2,
            _I,
            "rejected: not in the connector space",
            ("Reference ID", "Source Object GUID"),
            "services/passwords/told",
        ),
        SyncEvent(6905, 2, _I, "rejected: not joined", _SOURCE, "services/passwords/told"),
        SyncEvent(
            6906,
            2,
            _I,
            "rejected: no target MAs",
            _SOURCE,
            "services/passwords/told: nobody of the person's accounts is in a target of the domain",
        ),
        SyncEvent(
            6907,
            2,
            _I,
            "staged for a target",
            ("Reference ID", "Target Object GUID", "Target management agent name"),
            "services/passwords/told: once for each target",
        ),
        SyncEvent(6908, 0, _E, "retry limit exceeded for a target", _DELIVERY, "services/passwords/deliver"),
        SyncEvent(6909, 3, _I, "heartbeat received", ("ServerName",), "receiver/conversation"),
        SyncEvent(6910, 0, _I, "password sync enabled", (), "services/passwords/switch"),
        SyncEvent(6911, 0, _I, "password sync disabled", (), "services/passwords/switch"),
        SyncEvent(
            6912,
            0,
            _E,
            "ignored: the account is the sync service account",
            (
                "AccountName",
                "Reference ID",
                "Password Last Change Time",
                "Source Object GUID",
                "Delivery Attempt",
                "Source User Name",
            ),
            "services/passwords/told: the account is one of `own_accounts` of the source, or the change was made by Bastide itself",
        ),
        SyncEvent(
            6913,
            2,
            _I,
            "caller authenticated as a domain controller",
            ("Domain", "Server"),
            "services/passwords/callers",
        ),
        SyncEvent(
            6914,
            0,
            _E,
            "source refused: not a domain controller",
            ("Domain", "Server"),
            "services/passwords/callers",
        ),
        SyncEvent(6915, 0, _E, "authentication to the source failed", (), "receiver/conversation"),
        SyncEvent(
            6916,
            0,
            _W,
            "database was restored from a backup: sync disabled",
            (),
            "services/passwords/switch: the mark in the vault names an audit record that the database does not have, or the database belongs to another vault",
        ),
        SyncEvent(
            6917,
            0,
            _E,
            "daily maximum of changes for this object reached",
            (*_SOURCE, "Maximum changes", "Current Change"),
            "services/passwords/told",
        ),
        SyncEvent(
            6918,
            2,
            _I,
            "notification out of date (order)",
            (
                "Last password timestamp",
                "Current password timestamp",
                "Reference ID",
                "Source Object GUID",
                "Source DN",
                "Source management agent name",
            ),
            "services/passwords/told",
        ),
        SyncEvent(
            6919, 2, _I, "set operation out of date (no retry)", _DELIVERY, "services/passwords/deliver"
        ),
        SyncEvent(
            6921,
            0,
            _E,
            "target: password management not enabled (no retry)",
            _DELIVERY,
            "services/passwords/deliver",
        ),
        SyncEvent(
            6922,
            0,
            _E,
            "target: password management not configured (no retry)",
            _DELIVERY,
            "services/passwords/deliver: the connector has no way to set passwords, or its settings name none",
        ),
        SyncEvent(
            6923,
            1,
            _W,
            "target object not found (no retry)",
            _DELIVERY,
            "services/passwords/deliver: the object is gone from the connector space or from the target, or belongs to somebody else now",
        ),
        SyncEvent(6924, 0, _I, "history cleared", ("Count", "User"), "services/passwords/queue"),
        SyncEvent(6925, 0, _I, "queue cleared", ("Count", "User"), "services/passwords/queue"),
        SyncEvent(
            6926,
            0,
            _E,
            "source MA not enabled as a source or without targets",
            _SOURCE,
            "services/passwords/told",
        ),
        SyncEvent(
            6927,
            0,
            _E,
            "target password policy refuses (no retry)",
            (
                "Tracking ID",
                "Reference ID",
                "Target Object GUID",
                "Target DN",
                "Target management agent name",
                "RetryCount",
            ),
            "services/passwords/deliver",
        ),
        SyncEvent(
            6928,
            0,
            _E,
            "extension does not support set (no retry)",
            ("Count", "User"),
            "services/passwords/deliver: the agent allows or supports change only. `User` is the DN at the target, `Count` the number of tries",
        ),
        SyncEvent(
            6929,
            0,
            _W,
            "a domain controller has fallen silent",
            ("Domain", "Server", "Last contact", "Waiting"),
            "services/passwords/silence: neither notification nor heartbeat for longer than `passwords.silence_minutes`, while the server could have heard it. Once for each silence; of one domain 50 at once, and the others as a number (`Server`: `12 more`)",
            ours=True,
        ),
        SyncEvent(
            6930,
            0,
            _I,
            "a domain controller that was silent is heard again",
            ("Domain", "Server", "Silent since"),
            "services/passwords/silence: up to a minute later than it was heard; of many at once as 6929",
            ours=True,
        ),
    )
}
