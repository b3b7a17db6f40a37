"""Auditing in the portal: who had what when, as a page and to take away; counts; the chain."""

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import pytest

from bastide.domain.ids import GroupId, RequestId, RoleId, UserId
from bastide.domain.requests import Request, State
from bastide.portal.text import cell, pieces, visible
from tests.support import build
from tests.support.admin import FORMULAS, HOSTILE, TURNED, by_ticket, is_quoted, is_sound
from tests.support.api import ApiWorld
from tests.support.portal import Browser, Page, facts

pytest_plugins = ["tests.support.api"]
AUDITING, CHARTS, CHAIN = "/auditing", "/auditing/charts", "/auditing/chain"


@pytest.fixture
def frank(api: ApiWorld) -> Browser:
    return by_ticket(api, "frank")


def had(api: ApiWorld, **changes: object) -> Request:
    """Somebody has access; an hour and a bit later it is over."""
    request = api.get(api.ask(**changes))  # type: ignore[arg-type]
    api.work()
    api.clock.move(hours=2)
    api.work()
    return api.get(request)


def plant(api: ApiWorld, number: int, **changes: object) -> None:
    """A request as it may be in the database, whatever rules there were when it was made."""
    now = api.clock.now()
    fields = {
        "id": RequestId(build.uid(f"{number:05}")),
        "created_at": now - timedelta(hours=1, seconds=number),
        "active_from": now - timedelta(hours=1),
        "ends_at": now,
        "true_end": now,
        "closed_at": now,
        "privileges": (api.services.accounts.groups(api.dave)[0].id,),
        **changes,
    }
    with api.store.write() as uow:
        uow.requests.add(replace(build.request(State.EXPIRED), **fields))  # type: ignore[arg-type]
        uow.commit()


def people(page: Page) -> list[str]:
    return [link for link in page.links if link.startswith("/requests/")]


def test_who_had_what_when(api: ApiWorld, frank: Browser) -> None:
    assert "Nobody had access that fits." in frank.open(AUDITING).text
    request = had(api)
    page = frank.open(AUDITING)
    assert people(page) == [f"/requests/{request.id}"]
    assert "priv.alice" in page.text
    assert "PAM-FileAdmins" in page.text
    assert "patch the server" in page.text
    assert f"{request.true_end:%Y-%m-%d %H:%M:%S} UTC" in page.text
    is_sound(page)
    assert people(by_ticket(api, "dave").open(AUDITING)) == people(page), "administrators see it too"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("person=priv.alice", True),
        ("person=priv.bob", False),
        ("group=PAM-FileAdmins", True),
        ("role=Approved", False),
        ("role=file+administrators", True),
        ("since=2026-11-20T09:30", True),
        ("since=2026-11-20T00:00&until=2026-11-20T09:00", False),
        ("person=priv.alice&group=PAM-FileAdmins&role=File+administrators", True),
    ],
)
def test_filters(api: ApiWorld, frank: Browser, query: str, found: bool) -> None:
    had(api)
    page = frank.open(f"{AUDITING}?{query}")
    assert (page.status, bool(people(page))) == (200, found)
    for name, value in (part.split("=") for part in query.split("&")):
        assert f'id="{name}" name="{name}"' in page.html
        assert value.replace("+", " ") in page.html, "what was asked stays in the filter"
    lines = frank.open(f"{AUDITING}/holders.jsonl?{query}").answer.text.splitlines()
    assert bool(lines) == found, "what is taken away is what is shown"


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("person=nobody", 404, "no PAM user 'nobody'"),
        ("group=nothing", 404, "no PAM group 'nothing'"),
        ("role=nothing", 404, "no role 'nothing'"),
        ("since=yesterday", 422, "is not a time"),
        ("since=2026-11-20T10:00&until=2026-11-20T09:00", 422, "is not after the beginning"),
        ("since=2020-01-01T00:00", 422, "is more than 366 days before the end"),
        ("until=0001-01-02T00:00", 422, "is before any time that can be counted"),
        ("before=x", 422, "is no place in the history"),
    ],
)
def test_what_cannot_be_asked(api: ApiWorld, frank: Browser, query: str, status: int, said: str) -> None:
    had(api)
    page = frank.open(f"{AUDITING}?{query}")
    assert (page.status, said in page.text, people(page)) == (status, True, [])
    is_sound(page)
    if not query.startswith("before"):
        for ending in ("csv", "jsonl"):
            answer = frank.open(f"{AUDITING}/holders.{ending}?{query}").answer
            assert (answer.status_code, answer.headers["content-type"]) == (
                status,
                "text/html; charset=utf-8",
            )


