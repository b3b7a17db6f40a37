"""Signing in to the portal, staying signed in, and out again."""

import base64

import pytest

from bastide.http.callers import Origin
from bastide.http.door import COOKIE
from bastide.http.throttle import PER_ACCOUNT
from bastide.portal import forms
from bastide.portal import sign_in as sign_in_page
from tests.support.api import ApiWorld
from tests.support.portal import ORIGIN, Browser

pytest_plugins = ["tests.support.api"]
ALICE = ("CORP\\alice", "alice-corp-pw")


@pytest.fixture
def browser(api: ApiWorld) -> Browser:
    return Browser(api)


def ticket(api: ApiWorld, name: str, realm: str = "corp") -> str:
    forest = api.corp if realm == "corp" else api.priv
    return f"{name}@{forest.dns_name.upper()}"


def test_who_is_not_signed_in_sees_the_page_to_sign_in_on(browser: Browser) -> None:
    page = browser.open("/")
    assert (page.status, page.answer.headers["www-authenticate"]) == (401, "Negotiate")
    assert page.form("/signin").fields.keys() == {"onward", "account", "password", "code"}
    assert "did not work" not in page.text, "a first visit is no failure"


def test_the_page_itself_asks_for_no_ticket(browser: Browser) -> None:
    page = browser.open("/signin")
    assert page.status == 200
    assert "www-authenticate" not in page.answer.headers


def test_a_machine_of_the_domain_signs_in_without_a_prompt(api: ApiWorld) -> None:
    browser = Browser(api, ticket(api, "alice"))
    page = browser.open("/")
    assert page.status == 200
    assert "CORP\\alice" in page.text
    assert page.answer.headers["www-authenticate"].startswith("Negotiate "), "the server proves itself"
    token = browser.cookie
    assert browser.open("/history").status == 200
    assert browser.cookie == token, "one session, not one per page"


@pytest.mark.parametrize("dest", ["image", "iframe", "empty", "script"])
def test_a_part_of_another_page_opens_no_session(api: ApiWorld, dest: str) -> None:
    browser = Browser(api, ticket(api, "alice"))
    assert browser.open("/", **{"Sec-Fetch-Dest": dest}).status == 403
    assert (browser.cookie, "session.opened" in api.events()) == ("", False)
    assert browser.open("/", **{"Sec-Fetch-Dest": "document"}).status == 200


def test_a_link_from_a_mail_leads_to_the_page_after_the_sign_in(api: ApiWorld) -> None:
    browser = Browser(api)
    page = browser.open("/approvals")
    assert page.status == 401
    assert page.form("/signin").fields["onward"] == "/approvals"
    page = browser.send(
        page.form("/signin"), account="PRIV\\grace", password="grace-priv-pw", code=api.code("grace")
    )
    assert page.answer.url.path == "/approvals"


@pytest.mark.parametrize(
    "onward",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "/static/x", "/api/v1/kill", "\n/"],
)
def test_nobody_is_sent_elsewhere(browser: Browser, onward: str) -> None:
    fields = {"account": ALICE[0], "password": ALICE[1], "onward": onward}
    assert browser.post("/signin", fields).answer.url.path == "/"


def test_a_password_signs_in(browser: Browser) -> None:
    page = browser.sign_in(*ALICE)
    assert (page.status, page.answer.url.path) == (200, "/")
    assert "CORP\\alice" in page.text


def test_the_cookie_goes_nowhere_else(api: ApiWorld) -> None:
    headers = {"Origin": ORIGIN}
    answer = api.client.post(
        "/signin", data={"account": ALICE[0], "password": ALICE[1]}, headers=headers, follow_redirects=False
    )
    (cookie,) = answer.headers.get_list("set-cookie")
    name, *flags = (part.strip().lower() for part in cookie.split(";"))
    assert name.startswith(f"{COOKIE.lower()}=")
    assert set(flags) == {"httponly", "path=/", "samesite=strict", "secure"}
    assert answer.headers["cache-control"] == "no-store"


def test_a_token_that_somebody_planted_is_never_taken_over(api: ApiWorld, browser: Browser) -> None:
    browser.cookie = planted = "f" * 64
    browser.sign_in(*ALICE)
    assert browser.cookie not in {planted, ""}
    other = Browser(api)
    other.cookie = planted
    assert other.open("/").status == 401


