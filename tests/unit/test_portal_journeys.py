"""Whole journeys through the portal, by the forms and links that are on its pages."""

import re
from datetime import UTC, datetime, time, timedelta

import pytest

from bastide.domain.requests import State
from bastide.domain.roles import Scope, Window
from tests.support.api import NOBODYS, ApiWorld, served
from tests.support.portal import Browser, Page, active, ask, facts, role_form, signed_in

pytest_plugins = ["tests.support.api"]


@pytest.fixture
def alice(api: ApiWorld) -> Browser:
    return signed_in(api, "CORP\\alice")


@pytest.fixture
def grace(api: ApiWorld) -> Browser:
    return signed_in(api, "PRIV\\grace")


# ----------------------------------------------------------------------------------------------------------- my access


def test_ask_use_extend_end(api: ApiWorld, alice: Browser) -> None:
    page = ask(api, alice, amount="30", unit="minutes", ticket="INC-1")
    assert "Is being opened" in page.text
    api.work()
    page = alice.open(page.link("/requests/"))
    (request,) = api.open()
    assert (request.state, request.ttl, request.method) == (State.ACTIVE, timedelta(minutes=30), "portal")
    assert request.ends_at is not None
    assert request.true_end is not None
    said = facts(page)
    assert said["Ends"] == f"{request.ends_at:%Y-%m-%d %H:%M:%S} UTC in 30 minutes"
    assert said["True end of access"].startswith(f"{request.true_end:%Y-%m-%d %H:%M:%S} UTC")
    assert said["Ticket"] == "INC-1"
    assert said["Gives"].startswith("FileAdmins in CORP, by the PAM group PAM-FileAdmins")

    home = alice.open("/")
    assert facts(home)["Gives"] == "FileAdmins"
    assert "Active" in home.text
    page = alice.open(home.link("/requests/"))

    page = alice.send(page.form(f"/requests/{request.id}/extension"), amount="10", unit="minutes")
    assert page.status == 200, "the code of the request is still fresh"
    assert "Later end asked for" in page.text
    api.work()
    api.runner.run_due()
    assert api.get(request).ends_at == request.ends_at + timedelta(minutes=10)

    page = alice.send(page.form(f"/requests/{request.id}/close"), reason="done early")
    assert "Is being ended" in page.text
    api.work()
    page = alice.open(page.link("/requests/"))
    assert "Ended early" in page.text
    assert facts(page)["Reason of the end"] == "done early"
    assert f"/requests/{request.id}/close" not in page.html, "what is over has no button"
    assert "nothing is waiting" in alice.open("/").text


def test_a_request_without_a_code_waits_for_one(api: ApiWorld, alice: Browser) -> None:
    page = ask(api, alice, code="")
    assert "Waits for your second factor" in page.text
    (request,) = api.open()
    form = page.form(f"/requests/{request.id}/mfa")
    page = alice.send(form, code=api.wrong_code("alice"))
    assert (page.status, api.get(request).state) == (403, State.PENDING_MFA)
    assert "the code is wrong" in page.text
    page = alice.send(page.form(f"/requests/{request.id}/mfa"), code=api.code("alice"))
    assert "Is being opened" in page.text


def test_what_waits_can_be_withdrawn(api: ApiWorld, alice: Browser) -> None:
    page = ask(api, alice, "Approved")
    (request,) = api.open()
    page = alice.send(page.form(f"/requests/{request.id}/close"))
    assert "Withdrawn" in page.text
    assert api.get(request).state is State.CANCELLED


def test_a_code_counts_for_five_minutes_and_the_page_asks_again_then(api: ApiWorld, alice: Browser) -> None:
    page = active(api, alice)
    (request,) = api.open()
    path = f"/requests/{request.id}/extension"
    assert "code" not in page.form(path).fields
    api.clock.move(minutes=6)
    page = alice.send(page.form(path), amount="10")
    assert (page.status, api.get(request).extend_to) == (403, None)
    assert "the second factor was shown too long ago" in page.text
    form = page.form(path)
    assert form.fields["amount"] == "10", "what was typed stays"
    assert alice.send(form, code=api.code("alice")).status == 200
    assert api.get(request).extend_to is not None


