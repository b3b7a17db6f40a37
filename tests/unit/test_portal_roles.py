"""Roles in the portal: made, changed and removed after a look at what would change; with four eyes, by two."""

from dataclasses import fields, replace
from datetime import time, timedelta
from typing import Any

import pytest

from bastide.domain.people import Demand, Right
from bastide.domain.roles import Enforcer, Role, Window
from bastide.portal import role_forms, role_words
from bastide.services.roles import StageDraft
from tests.support import build
from tests.support.admin import HOSTILE, by_ticket, is_quoted, is_sound, of_administration
from tests.support.api import APPROVAL, ApiWorld
from tests.support.portal import Browser, facts
from tests.support.role_pages import ROLES, draft, edit_form, last_data, names, role

pytest_plugins = ["tests.support.api"]


@pytest.fixture
def dave(api: ApiWorld) -> Browser:
    return by_ticket(api, "dave")


def test_a_role_is_shown_with_all_its_rules(api: ApiWorld, dave: Browser) -> None:
    page = dave.open(ROLES)
    assert "owners: 1 of PRIV\\grace, PRIV\\heidi" in page.text
    assert f"{ROLES}/new" in page.links
    is_sound(page)
    page = dave.open(f"{ROLES}/{role(api).id}")
    said = facts(page)
    assert said["Gives"] == "PAM-FileAdmins"
    assert said["Who may ask"] == "CORP\\alice CORP\\bob"
    assert said["How long"] == "1 hour, from 5 minutes to 8 hours"
    assert said["When it may start"] == "at any time"
    is_sound(page)


def test_every_rule_of_a_role_has_words() -> None:
    assert role_words.RULES.keys() == {field.name for field in fields(Role)} - {"id", "created_at", "version"}


def test_a_new_role_is_looked_at_and_then_made(api: ApiWorld, dave: Browser) -> None:
    form = dave.open(f"{ROLES}/new").form(f"{ROLES}/new")
    is_sound(dave.page)
    typed = {
        "name": "Restore",
        "privileges": "PAM-FileAdmins",
        "candidates": "CORP\\alice\r\n\r\nPRIV\\heidi\r\n",
    }
    page = dave.send(
        form,
        button="step=preview",
        **typed,
        ttl_maximum="2h",
        stage0_name="owners",
        stage0_approvers="PRIV\\grace",
    )
    assert page.status == 200, page.text
    assert "Restore" not in names(api), "a look makes nothing"
    assert "The new role Restore" in page.text
    assert "comes: owners: 1 of PRIV\\grace" in page.text
    is_sound(page)
    page = dave.send(page.form(f"{ROLES}/new"), button="step=save")
    assert "The role is there." in page.text
    made = role(api, "Restore")
    assert [one.name for one in made.candidates] == ["CORP\\alice", "PRIV\\heidi"]
    assert (made.ttl.maximum, made.stages[0].name, made.version) == (timedelta(hours=2), "owners", 1)


def test_what_would_change_is_shown_and_then_saved(api: ApiWorld, dave: Browser) -> None:
    form = edit_form(api, dave)
    page = dave.send(
        form, button="step=preview", candidates="CORP\\bob\nCORP\\mallory", ttl_maximum="4h", mfa="no"
    )
    assert page.status == 200, page.text
    assert role(api).ttl.maximum == timedelta(hours=8), "a look changes nothing"
    for words in (
        "goes: CORP\\alice", "stays: CORP\\bob", "comes: CORP\\mallory", "goes: 1 hour, from 5 minutes to 8 hours",
        "comes: 1 hour, from 5 minutes to 4 hours", "Second factor goes: yes comes: no",
    ):  # fmt: skip
        assert words in page.text, words
    assert "Justification" not in page.text, "what stays as it is is not shown"
    page = dave.send(page.form(form.action), button="step=save")
    assert "The role is changed." in page.text
    changed = role(api)
    assert (changed.ttl.maximum, changed.mfa, changed.version) == (timedelta(hours=4), False, 2)
    assert '"mfa":[true,false]' in last_data(api, "role.changed")