def test_each_sign_in_has_a_token_of_its_own_and_ends_the_session_before(
    api: ApiWorld, browser: Browser
) -> None:
    browser.sign_in(*ALICE)
    first = browser.cookie
    browser.sign_in(*ALICE)
    assert browser.cookie != first
    other = Browser(api)
    other.cookie = first
    assert other.open("/").status == 401


def test_signing_out_ends_the_session(api: ApiWorld, browser: Browser) -> None:
    page = browser.sign_in(*ALICE)
    token = browser.cookie
    page = browser.send(page.form("/signout"))
    assert "You are signed out." in page.text
    assert browser.cookie == ""
    thief = Browser(api)
    thief.cookie = token
    assert thief.open("/").status == 401
    assert api.client.get("/api/v1/whoami", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert "session.closed" in api.events()


def test_signing_out_on_a_machine_of_the_domain_stays_out(api: ApiWorld) -> None:
    browser = Browser(api, ticket(api, "alice"))
    page = browser.send(browser.open("/").form("/signout"))
    assert "You are signed out." in page.text
    assert browser.cookie == ""


def test_a_session_is_over_in_time_and_the_form_says_so(api: ApiWorld, browser: Browser) -> None:
    page = browser.sign_in(*ALICE)
    api.clock.move(minutes=15)
    page = browser.send(page.form("/signout"))
    assert (page.status, page.answer.headers["www-authenticate"]) == (401, "Bastide-Session")
    assert "the session is over" in page.text
    assert page.form("/signin")


def test_a_session_that_is_over_gives_way_to_a_ticket(api: ApiWorld) -> None:
    browser = Browser(api, ticket(api, "alice"))
    browser.open("/")
    old = browser.cookie
    api.clock.move(minutes=15)
    assert browser.open("/").status == 200
    assert browser.cookie != old


@pytest.mark.parametrize(
    "account", ["CORP\\nobody", "CORP\\alice", "ELSE\\alice", "alice", "CORP\\*", "CORP\\)(uid=*"]
)
def test_every_failed_sign_in_gives_the_same_answer(browser: Browser, account: str) -> None:
    page = browser.sign_in(account, "wrong")
    assert (page.status, page.answer.headers["www-authenticate"]) == (401, "Bastide-Session")
    assert page.form("/signin").fields["account"] == account
    sample = browser.sign_in("CORP\\sample", "wrong")
    assert page.html.replace(account, "-") == sample.html.replace("CORP\\sample", "-")
    assert browser.cookie == ""


def test_guessing_is_slowed_down(api: ApiWorld, browser: Browser) -> None:
    assert [browser.sign_in("CORP\\alice", "wrong").status for _ in range(7)] == [401] * 5 + [429] * 2
    page = browser.sign_in(*ALICE)
    assert (page.status, page.answer.headers["retry-after"]) == (429, "900")
    assert "wait a quarter of an hour" in page.text
    assert browser.sign_in("CORP\\bob", "bob-corp-pw").status == 200, "others at the address go on"
    assert Browser(api, ticket(api, "alice")).open("/").status == 200, "a ticket goes on"


def test_a_failed_sign_in_says_nothing_in_its_headers_either(api: ApiWorld, browser: Browser) -> None:
    api.corp.add_person("asleep", enabled=False, password="asleep-corp-pw")
    seen = set()
    for account, password in (
        ("CORP\\nobody", "wrong"),
        ("CORP\\alice", "wrong"),
        ("CORP\\asleep", "asleep-corp-pw"),
        ("PRIV\\dave", "wrong"),
    ):
        page = browser.sign_in(account, password)
        headers = {name: value for name, value in page.answer.headers.items() if name != "content-length"}
        seen.add((page.status, tuple(sorted(headers.items()))))
    assert len(seen) == 1, seen


def test_an_attacker_with_many_addresses_locks_nobody_out_at_home(
    api: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in_page, "origin", lambda call: Origin(call.headers["x-from"], ""))

    def sign_in(account: str, password: str, address: str) -> int:
        fields = {"account": account, "password": password, "code": "", "onward": "/"}
        return Browser(api).post("/signin", fields, X_From=address).status

    assert sign_in(*ALICE, "198.51.100.1") == 200
    guesses = [sign_in("CORP\\alice", "wrong", f"192.0.2.{number}") for number in range(PER_ACCOUNT + 1)]
    assert guesses == [401] * PER_ACCOUNT + [429]
    assert sign_in(*ALICE, "198.51.100.1") == 200, "from where she signed in before"
    assert sign_in(*ALICE, "203.0.113.5") == 429, "elsewhere she waits"
    assert sign_in("CORP\\bob", "bob-corp-pw", "203.0.113.5") == 200, "and she alone"
    assert Browser(api, ticket(api, "alice")).open("/").status == 200, "but not with a ticket"


def test_guessing_here_and_at_the_api_is_counted_together(api: ApiWorld, browser: Browser) -> None:
    for _ in range(5):
        api.anonymous().post("/sessions", {"account": "CORP\\alice", "password": "wrong"})
    assert browser.sign_in(*ALICE).status == 429


def test_nothing_typed_is_no_attempt(browser: Browser) -> None:
    page = browser.post("/signin", {"account": "", "password": ""})
    assert page.status == 422
    assert "both needed" in page.text


def test_a_wrong_code_opens_no_session(api: ApiWorld, browser: Browser) -> None:
    page = browser.sign_in(*ALICE, api.wrong_code("alice"))
    assert page.status == 403
    assert "the code is wrong" in page.text
    assert browser.cookie == ""


def test_the_password_is_never_on_a_page(browser: Browser) -> None:
    page = browser.sign_in("CORP\\alice", "a very secret mistake")
    assert "a very secret mistake" not in page.html


# ------------------------------------------------------------------------------------------- where the cookie counts


def test_the_cookie_opens_the_portal_and_mims_api_and_nothing_else(api: ApiWorld, browser: Browser) -> None:
    browser.sign_in(*ALICE)
    cookie = {"Cookie": f"{COOKIE}={browser.cookie}"}
    assert api.client.get("/api/pamresources/sessioninfo", headers=cookie).json()["value"] == [
        {"Username": "CORP\\alice"}
    ]
    for path in ("/api/v1/whoami", "/api/v1/requests", "/api/v1/offers"):
        assert api.client.get(path, headers=cookie).status_code == 401, path


def test_a_write_with_the_cookie_says_where_it_comes_from(api: ApiWorld, browser: Browser) -> None:
    browser.sign_in(*ALICE, api.code("alice"))
    role = next(
        one.role.id
        for one in api.services.requests.offers(api.alice())
        if one.role.name == "File administrators"
    )
    body = {"RoleId": role, "RequestedTTL": "600", "Justification": "x"}
    cookie = {"Cookie": f"{COOKIE}={browser.cookie}"}
    path = "/api/pamresources/pamrequests"
    silent = api.client.post(path, json=body, headers=cookie)
    assert (silent.status_code, silent.json()["odata.error"]["code"]) == (403, "cross-site")
    other = api.client.post(path, json=body, headers={**cookie, "Sec-Fetch-Site": "same-site"})
    assert other.status_code == 403
    own = api.client.post(path, json=body, headers={**cookie, "Origin": ORIGIN})
    assert own.status_code == 201, "and the second factor of the session is fresh"
    assert [one.state.value for one in api.open()] == ["Processing"]


def test_a_token_of_the_api_goes_before_the_cookie(api: ApiWorld, browser: Browser) -> None:
    browser.sign_in(*ALICE)
    opened = api.anonymous().post("/sessions", {"account": "CORP\\bob", "password": "bob-corp-pw"}).json()
    headers = {"Cookie": f"{COOKIE}={browser.cookie}", "Authorization": f"Bearer {opened['token']}"}
    said = api.client.get("/api/pamresources/sessioninfo", headers=headers).json()["value"]
    assert said == [{"Username": "CORP\\bob"}]


# --------------------------------------------------------------------------------------------------------- other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_another_site_cannot_send_a_form(api: ApiWorld, browser: Browser, headers: dict[str, str]) -> None:
    page = browser.sign_in(*ALICE)
    token = page.form("/signout").fields
    assert browser.post("/signout", token, **headers).status == 403
    assert browser.open("/").status == 200, "the session goes on"
    assert Browser(api).post("/signin", {"account": ALICE[0], "password": ALICE[1]}, **headers).status == 403


def test_a_ticket_sends_no_form(api: ApiWorld) -> None:
    """A browser of the domain would send one for any site."""
    token = base64.b64encode(ticket(api, "alice").encode()).decode()
    headers = {"Authorization": f"Negotiate {token}", "Origin": ORIGIN}
    for said in ({}, {forms.CSRF_FIELD: ""}, {forms.CSRF_FIELD: forms.csrf_token("")}):
        answer = api.client.post("/signout", data=said, headers=headers, follow_redirects=False)
        assert answer.status_code == 403
    assert "session.opened" not in api.events()
