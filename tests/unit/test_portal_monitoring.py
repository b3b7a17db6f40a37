"""Monitoring in the portal: the domains, the drift that stands and that is over, what administrators do about it, and who may."""

import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.alerts import State
from bastide.domain.audit import Record
from bastide.domain.drift import Action, Drift, Finding, Rule
from bastide.domain.lagging import Awaited
from bastide.domain.people import Forest
from bastide.domain.settled import End, Wanted, settled
from bastide.services.events import by_worker
from bastide.services.monitor.ports import Domain, Mark
from bastide.services.ports import AuditQuery
from tests.support.admin import HOSTILE, by_ticket, is_quoted, is_sound
from tests.support.api import served
from tests.support.portal import Browser, Page, facts
from tests.support.watched import WatchedWorld, watched_over
from tests.support.world import START

pytest_plugins = ["tests.support.watched"]
MONITORING = "/admin/monitoring"


@pytest.fixture
def watched(watched_world: WatchedWorld) -> WatchedWorld:
    return watched_world


@pytest.fixture
def dave(watched: WatchedWorld) -> Browser:
    return by_ticket(watched, "dave")


@pytest.fixture
def frank(watched: WatchedWorld) -> Browser:
    return by_ticket(watched, "frank")


def accepting(finding: Finding) -> str:
    return f"{MONITORING}/drift/{finding.key}/accept"


def rows(page: Page) -> list[str]:
    """The domains, each with all that is said of it."""
    body = page.html[page.html.index("<tbody>") : page.html.index("</tbody>")]
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in body.split("<tr>")[1:]]


# -------------------------------------------------------------------------------------------------------------- domains


def test_each_domain_says_how_far_it_was_read(watched: WatchedWorld, dave: Browser) -> None:
    page = dave.open(MONITORING)
    corp, priv = rows(page)
    assert corp.startswith("corp.bastide.test CORP, from corpdc read 2026-11-20")
    assert priv.startswith("priv.bastide.test PRIV, from privdc read 2026-11-20")
    assert "Nothing drifted" in page.text
    is_sound(page)
    watched.clock.move(minutes=10)
    assert "behind not heard for 10 minutes" in rows(dave.open(MONITORING))[0]
    watched.corp.cut("corpdc")
    watched.look()
    corp, priv = rows(dave.open(MONITORING))
    assert " not read " in corp
    assert " read " in priv.replace("not read", "")


def test_a_controller_that_lags_is_said(watched: WatchedWorld, dave: Browser) -> None:
    awaited = (Awaited("corpdc0", "older", 1, START),)
    lagging = replace(watched.domain(Forest.CORP), awaited=awaited)
    with watched.store.write() as uow:
        uow.monitored.save(lagging)
        uow.commit()
    corp, priv = rows(dave.open(MONITORING))
    assert " late corpdc has not heard yet all that corpdc0 had" in corp
    assert "not heard" not in priv
    is_sound(dave.page)


def test_a_domain_that_was_not_read_yet_is_named() -> None:
    with watched_over(looked=False) as watched:
        page = by_ticket(watched, "dave").open(MONITORING)
        for side in ("CORP", "PRIV"):
            assert f"{side} was not read yet" in page.text
        assert "Nothing is known" in page.text
        assert f"{MONITORING}/pause" not in [form.action for form in page.forms]
        is_sound(page)


def test_pausing_says_why_and_so_does_going_on(watched: WatchedWorld, dave: Browser) -> None:
    page = dave.open(MONITORING)
    assert dave.post(f"{MONITORING}/pause", {**page.form(f"{MONITORING}/pause").fields}).status == 422
    is_sound(dave.page)
    page = dave.send(page.form(f"{MONITORING}/pause"), reason="CHG-1: moving the users")
    assert "Paused: no domain is read" in page.text
    assert all(" paused " in row for row in rows(page))
    assert f"{MONITORING}/resync" not in [form.action for form in page.forms]
    token = page.form("/signout").fields
    refused = dave.post(f"{MONITORING}/resync", token)
    assert refused.status == 409
    assert MONITORING in refused.links, "the remedy's command is this page"
    page = dave.send(dave.open(MONITORING).form(f"{MONITORING}/resume"), reason="CHG-1: done")
    assert "Resumed" in page.text
    assert not any(watched.domain(side).paused for side in Forest)
    assert [said["reason"] for kind in ("monitor.paused", "monitor.resumed") for said in watched.told(kind)] == [
        "CHG-1: moving the users", "CHG-1: done",
    ]  # fmt: skip
    assert dave.post(f"{MONITORING}/resume", {**token, "reason": "again"}).status == 409


