"""Alerts in the portal: what there is, who takes it in hand, the rules, the destinations, and who may."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bastide.domain.alerts import Policy, Severity, Signal, State
from bastide.domain.people import Forest
from tests.support.admin import HOSTILE, by_ticket, is_quoted, is_sound
from tests.support.alert_world import rule
from tests.support.api import NOBODYS, served
from tests.support.portal import Browser, Page, facts
from tests.support.watched import WatchedWorld, watched_over

ALERTS, RULES = "/admin/alerts", "/admin/alerts/rules"
POLICY = Policy(
    rules=(
        rule("kill-switch", escalate_after=timedelta(minutes=30), escalate_to=frozenset({"people"})),
        rule("break-glass", to=frozenset({"program"})),
        rule("many-activations", enabled=False),
        rule("event-gap"),
    )
)


@pytest.fixture
def alerted() -> Iterator[WatchedWorld]:
    with watched_over(policy=POLICY) as world:
        yield world


@pytest.fixture
def dave(alerted: WatchedWorld) -> Browser:
    return by_ticket(alerted, "dave")


@pytest.fixture
def frank(alerted: WatchedWorld) -> Browser:
    return by_ticket(alerted, "frank")


def taking(id_: str) -> str:
    return f"{ALERTS}/{id_}/acknowledge"


def titles(page: Page) -> list[str]:
    return [
        said["id"] or "" for tag, said in page.tags if tag == "h2" and (said.get("id") or "").startswith("a-")
    ]


def test_an_alert_is_taken_in_hand_with_a_word(alerted: WatchedWorld, dave: Browser) -> None:
    page = dave.open(ALERTS)
    assert "There is no alert that is open or acknowledged." in page.text
    is_sound(page)
    alert = alerted.alerted()
    page = dave.open(ALERTS)
    said = facts(page)
    assert alert.title in page.text
    assert said["Rule"] == "kill-switch"
    assert said["About"] == "alice"
    assert f"audit record {alert.record}" in said["Known by"]
    is_sound(page)
    form = page.form(taking(alert.id))
    assert dave.post(form.action, {**form.fields, "note": "\x07"}).status == 422
    page = dave.send(form, note="looking at it, INC-7")
    assert "Acknowledged: you have it in hand." in page.text
    assert facts(page)["In hand"].startswith(r"of PRIV\dave, since 2026-11-20")
    assert facts(page)["In hand"].endswith(": looking at it, INC-7")
    assert taking(alert.id) not in [one.action for one in page.forms]
    (kept,) = alerted.found(State.ACKNOWLEDGED)
    assert (kept.note, kept.acknowledged_by) == ("looking at it, INC-7", r"PRIV\dave")
    again = dave.post(form.action, form.fields)
    assert again.status == 409
    assert "acknowledged it already" in again.text
    is_sound(again)


def test_what_nobody_takes_is_escalated_and_what_is_right_again_is_over(
    alerted: WatchedWorld, dave: Browser
) -> None:
    first = alerted.alerted()
    alerted.clock.move(minutes=31)
    alerted.settle()
    page = dave.open(f"{ALERTS}?show=escalated")
    assert titles(page) == [f"a-{first.id}"]
    assert "nobody had acknowledged it in time" in facts(page)["Escalated"]
    alerted.happen("intake.gap", subject="dc1", name="dc1")
    alerted.settle()
    (gap,) = (one for one in alerted.found() if one.signal is Signal.EVENT_GAP)
    assert set(titles(dave.open(ALERTS))) == {f"a-{gap.id}", f"a-{first.id}"}
    assert titles(dave.open(f"{ALERTS}?show=escalated")) == [f"a-{first.id}"]
    alerted.happen("intake.heard", subject="dc1", name="dc1")
    alerted.settle()
    assert titles(dave.open(ALERTS)) == [f"a-{first.id}"]
    page = dave.open(f"{ALERTS}?show=over")
    assert titles(page) == [f"a-{gap.id}"]
    assert facts(page)["Over"].endswith(": it was heard again")
    assert titles(dave.open(f"{ALERTS}?show=acknowledged")) == []
    page = dave.open(f"{ALERTS}?show=open")
    page = dave.send(page.form(taking(first.id)))
    assert page.form(ALERTS).fields["show"] == "open", "the filter stays"
    assert titles(page) == []


def test_what_is_counted_on_says_how_often(alerted: WatchedWorld, dave: Browser) -> None:
    for _ in range(3):
        alerted.happen("kill-switch")
    alerted.settle()
    assert "; 3 times, last 2026-11-20" in facts(dave.open(ALERTS))["Found"]


def test_a_filter_that_is_none_is_refused_and_all_is_shown(alerted: WatchedWorld, dave: Browser) -> None:
    alert = alerted.alerted()
    for said in ("all", HOSTILE):
        page = dave.open(f"{ALERTS}?show={said}")
        assert (page.status, titles(page)) == (422, [f"a-{alert.id}"])
        is_sound(page)
    page = dave.post(taking(alert.id), {**dave.open(ALERTS).form(taking(alert.id)).fields, "show": HOSTILE})
    assert page.answer.url.query == b"said=acknowledged", "it is not taken along"


@pytest.mark.parametrize(("id_", "status"), [(NOBODYS, 404), ("x", 422)])
def test_what_is_not_there_is_not_taken(alerted: WatchedWorld, dave: Browser, id_: str, status: int) -> None:
    token = dave.open(ALERTS).form("/signout").fields
    assert dave.post(taking(id_), token).status == status
    is_sound(dave.page)


# -------------------------------------------------------------------------------------------------------------- rules


def test_the_rules_are_shown_as_they_are_and_destinations_as_they_do(
    alerted: WatchedWorld, dave: Browser
) -> None:
    page = dave.open(RULES)
    assert "after 30 minutes, to people" in page.text
    assert "never told anything" in page.text
    off = page.html[page.html.index("many-activations") :]
    assert '<span class="tag">off</span>' in off[: off.index("</tr>")]
    assert "50 of all" in off[: off.index("</tr>")]
    is_sound(page)
    alerted.program.down = f"no route {HOSTILE}"
    alerted.alerted("break-glass.used")
    page = dave.open(RULES)
    is_quoted(page, f"no route {HOSTILE}")
    assert "fails" in page.text


def test_a_destination_is_tried(alerted: WatchedWorld, dave: Browser) -> None:
    page = dave.open(RULES)
    forms = [form for form in page.forms if form.action == f"{RULES}/test"]
    assert [form.fields["destination"] for form in forms] == ["people", "program"]
    page = dave.send(forms[1])
    assert "The destination took the test." in page.text
    assert [one.alert.title for one in alerted.program.taken] == ["Test"]
    assert not alerted.found(), "it is no alert"
    alerted.program.down = "no route"
    page = dave.send(forms[1])
    assert (page.status, "did not take the alert: no route" in page.text) == (503, True)
    is_sound(page)
    assert dave.post(f"{RULES}/test", {**forms[1].fields, "destination": HOSTILE}).status == 404
    is_sound(dave.page)


# ------------------------------------------------------------------------------------------------------------ who may


def test_an_auditor_sees_and_does_nothing(alerted: WatchedWorld, frank: Browser) -> None:
    alert = alerted.alerted()
    page = frank.open(ALERTS)
    assert alert.title in page.text
    assert [form.action for form in page.forms] == ["/signout", ALERTS]
    token = page.form("/signout").fields
    assert [form.action for form in frank.open(RULES).forms] == ["/signout"]
    assert frank.post(taking(alert.id), token).status == 403
    assert frank.post(f"{RULES}/test", {**token, "destination": "program"}).status == 403
    assert alerted.found(State.OPEN)
    assert [one.stage.value for one in alerted.program.taken] == ["raised"]


def test_others_see_no_word_of_it(alerted: WatchedWorld) -> None:
    alert = alerted.alerted()
    for name, forest in (("alice", Forest.CORP), ("grace", Forest.PRIV)):
        browser = by_ticket(alerted, name, forest)
        token = browser.open("/").form("/signout").fields
        for address in (ALERTS, RULES):
            page = browser.open(address)
            assert page.status == 403
            assert alert.title not in page.text
        assert browser.post(taking(alert.id), token).status == 403
    assert alerted.found(State.OPEN)


@pytest.mark.parametrize("address", ["/admin/monitoring", ALERTS, RULES])
def test_a_password_alone_is_asked_for_a_code_and_goes_on(alerted: WatchedWorld, address: str) -> None:
    alert = alerted.alerted()
    browser = Browser(alerted)
    browser.sign_in(r"PRIV\dave", "dave-priv-pw")
    page = browser.open(address)
    assert "Show a code first" in page.text
    assert alert.title not in page.text
    page = browser.send(page.form("/code"), code=alerted.code("dave"))
    assert (page.status, page.answer.url.path) == (200, address)
    assert address in page.links


def test_no_form_counts_without_the_token_of_the_session(alerted: WatchedWorld, dave: Browser) -> None:
    alert = alerted.alerted()
    dave.open(ALERTS)
    assert dave.post(taking(alert.id), {"note": "x"}).status == 403
    assert dave.post(f"{RULES}/test", {"destination": "program"}).status == 403
    assert alerted.found(State.OPEN)
    assert len(alerted.program.taken) == 1


def test_where_no_alerts_are_raised_there_is_no_page() -> None:
    with served() as api:
        dave = by_ticket(api, "dave")
        token = dave.open("/admin/roles").form("/signout").fields
        assert ALERTS not in dave.page.links
        for address in (ALERTS, RULES):
            page = dave.open(address)
            assert (page.status, "add the table [alerts]" in page.text) == (404, True)
        assert dave.post(taking(NOBODYS), token).status == 404


def test_words_of_others_are_words(alerted: WatchedWorld, dave: Browser) -> None:
    """Names, reasons and notes are of others' making."""
    alert = alerted.alerted(subject=HOSTILE, name=HOSTILE, data={"reason": HOSTILE})
    assert alert.severity is Severity.HIGH
    is_quoted(dave.open(ALERTS))
    form = dave.page.form(taking(alert.id))
    is_quoted(dave.post(form.action, {**form.fields, "note": f"{HOSTILE}\x07"}))
    is_quoted(dave.send(form, note=HOSTILE))
    assert facts(dave.page)["In hand"].count("&lt;script&gt;") == 1
