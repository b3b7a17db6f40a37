"""What a client says when it asks for a role, and how addresses are written."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from bastide.api.mim import addresses
from bastide.api.mim.given import Asked, asked
from bastide.domain.errors import BastideError, InvalidInput
from bastide.http.problems import Malformed, WrongMediaType

ROLE = "0f4d7a0c-7c5e-4b1c-9a39-2f6f1f7c2d11"
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
WEST = timezone(timedelta(hours=-7))


def local(at: datetime) -> datetime:
    return at.replace(tzinfo=WEST)


def ask(body: str | bytes = b"", media_type: str = FORM, query: str = "") -> Asked:
    return asked(query, media_type, body.encode() if isinstance(body, str) else body, local)


HOUR = Asked(role=ROLE, ttl=timedelta(hours=1), justification="patch it", start_at=None)


@pytest.mark.parametrize(
    "given",
    [
        ask(f"Justification=patch+it&RoleId={ROLE}&RequestedTTL=3600&RequestedTime="),
        ask(f'{{"RoleId":"{ROLE}","RequestedTTL":"3600","Justification":"patch it"}}', JSON),
        ask(f'{{"roleid":"{ROLE.upper()}","requestedttl":3600,"justification":" patch it ","RequestedTime":null}}', JSON),
        ask(query=f"v=1&RoleId=guid'{ROLE}'&RequestedTTL=3600.0000000000005&Justification=patch%20it"),
        ask(f'{{"odata.type":"x","RoleId":"{{{ROLE}}}","RequestedTTL":3600,"Justification":"patch it"}}', JSON),
        ask("Justification=patch%20it", query=f"RoleId={ROLE}&RequestedTTL=3600"),
    ],
)  # fmt: skip
def test_the_query_a_form_and_json_say_the_same(given: Asked) -> None:
    assert given == HOUR


def test_what_is_left_out_is_empty() -> None:
    assert ask(f"RoleId={ROLE}&RequestedTTL=0") == Asked(ROLE, timedelta(0), "", None)


def test_less_than_a_second_is_not_giving_back() -> None:
    assert ask(f"RoleId={ROLE}&RequestedTTL=0.1").ttl == timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2015/07/11 23:40", datetime(2015, 7, 12, 6, 40, tzinfo=UTC)),
        ("07/11/2015 11:40 PM", datetime(2015, 7, 12, 6, 40, tzinfo=UTC)),
        ("2015-07-11T23:40:00", datetime(2015, 7, 12, 6, 40, tzinfo=UTC)),
        ("2015-07-11T23:40:00Z", datetime(2015, 7, 11, 23, 40, tzinfo=UTC)),
        ("2015-07-11T23:40:00.5+02:00", datetime(2015, 7, 11, 21, 40, 0, 500000, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_one_of_the_server(text: str, time: datetime) -> None:
    found = ask(f'{{"RoleId":"{ROLE}","RequestedTTL":60,"RequestedTime":"{text}"}}', JSON)
    assert found.start_at == time


@pytest.mark.parametrize(
    ("body", "media_type", "error", "field"),
    [
        ("RequestedTTL=60", FORM, InvalidInput, "RoleId"),
        (f"RoleId={ROLE}", FORM, InvalidInput, "RequestedTTL"),
        (f"RoleId={ROLE}&RequestedTTL=-1", FORM, InvalidInput, "RequestedTTL"),
        (f"RoleId={ROLE}&RequestedTTL=nan", FORM, InvalidInput, "RequestedTTL"),
        (f"RoleId={ROLE}&RequestedTTL=1e999", FORM, InvalidInput, "RequestedTTL"),
        (f"RoleId={ROLE}&RequestedTTL=60&RequestedTime=soon", FORM, InvalidInput, "RequestedTime"),
        (f"RoleId={ROLE}&RequestedTTL=60&RequestStatus=Active", FORM, InvalidInput, "RequestStatus"),
        (f"RoleId={ROLE}&roleid={ROLE}&RequestedTTL=60", FORM, InvalidInput, "RoleId"),
        (f"RoleId={ROLE}&RequestedTTL=60&Justification=a%00b", FORM, InvalidInput, "Justification"),
        ("%ff=1", FORM, Malformed, ""),
        ("&".join(f"a{n}=1" for n in range(40)), FORM, Malformed, ""),
        ("[]", JSON, Malformed, ""),
        ('{"RoleId":{}}', JSON, Malformed, ""),
        ("{" * 5000, JSON, Malformed, ""),
        ("<a/>", "text/xml", WrongMediaType, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(body: str, media_type: str, error: type[BastideError], field: str) -> None:
    with pytest.raises(error) as caught:
        ask(body, media_type)
    assert getattr(caught.value, "field", "") == field


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/api/pamresources/pamroles", "/pamroles"),
        ("/API/PamResources/PAMRoles/", "/pamroles"),
        ("/api/pamresources/sessioninfo/", "/sessioninfo"),
        (f"/api/pamresources/pamrequests(guid'{ROLE}')/Close", f"/pamrequests/{ROLE}/close"),
        (f"/api/pamresources/pamrequests({ROLE.upper()})/close/", f"/pamrequests/{ROLE}/close"),
        (f"/api/pamresources/pamrequests(RequestId=guid'{ROLE}')/Close", f"/pamrequests/{ROLE}/close"),
        (f"/api/pamresources/pamrequests/{ROLE}/close", "/-"),
        (f"/api/pamresources/pamrequests(guid'{ROLE}')", "/-"),
        ("/api/pamresources/pamrequests(guid'x')/Close", "/-"),
        ("/api/pamresources/pamrequests(guid'../x')/Close", "/-"),
        ("/api/pamresources", "/-"),
    ],
)
def test_an_address_is_that_of_a_route_or_of_nothing(path: str, plain: str) -> None:
    assert addresses.is_ours(path)
    assert addresses.plain(path) == f"/api/pamresources{plain}"


@pytest.mark.parametrize("path", ["/api/v1/pamroles", "/api/pamresourcesx", "/"])
def test_other_addresses_are_not_ours(path: str) -> None:
    assert not addresses.is_ours(path)