def test_everything_is_read_anew(watched: WatchedWorld, dave: Browser) -> None:
    page = dave.send(dave.open(MONITORING).form(f"{MONITORING}/resync"))
    assert "Asked for" in page.text
    assert all("everything is to be read anew" in row for row in rows(page))
    watched.look()
    assert not any("to be read anew" in row for row in rows(dave.open(MONITORING)))
    assert watched.told("monitor.resynced")


# ---------------------------------------------------------------------------------------------------------------- drift


def test_from_the_drift_to_its_acceptance_and_what_is_over(watched: WatchedWorld, dave: Browser) -> None:
    finding = watched.drifted()
    page = dave.open(MONITORING)
    said = facts(page)
    assert said["Kind"] == "other-member of FileAdmins in CORP"
    assert said["Owner"] == "Team Directory"
    assert said["Action"] == "reported only"
    assert f"became a member of FileAdmins, which {'PAM-FileAdmins'} gives" in page.text
    is_sound(page)
    form = page.form(accepting(finding))
    refused = dave.post(form.action, {**form.fields, "reason": "\x07"})
    assert (refused.status, "reason" in refused.text) == (422, True)
    page = dave.send(form, reason="CHG-4711")
    assert "Accepted: from now on that is what counts." in page.text
    assert Rule.OTHER_MEMBER not in watched.standing()
    assert dave.post(form.action, {**form.fields, "reason": "again"}).status == 404
    said = facts(dave.open(f"{MONITORING}?show=over"))
    assert said["Became of it"] == r"accepted by PRIV\dave: CHG-4711"
    assert said["Kind"] == "other-member of FileAdmins in CORP"
    assert said["Owner"] == "Team Directory"
    assert said["Found"].startswith("2026-11-20")
    is_sound(dave.page)


def test_what_was_put_right_is_shown_with_how(watched: WatchedWorld, dave: Browser) -> None:
    with watched.store.read() as uow:
        group = uow.groups.all()[0]
    bob = watched.directory(Forest.CORP).find_person("bob").ref
    watched.add_by_hand(Forest.PRIV, group.priv, watched.directory(Forest.PRIV).find_person("ivan").ref.sid)
    watched.look()
    watched.look()
    said = facts(dave.open(f"{MONITORING}?show=over"))
    assert said["Became of it"] == "put right by Bastide, and read back"
    assert said["Kind"] == "stranger of PAM-FileAdmins in PRIV"
    assert said["Action"] == "put right by Bastide, with an alert"
    finding = watched.drifted()
    watched.remove_by_hand(Forest.CORP, group.corp, bob.sid)
    watched.look()
    page = dave.open(f"{MONITORING}?show=over&forest=corp")
    assert facts(page)["Became of it"].startswith("not so any more")
    assert finding.drift.reason in page.text
    assert "stranger of" not in page.text, "it is of PRIV"


