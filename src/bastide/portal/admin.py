"""What the pages of administration and auditing share: who gets in, the row of links, small readers of forms."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from litestar import Request as Call
from litestar import Response

from bastide.domain.errors import BastideError, DirectoryError, InvalidInput, Refused
from bastide.domain.people import Right
from bastide.domain.roles import TTL_CEILING, length
from bastide.http.door import needs
from bastide.portal.visits import Visit

#: What a page says instead of going away.
SAID = (Refused, DirectoryError)
#: Everybody who may read everything.
READ = needs(Right.ADMINISTER, also=Right.AUDIT, cookie=True, code_in_form=True)
SEE = needs(Right.ADMINISTER, cookie=True, code_in_form=True)
DO = needs(Right.ADMINISTER, forms=True, cookie=True)
_READERS = frozenset({Right.ADMINISTER, Right.AUDIT})

ROLES, PROPOSALS = "/admin/roles", "/admin/proposals"
USERS, GROUPS = "/admin/users", "/admin/groups"
CAMPAIGNS = "/admin/reviews"
RESETS = "/admin/reset"
MONITORING = "/admin/monitoring"
ALERTS, ALERT_RULES = "/admin/alerts", "/admin/alerts/rules"
KILL, DIRECTORY, WORK = "/admin/kill", "/admin/directory", "/admin/work"
AUDITING, CHARTS, CHAIN = "/auditing", "/auditing/charts", "/auditing/chain"
_FOR_READERS = ((ROLES, "Roles"), (USERS, "PAM users"), (GROUPS, "PAM groups"), (CAMPAIGNS, "Access reviews"))
_FOR_ADMINISTRATORS = ((KILL, "Kill switch"), (DIRECTORY, "Directory"), (WORK, "Work"))
_FOR_AUDITING = ((AUDITING, "Who had what"), (CHARTS, "Charts"), (CHAIN, "Chain"))
_LENGTH = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,7})s)?", re.ASCII)
_SECONDS = (86_400, 3_600, 60, 1)


def lacking(call: Call[Any, Any, Any], visit: Visit, right: Right | None = None) -> Response[bytes] | None:
    """The page that asks for a code, for whom only that is missing. Without `right` one of those who may read everything."""
    wanted = _READERS if right is None else frozenset({right})
    if visit.actor.rights & wanted:
        return None
    return visit.page("code.html", onward=call.scope["path"])


def page(
    visit: Visit, template: str, tab: str, error: BastideError | None = None, **values: Any
) -> Response[bytes]:
    """A page of administration or auditing, with its row of links."""
    administers = Right.ADMINISTER in visit.actor.rights
    tabs: tuple[tuple[str, str], ...]
    if tab in dict(_FOR_AUDITING):
        tabs, called = _FOR_AUDITING, "Auditing"
    else:
        tabs, called = (*_FOR_READERS, *(_FOR_ADMINISTRATORS if administers else ())), "Administration"
        if visit.services.roles.four_eyes:
            tabs = (tabs[0], (PROPOSALS, "Proposals"), *tabs[1:])
        tabs = (*tabs, *_of_sections(visit))
    shared = {"tab": tab, "tabs": tabs, "area": called, "administers": administers}
    return visit.page(template, error, **shared, **values)


def _of_sections(visit: Visit) -> Iterator[tuple[str, str]]:
    """What is there only where the settings have it."""
    services = visit.services
    if services.monitoring is not None:
        yield MONITORING, "Monitoring"
    if services.alerts is not None:
        yield from ((ALERTS, "Alerts"), (ALERT_RULES, "Rules of alerts"))
    if services.reset is not None:
        yield RESETS, "Resets"


def yes(fields: Mapping[str, str], field: str) -> bool:
    """A choice between two words. Raises InvalidInput for a third: what is not said is not taken as either."""
    said = fields.get(field, "")
    if said not in {"yes", "no"}:
        raise InvalidInput(field, "is neither yes nor no")
    return said == "yes"


def lines(fields: Mapping[str, str], field: str) -> tuple[str, ...]:
    """A list, one in each line; empty lines do not count."""
    return tuple(line.strip() for line in fields.get(field, "").splitlines() if line.strip())


def seconds(fields: Mapping[str, str], field: str, called: str, longest: timedelta = TTL_CEILING) -> int:
    """A length of time as `domain.roles.length` writes it: `1h30m`. Raises InvalidInput."""
    said = fields.get(field, "").replace(" ", "").lower()
    match = _LENGTH.fullmatch(said)
    total = (
        sum(int(part or 0) * size for part, size in zip(match.groups(), _SECONDS, strict=True))
        if match
        else 0
    )
    if not 0 < total <= longest.total_seconds():
        raise InvalidInput(
            called, "is not a length of time", remedy=f"write 30m, 1h30m or 2d, at most {length(longest)}"
        )
    return total


def confirmed(fields: Mapping[str, str], wanted: str) -> None:
    """What takes something away is typed, not only pressed. Raises InvalidInput."""
    if fields.get("confirm", "").strip() != wanted:
        raise InvalidInput(
            "confirmation", "does not fit, so nothing was done", remedy=f"type exactly: {wanted}"
        )
