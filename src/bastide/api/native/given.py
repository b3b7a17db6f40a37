"""The query parameters that handlers share."""

import re
from datetime import datetime
from typing import Annotated

from litestar.params import QueryParameter

from bastide.domain.errors import InvalidInput
from bastide.domain.ids import parse_id
from bastide.domain.requests import Place

DryRun = Annotated[bool, QueryParameter(description="Check and show, change nothing.")]
When = Annotated[str, QueryParameter(max_length=40, description="RFC 3339 with an offset; empty: no limit.")]
#: A moment, or what a page gave as `next_before`.
Before = Annotated[
    str,
    QueryParameter(max_length=80, description="`next_before` of a page, or a time: RFC 3339 with an offset."),
]
Text = Annotated[str, QueryParameter(max_length=256)]

#: RFC 3339 5.6, with an offset: nobody knows which moment a naive time is.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def place(field: str, text: str) -> Place | None:
    """Where a page begins: `TIME` or `TIME/ID`; None if it is empty. Raises InvalidInput."""
    time, separator, request = text.partition("/")
    at = moment(field, time)
    if at is None:
        return None
    return Place(at, parse_id(field, request) if separator else "")


def moment(field: str, text: str) -> datetime | None:
    """The time of a query parameter; None if it is empty. Raises InvalidInput."""
    if not text:
        return None
    if _MOMENT.fullmatch(text):
        try:
            return datetime.fromisoformat(text.upper())
        except ValueError:
            pass
    raise InvalidInput(
        field,
        "is not a time with an offset",
        remedy="write 2026-03-01T22:00:00Z or 2026-03-01T23:00:00%2B01:00",
    )