def test_a_later_start(api: ApiWorld, alice: Browser) -> None:
    page = ask(api, alice, start="2026-11-20T20:00")
    assert "Approved, starts later" in page.text
    assert facts(page)["Starts"] == "2026-11-20 20:00:00 UTC"
    (request,) = api.open()
    assert request.start_at == datetime(2026, 11, 20, 20, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"amount": "9", "unit": "hours"}, "File administrators allows"),
        ({"amount": "0"}, "is not a length of time"),
        ({"amount": "1e3"}, "is not a length of time"),
        ({"amount": "9" * 30}, "is not a length of time"),
        ({"unit": "years"}, "is not a length of time"),
        ({"start": "tomorrow"}, "is not a time"),
        ({"start": "2026-02-30T10:00"}, "is not a time"),
        ({"start": "2020-01-01T00:00"}, "is in the past"),
        ({"justification": " "}, "say what you are going to do"),
        ({"ticket": "a\x07b"}, "holds control characters"),
    ],
)
def test_what_cannot_be_is_refused_and_stays_on_the_page(
    api: ApiWorld, alice: Browser, typed: dict[str, str], said: str
) -> None:
    fields = {"justification": "patch the server", "ticket": "INC-7", "code": api.code("alice"), **typed}
    form = role_form(alice, "File administrators")
    page = alice.send(form, **fields)
    assert page.status == 422
    assert said in page.text
    again = page.form(form.action).fields
    for name, value in fields.items():
        if name not in {"code", "unit", "ticket"}:
            assert again[name] == value, name
    assert api.open() == ()


def test_why_not_now(api: ApiWorld, alice: Browser) -> None:
    api.add_role(
        "Nights", candidates=("CORP\\alice",), window=Window(frozenset({0}), time(22), time(23), "UTC")
    )
    ask(api, alice, "Approved")
    page = alice.open("/")
    assert "Not now: a request of yours for Approved is pending already" in page.text
    assert "Not now: role Nights is not available at that time. It opens 2026-11-23 22:00:00 UTC" in page.text
    assert "in 3 days 12 hours. You may ask now for a start then." in page.text
    form = role_form(alice, "Nights")
    assert form.fields["start"] == "2026-11-23T22:00", "what is next possible is there already"
    assert alice.open("/").link("/requests/"), "what is pending is a link away"
    assert "Ask for Nights" in page.text
    assert ">Ask for Approved<" not in page.html


def test_a_second_factor_that_is_missing_is_said_beforehand(api: ApiWorld, alice: Browser) -> None:
    assert "it is activated with a second factor, and you have set up none" in alice.open("/").text
    form = role_form(alice, "Approved")
    assert "and you have set up none" in alice.page.text
    assert form.fields, "it can be asked for all the same, and waits"
    api.code("alice")
    assert "and you have set up none" not in alice.open("/").text


def test_who_is_no_pam_user_is_told_what_to_do(api: ApiWorld) -> None:
    page = signed_in(api, "CORP\\mallory").open("/")
    assert page.status == 200
    assert "ask an administrator of Bastide to prepare your account" in page.text
    grace = signed_in(api, "PRIV\\grace")
    assert grace.open("/").link("/approvals")
    assert "You have not asked for anything yet" in grace.open("/history").text


def test_who_is_a_candidate_of_nothing_is_told_what_to_do() -> None:
    with served(prepared=False) as api:
        api.prepare("alice")
        assert "No role names you as a candidate" in signed_in(api, "CORP\\alice").open("/").text


def test_the_history_has_pages(api: ApiWorld, alice: Browser) -> None:
    for number in range(28):
        api.services.requests.close(api.alice(), api.ask("Approved", justification=f"number {number:02}").id)
    page = alice.open("/history")
    seen = re.findall(r"number \d\d", page.text)
    page = alice.open(page.link("/history?before="))
    assert not [link for link in page.links if "before" in link], "there is nothing older"
    seen += re.findall(r"number \d\d", page.text)
    assert sorted(seen) == [f"number {number:02}" for number in range(28)], (
        "each once, though all were asked at one moment"
    )
    assert seen[0] in alice.open(page.link("/history")).text


@pytest.mark.parametrize(
    "before", ["x", "2026-11-20T09:00:00Z", "2026-13-20T09:00:00Z/" + NOBODYS, "9" * 3000]
)
def test_a_place_that_is_none(alice: Browser, before: str) -> None:
    assert alice.open(f"/history?before={before}").status == 422


# ----------------------------------------------------------------------------------------------------------- approvals


