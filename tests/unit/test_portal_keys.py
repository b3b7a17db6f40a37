"""Security keys in the portal: what the pages ask, and what browsers with and without JavaScript send back."""

import json
from dataclasses import replace

import pytest

from bastide.domain.people import Demand, Forest
from bastide.domain.requests import State
from bastide.services.security_keys import Asked
from tests.support.api import APPROVAL, ApiWorld
from tests.support.authenticator import Authenticator
from tests.support.portal import Browser, Form, Page, ask, facts, signed_in

pytest_plugins = ["tests.support.api"]


def touched(page: Page, form: Form, device: Authenticator) -> str:
    """What webauthn.js puts into a form of the page."""
    (said,) = [
        t for tag, t in page.tags if tag == "form" and t.get("action") == form.action and "data-key" in t
    ]
    asked = Asked(form.fields["challenge"], said["data-key"] or "")
    answer = device.make(asked) if said.get("data-key-makes") == "yes" else device.use(asked)
    return json.dumps(answer.credential)


def with_key(page: Page, action: str) -> Form:
    """The form that takes a key; another one beside it takes a code."""
    (form,) = [one for one in page.forms if one.action == action and "credential" in one.fields]
    return form


def give_key(
    api: ApiWorld, browser: Browser, name: str = "blue key", **typed: str
) -> tuple[Page, Authenticator]:
    device, page = Authenticator(), browser.open("/factors/new")
    form = page.form("/factors")
    return browser.send(form, name=name, credential=touched(page, form, device), **typed), device


@pytest.fixture
def alice(api: ApiWorld) -> Browser:
    api.give_authenticator("alice")
    return signed_in(api, "CORP\\alice")


@pytest.fixture
def grace(api: ApiWorld) -> Browser:
    browser = Browser(api, "grace@PRIV.BASTIDE.TEST")
    assert browser.open("/").status == 200
    return browser


def test_the_first_factor_of_an_everyday_account_takes_an_invitation(api: ApiWorld) -> None:
    alice = signed_in(api, "CORP\\alice")
    page, _ = give_key(api, alice)
    assert (page.status, "with an invitation" in page.text) == (403, True)
    code = api.services.factors.invite(api.dave, "priv.alice")
    page, _ = give_key(api, alice, invitation=code)
    assert "The security key is registered." in page.text
    assert "blue key" in page.text


def test_register_with_a_code_see_it_and_remove_it(api: ApiWorld, alice: Browser) -> None:
    page, _ = give_key(api, alice)
    assert (page.status, "one of them" in page.text) == (403, True)
    page, _ = give_key(api, alice, code=api.code("alice"))
    assert "The security key is registered." in page.text
    page, _ = give_key(api, alice, "red key")
    assert "red key" in page.text, "the proof is five minutes old at most"
    red = next(form for form in page.forms if form.action.endswith("/remove"))
    page = alice.send(red)
    assert "The security key is removed." in page.text
    assert "Set up" in page.text, "the authenticator is shown too"
    api.clock.move(minutes=6)
    other = next(form for form in alice.open("/factors").forms if form.action.endswith("/remove"))
    assert other.required == {"code"}
    assert alice.post(other.action, {**other.fields, "code": ""}).status == 403


def test_a_name_twice_keeps_what_was_typed_and_asks_anew(api: ApiWorld, grace: Browser) -> None:
    give_key(api, grace)
    asked = grace.open("/factors/new").form("/factors").fields["challenge"]
    page, _ = give_key(api, grace)
    assert (page.status, "named &#39;blue key&#39; already" in page.html) == (409, True)
    form = page.form("/factors")
    assert form.fields["name"] == "blue key"
    assert form.fields["challenge"] != asked


def test_a_password_then_a_key(api: ApiWorld, grace: Browser) -> None:
    _, device = give_key(api, grace)
    api.priv.set_password(api.sign_in("grace").sid, "grace-priv-pw")
    browser = Browser(api)
    form = browser.open("/signin").form("/signin")
    page = browser.send(form, account="PRIV\\grace", password="grace-priv-pw", button="then=key")
    assert "Use your security key" in page.text
    form = page.form("/code")
    page = browser.send(form, credential=touched(page, form, device))
    assert page.answer.url.path == "/"
    assert browser.open("/approvals").text.startswith("Approvals")


