"""The query options of OData 4 over rows, and the forms of values, without the application."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bastide.api.graph import addresses, filters, given, query, values
from bastide.api.graph.shape import Shape
from bastide.domain.errors import BastideError, InvalidInput
from bastide.http.fields import read_once
from bastide.http.problems import Malformed

INNER = Shape({"displayName": str}, {}, {"deeper": Shape({"id": str})})
SHAPE = Shape(
    {"id": str, "status": str, "createdDateTime": datetime, "isEnabled": bool},
    {"ticketInfo": Shape({"ticketNumber": str})},
    {"roleDefinition": INNER},
)
ROWS: list[dict[str, Any]] = [
    {
        "id": str(number),
        "status": status,
        "createdDateTime": datetime(2026, 3, number, tzinfo=UTC),
        "isEnabled": number == 1,
        "ticketInfo": {"ticketNumber": ticket},
        "roleDefinition": {"displayName": f"Role {number}", "deeper": {"id": "x"}},
    }
    for number, status, ticket in ((1, "Granted", "INC1"), (2, "Denied", None), (3, "Granted", "it's"))
]


def ids(text: str) -> str:
    takes = query.parse({"$filter": text}, SHAPE).takes
    return "".join(row["id"] for row in ROWS if takes(row))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "123"),
        ("status eq 'Granted'", "13"),
        ("Status EQ 'granted'", "13"),
        ("status ne 'Granted'", "2"),
        ("status eq 'Granted' and id eq '3'", "3"),
        ("status eq 'Denied' or id eq '3'", "23"),
        ("not (status eq 'Granted')", "2"),
        ("id in ('1', '2')", "12"),
        ("createdDateTime ge 2026-03-02T00:00:00Z", "23"),
        ("createdDateTime lt 2026-03-02T01:00:00+02:00", "1"),
        ("isEnabled eq true", "1"),
        ("isEnabled", "1"),
        ("startswith(id, '2')", "2"),
        ("contains(status, 'RANT')", "13"),
        ("endswith(roleDefinition/displayName, '3')", "3"),
        ("ticketInfo/ticketNumber eq null", "2"),
        ("ticketInfo/ticketNumber gt 'a'", "13"),
        ("ticketInfo/ticketNumber eq 'it''s'", "3"),
        ("roleDefinition/displayName eq 'role 2'", "2"),
    ],
)
def test_a_filter_takes(text: str, found: str) -> None:
    assert ids(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "status",
        "status eq",
        "nothing eq 'x'",
        "status eq 1",
        "isEnabled eq 'true'",
        "createdDateTime ge 'yesterday'",
        "createdDateTime ge 2026-13-45T00:00:00Z",
        "status/length eq 'x'",
        "ticketInfo eq 'x'",
        "roleDefinition/nothing eq 'x'",
        "length(status) eq 3",
        "tolower(status) eq 'x'",
        "'Granted' eq status",
        "status eq id",
        "status in 'x'",
        "startswith(status, null)",
        "a.b.status eq 'x'",
        "any(x:x eq 1)",
        "(" * 900,
        "not " * 400 + "isEnabled",
        "status eq '" + "x" * 3000 + "'",
        " and ".join(["isEnabled"] * 150),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"\$filter"):
        filters.condition(text, SHAPE)


def test_rows_come_as_they_are_asked_for() -> None:
    wanted = query.parse({"$select": "Status", "$expand": "roleDefinition($select=displayName)"}, SHAPE)
    assert wanted.project(ROWS[0]) == {
        "id": "1",
        "status": "Granted",
        "roleDefinition": {"displayName": "Role 1"},
    }
    deeper = query.parse(
        {"$expand": "roleDefinition($expand=deeper;$select=id)"},
        Shape({}, {}, {"roleDefinition": Shape({"id": str}, {}, {"deeper": Shape({"id": str})})}),
    )
    assert deeper.project(ROWS[0])["roleDefinition"]["deeper"] == {"id": "x"}
    assert "roleDefinition" not in query.parse({}, SHAPE).project(ROWS[0])


@pytest.mark.parametrize(
    "said",
    [
        {"$orderby": "id"},
        {"$count": "true"},
        {"anything": "1"},
        {"$top": "0"},
        {"$top": "-1"},
        {"$top": "1000"},
        {"$top": "9" * 5000},
        {"$top": "²"},
        {"$select": "nothing"},
        {"$expand": "nothing"},
        {"$expand": "status"},
        {"$expand": "roleDefinition($top=1)"},
        {"$expand": "roleDefinition($select=displayName"},
        {"$expand": "roleDefinition)"},
        {"$expand": "(" * 50},
    ],
)
def test_an_option_that_is_not_known_is_refused(said: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        query.parse(said, SHAPE)


def test_pages_show_each_row_once() -> None:
    said = {"$top": "2", "$filter": "status ne 'Nothing'"}
    first, token = query.page(query.parse(said, SHAPE), ROWS)
    following = read_once(query.next_page(said, token))
    second, end = query.page(query.parse(following, SHAPE), ROWS)
    assert ([one["id"] for one in (*first, *second)], end) == (["1", "2", "3"], "")
    with pytest.raises(InvalidInput, match="is gone"):
        query.page(query.parse({"$skiptoken": "9"}, SHAPE), ROWS)


def test_an_option_is_said_once() -> None:
    with pytest.raises(Malformed, match="twice"):
        read_once("$top=1&$top=2")


# ----------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("PT5H", timedelta(hours=5)),
        ("pt90m", timedelta(minutes=90)),
        ("P1DT2H3M4.5S", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("P1W", timedelta(weeks=1)),
        ("5:30:00", timedelta(hours=5, minutes=30)),
        ("1 day, 2:00:00", timedelta(days=1, hours=2)),
        ("2 days, 0:00:01.5", timedelta(days=2, seconds=1)),
    ],
)
def test_a_duration_in_both_forms(text: str, span: timedelta) -> None:
    assert values.duration("duration", text) == span


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1M", "P1Y", "5h", "5", "-PT5H", "PT5H ", "P1DT", "PT٥H", "P99999999D", "5:30"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a duration"):
        values.duration("duration", text)


@pytest.mark.parametrize("text", ["PT1S", "PT8H", "P1D", "P1DT2H", "P30DT1H1M1S", "PT0S"])
def test_a_duration_is_written_in_iso_8601(text: str) -> None:
    assert values.iso(values.duration("duration", text)) == text


@pytest.mark.parametrize(
    "text",
    ["2026-03-01T22:00:00Z", "2026-03-01T23:00:00.1234567+01:00", "2026-03-01t22:00:00+00:00"],
)
def test_a_time(text: str) -> None:
    assert values.moment("startDateTime", text).replace(microsecond=0) == datetime(2026, 3, 1, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "2026-03-01", "2026-03-01T22:00:00", "now", "0001-01-01T00:00:00+14:00", "2026-99-01T22:00:00Z"],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a time"):
        values.moment("startDateTime", text)


def test_what_is_written() -> None:
    at = datetime(2026, 3, 1, 22, 0, 0, 500_000, tzinfo=UTC)
    assert values.written({"a": [at], "b": timedelta(hours=1), "c": None}) == {
        "a": ["2026-03-01T22:00:00.5Z"],
        "b": "PT1H",
        "c": None,
    }


# -------------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/v1.0/Me", "/v1.0/me"),
        ("/beta/roleManagement/directory/roleAssignmentApprovals/A/", "/v1.0/roleManagement/directory/roleAssignmentApprovals/A"),
        ("/v1.0/roleManagement/Directory/roledefinitions('X-1')", "/v1.0/roleManagement/directory/roleDefinitions/X-1"),
        (
            "/v1.0/roleManagement/directory/roleAssignmentSchedules/FilterByCurrentUser(on='Principal')",
            "/v1.0/roleManagement/directory/roleAssignmentSchedules/filterByCurrentUser/principal",
        ),
    ],
)  # fmt: skip
def test_an_address_as_a_route_has_it(path: str, plain: str) -> None:
    assert addresses.is_ours(path)
    assert addresses.plain(path) == plain


@pytest.mark.parametrize("path", ["/v1.00/me", "/v1x0/me", "/api/v1/whoami", "/betatest", "/"])
def test_an_address_of_others(path: str) -> None:
    assert not addresses.is_ours(path)


# ----------------------------------------------------------------------------------------------------------------- bodies

READ: Callable[[bytes], Any] = lambda body: given.asked(body, of_group=False)  # noqa: E731


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b'{"action": "selfActivate"}',
        b'{"action": "selfActivate", "principalId": "a"}',
        b'{"action": "grant", "principalId": "a", "roleDefinitionId": "b"}',
        b'{"action": "selfActivate", "principalId": 7, "roleDefinitionId": "b"}',
        b'{"action": "selfActivate", "principalId": "a", "roleDefinitionId": "b", "status": "Provisioned"}',
        b'{"action": "selfActivate", "principalId": "a", "roleDefinitionId": "b", "customData": "x"}',
        b'{"action": "selfActivate", "principalId": "a", "roleDefinitionId": "b", "directoryScopeId": "/x"}',
        b'{"action": "selfActivate", "principalId": "a", "roleDefinitionId": "b", "groupId": "x"}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_a_body_that_says_too_little_or_too_much_is_refused(body: bytes) -> None:
    with pytest.raises(BastideError):
        READ(body)


@pytest.mark.parametrize(
    "expiration",
    [
        {"type": "afterDuration"},
        {"type": "afterDateTime", "duration": "PT1H"},
        {"type": "noExpiration", "duration": "PT1H"},
        {"type": "never"},
    ],
)
def test_an_expiration_that_contradicts_itself_is_refused(expiration: dict[str, str]) -> None:
    with pytest.raises(BastideError):
        given._end(given.Expiration(expiration["type"], None, expiration.get("duration")))