def test_a_repair_that_fails_says_why(watched: WatchedWorld, dave: Browser) -> None:
    drift = Drift(
        Rule.STRANGER,
        Forest.PRIV,
        "g",
        "PAM-X",
        "S-1-5-21-1-1-1-1",
        "X is a member",
        "`bastide monitor status`",
    )
    with watched.store.write() as uow:
        finding = Finding(drift, "Team", Action.REPAIR, START, START, "insufficient rights")
        uow.monitored.keep([finding])
        uow.commit()
    page = dave.open(MONITORING)
    assert "and did not work: insufficient rights" in facts(page)["Put right"]
    assert "It cannot be accepted" in page.text
    assert accepting(finding) not in [form.action for form in page.forms]
    assert dave.post(accepting(finding), {**page.form("/signout").fields, "reason": "x"}).status == 409


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("", True),
        ("?forest=corp", True),
        ("?forest=priv", False),
        ("?rule=other-member", True),
        ("?rule=stranger", False),
        ("?forest=corp&rule=other-member&show=stands", True),
        ("?show=over", False),
    ],
)
def test_the_filters_filter_and_stay(watched: WatchedWorld, dave: Browser, query: str, seen: bool) -> None:
    finding = watched.drifted()
    page = dave.open(MONITORING + query)
    assert (finding.key in page.html) is seen
    wanted = dict(pair.split("=") for pair in query.lstrip("?").split("&") if pair)
    filters = page.form(MONITORING).fields
    assert {name: filters[name] for name in wanted} == wanted
    if seen:
        page = dave.send(page.form(accepting(finding)), reason="CHG-1")
        assert {name: page.form(MONITORING).fields[name] for name in wanted} == wanted


@pytest.mark.parametrize("query", ["?show=all", "?forest=x", "?rule=strangers", f"?rule={HOSTILE}"])
def test_a_filter_that_is_none_is_refused_and_all_is_shown(
    watched: WatchedWorld, dave: Browser, query: str
) -> None:
    finding = watched.drifted()
    page = dave.open(MONITORING + query)
    assert page.status == 422
    assert finding.key in page.html
    is_sound(page)


