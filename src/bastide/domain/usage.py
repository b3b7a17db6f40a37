"""What became of somebody's right to ask for a role: how often it was used, when last, why, and who agreed. Read off the requests. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.ids import RoleId, UserId
from bastide.domain.requests import Decision, Request

#: So many reasons are shown, the newest first.
REASONS = 5


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one person and one role. `last`: when access last began; None: never in what was looked at. `asked` counts refused requests too."""

    asked: int = 0
    used: int = 0
    last: datetime | None = None
    reasons: tuple[str, ...] = ()
    approved_by: tuple[str, ...] = ()
    #: How often nobody had to agree.
    unapproved: int = 0


UNUSED = Usage()


def usage_of(requests: Iterable[Request]) -> Mapping[tuple[UserId, RoleId], Usage]:
    """By person and role."""
    found: dict[tuple[UserId, RoleId], list[Request]] = {}
    for request in requests:
        found.setdefault((request.user, request.role), []).append(request)
    return {key: _usage(mine) for key, mine in found.items()}


def approvers_of(request: Request) -> tuple[str, ...]:
    """Who agreed to it, in their order."""
    agreed = (vote.name for vote in request.votes if vote.decision is Decision.APPROVE)
    return tuple(dict.fromkeys(agreed))


def _usage(requests: list[Request]) -> Usage:
    newest = sorted(requests, key=lambda one: one.created_at, reverse=True)
    used = [one for one in newest if one.active_from is not None]
    said = (one.justification for one in newest if one.justification)
    return Usage(
        asked=len(newest),
        used=len(used),
        last=max((one.active_from for one in used if one.active_from is not None), default=None),
        reasons=tuple(dict.fromkeys(said))[:REASONS],
        approved_by=tuple(sorted({name for one in used for name in approvers_of(one)})),
        unapproved=sum(not approvers_of(one) for one in used),
    )
