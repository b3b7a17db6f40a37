"""Access reviews at the browser of administrators and auditors: the list, one with its lines, planning, ending, cancelling, the signed result, and who may."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from litestar.testing import TestClient

from bastide.directory.memory import MemoryDirectory
from bastide.domain.errors import InvalidInput
from bastide.domain.people import Forest
from bastide.domain.reviews import Every, Line, Review, State, Verdict
from bastide.portal.campaign_forms import NEW, draft_of
from bastide.services.reviews.campaigns import Draft
from bastide.wiring import assemble
from tests.support.admin import HOSTILE, by_ticket, is_quoted, is_sound
from tests.support.api import NOBODYS, ApiWorld, app_over
from tests.support.portal import Browser, Form, Page, facts

pytest_plugins = ["tests.support.api"]
REVIEWS = "/admin/reviews"
NEW_ONE = f"{REVIEWS}/new"
TYPED = {"name": "Winter", "roles": "File administrators", "fallback": "PRIV\\heidi", "silence": "remove"}


@pytest.fixture
def dave(api: ApiWorld) -> Browser:
    return by_ticket(api, "dave")


@pytest.fixture
def two(api: ApiWorld) -> Iterator[ApiWorld]:
    """The same world with four eyes. Ivan administers as well."""
    MemoryDirectory(api.priv).add_members(api.teams["Administrators"].ref, [api.sign_in("ivan").sid])
    api.services = assemble(api.adapters, api._preparation(), four_eyes=True)
    with app_over(api.services) as app, TestClient(app, raise_server_exceptions=False) as client:
        api.client = client
        yield api


def plan(api: ApiWorld, **options: Any) -> Review:
    """It is open at once, unless it begins later."""
    said: dict[str, Any] = {
        "name": "Winter", "reviewer": "PRIV\\grace", "fallback": "PRIV\\heidi", "silence": Verdict.REMOVE,
        "roles": ("File administrators",), **options,
    }  # fmt: skip
    review = api.services.oversight.reviews.create(api.dave, Draft(**said))
    api.runner.run_due()
    return review


def later(api: ApiWorld, **options: Any) -> Review:
    return plan(api, opens_at=api.clock.now() + timedelta(days=3), **options)


def at(review: Review) -> str:
    return f"{REVIEWS}/{review.id}"


def state(api: ApiWorld, review: Review) -> State:
    return api.services.oversight.reviews.show(api.frank, review.id)[0].state


def line(api: ApiWorld, review: Review, person: str) -> Line:
    lines = api.services.oversight.reviews.show(api.frank, review.id)[1]
    return next(one for one in lines if one.person == person)


def decide(api: ApiWorld, review: Review, person: str, verdict: Verdict, reason: str = "left") -> None:
    grace = api.sign_in("grace", mfa=True)
    api.services.oversight.reviews.decide(grace, review.id, line(api, review, person).id, verdict, reason)


def closed(api: ApiWorld) -> Review:
    """One line kept, one removed, and signed."""
    review = plan(api)
    decide(api, review, "priv.alice", Verdict.KEEP, "")
    decide(api, review, "priv.bob", Verdict.REMOVE)
    for _ in range(15):
        api.clock.move(days=1)
        api.runner.run_due()
    assert state(api, review) is State.CLOSED
    return review


def row(page: Page, review: Review) -> str:
    """The words of a review's row in the list."""
    after = page.html[page.html.index(f'<a href="{at(review)}">') :]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", after[: after.index("</tr>")])).split())


# ---------------------------------------------------------------------------------------------------------------- list


def test_without_reviews_it_says_so_and_where_to_plan_one(dave: Browser) -> None:
    page = dave.open(REVIEWS)
    assert "No review is planned or open" in page.text
    assert "No review is over yet." in page.text
    assert NEW_ONE in page.links
    is_sound(page)


def test_the_list_says_what_is_open_what_is_over_and_how_far_each_got(api: ApiWorld, dave: Browser) -> None:
    over = closed(api)
    review = plan(api, name="Spring", reviewer="", roles=())
    coming = later(api, name="Summer")
    page = dave.open(REVIEWS)
    is_sound(page)
    assert page.html.index('id="standing"') < page.html.index(at(review)) < page.html.index('id="over"')
    assert page.html.index('id="over"') < page.html.index(at(over))
    assert "Open All each person's own manager, or else PRIV\\heidi" in row(page, review)
    assert row(page, review).endswith("3: 0 keep, 0 remove, 3 not decided")
    assert "Closed File administrators PRIV\\grace, or else PRIV\\heidi" in row(page, over)
    assert row(page, over).endswith("2: 1 kept, 1 removed")
    assert row(page, coming).endswith("none yet")
    assert "Planned" in row(page, coming)