def test_going_back_loses_nothing(api: ApiWorld, dave: Browser) -> None:
    form = edit_form(api, dave)
    page = dave.send(
        form,
        button="step=preview",
        description=f" {HOSTILE}\r\nsecond line ",
        day0="yes",
        opens="08:00",
        closes="18:00",
        zone="UTC",
    )
    is_quoted(page)
    page = dave.send(page.form(form.action), button="step=back")
    again = page.form(form.action)
    assert again.fields["description"] == f" {HOSTILE}\r\nsecond line "
    assert (again.fields["day0"], again.fields["opens"], "day1" in again.boxes) == ("yes", "08:00", True)


def test_one_more_stage(api: ApiWorld, dave: Browser) -> None:
    form = edit_form(api, dave)
    page = dave.send(form, button="step=more", ttl_default="nonsense")
    again = page.form(form.action)
    assert (again.fields["stage0_name"], again.fields["stage1_name"], again.fields["ttl_default"]) == (
        "owners",
        "",
        "nonsense",
    )
    page = dave.send(
        again, button="step=preview", ttl_default="1h", stage1_name="network", stage1_approvers="PRIV\\ivan"
    )
    page = dave.send(page.form(form.action), button="step=save")
    assert [stage.name for stage in role(api).stages] == ["owners", "network"]
    page = dave.send(edit_form(api, dave), button="step=preview", stage0_name="", stage0_approvers="")
    dave.send(page.form(form.action), button="step=save")
    assert [stage.name for stage in role(api).stages] == ["network"]


