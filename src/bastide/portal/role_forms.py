"""A role as a form, and a form as a draft. All that a role has is in the form: nothing that is left out gets a default unseen. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import TypeVar

from bastide.domain.errors import InvalidInput
from bastide.domain.ids import RoleId
from bastide.domain.people import Demand
from bastide.domain.roles import Enforcer, Role, Ttl, Window
from bastide.portal.admin import lines, seconds, yes
from bastide.portal.role_words import Names, lengths
from bastide.services.roles import RoleDraft, StageDraft

#: Names and values of one form: every rule, seven days, and three fields for each stage.
FIELD_LIMIT = 80
STAGE_LIMIT = 10
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,3}", re.ASCII)
_VERSION = re.compile(r"[0-9]{1,9}", re.ASCII)
_Choice = TypeVar("_Choice", bound=StrEnum)

#: What a new role begins with.
NEW: Mapping[str, str] = {
    "ttl_minimum": "5m", "ttl_default": "1h", "ttl_maximum": "8h", "pending_life": "1d", "enabled": "yes", "mfa": "yes",
    "factor": Demand.ANY.value, "justification": "yes", "extension": "yes", "owner_auto_approval": "no",
    "approval_factor": Demand.ANY.value, "floor": Enforcer.DORMANT_ACCOUNT.value, "version": "0",
}  # fmt: skip


def fields_of(role: Role, names: Names) -> dict[str, str]:
    """What the form says of a role as it is."""
    fields = {
        "name": role.name,
        "description": role.description,
        "privileges": "\n".join(names.get(group, group) for group in role.privileges),
        "candidates": "\n".join(subject.name for subject in role.candidates),
        "enabled": _word(role.enabled),
        "mfa": _word(role.mfa),
        "factor": role.factor.value,
        "justification": _word(role.justification),
        "ticket_pattern": role.ticket_pattern,
        "extension": _word(role.extension),
        "owner_auto_approval": _word(role.owner_auto_approval),
        "approval_factor": role.approval_factor.value,
        "floor": role.floor.value,
        "version": str(role.version),
        **lengths(role),
    }
    for number, stage in enumerate(role.stages):
        fields[f"stage{number}_name"] = stage.name
        fields[f"stage{number}_needed"] = str(stage.needed)
        fields[f"stage{number}_approvers"] = "\n".join(subject.name for subject in stage.approvers)
    if role.window is not None:
        fields |= {f"day{day}": "yes" for day in role.window.days}
        fields |= {"opens": f"{role.window.opens:%H:%M}", "closes": f"{role.window.closes:%H:%M}"}
        fields["zone"] = role.window.zone
    return fields


def stages_in(fields: Mapping[str, str]) -> int:
    """How many stages a form shows: those it has, one at the least."""
    used = [
        n for n in range(STAGE_LIMIT) if any(f"stage{n}_{part}" in fields for part in ("name", "approvers"))
    ]
    return max(used, default=0) + 1


def draft_of(fields: Mapping[str, str], now: datetime) -> RoleDraft:
    """What a form asks for, in the words of the use case. Raises InvalidInput."""
    settings = Role(
        id=RoleId(""),
        name=fields.get("name", "").strip(),
        privileges=(),
        candidates=(),
        created_at=now,
        description=fields.get("description", "").replace("\r\n", "\n").strip(),
        ttl=Ttl(
            default=_span(fields, "ttl_default", "usual length"),
            minimum=_span(fields, "ttl_minimum", "shortest length"),
            maximum=_span(fields, "ttl_maximum", "longest length"),
        ),
        mfa=yes(fields, "mfa"),
        factor=_choice(Demand, fields, "factor"),
        justification=yes(fields, "justification"),
        ticket_pattern=fields.get("ticket_pattern", "").strip(),
        window=_window(fields),
        pending_life=_span(fields, "pending_life", "time to wait for an answer"),
        owner_auto_approval=yes(fields, "owner_auto_approval"),
        approval_factor=_choice(Demand, fields, "approval_factor"),
        floor=_choice(Enforcer, fields, "floor"),
        extension=yes(fields, "extension"),
        enabled=yes(fields, "enabled"),
        version=_version(fields),
    )
    return RoleDraft(settings, lines(fields, "privileges"), lines(fields, "candidates"), _stages(fields))


def _stages(fields: Mapping[str, str]) -> tuple[StageDraft, ...]:
    """A stage of which nothing is said is none."""
    found = []
    for number in range(STAGE_LIMIT):
        name = fields.get(f"stage{number}_name", "").strip()
        approvers = lines(fields, f"stage{number}_approvers")
        if not name and not approvers:
            continue
        needed = fields.get(f"stage{number}_needed", "")
        if not _COUNT.fullmatch(needed.strip()):
            raise InvalidInput(f"stage {name or number + 1}", "does not say how many must agree")
        if not approvers:
            raise InvalidInput(
                f"stage {name}", "names nobody who could agree", remedy="name approvers, or empty the stage"
            )
        found.append(StageDraft(name or "approval", approvers, int(needed)))
    return tuple(found)


def _window(fields: Mapping[str, str]) -> Window | None:
    """None if no day and no hour is said."""
    days = frozenset(day for day in range(len(DAYS)) if fields.get(f"day{day}") == "yes")
    opens, closes, zone = (fields.get(name, "").strip() for name in ("opens", "closes", "zone"))
    if not days and not opens and not closes:
        return None
    if not _CLOCK.fullmatch(opens) or not _CLOCK.fullmatch(closes):
        raise InvalidInput(
            "window",
            "needs the hours between which access may start",
            remedy="write both as 08:00, or choose no day and no hours",
        )
    return Window(days, time.fromisoformat(opens), time.fromisoformat(closes), zone)


def _span(fields: Mapping[str, str], field: str, called: str) -> timedelta:
    return timedelta(seconds=seconds(fields, field, called))


def _choice(kind: type[_Choice], fields: Mapping[str, str], field: str) -> _Choice:
    try:
        return kind(fields.get(field, ""))
    except ValueError:
        raise InvalidInput(field.replace("_", " "), "is none of the choices") from None


def _version(fields: Mapping[str, str]) -> int:
    said = fields.get("version", "")
    if not _VERSION.fullmatch(said):
        raise InvalidInput("version", "is not a number", remedy="open the form anew")
    return int(said)


def _word(said: bool) -> str:
    return "yes" if said else "no"