def test_approve_with_a_code(api: ApiWorld, alice: Browser, grace: Browser) -> None:
    ask(api, alice, "Approved", justification="restore the figures", ticket="INC-42")
    page = grace.open("/approvals")
    assert "This page needs your second factor as well" in page.text
    assert "restore the figures" not in page.text
    page = grace.send(page.form("/code"), code=api.code("grace"))
    assert page.answer.url.path == "/approvals"
    (request,) = api.open()
    said = facts(page)
    assert "priv.alice asks for Approved" in page.text
    assert said["Why"] == "restore the figures"
    assert said["Ticket"] == "INC-42"
    until = api.clock.now() + timedelta(hours=1)
    assert said["Until"] == f"{until:%Y-%m-%d %H:%M:%S} UTC, if you approve now"
    assert said["Gives"].startswith(
        "FileAdmins in CORP, by the PAM group PAM-FileAdmins It is in no other group."
    )
    assert said["Still needs"] == "1 of owners"
    form = page.form(f"/approvals/{request.id}")
    assert form.buttons == [("decision", "approve"), ("decision", "reject")]
    assert "code" not in form.fields, "the one shown just now still counts"
    page = grace.send(form, button="decision=approve", reason="fine")
    assert "You approved the request." in page.text
    assert "Nothing waits for your decision" in page.text
    api.work()
    assert api.get(request).state is State.ACTIVE
    vote = api.get(request).votes[-1]
    assert (vote.name, vote.reason, vote.proof is not None) == ("PRIV\\grace", "fine", True)


def test_a_stale_code_is_asked_for_in_the_form_and_carried_by_it(
    api: ApiWorld, alice: Browser, grace: Browser
) -> None:
    ask(api, alice, "Approved")
    page = grace.open("/approvals")
    grace.send(page.form("/code"), code=api.code("grace"))
    api.clock.move(minutes=6)
    page = grace.open("/approvals")
    (request,) = api.open()
    form = page.form(f"/approvals/{request.id}")
    assert "code" in form.required
    page = grace.send(form, button="decision=approve", code=api.wrong_code("grace"), reason="looks right")
    assert (page.status, api.get(request).state) == (403, State.PENDING_APPROVAL)
    form = page.form(f"/approvals/{request.id}")
    assert form.fields["reason"] == "looks right"
    grace.send(form, button="decision=approve", code=api.code("grace"))
    assert api.get(request).state is State.PROCESSING


def test_without_a_fresh_code_nothing_is_decided(api: ApiWorld, alice: Browser, grace: Browser) -> None:
    """Whatever a browser sends by itself: required fields are its business."""
    ask(api, alice, "Approved")
    (request,) = api.open()
    page = grace.open("/approvals")
    said = {**page.form("/code").fields, "decision": "approve"}
    page = grace.post(f"/approvals/{request.id}", said)
    assert (page.status, api.get(request).state) == (403, State.PENDING_APPROVAL)
    assert "a password alone does not give the right to approve" in page.text
    grace.send(page.form("/code"), code=api.code("grace"))
    api.clock.move(minutes=6)
    page = grace.post(f"/approvals/{request.id}", said)
    assert (page.status, api.get(request).state) == (403, State.PENDING_APPROVAL)


def test_a_rejection_needs_a_reason(api: ApiWorld, alice: Browser, grace: Browser) -> None:
    asked = ask(api, alice, "Approved")
    page = grace.send(grace.open("/approvals").form("/code"), code=api.code("grace"))
    (request,) = api.open()
    page = grace.send(page.form(f"/approvals/{request.id}"), button="decision=reject")
    assert (page.status, api.get(request).state) == (422, State.PENDING_APPROVAL)
    assert "a rejection needs a reason" in page.text
    page = grace.send(page.form(f"/approvals/{request.id}"), button="decision=reject", reason="not today")
    assert "You rejected the request." in page.text
    page = alice.open(asked.answer.url.path)
    assert facts(page)["Reason of the end"] == "rejected by PRIV\\grace: not today"


def test_opening_a_page_decides_nothing(api: ApiWorld, alice: Browser, grace: Browser) -> None:
    ask(api, alice, "Approved")
    grace.send(grace.open("/approvals").form("/code"), code=api.code("grace"))
    (request,) = api.open()
    for path in (
        "/approvals",
        f"/requests/{request.id}",
        f"/approvals?decision=approve&request={request.id}",
    ):
        assert grace.open(path).status == 200
    assert grace.open(f"/approvals/{request.id}?decision=approve").status == 405
    assert api.get(request) == request


def test_a_decision_is_one_of_two(api: ApiWorld, alice: Browser, grace: Browser) -> None:
    ask(api, alice, "Approved")
    page = grace.send(grace.open("/approvals").form("/code"), code=api.code("grace"))
    (request,) = api.open()
    for said in ("", "Approve", "close"):
        page = grace.send(page.form(f"/approvals/{request.id}"), button=f"decision={said}")
        assert (page.status, api.get(request).state) == (422, State.PENDING_APPROVAL)