def test_where_a_code_is_asked_for_a_key_will_do(api: ApiWorld, grace: Browser) -> None:
    _, device = give_key(api, grace)
    browser = signed_in(api, "PRIV\\grace")
    page = browser.open("/approvals")
    assert page.form("/code")
    page = browser.open(page.link("/key"))
    form = page.form("/code")
    assert form.fields["onward"] == "/approvals"
    page = browser.send(form, credential=touched(page, form, device))
    assert (page.answer.url.path, page.status) == ("/approvals", 200)


def test_without_javascript_a_key_says_so_and_codes_go_on(api: ApiWorld, alice: Browser) -> None:
    give_key(api, alice, code=api.code("alice"))
    page = alice.open("/key")
    assert "needs JavaScript" in page.text
    page = alice.send(page.form("/code"))
    assert (page.status, "by JavaScript, which is off" in page.text) == (422, True)
    page = ask(api, alice)
    assert "Is being opened" in page.text


def test_who_has_no_key_is_told_where_to_get_one(api: ApiWorld, grace: Browser) -> None:
    page = grace.open("/key?onward=https://evil.test/")
    assert (page.status, "no security key is registered for you" in page.text) == (403, True)
    assert page.forms == [form for form in page.forms if form.action == "/signout"]


@pytest.mark.parametrize("said", ["nonsense", "[]", "{", '"x"', "[" * 10_000, "{}", '{"id": 1}'])
def test_an_answer_that_is_none(api: ApiWorld, grace: Browser, said: str) -> None:
    give_key(api, grace)
    form = grace.open("/key").form("/code")
    assert grace.send(form, credential=said).status in {400, 403}
    assert grace.send(form, challenge="x" * 5_000, credential="{}").status == 403


def test_a_role_that_demands_a_key(api: ApiWorld, alice: Browser) -> None:
    api.services.roles.adjust(api.dave, "File administrators", lambda r: replace(r, factor=Demand.WEBAUTHN))
    _, device = give_key(api, alice, code=api.code("alice"))
    api.clock.move(minutes=6)
    page = ask(api, alice)
    (request,) = api.open()
    assert request.state is State.PENDING_MFA
    assert "a code is not enough" in page.text
    assert "needs JavaScript" in page.text
    form = page.form(f"/requests/{request.id}/mfa")
    assert "code" not in form.fields
    refused = alice.post(form.action, {**form.fields, "code": api.code("alice")})
    assert (refused.status, api.get(request).state) == (403, State.PENDING_MFA)
    page = alice.open(f"/requests/{request.id}")
    form = with_key(page, form.action)
    page = alice.send(form, credential=touched(page, form, device))
    assert "Is being opened" in page.text


def test_a_request_that_waits_takes_a_code_or_a_key(api: ApiWorld, alice: Browser) -> None:
    _, device = give_key(api, alice, code=api.code("alice"))
    api.clock.move(minutes=6)
    page = ask(api, alice, code="")
    (request,) = api.open()
    form = with_key(page, f"/requests/{request.id}/mfa")
    page = alice.send(form, credential=touched(page, form, device))
    assert "Is being opened" in page.text
    assert api.events("mfa.proved")[-1:] == ["mfa.proved"]


# ---------------------------------------------------------------------------------------------------------------- approve


def waiting(api: ApiWorld) -> str:
    api.add_role("Signed", candidates=("CORP\\alice",), stages=APPROVAL, approval_factor=Demand.WEBAUTHN)
    return api.ask("Signed", justification="restore <b>the</b> figures").id


def test_an_approval_is_signed_on_a_page_that_says_what(api: ApiWorld, grace: Browser) -> None:
    _, device = give_key(api, grace)
    request = waiting(api)
    page = grace.open("/approvals")
    form = page.form(f"/approvals/{request}")
    assert form.buttons == [("decision", "reject")], "an approval goes by the page to sign"
    page = grace.post(f"{form.action}/sign", {**form.fields, "reason": "agreed"})
    said = facts(page)
    assert (said["For"], said["Role"], said["Your reason"]) == ("priv.alice", "Signed", "agreed")
    assert said["Why"] == "restore &lt;b&gt;the&lt;/b&gt; figures"
    assert said["Your decision"] == "approve, in stage owners"
    (before,) = api.open()
    assert before.votes == (), "nothing is decided yet"
    form = page.form(f"/approvals/{request}")
    page = grace.send(form, credential=touched(page, form, device))
    assert "You approved the request." in page.text
    api.work()
    (after,) = api.open()
    assert after.state is State.ACTIVE
    assert after.votes[0].signature is not None


