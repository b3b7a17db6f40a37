"""Who gets through the door: one right per route, other sites, sizes, sign-ins."""

import base64
import json
import re
import uuid
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.exceptions import ImproperlyConfiguredException

from bastide.domain.people import Forest
from bastide.http.door import check_routes
from bastide.portal import addresses as portal_addresses
from bastide.web import create_app
from tests.support import graph
from tests.support.api import API, MIM, ApiWorld, served
from tests.support.rights import OPEN, PORTAL, RIGHTS

pytest_plugins = ["tests.support.api"]
HOLDERS = {"use": "mallory", "approve": "grace", "administer": "dave", "audit": "frank"}


def routes(app: Litestar) -> dict[str, str]:
    found = {}
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in handler.http_methods - {"OPTIONS"}:
                opt = handler.opt
                right = OPEN if opt["right"] is None else opt["right"].value
                if opt.get("also"):
                    right += f" or {opt['also'].value}"
                path = re.sub(r"{(\w+):str}", r"{\1}", route.path)
                path = f"{PORTAL}{path}" if portal_addresses.is_ours(path) else path.removeprefix(API)
                found[f"{method} {path}"] = right
    return found


def test_each_route_names_the_right_written_here(api: ApiWorld) -> None:
    assert routes(create_app(api.services)) == RIGHTS


def test_a_route_without_a_right_stops_the_start() -> None:
    @get("/bare", sync_to_thread=False)
    def bare() -> None:
        return None

    app = Litestar([bare], openapi_config=None, logging_config=None)
    with pytest.raises(ImproperlyConfiguredException, match="names no right"):
        check_routes(handler for route in app.routes for handler in getattr(route, "route_handlers", ()))


def refused_at_the_door(answer: Any) -> bool:
    if "metrics.token" in answer.text:
        return False  # open at the door; tests/unit/test_metrics.py has who is told
    return answer.status_code == 401 or (answer.status_code == 403 and "has not the right" in answer.text)


def address(route: str) -> str:
    """An address that the route answers, with a key that nothing has."""
    if route.startswith(MIM):
        return re.sub(r"/{key}/(\w+)", rf"(guid'{uuid.UUID(int=0)}')/\1", route)
    if route.startswith(graph.HERE):
        return re.sub(r"{\w+}", "nobody", route)
    if route.startswith(PORTAL):
        return re.sub(r"{\w+}", "nobody", route.removeprefix(PORTAL))
    return API + re.sub(r"{\w+}", "nobody", route)


@pytest.mark.parametrize("held", [*HOLDERS, "none"])
def test_every_route_with_actors_of_each_right(api: ApiWorld, held: str) -> None:
    forest = Forest.CORP if held == "use" else Forest.PRIV
    caller = api.anonymous() if held == "none" else api.caller(HOLDERS[held], forest)
    for route, right in RIGHTS.items():
        method, _, path = route.partition(" ")
        if path in {"/kill", "/openapi.json"} and method == "GET":
            continue
        answer = api.client.request(method, address(path), headers=caller.headers)
        assert answer.status_code != 405
        allowed = right in {OPEN, "use"} if held == "use" else held in right or right in {OPEN, "use"}
        if held == "none":
            allowed = right == OPEN
        assert refused_at_the_door(answer) is not allowed, (route, answer.status_code, answer.text)


def test_who_is_unknown_gets_no_further_than_the_door(api: ApiWorld) -> None:
    answer = api.anonymous().post("/requests", {"role": "x" * 1000})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Negotiate"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:bastide:problem:not-authenticated"


@pytest.mark.parametrize(
    "authorization",
    [
        "Negotiate",
        "Negotiate !!!",
        "Negotiate " + base64.b64encode(b"alice@ELSEWHERE").decode(),
        "Bearer nothing",
        "Bearer",
        "Basic YTpi",
        "negotiate" + " " * 5,
        "é",
    ],
)
def test_bad_credentials(api: ApiWorld, authorization: str) -> None:
    answer = api.client.get(f"{API}/whoami", headers={b"Authorization": authorization.encode()})
    assert answer.status_code == 401


def test_a_ticket_is_answered_so_that_the_caller_knows_who_answers(api: ApiWorld) -> None:
    answer = api.corp_caller("alice").get("/whoami")
    assert answer.headers["www-authenticate"] == "Negotiate " + base64.b64encode(b"mutual").decode()
    assert answer.json() | {"sid": ""} == {
        "sid": "", "name": "CORP\\alice", "forest": "corp", "rights": ["use"], "rights_with_code": [], "via": "kerberos", "mfa": None,
        "pam_user": "priv.alice",
    }  # fmt: skip
    again = api.anonymous().get("/whoami")
    assert again.headers["www-authenticate"] == "Negotiate", "one caller's answer is not shown to another"


