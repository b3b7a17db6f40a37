"""Which audit records are the same thing, so that one alert stands for them. Pure.

(1) What something settles is known by whom or what it is about: of drift there is a number for each, two of one group are two; of events the computer is named of
    which one is missing.
(2) What nothing settles is known by what it is as well: another kind, another account that it was done to, another administrator is another thing. A decoy would
    hide all that comes after it.
"""

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType

from bastide.domain.audit import Record

#: (1) Kind to what of the record belongs to it beside its subject.
_PART: Mapping[str, str] = MappingProxyType({"intake.gap": "computer"})
_DRIFT = "drift"
#: (2) Kind to what makes a record another thing, beside the kind, its subject and who did it.
_APART: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "break-glass.used": ("what",),
        "break-glass.changed": ("what",),
        "break-glass.opened": (),
        "break-glass.wrong-password": (),
        "kill-switch": ("what",),
        "mfa.counter-back": (),
        "reset.key-copied": (),
        "intake.unexplained": ("what", "target"),
    }
)


def said_by(record: Record) -> Mapping[str, object]:
    """What the record says beside whom it is about."""
    data = json.loads(record.data)
    return data if isinstance(data, dict) else {}


def key_of(record: Record) -> str:
    """By which the alert of a record is found again."""
    apart = _APART.get(record.kind)
    if apart is None:
        return about(record)
    said = said_by(record)
    whole = [
        record.kind,
        record.actor,
        record.subject,
        record.subject_name,
        *(said.get(name) for name in apart),
    ]
    # A DN can be as long as it likes: of two that are cut off the rest could be the same.
    return f"{record.kind}/{hashlib.sha256(json.dumps(whole).encode()).hexdigest()}"


def about(record: Record) -> str:
    """(1): what makes right again has the same."""
    whom = record.subject or record.subject_name
    part = said_by(record).get(_PART.get(record.kind, _DRIFT))
    return f"{whom}/{part}" if part else whom
