"""What every dialect reads and writes alike: the fields of a query or a form, and times. Pure."""

from datetime import UTC, datetime
from urllib.parse import parse_qsl

from bastide.http.problems import Malformed

#: Of fields, unless a form says otherwise.
FEW = 16


def read(text: str | bytes, most: int = FEW) -> list[tuple[str, str]]:
    """Names and values of a query or a form: UTF-8, and at most so many. Raises Malformed."""
    try:
        return parse_qsl(
            text.decode() if isinstance(text, bytes) else text,
            keep_blank_values=True,
            errors="strict",
            max_num_fields=most,
        )
    except ValueError:
        raise Malformed("the query or the form cannot be read", remedy="send it in UTF-8") from None


def read_once(text: str | bytes, most: int = FEW) -> dict[str, str]:
    """As `read`, each name once: of two values we would believe one, and a filter before us the other. Raises Malformed."""
    pairs = read(text, most)
    said = dict(pairs)
    if len(said) != len(pairs):
        raise Malformed("a field is said twice", remedy="say each field once")
    return said


def stamp(at: datetime) -> str:
    """A time in UTC with up to three decimals, as OData 3 and 4 write it."""
    text = at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return f"{text.rstrip('0').rstrip('.')}Z"