# ------------------------------------------------------------------------------------------------------ other people's


def test_another_persons_request_does_not_exist(api: ApiWorld, alice: Browser) -> None:
    ask(api, alice, "Approved")
    (request,) = api.open()
    bob, ivan = signed_in(api, "CORP\\bob"), signed_in(api, "PRIV\\ivan")
    ivan.send(ivan.open("/approvals").form("/code"), code=api.code("ivan"))
    token = {browser: browser.open("/").form("/signout").fields for browser in (bob, ivan)}
    for id_ in (request.id, NOBODYS):
        page = bob.open(f"/requests/{id_}")
        assert (page.status, f"there is no request '{id_}'" in page.text) == (404, True)
    for what in ("mfa", "extension", "close"):
        more = {"amount": "5", "unit": "minutes", "code": api.code("bob")}
        page = bob.post(f"/requests/{request.id}/{what}", {**token[bob], **more})
        assert page.status == 404, what
    assert bob.post(f"/approvals/{request.id}", {**token[bob], "decision": "approve"}).status == 403
    page = ivan.post(f"/approvals/{request.id}", {**token[ivan], "decision": "approve"})
    assert (page.status, "there is no request" in page.text) == (404, True)
    assert "priv.alice" not in page.text
    assert api.get(request) == request


def test_an_approver_sees_the_request_and_no_button_on_it(
    api: ApiWorld, alice: Browser, grace: Browser
) -> None:
    page = ask(api, alice, "Approved")
    grace.send(grace.open("/approvals").form("/code"), code=api.code("grace"))
    page = grace.open(page.answer.url.path)
    assert page.status == 200
    assert [form.action for form in page.forms] == ["/signout"]


def test_nobody_approves_their_own(api: ApiWorld, alice: Browser) -> None:
    page = ask(api, alice, "Approved")
    (request,) = api.open()
    said = {**page.form("/signout").fields, "decision": "approve", "code": api.code("alice")}
    assert alice.post(f"/approvals/{request.id}", said).status == 403
    assert api.get(request) == request


def test_a_role_that_is_not_offered_does_not_exist(api: ApiWorld, alice: Browser) -> None:
    secret = api.add_role("Secret", candidates=("CORP\\bob",))
    for role in (secret.id, NOBODYS, "x"):
        page = alice.open(f"/ask/{role}")
        assert (page.status, "Secret" in page.text) == (404, False)


# ------------------------------------------------------------------------------------------------------ what it would give


def shown_to_grace(api: ApiWorld, grace: Browser) -> Page:
    page = grace.open("/approvals")
    return grace.send(page.form("/code"), code=api.code("grace"))


def test_an_approver_sees_what_comes_with_it_and_what_is_protected(
    api: ApiWorld, alice: Browser, grace: Browser
) -> None:
    inner = api.share.ref.sid
    for name in ("Team 1", "Team 2", "Team 3", "Team 4", "Team 5"):
        api.corp.add_group(name, members=[inner])
    outer = api.corp.add_group("Servers", scope=Scope.DOMAIN_LOCAL, members=[inner])
    api.corp.add_group("Backup Operators", scope=Scope.BUILTIN, protected=True, members=[outer.ref.sid])
    ask(api, alice, "Approved")
    page = shown_to_grace(api, grace)
    assert "Opens protected groups: Backup Operators." in page.text
    gives = facts(page)["Gives"]
    assert (
        "With it, because it is in them: Backup Operators in CORP protected Servers in CORP Team 1 in CORP"
        in gives
    )
    assert "2 more Team 4 in CORP Team 5 in CORP" in gives
    request = grace.page.form(f"/approvals/{api.open()[0].id}").action.replace("approvals", "requests")
    for browser in (alice, grace):
        assert "Opens protected groups: Backup Operators." in browser.open(request).text


def test_a_directory_that_is_down_is_said_where_the_groups_would_be(
    api: ApiWorld, alice: Browser, grace: Browser
) -> None:
    ask(api, alice, "Approved")
    api.clock.move(minutes=2)
    api.corp.cut("corpdc")
    page = shown_to_grace(api, grace)
    assert page.status == 200
    assert "Not all is shown: what it opens in CORP could not be found out:" in facts(page)["Gives"]
    assert "FileAdmins in CORP, by the PAM group PAM-FileAdmins" in facts(page)["Gives"]