def test_many_are_cut_with_a_word(
    watched: WatchedWorld, dave: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bastide.portal.monitoring.MOST", 1)
    watched.drifted()
    watched.drifted("mallory")
    page = dave.open(MONITORING)
    assert "The first 1 of 2 are shown" in page.text
    (form,) = [form for form in page.forms if form.action.endswith("/accept")]
    page = dave.send(form, reason="x")
    assert "are shown" not in page.text
    (other,) = [one.action for one in page.forms if one.action.endswith("/accept")]
    assert other != form.action
    assert "The newest 1 are shown" in dave.open(f"{MONITORING}?show=over").text


def test_what_is_accepted_is_no_alert_any_more(watched: WatchedWorld, dave: Browser) -> None:
    finding = watched.drifted()
    watched.settle()
    (alert,) = (one for one in watched.found(State.OPEN) if one.rule == "drift")
    dave.send(dave.open(MONITORING).form(accepting(finding)), reason="CHG-1")
    watched.settle()
    (over,) = watched.found(State.OVER)
    assert (over.id, over.over_because) == (alert.id, "it was accepted")


# ------------------------------------------------------------------------------------------------------------ who may


def test_an_auditor_sees_and_does_nothing(watched: WatchedWorld, frank: Browser) -> None:
    finding = watched.drifted()
    page = frank.open(MONITORING)
    assert finding.key in page.html
    assert [form.action for form in page.forms] == ["/signout", MONITORING]
    token = page.form("/signout").fields
    for address in (accepting(finding), *(f"{MONITORING}/{word}" for word in ("pause", "resume", "resync"))):
        assert frank.post(address, {**token, "reason": "x"}).status == 403, address
    assert Rule.OTHER_MEMBER in watched.standing()
    assert not any(watched.domain(side).paused or watched.domain(side).resync for side in Forest)


def test_others_see_no_word_of_it(watched: WatchedWorld) -> None:
    finding = watched.drifted()
    for name, forest in (("alice", Forest.CORP), ("grace", Forest.PRIV)):
        browser = by_ticket(watched, name, forest)
        token = browser.open("/").form("/signout").fields
        assert MONITORING not in browser.page.links
        page = browser.open(MONITORING)
        assert page.status == 403
        assert "FileAdmins" not in page.text
        assert browser.post(accepting(finding), {**token, "reason": "x"}).status == 403
    assert Rule.OTHER_MEMBER in watched.standing()


def test_no_form_counts_without_the_token_of_the_session(watched: WatchedWorld, dave: Browser) -> None:
    finding = watched.drifted()
    dave.open(MONITORING)
    for address in (accepting(finding), *(f"{MONITORING}/{word}" for word in ("pause", "resume", "resync"))):
        assert dave.post(address, {"reason": "x"}).status == 403, address
    assert Rule.OTHER_MEMBER in watched.standing()
    assert not any(watched.domain(side).paused or watched.domain(side).resync for side in Forest)


def test_where_nothing_is_monitored_there_is_no_page() -> None:
    with served() as api:
        dave = by_ticket(api, "dave")
        token = dave.open("/admin/roles").form("/signout").fields
        assert MONITORING not in dave.page.links
        page = dave.open(MONITORING)
        assert (page.status, "add the table [monitoring]" in page.text) == (404, True)
        assert dave.post(f"{MONITORING}/pause", {**token, "reason": "x"}).status == 404


# -------------------------------------------------------------------------------------------------------------- hostile


def test_words_of_the_directory_are_words(watched: WatchedWorld, dave: Browser) -> None:
    """Names in a directory are of others' making; so is what a directory answers."""
    drift = Drift(
        Rule.OTHER_MEMBER,
        Forest.CORP,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        f"{HOSTILE} `bastide monitor accept`",
    )
    with watched.store.write() as uow:
        uow.monitored.keep([Finding(drift, HOSTILE, Action.REPAIR, START, START, HOSTILE)])
        for kind in ("drift.found", "drift.gone"):
            data = {"rule": HOSTILE, "domain": HOSTILE, "drift": HOSTILE, "reason": HOSTILE, "owner": HOSTILE}
            uow.audit.append(by_worker(kind, START, subject="x", subject_name=HOSTILE, data=data))
        mark, awaited = Mark(HOSTILE, "", -1), (Awaited(HOSTILE, "", 1, START),)
        uow.monitored.save(Domain(Forest.CORP, HOSTILE, mark, problem=HOSTILE))
        uow.monitored.save(Domain(Forest.PRIV, HOSTILE, mark, read_at=watched.clock.now(), awaited=awaited))
        uow.commit()
    is_quoted(dave.open(MONITORING))
    is_quoted(dave.open(f"{MONITORING}?show=over"))
    address = f"{MONITORING}/drift/{drift.key}/accept"
    form = dave.open(MONITORING).form(address)
    is_quoted(dave.post(address, {**form.fields, "reason": f"{HOSTILE}\x07"}))


# ----------------------------------------------------------------------------------------------------- what is over, pure


def told(kind: str, minutes: int, key: str = "k", **data: object) -> Record:
    said = {"rule": "stranger", "domain": "priv", "drift": key, "reason": "r", **data}
    at = START + timedelta(minutes=minutes)
    return Record(minutes, at, kind, "a", "dave", "guid", "name", "", json.dumps(said), "", "")


def test_what_is_over_comes_newest_first_and_one_drift_may_come_again() -> None:
    records = [
        told("drift.found", 1), told("drift.repaired", 2), told("drift.found", 3), told("drift.gone", 4),
        told("drift.accepted", 5, "other", domain="corp", found="was found", reason="CHG-1"),
    ]  # fmt: skip
    accepted, gone, repaired = settled(records, Wanted(), 10)
    assert [one.end for one in (accepted, gone, repaired)] == [End.ACCEPTED, End.GONE, End.REPAIRED]
    assert (accepted.found_at, accepted.reason, accepted.said, accepted.by) == (
        None,
        "was found",
        "CHG-1",
        "dave",
    )
    assert [one.found_at for one in (gone, repaired)] == [START + timedelta(minutes=m) for m in (3, 1)]
    assert (gone.by, gone.said) == ("", "")
    assert settled(records, Wanted(side=Forest.CORP), 10) == (accepted,)
    assert settled(records, Wanted(rule=Rule.OTHER_MEMBER), 10) == ()
    assert settled(records, Wanted(), 1) == (accepted,)


def test_what_is_older_than_a_month_is_left_to_the_audit(watched: WatchedWorld) -> None:
    finding = watched.drifted()
    watched.monitoring.control.accept(watched.dave, finding.key, "CHG-1")
    (one,) = watched.monitoring.control.settled(watched.frank, Wanted(), 10)
    assert one.key == finding.key
    watched.clock.move(days=31)
    assert watched.monitoring.control.settled(watched.frank, Wanted(), 10) == ()
    with watched.store.read() as uow:
        assert list(uow.audit.read(AuditQuery(kind="drift.accepted")))
