"""Kill switch, directory and work in the portal."""

from datetime import timedelta

import pytest

from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.health import Finding, Severity
from bastide.domain.people import Forest
from bastide.domain.requests import State
from bastide.services.probes import Probes
from tests.support.admin import HOSTILE, by_ticket, is_quoted, is_sound
from tests.support.api import ApiWorld
from tests.support.portal import Browser, facts

pytest_plugins = ["tests.support.api"]
KILL, DIRECTORY, WORK = "/admin/kill", "/admin/directory", "/admin/work"


@pytest.fixture
def dave(api: ApiWorld) -> Browser:
    return by_ticket(api, "dave")


def states(api: ApiWorld) -> list[State]:
    return sorted(one.state for one in api.open())


def both(api: ApiWorld) -> None:
    """Alice has access, and Bob waits for approval."""
    api.ask()
    api.ask("Approved", api.sign_in("bob", Forest.CORP, mfa=True))
    api.work()


def preview(browser: Browser, **typed: str) -> None:
    form = browser.open(KILL).form(KILL)
    browser.send(form, button="step=preview", **{"reason": "incident 42", **typed})


@pytest.mark.parametrize(
    ("kind", "which", "word", "left"),
    [
        ("user", "priv.alice", "priv.alice", [State.CLOSING, State.PENDING_APPROVAL]),
        ("role", "Approved", "Approved", [State.ACTIVE, State.CANCELLED]),
        ("all", "", "everything", [State.CANCELLED, State.CLOSING]),
    ],
)
def test_nothing_ends_before_it_was_seen_and_its_name_typed(
    api: ApiWorld, dave: Browser, kind: str, which: str, word: str, left: list[State]
) -> None:
    both(api)
    before = states(api)
    preview(dave, kind=kind, which=which)
    page = dave.page
    assert page.status == 200, page.text
    assert ("priv.alice" in page.text) == (kind != "role")
    assert ("it is withdrawn" in page.text) == (kind != "user")
    is_sound(page)
    assert states(api) == before, "a look ends nothing"
    for wrong in ("x", word.upper()):
        page = dave.send(page.form(KILL), button="step=kill", confirm=wrong)
        assert (page.status, states(api)) == (422, before)
        assert f"type exactly: {word}" in page.text
    page = dave.send(page.form(KILL), button="step=kill", confirm=word)
    assert "was asked for" in page.text
    assert states(api) == left
    assert api.events("kill-switch") == ["kill-switch"]


def test_one_request_by_its_id(api: ApiWorld, dave: Browser) -> None:
    both(api)
    (alice,) = [one for one in api.open() if one.state is State.ACTIVE]
    preview(dave, kind="request", which=alice.id)
    assert "1 request would end" in dave.page.text
    dave.send(dave.page.form(KILL), button="step=kill", confirm="priv.alice")
    assert api.get(alice).state is State.CLOSING


def test_what_is_being_ended_needs_no_second_end(api: ApiWorld, dave: Browser) -> None:
    api.ask()
    api.work()
    api.services.requests.kill(api.dave, "incident 41", everything=True)
    preview(dave, kind="all")
    assert "All of it is being ended already." in dave.page.text
    assert [form.action for form in dave.page.forms] == ["/signout"]


def test_going_back_keeps_what_was_typed(api: ApiWorld, dave: Browser) -> None:
    both(api)
    preview(dave, kind="role", which="Approved", reason=HOSTILE)
    is_quoted(dave.page)
    form = dave.page.form(KILL)
    page = dave.post(KILL, {**form.fields, "step": "back"})
    assert (page.form(KILL).fields["kind"], page.form(KILL).fields["which"]) == ("role", "Approved")
    assert page.form(KILL).fields["reason"] == HOSTILE


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ({"kind": "user", "which": ""}, 422, "name one person, by its name or id"),
        ({"kind": "role", "which": "Nothing"}, 404, "no role 'Nothing'"),
        ({"kind": "request", "which": "x"}, 422, "is not an identifier"),
        ({"kind": "role", "which": "File administrators"}, 404, "no open request matches: nothing was ended"),
        ({"kind": "all", "reason": " "}, 422, "the kill switch needs a reason"),
    ],
)
def test_what_ends_nothing_says_so(
    api: ApiWorld, dave: Browser, typed: dict[str, str], status: int, said: str
) -> None:
    api.ask("Approved")
    preview(dave, **typed)
    assert (dave.page.status, said in dave.page.text) == (status, True), dave.page.text
    assert dave.page.form(KILL).fields["kind"] == typed["kind"]
    assert states(api) == [State.PENDING_APPROVAL]