# ------------------------------------------------------------------------------------------------------------ sessions


def test_a_session_from_sign_in_to_sign_out(api: ApiWorld) -> None:
    opened = api.anonymous().post("/sessions", {"account": "CORP\\alice", "password": "alice-corp-pw"})
    assert opened.status_code == 201
    assert opened.headers["cache-control"] == "no-store"
    token = {"Authorization": f"Bearer {opened.json()['token']}"}
    assert api.client.get(f"{API}/whoami", headers=token).json()["name"] == "CORP\\alice"
    assert api.client.delete(f"{API}/sessions/current", headers=token).status_code == 204
    assert api.client.get(f"{API}/whoami", headers=token).status_code == 401
    assert api.client.delete(f"{API}/sessions/current", headers=token).status_code == 401


def test_a_session_is_over_in_time(api: ApiWorld) -> None:
    opened = api.anonymous().post("/sessions", {"account": "PRIV\\dave", "password": "dave-priv-pw"})
    api.clock.move(minutes=15)
    answer = api.client.get(f"{API}/whoami", headers={"Authorization": f"Bearer {opened.json()['token']}"})
    assert answer.status_code == 401


def test_a_session_with_a_code_holds_the_second_factor(api: ApiWorld) -> None:
    body = {"account": "CORP\\alice", "password": "alice-corp-pw", "code": api.code("alice")}
    opened = api.anonymous().post("/sessions", body)
    token = {"Authorization": f"Bearer {opened.json()['token']}"}
    assert api.client.get(f"{API}/whoami", headers=token).json()["mfa"]["method"] == "totp"


def test_a_code_works_once_and_for_the_call_it_came_with(api: ApiWorld) -> None:
    alice, code = api.corp_caller("alice"), api.code("alice")
    assert alice.get("/whoami", headers={"Bastide-Code": code}).json()["mfa"] is not None
    assert alice.get("/whoami").json()["mfa"] is None
    again = alice.get("/whoami", headers={"Bastide-Code": code})
    assert (again.status_code, again.json()["code"]) == (403, "mfa-refused")


def test_ending_a_session_without_one(api: ApiWorld) -> None:
    assert api.corp_caller("alice").delete("/sessions/current").status_code == 409


@pytest.mark.parametrize(
    "account", ["CORP\\nobody", "CORP\\alice", "ELSE\\alice", "alice", "CORP\\*", "CORP\\)(uid=*"]
)
def test_every_failed_sign_in_gives_the_same_answer(api: ApiWorld, account: str) -> None:
    answer = api.anonymous().post("/sessions", {"account": account, "password": "wrong"})
    assert answer.status_code == 401
    assert answer.json()["detail"] == "the sign-in was not accepted"


def test_guessing_is_slowed_down_for_the_pair_of_account_and_address_only(api: ApiWorld) -> None:
    guess = {"account": "CORP\\alice", "password": "wrong"}
    answers = [api.anonymous().post("/sessions", guess).status_code for _ in range(7)]
    assert answers == [401] * 5 + [429] * 2
    right = {"account": "corp\\ALICE", "password": "alice-corp-pw"}
    refused = api.anonymous().post("/sessions", right)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "900"), (
        "nor does the right one pass"
    )
    bob = {"account": "CORP\\bob", "password": "bob-corp-pw"}
    assert api.anonymous().post("/sessions", bob).status_code == 201, "others at the address go on"
    assert api.corp_caller("alice").get("/whoami").status_code == 200, "a ticket goes on"
    api.clock.move(minutes=15)
    assert api.anonymous().post("/sessions", right).status_code == 201


def test_a_right_password_takes_the_failures_back(api: ApiWorld) -> None:
    for _ in range(4):
        for _ in range(4):
            api.anonymous().post("/sessions", {"account": "CORP\\bob", "password": "wrong"})
        good = api.anonymous().post("/sessions", {"account": "CORP\\bob", "password": "bob-corp-pw"})
        assert good.status_code == 201