def test_what_is_changed_on_the_way_is_refused(api: ApiWorld, grace: Browser) -> None:
    _, device = give_key(api, grace)
    request = waiting(api)
    form = grace.open("/approvals").form(f"/approvals/{request}")
    for changed in (
        {"reason": "something else"},
        {"stage": "another"},
        {"decision": "reject", "reason": "no"},
    ):
        page = grace.post(f"{form.action}/sign", form.fields)
        signing = page.form(form.action)
        sent = {**signing.fields, **changed, "credential": touched(page, signing, device)}
        assert grace.post(form.action, sent).status == 403, changed
    (still,) = api.open()
    assert (still.state, still.votes) == (State.PENDING_APPROVAL, ())


def test_without_a_key_or_javascript_it_is_said_and_a_rejection_goes_on(
    api: ApiWorld, grace: Browser
) -> None:
    request = waiting(api)
    page = grace.open("/approvals")
    assert "needs JavaScript, and a key that is registered" in page.text
    form = page.form(f"/approvals/{request}")
    refused = grace.post(form.action, {**form.fields, "decision": "approve", "code": api.code("grace")})
    assert (refused.status, "must be signed with a security key" in refused.text) == (403, True)
    assert grace.post(f"{form.action}/sign", form.fields).status == 403
    page = grace.post(form.action, {**form.fields, "decision": "reject", "reason": "not now"})
    assert "You rejected the request." in page.text


def test_hostile_words_stay_words(api: ApiWorld, grace: Browser) -> None:
    """The name of a key, and what stands on the page to sign."""
    hostile = "<script>alert(1)</script>\"'{{7*7}}"
    _, device = give_key(api, grace, hostile)
    pages = [grace.open("/factors"), grace.open("/key"), grace.open("/factors/new")]
    api.add_role(
        f"Signed {hostile}", candidates=("CORP\\alice",), stages=APPROVAL, approval_factor=Demand.WEBAUTHN
    )
    request = api.ask(f"Signed {hostile}", justification=hostile, ticket=hostile).id
    form = grace.open("/approvals").form(f"/approvals/{request}")
    pages.append(grace.post(f"{form.action}/sign", {**form.fields, "reason": hostile}))
    signing = grace.page.form(form.action)
    assert signing.fields["reason"] == hostile
    for page in pages:
        assert page.status == 200
        scripts = [said.get("src") or "" for tag, said in page.tags if tag == "script"]
        assert all(source.startswith("/static/") for source in scripts), page.answer.url
        assert "49" not in page.text.replace(":49", "")
    page = grace.send(signing, credential=touched(pages[-1], signing, device))
    assert "You approved the request." in page.text


def test_in_other_roles_a_signature_is_an_offer(api: ApiWorld, grace: Browser) -> None:
    request = api.ask("Approved").id
    assert "security key" not in grace.open("/approvals").form(f"/approvals/{request}").action
    _, device = give_key(api, grace)
    form = grace.open("/approvals").form(f"/approvals/{request}")
    assert form.buttons == [("decision", "approve"), ("decision", "reject")]
    page = grace.post(f"{form.action}/sign", form.fields)
    signing = page.form(form.action)
    grace.send(signing, credential=touched(page, signing, device))
    api.work()
    (after,) = api.open()
    assert (after.state, after.votes[0].signature is not None) == (State.ACTIVE, True)


def test_a_request_of_somebody_elses_business_is_not_signed(api: ApiWorld, grace: Browser) -> None:
    give_key(api, grace)
    request = api.ask().id
    page = grace.post(f"/approvals/{request}/sign", grace.open("/approvals").forms[0].fields)
    assert page.status == 404
    assert api.sign_in("alice", Forest.CORP).sid not in page.text
