"""Who is in a group without any request. A group of the one forest is adopted with its members: it is their rights that roles are to replace."""

import json

from bastide.domain.errors import BastideError
from bastide.domain.health import Finding, Severity
from bastide.domain.ids import Sid
from bastide.domain.roles import Carrier, PamGroup
from bastide.services.ports import Directory, UnitOfWork

KEY = "pam-group.standing-members"
_NAMED = 20


def standing_in(directory: Directory, group: PamGroup) -> tuple[Finding, ...]:
    """A warning that names them; nothing if there are none. What cannot be read is a warning too, not an error: the group is prepared by now."""
    try:
        members = directory.members_of(group.priv)
        people = directory.people_in(group.priv.sid) if members else ()
    except BastideError as error:
        text = f"who stands in {group.priv.name} could not be read"
        return (Finding(KEY, Severity.WARNING, text, error.message, "look at its members yourself"),)
    if not members:
        return ()
    names = {person.ref.sid: person.ref.name for person in people}
    shown = sorted(names.get(sid, str(sid)) for sid in members)
    more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
    return (
        Finding(
            KEY,
            Severity.WARNING,
            f"{group.priv.name} has standing members ({len(members)}): their access has no end, and a role that gives the group is refused to them",
            ", ".join(shown[:_NAMED]) + more,
            "take them out of the group, one by one, when their roles work",
        ),
    )


def prepared_with(directory: Directory, group: PamGroup) -> dict[str, object]:
    """What the audit keeps of a group that is prepared. Whoever stands in it then holds a right of their own, which no comparison takes away (reconcile.py)."""
    facts: dict[str, object] = {
        "carrier": group.carrier.value,
        "corp": group.corp.sid,
        "scope": group.scope.value,
    }
    if group.carrier is Carrier.DIRECT:
        facts["standing"] = sorted(directory.members_of(group.priv))
    return facts


def declared(uow: UnitOfWork, group: PamGroup) -> frozenset[Sid]:
    """Who stood in it when it was prepared."""
    record = uow.audit.last("pam-group.added", group.priv.sid)
    return frozenset() if record is None else frozenset(map(Sid, json.loads(record.data).get("standing", ())))