def test_who_and_what_is_gone_is_found_by_the_name_it_had(api: ApiWorld, frank: Browser) -> None:
    """Somebody leaves, and another person is prepared under the same name: whoever asks for it sees both."""
    had(api)
    group = api.services.accounts.groups(api.dave)[0]
    plant(api, 1, user_name="priv.carol", role_name="Night shift", role=RoleId(build.uid("r")))
    plant(api, 2, user_name="Priv.Alice", user=UserId(build.uid("u")), privileges=(GroupId(build.uid("g")),))
    for query, wanted in (
        ("person=priv.carol", 1),
        ("person=PRIV.Carol&role=night+shift", 1),
        (f"role={build.uid('r')}", 1),
        ("person=priv.alice", 2),
        (f"person={build.uid('u')}", 1),
        (f"group={build.uid('g')}", 1),
        (f"group={group.name}", 2),
    ):
        page = frank.open(f"{AUDITING}?{query}")
        assert (page.status, len(people(page))) == (200, wanted), query
        assert len(frank.open(f"{AUDITING}/holders.jsonl?{query}").answer.text.splitlines()) == wanted
    page = frank.open(f"{AUDITING}?person=priv.carol&until=2026-11-19T00:00&since=2026-11-18T00:00")
    assert (page.status, "no PAM user 'priv.carol'" in page.text) == (404, True), "nor was there anybody then"


def test_pages_show_each_access_once(api: ApiWorld, frank: Browser) -> None:
    for number in range(120):
        plant(api, number)
    found: list[str] = []
    page = frank.open(AUDITING)
    while True:
        found += people(page)
        older = [link for link in page.links if "before=" in link]
        if not older:
            break
        plant(api, 1000 + len(found), created_at=api.clock.now() - timedelta(seconds=1))
        page = frank.open(older[0])
        assert page.status == 200
    assert len(found) == len(set(found)) == 120
    assert len(frank.open(f"{AUDITING}/holders.jsonl").answer.text.splitlines()) > 120


def test_hostile_words_on_the_page_and_in_what_is_taken_away(api: ApiWorld, frank: Browser) -> None:
    words = [HOSTILE, TURNED, *FORMULAS, 'quotes " and, commas\r\nand lines', "\uff1d1+1", " =1"]
    for number, said in enumerate(words):
        plant(api, number, justification=said, ticket=said, user_name=said, role_name=said)
    page = frank.open(AUDITING)
    is_quoted(page)
    assert "\u202e" not in page.html
    answer = frank.open(f"{AUDITING}/holders.csv").answer
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="who-had-what.csv"'
    assert answer.content.endswith(b"\r\n")
    head, *rows = csv.reader(io.StringIO(answer.text, newline=""), strict=True)
    assert head[0] == "person"
    assert len(rows) == len(words)
    assert {len(row) for row in rows} == {len(head)}
    for row in rows:
        for one in row:
            assert not one.lstrip().startswith(("=", "+", "-", "@", "\uff1d")), one
            assert "\u202e" not in one
    shown = {row[0] for row in rows}
    assert {HOSTILE, "exe.cod<U+202E>plan", "'=1+1", "'\uff1d1+1", "' =1", "'\tx"} <= shown
    taken = [json.loads(line) for line in frank.open(f"{AUDITING}/holders.jsonl").answer.text.splitlines()]
    assert {one["justification"] for one in taken} == set(words), "for programs it is what it is"


