"""One's own open sessions, on the page, in the API and at the command line: what is shown, and what ending one ends."""

import hashlib
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.errors import StoreBusy
from bastide.domain.people import KERBEROS, OIDC, PASSWORD, TOKEN
from bastide.http.callers import agent
from bastide.services.ports import AuditQuery
from bastide.services.sessions import Sessions
from bastide.store.unit_of_work import SqlStore
from tests.support.api import API, ApiWorld
from tests.support.portal import Browser, Page, facts, signed_in

pytest_plugins = ["tests.support.api"]
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"


@pytest.fixture
def alice(api: ApiWorld) -> Browser:
    return signed_in(api, "CORP\\alice")


def ends(page: Page) -> list[str]:
    return [form.action for form in page.forms if re.fullmatch(r"/sessions/[0-9a-f]{32}/end", form.action)]


def test_they_are_listed_with_where_they_came_from(api: ApiWorld, alice: Browser) -> None:
    other = Browser(api)
    form = other.open("/signin").form("/signin")
    fields = {**form.fields, "account": "CORP\\alice", "password": "alice-corp-pw", "code": api.code("alice")}
    other.post("/signin", fields, User_Agent=FIREFOX)
    page = alice.open("/sessions")
    assert page.status == 200
    assert "Firefox on Linux" in page.text
    assert "this one" in page.text
    assert len(ends(page)) == 1, "the own one has no button: signing out ends it"
    said = facts(page)
    assert said["From"] == "testclient"
    assert "Signed in" in said
    assert "second factor shown" in page.text
    assert api.client.get("/sessions").status_code == 401


def test_no_token_and_no_hash_is_on_the_page_or_in_the_api(api: ApiWorld, alice: Browser) -> None:
    other = signed_in(api, "CORP\\alice")
    page = alice.open("/sessions")
    listed = api.client.get(f"{API}/sessions", headers={"Authorization": f"Bearer {other.cookie}"})
    assert [one["current"] for one in listed.json()["items"]].count(True) == 1
    for token in (alice.cookie, other.cookie):
        for text in (page.html, listed.text):
            assert token not in text
            assert hashlib.sha256(token.encode()).hexdigest()[:32] not in text
    with api.store.read() as uow:
        assert not [r for r in uow.audit.read(AuditQuery(limit=0)) if alice.cookie in repr(r)]


def test_what_is_ended_is_over_at_once_and_on_record(api: ApiWorld, alice: Browser) -> None:
    thief = signed_in(api, "CORP\\alice")
    page = alice.open("/sessions")
    page = alice.send(page.form(ends(page)[0]))
    assert "The session is over." in page.text
    assert ends(page) == []
    assert thief.open("/").status == 401
    assert alice.open("/").status == 200
    with api.store.read() as uow:
        closed = [r.data for r in uow.audit.read(AuditQuery(kind="session.closed", limit=0))]
    assert closed == ['{"how":"ended from a list"}']


def test_all_others_are_ended_and_this_one_stays(api: ApiWorld, alice: Browser) -> None:
    others = [signed_in(api, "CORP\\alice") for _ in range(2)]
    page = alice.send(alice.open("/sessions").form("/sessions/others/end"))
    assert "All your other sessions are over." in page.text
    assert "You are signed in nowhere else." in page.text
    assert [one.open("/").status for one in others] == [401, 401]
    fields = alice.open("/sessions").form("/signout").fields
    assert alice.post("/sessions/others/end", fields).status == 404, (
        "nothing was ended, so nothing is said to be"
    )


def test_nobody_sees_or_ends_what_is_another_accounts(api: ApiWorld, alice: Browser) -> None:  # (1)
    bob = signed_in(api, "CORP\\bob")
    theirs = alice.open("/sessions")
    signed_in(api, "CORP\\alice")
    (address,) = ends(alice.open("/sessions"))
    page = bob.open("/sessions")
    assert (ends(page), len(theirs.forms) > 0) == ([], True)
    assert bob.post(address, page.form("/signout").fields).status == 404
    assert alice.open("/sessions").status == 200
    assert ends(alice.page) == [address]