# --------------------------------------------------------------------------------------------------------- other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "null", "Host": ""},
        {"Origin": "http://testserver.local"},
        {"Referer": "http://testserver.local/signin"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://bastide.example.evil.example"},
        {"Origin": "https://[evil"},
        {"Referer": "https://evil.example/testserver.local"},
    ],
)
def test_another_site_cannot_send_writes(api: ApiWorld, headers: dict[str, str]) -> None:
    answer = api.caller("dave").post("/kill", {"reason": "x", "all": True}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")
    assert "kill-switch" not in api.events()


def test_its_own_pages_and_configured_origins_may() -> None:
    with served(origins=["https://portal.example"]) as api:
        body = {"reason": "x", "all": True}
        own = {"Sec-Fetch-Site": "same-origin", "Origin": "https://testserver.local"}
        known = {"Sec-Fetch-Site": "cross-site", "Origin": "https://portal.example"}
        for headers in (own, known):
            answer = api.caller("dave").post("/kill", body, headers=headers)
            assert answer.json()["code"] == "not-found", "it came through the door; there is nothing to end"
        allowed = api.caller("dave").get("/whoami", headers=known)
        assert allowed.headers["access-control-allow-origin"] == "https://portal.example"
        other = api.caller("dave").get("/whoami", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_a_form_is_no_request(api: ApiWorld, media_type: str) -> None:
    headers = {"Content-Type": media_type}
    answer = api.caller("dave").call("POST", "/kill", headers=headers, content=b'{"reason":"x","all":true}')
    assert answer.status_code == 415


# --------------------------------------------------------------------------------------------------------------- sizes


def test_a_body_has_a_limit(api: ApiWorld) -> None:
    answer = api.corp_caller("alice").post("/requests", {"role": "x", "justification": "x" * 70_000})
    assert answer.status_code == 413


def test_headers_have_a_limit(api: ApiWorld) -> None:
    for headers in (
        {"X-Large": "x" * 20_000},
        {f"X-{number}": "x" for number in range(120)},
        {"Authorization": "Negotiate " + "A" * 70_000},
    ):
        assert api.anonymous().get("/whoami", headers=headers).status_code == 431


def test_a_large_ticket_fits(api: ApiWorld) -> None:
    answer = api.anonymous().get("/whoami", headers={"Authorization": "Negotiate " + "A" * 60_000})
    assert answer.status_code == 401


def test_a_long_code_is_no_code(api: ApiWorld) -> None:
    assert api.caller("dave").get("/whoami", headers={"Bastide-Code": "1" * 65}).status_code == 400


# ------------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    "path", ["/whoami", "/nowhere", "/health/live", "/openapi.json", "/../whoami", "/whoami/"]
)
def test_every_answer_has_the_security_headers(api: ApiWorld, path: str) -> None:
    answer = api.anonymous().get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["server"] == "bastide"


@pytest.mark.parametrize(
    "path",
    [
        "/Whoami",
        "/whoami;x",
        "/whoami%2f..",
        "/./work",
        "//work",
        "/work/..;/work",
        "/health/live/../../work",
    ],
)
def test_no_spelling_of_a_path_gets_around_the_door(api: ApiWorld, path: str) -> None:
    assert api.anonymous().get(path).status_code in {401, 404}


def test_head_is_get_without_the_body(api: ApiWorld) -> None:
    answer = api.caller("dave").call("HEAD", "/whoami")
    assert (answer.status_code, answer.content) == (200, b"")
    assert api.anonymous().call("HEAD", "/whoami").status_code == 401


def test_options_says_what_there_is(api: ApiWorld) -> None:
    answer = api.anonymous().call("OPTIONS", "/kill")
    assert answer.status_code == 204
    assert set(answer.headers["allow"].split(", ")) == {"POST", "OPTIONS"}


def test_a_method_that_is_not_there(api: ApiWorld) -> None:
    answer = api.caller("dave").call("PATCH", "/roles")
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")


def test_health(api: ApiWorld) -> None:
    assert api.anonymous().get("/health/live").json() == {"status": "live"}
    assert api.anonymous().get("/health/ready").json() == {"status": "ready"}


def test_the_description_is_ours_and_complete(api: ApiWorld) -> None:
    document = api.anonymous().get("/openapi.json").json()
    described = {
        f"{method.upper()} {path.removeprefix(API)}": operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }
    native = {
        route for route in RIGHTS.keys() - graph.RIGHTS.keys() if MIM not in route and PORTAL not in route
    }
    assert described.keys() == native - {"GET /openapi.json"}
    for route, operation in described.items():
        assert operation["summary"], route
        assert operation["description"], route
        assert operation["responses"]["default"]["content"].keys() == {"application/problem+json"}, route
    assert "<script" not in api.anonymous().get("/openapi.json").text
    assert "http" not in json.dumps(document["servers"])


def test_a_call_that_is_refused_names_its_caller_in_the_log(
    api: ApiWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bastide.http.access")
    assert api.caller("grace").get("/audit/verification").status_code == 403
    assert api.anonymous().get("/audit/verification").status_code == 401
    refused, nobody = [record.getMessage() for record in caplog.records]
    assert "403 'PRIV\\\\grace'" in refused, refused
    assert "401 '-'" in nobody