def test_a_long_list_says_that_it_is_cut(
    api: ApiWorld, dave: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bastide.portal.campaigns.MOST", 1)
    first, second = plan(api), later(api)
    page = dave.open(REVIEWS)
    assert "The latest 1 are shown" in page.text
    assert at(second) in page.links
    assert at(first) not in page.links


def test_a_role_that_is_gone_has_no_name_any_more(api: ApiWorld, dave: Browser) -> None:
    review = plan(api)
    api.services.roles.remove(api.dave, "File administrators")
    assert "a role that is gone" in row(dave.open(REVIEWS), review)
    assert facts(dave.open(at(review)))["Roles"] == "a role that is gone"


# ----------------------------------------------------------------------------------------------------------------- one


def test_one_review_shows_its_rules_and_who_decides_what_on_which_evidence(
    api: ApiWorld, dave: Browser
) -> None:
    api.ask("File administrators", justification=HOSTILE)
    api.work()
    review = plan(api, every=Every(months=6))
    decide(api, review, "priv.alice", Verdict.KEEP, HOSTILE)
    page = dave.open(at(review))
    is_quoted(page)
    said = facts(page)
    assert said["Reviewed by"] == "PRIV\\grace, or else PRIV\\heidi"
    assert said["Where nobody decides"] == "remove"
    assert said["Reminders"].startswith(
        "every 3 days, to reviewers who have lines left; told last 2026-11-20"
    )
    assert said["Evidence"] == "of the last 90 days before it begins"
    assert said["Comes back"] == "every 6 months"
    assert said["Planned by"].startswith("PRIV\\dave, ")
    assert said["Lines"] == "2: 1 keep, 0 remove, 1 not decided"
    alice = facts(dave.open(f"{at(review)}?show=keep"))
    assert alice["Decided by"] == "PRIV\\grace"
    assert alice["Decision"].startswith("keep by PRIV\\grace, 2026-11-20")
    assert alice["Used"].startswith("1 time, last 2026-11-20")
    bob = facts(dave.open(f"{at(review)}?show=undecided"))
    assert bob["Decision"] == "none yet; without one: remove"


def test_lines_are_filtered_and_a_filter_that_is_none_is_refused(api: ApiWorld, dave: Browser) -> None:
    review = plan(api)
    decide(api, review, "priv.bob", Verdict.REMOVE)
    heading = "may ask for File administrators"
    for show, people in (
        ("", {"priv.alice", "priv.bob"}),
        ("undecided", {"priv.alice"}),
        ("remove", {"priv.bob"}),
        ("keep", set()),
        ("by-hand", set()),
    ):
        page = dave.open(f"{at(review)}?show={show}")
        is_sound(page)
        assert {one for one in ("priv.alice", "priv.bob") if f"{one} {heading}" in page.text} == people, show
        assert page.form(at(review)).fields["show"] == show
    for show in ("all", HOSTILE):
        page = dave.open(f"{at(review)}?show={show}")
        assert (page.status, "is none of the choices" in page.text) == (422, True)
        is_sound(page)


def test_many_lines_are_cut_and_said_to_be(
    api: ApiWorld, dave: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bastide.portal.campaigns.MOST_LINES", 1)
    page = dave.open(at(plan(api)))
    assert "The first 1 of 2 are shown" in page.text
    assert page.html.count('<li class="card">') == 1


def test_what_became_of_a_line_is_said(api: ApiWorld, dave: Browser) -> None:
    review = closed(api)
    said = facts(dave.open(f"{at(review)}?show=remove"))
    assert said["What became of it"].startswith("removed")
    assert said["Lines"] == "2: 1 kept, 1 removed"


@pytest.mark.parametrize(("id_", "status"), [(NOBODYS, 404), ("x", 422)])
def test_what_is_not_there_is_not_shown_and_nothing_is_done(dave: Browser, id_: str, status: int) -> None:
    token = dave.open(REVIEWS).form("/signout").fields
    assert dave.open(f"{REVIEWS}/{id_}").status == status
    assert dave.open(f"{REVIEWS}/{id_}/result.json").status == status
    for what in ("end", "cancel"):
        assert dave.post(f"{REVIEWS}/{id_}/{what}", {**token, "confirm": "Winter"}).status == status
        is_sound(dave.page)


# ---------------------------------------------------------------------------------------------------------------- plan


def planning(dave: Browser) -> Form:
    return dave.open(NEW_ONE).form(NEW_ONE)


def test_a_review_is_planned_as_the_form_says(api: ApiWorld, dave: Browser) -> None:
    form = planning(dave)
    is_sound(dave.page)
    assert "There are: Approved, File administrators." in dave.page.text
    assert {name: form.fields[name] for name in NEW} == dict(NEW)
    page = dave.send(
        form, **TYPED, reviewer="PRIV\\grace", opens="2026-12-01T08:00", lasts="21d", remind="1d12h",
        lookback="180d", every="6",
    )  # fmt: skip
    assert "Planned: it begins by itself at its time" in page.text
    assert page.form(f"{page.answer.url.path}/cancel")
    is_sound(page)
    (review,) = api.services.oversight.reviews.all(api.dave)
    assert review.roles == (api.services.roles.show(api.dave, "File administrators").id,)
    assert review.reviewer is not None
    assert (review.reviewer.name, review.fallback.name) == ("PRIV\\grace", "PRIV\\heidi")
    assert (review.silence, review.created_by_name) == (Verdict.REMOVE, "PRIV\\dave")
    assert review.opens_at == datetime(2026, 12, 1, 8, tzinfo=UTC)
    assert (review.lasts, review.lookback) == (timedelta(days=21), timedelta(days=180))
    assert (review.remind, review.every) == (timedelta(days=1, hours=12), Every(months=6))


def test_what_is_left_empty_is_all_roles_own_managers_now_and_once(api: ApiWorld, dave: Browser) -> None:
    page = dave.send(planning(dave), **{**TYPED, "roles": ""}, unit="days")
    assert facts(page)["Roles"] == "All"
    assert "each person's own manager, or else PRIV\\heidi" in page.text
    assert facts(page)["Comes back"] == "no"
    api.runner.run_due()
    (review,) = api.services.oversight.reviews.all(api.dave)
    assert (review.state, review.every) == (State.OPEN, None)
    assert facts(dave.open(at(review)))["Lines"] == "4: 0 keep, 0 remove, 4 not decided"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"silence": ""}, "silence: is not said"),
        ({"silence": HOSTILE}, "silence: is not said"),
        ({"name": "\u202e"}, "name"),
        ({"roles": "Nowhere"}, "no role 'Nowhere'"),
        ({"fallback": "PRIV\\nobody-here"}, "nobody-here"),
        ({"reviewer": "PRIV\\nobody-here"}, "nobody-here"),
        ({"lasts": "1y"}, "for: is not a length of time"),
        ({"lasts": "5m"}, "for: a review lasts from 1h to 120d"),
        ({"lasts": "121d"}, "write 30m, 1h30m or 2d, at most 120d"),
        ({"remind": "soon"}, "remind: is not a length of time"),
        ({"lookback": "731d"}, "at most 730d"),
        ({"opens": "tomorrow"}, "opens: is not a time"),
        ({"opens": "2020-01-01T00:00"}, "the review would be over already"),
        ({"every": "-1"}, "every: is not how often it comes back"),
        ({"every": "3", "unit": "years"}, "every: is not how often it comes back"),
        ({"every": "2", "unit": "days"}, "the next review would begin before this one ends"),
    ],
)
def test_what_can_never_be_is_refused_and_stays_typed(
    api: ApiWorld, dave: Browser, typed: dict[str, str], said: str
) -> None:
    fields = {**planning(dave).fields, **TYPED, **typed}
    page = dave.post(NEW_ONE, fields)
    assert page.status in {404, 409, 422}
    assert said in page.text
    is_sound(page)
    kept = page.form(NEW_ONE).fields
    assert {name: kept[name] for name in ("fallback", "lasts", "every", "opens")} == {
        name: fields[name] for name in ("fallback", "lasts", "every", "opens")
    }
    assert api.services.oversight.reviews.all(api.dave) == ()


