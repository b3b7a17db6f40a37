"""`$filter`, literal by literal."""

import contextlib
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide.api.mim import odata
from bastide.domain.errors import InvalidInput

ID = UUID("0f4d7a0c-7c5e-4b1c-9a39-2f6f1f7c2d11")
PROPERTIES = {"Name": str, "On": bool, "At": datetime, "Id": UUID}
ROW: odata.Row = {"Name": "SQL File Access", "On": True, "At": datetime(2026, 3, 1, 22, tzinfo=UTC), "Id": ID}


def takes(text: str) -> bool:
    return odata.parse(text, PROPERTIES).takes(ROW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Name eq 'SQL File Access'",
        "name EQ 'sql file access' ",
        "Name ne 'x'",
        "Name gt 'SQL'",
        "On eq true",
        "On ne false",
        "At eq datetime'2026-03-01T22:00:00Z'",
        "At eq datetime'2026-03-01T22:00'",
        "At eq datetimeoffset'2026-03-01T23:00:00.0000000+01:00'",
        "At gt datetime'2026-03-01T21:59:59.999Z'",
        "At ge datetime'2026-03-01T22:00:00.000Z' and At le datetime'2026-03-01T22:00:00Z'",
        "At lt datetime'2026-03-01T22:00:01Z'",
        f"Id eq guid'{ID}'",
        f"Id eq '{str(ID).upper()}'",
        "Name ne null",
    ],
)
def test_it_is_taken(text: str) -> None:
    assert takes(text)


@pytest.mark.parametrize(
    "text",
    [
        "Name eq 'x'",
        "Name eq null",
        "On eq false",
        "At gt datetime'2026-03-01T22:00:00Z'",
        f"Id ne guid'{ID}'",
        "Name eq 'SQL File Access' and On eq false",
    ],
)
def test_it_is_not(text: str) -> None:
    assert not takes(text)


def test_a_quote_in_a_text_is_written_twice() -> None:
    assert odata.parse("Name eq 'O''Brien'", PROPERTIES).takes({**ROW, "Name": "O'Brien"})


@pytest.mark.parametrize("operator", ["gt", "ge", "lt", "le"])
def test_what_is_null_is_neither_more_nor_less(operator: str) -> None:
    assert not odata.parse(f"Name {operator} ''", PROPERTIES).takes({**ROW, "Name": None})
    assert odata.parse("Name eq null", PROPERTIES).takes({**ROW, "Name": None})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Nam eq 'x'", "no property 'Nam'"),
        ("Name like 'x'", "no operator 'like'"),
        ("Name eq", "ends too early"),
        ("Name eq 'x' or Name eq 'y'", "joined by `and`"),
        ("Name eq 'x", "cannot be read"),
        ("not Name eq 'x'", "no property 'not'"),
        ("startswith(Name,'S')", "cannot be read"),
        ("(Name eq 'x')", "cannot be read"),
        ("Name eq 3600", "cannot be read"),
        ("Name eq datetime'2026-03-01T22:00:00Z'", "compared with text"),
        ("On eq 'true'", "true or false"),
        ("At eq '2026-03-01'", "a time"),
        ("At eq datetime'2026-13-01T22:00:00Z'", "a time"),
        ("At eq datetime'yesterday'", "a time"),
        ("Id eq guid'x'", "an id"),
        ("Name eq 'x' and", "ends too early"),
        ("Name eq '" + "x" * 3000 + "'", "longer than"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        odata.parse(text, PROPERTIES)


def test_the_earliest_time_that_can_be_wanted() -> None:
    found = odata.parse(
        "At gt datetime'2026-01-01T00:00:00Z' and At lt datetime'2026-02-01T00:00:00Z'", PROPERTIES
    )
    assert found.earliest("At") == datetime(2026, 1, 1, tzinfo=UTC)
    assert odata.parse("At lt datetime'2026-02-01T00:00:00Z'", PROPERTIES).earliest("At").year == 1


@given(st.text(max_size=80))
def test_no_text_is_a_defect(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        takes(text)


@given(st.text(max_size=30))
def test_any_text_can_be_looked_for(name: str) -> None:
    quoted = name.replace("'", "''")
    assert odata.parse(f"Name eq '{quoted}'", PROPERTIES).takes({**ROW, "Name": name})