def test_ten_stages_and_no_more(api: ApiWorld, dave: Browser) -> None:
    form = edit_form(api, dave)
    for _ in range(12):
        form = dave.send(form, button="step=more").form(form.action)
    assert "stage9_name" in form.fields
    assert "stage10_name" not in form.fields
    assert ("step", "more") not in form.buttons
    assert dave.send(form, button="step=preview", name="Renamed").status == 200, "all its fields are taken"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"name": " "}, "must not be empty"),
        ({"name": "File administrators"}, "there is a role"),
        ({"privileges": ""}, "a role must give at least one PAM group"),
        ({"privileges": "PAM-Nothing"}, "no PAM group 'PAM-Nothing'"),
        ({"candidates": "alice"}, "does not say which forest"),
        ({"candidates": "CORP\\nobody"}, "no user or group"),
        ({"ttl_default": "9h"}, "must not get shorter in this order"),
        ({"ttl_minimum": "soon"}, "shortest length: is not a length of time"),
        ({"ttl_maximum": ""}, "longest length: is not a length of time"),
        ({"ttl_maximum": "31d"}, "is not a length of time"),
        ({"pending_life": "9" * 30 + "d"}, "is not a length of time"),
        ({"stage0_needed": "two"}, "does not say how many must agree"),
        ({"stage0_needed": "3"}, "needs 3 of only 2 approvers"),
        ({"stage0_approvers": ""}, "names nobody who could agree"),
        ({"opens": "8", "closes": "18:00"}, "needs the hours"),
        ({"day0": "yes"}, "needs the hours"),
        ({"opens": "08:00", "closes": "18:00", "zone": "UTC"}, "has no days"),
        ({"day0": "yes", "opens": "08:00", "closes": "18:00", "zone": "Moon/Base"}, "unknown time zone"),
        ({"ticket_pattern": "(a+)+"}, "write a simpler pattern"),
        ({}, "is like that already"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_stays_on_the_page(
    api: ApiWorld, dave: Browser, typed: dict[str, str], said: str
) -> None:
    before = role(api)
    form = edit_form(api, dave)
    page = dave.send(replace(form, required=set()), button="step=preview", **typed)
    assert page.status in {404, 409, 422}
    assert said in page.text
    again = page.form(form.action)
    for name, value in typed.items():
        assert again.fields[name] == value, name
    assert role(api) == before
    is_sound(page)


@pytest.mark.parametrize(
    ("field", "value"),
    [("mfa", "maybe"), ("mfa", ""), ("enabled", "YES"), ("factor", "sms"), ("floor", "none"), ("approval_factor", ""), ("version", "-1"), ("version", "x")],
)  # fmt: skip
def test_no_choice_has_a_third_value(api: ApiWorld, dave: Browser, field: str, value: str) -> None:
    form = edit_form(api, dave)
    page = dave.post(form.action, {**form.fields, "ttl_maximum": "4h", field: value, "step": "save"})
    assert page.status == 422
    assert role(api).version == 1


def test_more_fields_than_the_form_has_are_no_form(api: ApiWorld, dave: Browser) -> None:
    form = edit_form(api, dave)
    many = {f"extra{number}": "" for number in range(role_forms.FIELD_LIMIT)}
    assert dave.post(form.action, {**form.fields, **many, "step": "save"}).status == 400


def test_a_role_that_somebody_else_changed_is_compared_anew(api: ApiWorld, dave: Browser) -> None:
    form = edit_form(api, dave)
    seen = dave.send(form, button="step=preview", ttl_maximum="4h").form(form.action)
    api.services.roles.adjust(api.dave, "Approved", lambda one: replace(one, extension=False))
    page = dave.send(seen, button="step=save")
    assert page.status == 409
    assert "was changed by somebody else" in page.text
    assert "saving it would undo what somebody else did" in page.text
    assert role(api).ttl.maximum == timedelta(hours=8)
    page = dave.send(page.form(form.action), button="step=rebase")
    assert page.status == 200
    assert "May be extended goes: no comes: yes" in page.text, "what saving would undo is seen"
    dave.send(page.form(form.action), button="step=save")
    assert (role(api).ttl.maximum, role(api).extension) == (timedelta(hours=4), True)


def test_a_new_role_is_at_a_version_too(api: ApiWorld, dave: Browser) -> None:
    """Zero stands for any version, so the first change of a role would be lost without a word."""
    assert role(api).version == 1


def test_a_role_is_removed_with_its_name_typed(api: ApiWorld, dave: Browser) -> None:
    address = f"{ROLES}/{role(api).id}/remove"
    form = dave.open(address).form(address)
    page = dave.send(form, confirm="approved")
    assert (page.status, "Approved" in names(api)) == (422, True)
    assert "type exactly: Approved" in page.text
    page = dave.send(page.form(address), confirm="Approved")
    assert "The role is removed." in page.text
    assert "Approved" not in names(api)


def test_why_a_role_cannot_be_removed_leads_to_the_page_that_helps(api: ApiWorld, dave: Browser) -> None:
    api.ask("Approved")
    address = f"{ROLES}/{role(api).id}/remove"
    page = dave.open(address)
    assert page.status == 409
    assert "1 requests for Approved are open" in page.text
    assert "bastide kill --role 'Approved' (here: Kill switch ) ends them first" in page.text
    assert "/admin/kill" in page.links
    assert [form for form in page.forms if form.action == address] == []
    form = dave.open(f"{ROLES}/{role(api, 'File administrators').id}/remove").forms[-1]
    assert dave.post(address, {**form.fields, "confirm": "Approved"}).status == 409


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"window": Window(frozenset({0, 6}), time(22, 0), time(6, 0), "Europe/Zurich")},
        {"mfa": False, "justification": False, "extension": False, "enabled": False},
        {
            "stages": (),
            "floor": Enforcer.REMOVAL,
            "description": "two\nlines",
            "ticket_pattern": "INC-[0-9]{4}",
        },
        {"owner_auto_approval": True, "pending_life": timedelta(minutes=90)},
        {"factor": Demand.WEBAUTHN},
    ],
)
def test_a_form_that_is_sent_as_it_is_changes_nothing(api: ApiWorld, changes: dict[str, Any]) -> None:
    one = replace(role(api), **changes)
    sent = draft(one, api)
    assert (
        replace(
            sent.settings, id=one.id, privileges=one.privileges, candidates=one.candidates, stages=one.stages
        )
        == one
    )
    assert sent.privileges == ("PAM-FileAdmins",)
    assert sent.candidates == ("CORP\\alice", "CORP\\bob")
    assert sent.stages == (() if one.stages == () else APPROVAL)