def test_what_is_meant_is_one_of_the_choices(api: ApiWorld, dave: Browser) -> None:
    api.ask("Approved")
    form = dave.open(KILL).form(KILL)
    page = dave.post(
        KILL, {**form.fields, "kind": "everything", "reason": "x", "step": "kill", "confirm": "everything"}
    )
    assert (page.status, states(api)) == (422, [State.PENDING_APPROVAL])


def test_a_link_fills_the_form_in_and_ends_nothing(api: ApiWorld, dave: Browser) -> None:
    both(api)
    before = states(api)
    for kind, which in (("role", "Approved"), ("user", HOSTILE), ("all", "")):
        page = dave.open(f"{KILL}?{kind}={which}&step=kill&confirm=everything&reason=x")
        assert (page.form(KILL).fields["kind"], page.form(KILL).fields["which"]) == (kind, which)
        is_sound(page)
    assert states(api) == before


# ----------------------------------------------------------------------------------------------------------- directory


def test_what_the_forests_can_do(api: ApiWorld, dave: Browser) -> None:
    page = dave.open(DIRECTORY)
    said = facts(page)
    assert said["Domain controllers"] == "corpdc, reachable"
    assert said["Time-limited memberships"] == "no"
    assert "PRIV" in page.text
    is_sound(page)


def test_a_forest_that_is_down_does_not_hide_the_other(
    api: ApiWorld, dave: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    dave.open(DIRECTORY)
    corp = api.services.forests[Forest.CORP]

    def down(*_: object) -> None:
        raise DirectoryUnavailable("no domain controller answers", remedy="see `bastide work list`")

    monkeypatch.setattr(corp, "capabilities", down, raising=False)
    page = dave.open(DIRECTORY)
    assert page.status == 200
    assert "It could not be asked: no domain controller answers." in page.text
    assert WORK in page.links
    assert "privdc, reachable" in page.text


class OneProber:
    def test_trust(self) -> tuple[Finding, ...]:
        return (Finding("trust", Severity.ERROR, HOSTILE, HOSTILE, "run `bastide trust test`"),)

    def test_domain(self, forest: Forest) -> tuple[Finding, ...]:
        return (Finding("dns", Severity.OK, f"DNS of {forest.value}"),)


def test_the_tests_of_the_directory(api: ApiWorld, dave: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    form = dave.open(DIRECTORY).form(DIRECTORY)
    page = dave.send(form)
    assert (page.status, "there is no real directory here to test" in page.text) == (501, True)
    assert "privdc, reachable" in page.text, "the rest of the page is there"
    monkeypatch.setattr(Probes, "_need", lambda _: OneProber())
    page = dave.send(page.form(DIRECTORY))
    is_quoted(page)
    assert "DNS of corp" in page.text
    assert "DNS of priv" in page.text


# ---------------------------------------------------------------------------------------------------------------- work


def test_work_that_fails_is_shown_with_its_reason(api: ApiWorld, dave: Browser) -> None:
    page = dave.open(WORK)
    assert "Nothing went wrong the last time it was tried." in page.text
    is_sound(page)
    now = api.clock.now()
    with api.store.write() as uow:
        uow.work.poke("export", HOSTILE, now)
        uow.work.poke("novel", "x", now - timedelta(days=1))
        uow.work.poke("help-desk", "unlock:x", now)
        uow.commit()
    (work,) = api.store.claim(
        ["export"], owner=f"node {HOSTILE}", lease=timedelta(seconds=30), limit=1, now=now
    )
    page = dave.open(WORK)
    is_quoted(page, f"node {HOSTILE}")
    with api.store.write() as uow:
        uow.work.retry(work, now + timedelta(minutes=1), f"{HOSTILE}\nConnection refused")
        uow.commit()
    page = dave.open(WORK)
    is_quoted(page)
    assert "Connection refused" in page.text
    assert "Send the audit on" in page.text
    assert "Tell people what the help desk did" in page.text
    assert "novel" in page.text, "a kind of work without words is shown by its name"
    assert "2026-11-19 09:00:00 UTC" in page.text, "the oldest"
