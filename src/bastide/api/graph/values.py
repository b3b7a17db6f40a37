"""Durations and times as clients of Graph write them, and as Graph does. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from bastide.domain.errors import InvalidInput
from bastide.http.fields import stamp

_ISO = re.compile(
    r"P(?=[0-9T])(?:(?P<weeks>\d{1,4})W)?(?:(?P<days>\d{1,5})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,6})H)?(?:(?P<minutes>\d{1,7})M)?(?:(?P<seconds>\d{1,8})(?:\.\d{1,9})?S)?)?",
    re.ASCII | re.IGNORECASE,
)
#: The Python SDK writes `str(timedelta)` (msgraph-sdk-python #1262).
_KIOTA = re.compile(
    r"(?:(?P<days>\d{1,5}) days?, )?(?P<hours>\d{1,2}):(?P<minutes>\d\d):(?P<seconds>\d\d)(?:\.\d{1,9})?",
    re.ASCII,
)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d.*")


def duration(field: str, text: str) -> timedelta:
    """`PT5H30M`, or `5:30:00`; parts of a second are dropped. Raises InvalidInput."""
    match = _ISO.fullmatch(text) or _KIOTA.fullmatch(text)
    if match is None:
        raise InvalidInput(field, f"{text[:40]!r} is not a duration", remedy="write PT1H30M, as in ISO 8601")
    return timedelta(**{unit: int(number) for unit, number in match.groupdict().items() if number})


def moment(field: str, text: str) -> datetime:
    """A time with its zone. Raises InvalidInput."""
    try:
        at = datetime.fromisoformat(text) if _TIME.fullmatch(text) else None
        if at is not None and at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(field, f"{text[:40]!r} is not a time with a zone", remedy="write 2026-03-01T22:00:00Z")


def iso(span: timedelta) -> str:
    """As ISO 8601 and Graph write it: `P1DT2H`, `PT8H`; whole seconds."""
    left = int(span.total_seconds())
    days, left = divmod(left, 86_400)
    hours, left = divmod(left, 3_600)
    minutes, seconds = divmod(left, 60)
    clock = "".join(
        f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if number
    )
    return f"P{f'{days}D' if days else ''}{f'T{clock}' if clock else ''}" if days or clock else "PT0S"


def written(value: Any) -> Any:
    """A row as JSON has it: times in UTC, durations in ISO 8601."""
    match value:
        case datetime():
            return stamp(value)
        case timedelta():
            return iso(value)
        case dict():
            return {name: written(item) for name, item in value.items()}
        case list() | tuple():
            return [written(item) for item in value]
        case _:
            return value
