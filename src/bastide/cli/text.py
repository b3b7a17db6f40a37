"""Text from elsewhere on its way to a terminal, and what people type: durations, moments.

Names and justifications were chosen by others. On a terminal, an escape sequence can repaint what stands above it, and a mark of
direction can make `cod.exe` of `exe.doc`; so whatever is not plain text is shown as its code point.
"""

import json
import re
from datetime import UTC, datetime, timedelta

from bastide.cli.exits import Exit, Stop
from bastide.domain.ids import UNSEEN, typed

_HIDING = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{UNSEEN}]")
#: A length of more digits is none that a clock knows.
_NUMBER = re.compile(r"[0-9]{1,12}")
_PART = re.compile(r"(?<![0-9])([0-9]{1,9})\s*([smhd])")
_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ZULU = "%Y-%m-%d %H:%M:%S UTC"


def safe(text: object) -> str:
    """The text with everything that hides, moves or colours made visible. Line breaks and tabs stay."""
    return _HIDING.sub(lambda match: f"<U+{ord(match[0]):04X}>", str(text))


def one_line(text: object) -> str:
    """The same, on one line."""
    return " ".join(safe(text).split())


def safe_json(text: str) -> str:
    """JSON that means the same, with what `safe` replaces written as escapes. Outside of strings JSON has none of it but line ends."""
    return _HIDING.sub(lambda match: match[0] if match[0] == "\r" else json.dumps(match[0])[1:-1], text)


def seconds(text: str) -> int:
    """`30m`, `1h30m`, `2d` or a bare number of seconds. Raises Stop."""
    compact = text.strip().lower()
    if _NUMBER.fullmatch(compact):
        return int(compact)
    parts = _PART.findall(compact)
    if not parts or _PART.sub("", compact).strip():
        raise Stop(
            f"{typed(one_line(text))} is not a length of time",
            remedy="write 30m, 1h30m, 2d or 1800",
            status=Exit.USAGE,
        )
    return sum(int(number) * _UNIT[unit] for number, unit in parts)


def moment(text: str, now: datetime) -> str:
    """A moment as the API wants it: `2026-03-01T22:00` (UTC unless it says otherwise), `+30m` or `-7d`. Raises Stop."""
    try:
        if text.startswith(("+", "-")):
            away = timedelta(seconds=seconds(text[1:]))
            return (now + away if text.startswith("+") else now - away).isoformat()
        read = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise Stop(
            f"{typed(one_line(text))} is not a point in time",
            remedy="write 2026-03-01T22:00 (UTC), 2026-03-01T22:00+01:00, +30m or -7d",
            status=Exit.USAGE,
        ) from None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).isoformat()


def when(value: object) -> str:
    """A moment of the API for people, in UTC; anything else as it is."""
    if not value:
        return ""
    try:
        read = datetime.fromisoformat(str(value))
    except ValueError:
        return one_line(value)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC).strftime(_ZULU)


def span(value: object) -> str:
    """Seconds for people: `1h 30m`."""
    if not isinstance(value, int | float):
        return one_line(value if value is not None else "")
    left, parts = int(value), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
    return " ".join(parts) or "0s"