def test_a_form_without_its_fields_plans_nothing() -> None:
    with pytest.raises(InvalidInput):
        draft_of({})


# --------------------------------------------------------------------------------------------------------- end, cancel


def test_what_is_open_is_ended_when_its_name_is_typed(api: ApiWorld, dave: Browser) -> None:
    review = plan(api)
    decide(api, review, "priv.alice", Verdict.KEEP)
    page = dave.open(at(review))
    assert (
        "1 line is not decided: remove. A role that is left without candidates is switched off." in page.text
    )
    form = page.form(f"{at(review)}/end")
    page = dave.send(form, confirm="winter")
    assert (page.status, "does not fit, so nothing was done" in page.text) == (422, True)
    is_sound(page)
    assert state(api, review) is State.OPEN
    page = dave.send(form, confirm="Winter")
    assert "Ended: no decision counts any more." in page.text
    assert state(api, review) is State.CLOSING
    is_sound(page)
    again = dave.post(form.action, {**form.fields, "confirm": "Winter"})
    assert (again.status, "cannot be ended: it is closing" in again.text) == (409, True)
    for _ in range(3):
        api.runner.run_due()
    assert facts(dave.open(at(review)))["Lines"] == "2: 1 kept, 1 removed"


def test_what_is_planned_is_cancelled_when_its_name_is_typed(api: ApiWorld, dave: Browser) -> None:
    review = later(api, every=Every(months=6))
    form = dave.open(at(review)).form(f"{at(review)}/cancel")
    assert dave.send(form, confirm="x").status == 422
    assert state(api, review) is State.PLANNED
    page = dave.send(form, confirm="Winter")
    assert "Cancelled: it does not begin, and comes back no more." in page.text
    assert facts(page)["Comes back"] == "no more"
    assert [one.action for one in page.forms] == ["/signout"]
    assert state(api, review) is State.CANCELLED
    again = dave.post(form.action, {**form.fields, "confirm": "Winter"})
    assert (again.status, "it is cancelled" in again.text) == (409, True)