def test_the_everyday_account_does_not_reach_the_sessions_of_the_priv_account(api: ApiWorld) -> None:  # (1)
    user = api.services.accounts.user(api.dave, "priv.alice")
    with api.store.read() as uow:
        assert uow.users.get(user.id).corp.sid != user.priv.sid
    sessions = api.services.sessions
    corp = api.alice()
    api.services.authn.open_session(corp)
    assert len(sessions.mine(corp)) == 1
    priv = replace(corp, sid=user.priv.sid)
    api.services.authn.open_session(priv)
    assert len(sessions.mine(corp)) == 1
    assert len(sessions.mine(priv)) == 1


def test_a_name_opens_nothing(api: ApiWorld, alice: Browser) -> None:  # (2)
    signed_in(api, "CORP\\alice")
    name = ends(alice.open("/sessions"))[0].split("/")[2]
    answer = api.client.get(f"{API}/whoami", headers={"Authorization": f"Bearer {name}"})
    assert answer.status_code == 401


def test_use_is_written_once_in_five_minutes(api: ApiWorld, alice: Browser) -> None:  # (3)
    def used() -> str:
        return facts(alice.open("/sessions"))["Last used"]

    began = used()
    api.clock.move(minutes=4, seconds=59)
    assert used() == began
    api.clock.move(seconds=1)
    used()
    assert used() != began
    assert facts(alice.page)["Since"] == began
    api.clock.move(minutes=10)
    assert alice.open("/").status == 401, "to be used is not to live longer"


def test_a_use_that_cannot_be_written_stops_nothing(
    api: ApiWorld, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:  # (3)
    def busy(*_: Any) -> Any:
        raise StoreBusy("somebody else writes")

    api.clock.move(minutes=6)
    monkeypatch.setattr(SqlStore, "write", busy)
    assert alice.open("/").status == 200


def test_over_the_api_one_and_all_others(api: ApiWorld, alice: Browser) -> None:
    second, third = signed_in(api, "CORP\\alice"), signed_in(api, "CORP\\alice")
    bearer = {"Authorization": f"Bearer {alice.cookie}"}
    items = api.client.get(f"{API}/sessions", headers=bearer).json()["items"]
    assert len(items) == 3
    assert {item["via"] for item in items} == {"password"}
    one = next(item["id"] for item in items if not item["current"])
    assert api.client.delete(f"{API}/sessions/{one}", headers=bearer).status_code == 204
    assert api.client.delete(f"{API}/sessions/{one}", headers=bearer).status_code == 404
    assert sorted([second.open("/").status, third.open("/").status]) == [200, 401]
    answer = api.client.delete(f"{API}/sessions", headers=bearer)
    assert (answer.status_code, answer.json()) == (200, {"ended": 1})
    assert api.client.delete(f"{API}/sessions", headers=bearer).status_code == 404


def test_with_a_ticket_all_are_others(api: ApiWorld, alice: Browser) -> None:
    assert api.corp_caller("alice").delete("/sessions").json() == {"ended": 1}
    assert alice.open("/").status == 401


def test_whether_one_is_open_is_asked_of_the_database_alone(api: ApiWorld, alice: Browser) -> None:
    sessions = Sessions(store=api.store, now=api.clock.now)
    assert sessions.is_open(alice.cookie)
    assert not sessions.is_open("0" * 64)
    api.clock.moment += timedelta(minutes=15)
    assert not sessions.is_open(alice.cookie)


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (FIREFOX, "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit Chrome/130 Safari/537 Edg/130", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14) Version/17 Safari/605", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17) CriOS/130 Safari/605", "Chrome on iOS"),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/130 Mobile Safari/537", "Chromium on Android"),
        ("bastide-cli", "Bastide's command line"),
        ("<script>alert(1)</script>", "an unknown program"),
        ("", "an unknown program"),
    ],
)
def test_of_a_program_only_its_kind_is_kept(said: str, known: str) -> None:
    assert agent(said) == known


def test_each_way_to_sign_in_has_its_words(api: ApiWorld, alice: Browser) -> None:
    ticket = api.services.authn.negotiate(f"alice@{api.corp.dns_name.upper()}".encode())[0]
    for via in (KERBEROS, PASSWORD, OIDC, TOKEN):
        api.services.authn.open_session(replace(ticket, via=via))
    said = alice.open("/sessions").text
    for words in (
        "with a Kerberos ticket",
        "with a password",
        "with a token of your issuer",
        "a token for a program",
    ):
        assert words in said