def test_hostile_names_stay_words(api: ApiWorld, dave: Browser) -> None:
    made = api.add_role(HOSTILE, description=HOSTILE, stages=(StageDraft(HOSTILE[:40], ("PRIV\\grace",)),))
    for address in (ROLES, f"{ROLES}/{made.id}", f"{ROLES}/{made.id}/edit", f"{ROLES}/{made.id}/remove"):
        is_quoted(dave.open(address))
    is_quoted(dave.send(edit_form(api, dave, HOSTILE), button="step=preview", name=f"{HOSTILE} 2"))


def test_compared_lists() -> None:
    one = build.role(candidates=(build.subject("a", 1), build.subject("b", 2)))
    other = replace(one, candidates=one.candidates[::-1])
    ((_, turned),) = role_words.compared(one, other, {})
    assert [(line.sign, line.text) for line in turned] == [
        ("-", "CORP\\a"),
        ("-", "CORP\\b"),
        ("+", "CORP\\b"),
        ("+", "CORP\\a"),
    ]
    assert role_words.compared(one, one, {}) == ()
    assert len(role_words.compared(None, one, {})) == len(role_words.RULES)
    assert all(line.sign == "-" for _, lines in role_words.compared(one, None, {}) for line in lines)


# ------------------------------------------------------------------------------------------------------------ who may


def test_others_see_nothing_of_it(api: ApiWorld) -> None:
    """A plain user, a candidate, an approver: no page, no link to one, and no form is taken."""
    gets, posts = of_administration(api, "GET"), of_administration(api, "POST")
    assert len(gets) >= 20
    assert len(posts) >= 9
    for account in ("CORP\\mallory", "CORP\\alice", "PRIV\\grace"):
        forest, _, name = account.partition("\\")
        browser = Browser(api)
        browser.sign_in(account, f"{name}-{forest.lower()}-pw", api.code(name))
        home = browser.open("/")
        assert home.status == 200
        assert not [link for link in home.links if link.startswith(("/admin", "/auditing"))]
        token = home.form("/signout").fields
        for address, _ in gets:
            page = browser.open(address)
            assert page.status == 403, (account, address)
            assert "alice" not in page.text.replace(account, ""), address
        for address, _ in posts:
            assert browser.post(address, {**token, "step": "save"}).status == 403, (account, address)


def test_an_auditor_reads_and_changes_nothing(api: ApiWorld) -> None:
    frank = by_ticket(api, "frank")
    token = frank.open(ROLES).form("/signout").fields
    assert "New role" not in frank.page.text
    page = frank.open(f"{ROLES}/{role(api).id}")
    assert page.status == 200
    assert "/admin/kill" not in " ".join(page.links)
    for address, opt in of_administration(api, "GET"):
        wanted = {200, 404} if opt["also"] is Right.AUDIT else {403}
        assert frank.open(address).status in wanted, address
    for address, opt in of_administration(api, "POST"):
        if opt["right"] is not Right.AUDIT:
            assert frank.post(address, token).status == 403, address


def test_a_password_alone_is_asked_for_a_code_and_goes_on(api: ApiWorld) -> None:
    dave = Browser(api)
    dave.sign_in("PRIV\\dave", "dave-priv-pw")
    for address, _ in of_administration(api, "GET"):
        page = dave.open(address)
        assert (page.status, "Show a code first" in page.text) == (200, True), address
    token = dave.open(ROLES).form("/code").fields["form_token"]
    for address, _ in of_administration(api, "POST"):
        assert dave.post(address, {"form_token": token, "step": "save"}).status == 403, address
    page = dave.send(dave.open(f"{ROLES}/new").form("/code"), code=api.code("dave"))
    assert page.answer.url.path == f"{ROLES}/new"
    assert page.form(f"{ROLES}/new")


def test_no_form_is_taken_without_the_token_of_the_session(api: ApiWorld, dave: Browser) -> None:
    dave.open(ROLES)
    for address, opt in of_administration(api, "POST"):
        if opt["right"] is not Right.AUDIT:
            assert dave.post(address, {"step": "save"}).status == 403, address