def test_each_way_out_is_for_its_state_and_names_the_page_of_the_other(api: ApiWorld, dave: Browser) -> None:
    begun, coming = plan(api), later(api)
    token = dave.open(REVIEWS).form("/signout").fields
    page = dave.post(f"{at(begun)}/cancel", {**token, "confirm": "Winter"})
    assert (page.status, "bastide review close" in page.text) == (409, True)
    assert REVIEWS in page.links
    page = dave.post(f"{at(coming)}/end", {**token, "confirm": "Winter"})
    assert (page.status, "bastide review cancel" in page.text) == (409, True)
    assert (state(api, begun), state(api, coming)) == (State.OPEN, State.PLANNED)


def test_with_four_eyes_who_planned_it_neither_ends_nor_cancels_it(two: ApiWorld) -> None:
    dave, ivan = by_ticket(two, "dave"), by_ticket(two, "ivan")
    assert "Four eyes are asked for" in dave.open(NEW_ONE).text
    for review, what in ((plan(two), "end"), (later(two), "cancel")):
        page = dave.open(at(review))
        assert f"You cannot {what} it: you planned this review, and four eyes are asked for." in page.text
        address = f"{at(review)}/{what}"
        assert address not in [form.action for form in page.forms]
        token = page.form("/signout").fields
        before = state(two, review)
        page = dave.post(address, {**token, "confirm": "Winter"})
        assert (page.status, state(two, review)) == (403, before)
        page = ivan.send(ivan.open(at(review)).form(address), confirm="Winter")
        assert page.status == 200
        assert state(two, review) in {State.CLOSING, State.CANCELLED}


def test_with_four_eyes_silence_does_not_remove_at_once(two: ApiWorld) -> None:
    dave = by_ticket(two, "dave")
    page = dave.send(planning(dave), **TYPED | {"lasts": "2d"})
    assert (page.status, "silence removes after 7d at the earliest" in page.text) == (422, True)


def test_who_is_under_review_does_not_end_it(api: ApiWorld, dave: Browser) -> None:
    api.add_role("Own", candidates=("PRIV\\dave",))
    review = plan(api, roles=("Own",))
    page = dave.open(at(review))
    assert "You cannot end it: who is under review does not end it." in page.text
    page = dave.post(f"{at(review)}/end", {**page.form("/signout").fields, "confirm": "Winter"})
    assert (page.status, state(api, review)) == (403, State.OPEN)


# -------------------------------------------------------------------------------------------------------------- result


def test_the_signed_result_is_taken_away_as_the_api_gives_it(api: ApiWorld, dave: Browser) -> None:
    review = closed(api)
    page = dave.open(at(review))
    assert "Checked just now: the lines below are what was signed." in page.text
    is_sound(page)
    answer = dave.open(page.link(f"{at(review)}/result.json")).answer
    assert answer.headers["content-disposition"] == f'attachment; filename="review-{review.id}.json"'
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json() == api.caller("dave").get(f"/reviews/{review.id}/result").json()
    assert {one["person"] for one in json.loads(answer.json()["text"])["lines"]} == {"priv.alice", "priv.bob"}
    assert answer.json()["signature"] in page.text
    assert answer.json()["digest"] in page.text


def test_before_the_end_there_is_no_result(api: ApiWorld, dave: Browser) -> None:
    review = plan(api)
    assert f"{at(review)}/result.json" not in dave.open(at(review)).links
    page = dave.open(f"{at(review)}/result.json")
    assert (page.status, "its result is signed when it is closed" in page.text) == (409, True)
    is_sound(page)