def test_a_cell_is_shown_and_not_worked_out() -> None:
    assert [cell(one) for one in FORMULAS] == [f"'{one}" for one in FORMULAS]
    assert cell("priv.alice") == "priv.alice"
    assert cell("\n=1") == "'\n'=1"
    assert visible("a\tb\nc\u202ed\x00") == "a\tb\nc<U+202E>d<U+0000>"


def test_a_command_in_a_remedy_leads_to_its_page() -> None:
    words, command = pieces("end them first, for instance with `bastide kill --user`")
    assert (words.text, words.is_command) == ("end them first, for instance with ", False)
    assert (command.text, command.address, command.called) == (
        "bastide kill --user",
        "/admin/kill",
        "Kill switch",
    )
    assert pieces("`bastide db upgrade`")[0].address == ""
    assert pieces("") == ()


# -------------------------------------------------------------------------------------------------------------- charts


def test_charts_count_what_there_was(api: ApiWorld, frank: Browser) -> None:
    page = frank.open(CHARTS)
    assert "There are no activations." in page.text
    assert "Nobody asked for anything in this time." in page.text
    is_sound(page)
    had(api)
    for number in range(3):
        plant(api, number, role_name=f"{HOSTILE} {number}", state=State.FAILED)
    still = api.ask()
    api.work()
    page = frank.open(CHARTS)
    is_quoted(page, f"{HOSTILE} 2")
    assert [said["id"] for tag, said in page.tags if tag == "figcaption"] == [
        f"{name}-caption" for name in ("roles", "hours", "approval", "ending", "failures")
    ]
    assert "3 failures in all" in page.text
    assert f"/requests/{still.id}" in page.links, "what ends first"
    assert "9:00 to 9:59" in page.text
    drawings = [said for tag, said in page.tags if tag == "svg"]
    assert all(said["role"] == "img" and said["aria-labelledby"] for said in drawings)
    assert len(drawings) == 4


def test_charts_of_another_time(api: ApiWorld, frank: Browser) -> None:
    had(api)
    page = frank.open(f"{CHARTS}?since=2026-01-01T00:00&until=2026-02-01T00:00")
    assert "There are no activations." in page.text
    assert 'value="2026-01-01T00:00"' in page.html
    page = frank.open(f"{CHARTS}?since={quote(HOSTILE)}")
    assert page.status == 422
    assert HOSTILE in [said.get("value") for _, said in page.tags]
    is_sound(page)
    assert frank.open(f"{CHARTS}?since=1990-01-01T00:00&until=2026-01-01T00:00").status == 422


# --------------------------------------------------------------------------------------------------------------- chain


def test_the_chain_is_proved_on_demand_and_that_stays_known(api: ApiWorld, frank: Browser) -> None:
    page = frank.open(CHAIN)
    assert facts(page)["Proved whole"] == "never yet by anybody here"
    assert facts(page)["Signed"].startswith("not yet")
    is_sound(page)
    api.services.audit.checkpoint()
    page = frank.send(page.form(CHAIN))
    assert "The chain is whole" in page.text
    said = facts(page)
    assert said["Proved whole"].startswith("2026-11-20 09:00:00 UTC by PRIV\\frank 0 records since")
    assert said["Signed"].startswith("up to record ")
    assert api.events("audit.verified") == ["audit.verified"]


def test_a_broken_chain_says_where(api: ApiWorld, frank: Browser) -> None:
    form = frank.open(CHAIN).form(CHAIN)
    with api.store.engine.begin() as connection:
        for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").all():
            connection.exec_driver_sql(f'DROP TRIGGER "{row[0]}"')
        connection.exec_driver_sql("UPDATE audit SET actor_name = 'nobody' WHERE seq = 2")
    page = frank.send(form)
    assert page.status == 500
    assert "audit record 2: was changed after it was written" in page.text
    assert "Incident" in page.text
    assert api.events("audit.verified") == []


def test_an_administrator_sees_the_chain_and_does_not_prove_it(api: ApiWorld) -> None:
    dave = by_ticket(api, "dave")
    page = dave.open(CHAIN)
    assert page.status == 200
    assert [form.action for form in page.forms] == ["/signout"]
    assert dave.post(CHAIN, page.form("/signout").fields).status == 403