def test_a_line_that_somebody_changed_is_found_out_and_said(api: ApiWorld, dave: Browser) -> None:
    review = closed(api)
    changed = replace(line(api, review, "priv.bob"), person="priv.eve")
    with api.store.write() as uow:
        uow.reviews.save_line(changed)
        uow.commit()
    page = dave.open(at(review))
    assert page.status == 500
    assert "the result of the review Winter is not what was signed" in page.text
    assert "Checked just now" not in page.text
    assert "priv.eve may ask" in page.text, "it is shown, not hidden"
    assert f"{at(review)}/result.json" not in page.links
    is_sound(page)
    assert dave.open(f"{at(review)}/result.json").status == 500


# ------------------------------------------------------------------------------------------------------------- who may


def test_an_auditor_reads_takes_the_result_away_and_changes_nothing(api: ApiWorld) -> None:
    over, begun, coming = closed(api), plan(api), later(api)
    frank = by_ticket(api, "frank")
    assert NEW_ONE not in frank.open(REVIEWS).links
    token = frank.page.form("/signout").fields
    for review in (begun, coming):
        page = frank.open(at(review))
        assert page.status == 200
        assert {form.action for form in page.forms} <= {"/signout", at(review)}
    assert frank.open(f"{at(over)}/result.json").status == 200
    assert frank.open(NEW_ONE).status == 403
    assert frank.post(NEW_ONE, {**token, **NEW, **TYPED}).status == 403
    assert frank.post(f"{at(begun)}/end", {**token, "confirm": "Winter"}).status == 403
    assert frank.post(f"{at(coming)}/cancel", {**token, "confirm": "Winter"}).status == 403
    assert (state(api, begun), state(api, coming)) == (State.OPEN, State.PLANNED)


def test_others_see_no_word_of_it(api: ApiWorld) -> None:
    review = plan(api, name="Nobody's business")
    for name, forest in (("alice", Forest.CORP), ("grace", Forest.PRIV)):
        browser = by_ticket(api, name, forest)
        token = browser.open("/").form("/signout").fields
        assert REVIEWS not in browser.open("/reviews").links
        for address in (REVIEWS, NEW_ONE, at(review), f"{at(review)}/result.json"):
            page = browser.open(address)
            assert page.status == 403
            assert "Nobody's business" not in page.text
        assert browser.post(NEW_ONE, {**token, **NEW, **TYPED}).status == 403
        assert browser.post(f"{at(review)}/end", {**token, "confirm": review.name}).status == 403
    assert [one.id for one in api.services.oversight.reviews.all(api.dave)] == [review.id]
    assert state(api, review) is State.OPEN


def test_a_password_alone_is_asked_for_a_code_and_goes_on(api: ApiWorld) -> None:
    review = plan(api)
    for address in (REVIEWS, NEW_ONE, at(review)):
        browser = Browser(api)
        browser.sign_in(r"PRIV\dave", "dave-priv-pw")
        page = browser.open(address)
        assert "Show a code first" in page.text
        assert "Winter" not in page.text
        page = browser.send(page.form("/code"), code=api.code("dave"))
        assert (page.status, page.answer.url.path) == (200, address)


def test_no_form_counts_without_the_token_of_the_session(api: ApiWorld, dave: Browser) -> None:
    begun, coming = plan(api), later(api)
    dave.open(REVIEWS)
    assert dave.post(NEW_ONE, {**NEW, **TYPED}).status == 403
    assert dave.post(f"{at(begun)}/end", {"confirm": "Winter"}).status == 403
    assert dave.post(f"{at(coming)}/cancel", {"confirm": "Winter"}).status == 403
    assert (state(api, begun), state(api, coming)) == (State.OPEN, State.PLANNED)
    assert len(api.services.oversight.reviews.all(api.dave)) == 2


def test_words_of_others_are_words(api: ApiWorld, dave: Browser) -> None:
    api.add_role(HOSTILE, candidates=("CORP\\alice",))
    review = plan(api, name=HOSTILE, roles=(HOSTILE,))
    is_quoted(dave.open(REVIEWS))
    is_quoted(dave.open(at(review)))
    is_quoted(dave.open(NEW_ONE))
    page = dave.post(NEW_ONE, {**planning(dave).fields, **TYPED, "fallback": HOSTILE, "roles": HOSTILE})
    assert page.form(NEW_ONE).fields["fallback"] == HOSTILE
    is_sound(page)
    assert "<script>alert" not in page.html
    form = dave.open(at(review)).form(f"{at(review)}/end")
    assert dave.send(form, confirm=HOSTILE).status == 200, "its name is typed as it is shown"
