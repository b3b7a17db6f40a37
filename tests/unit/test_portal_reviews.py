"""A reviewer at the browser: what is shown, what is decided, what is refused."""

from typing import Any

import pytest

from bastide.domain.reviews import Review, State, Verdict
from bastide.services.reviews.campaigns import Draft
from tests.support.admin import HOSTILE, is_quoted, is_sound
from tests.support.api import NOBODYS, ApiWorld
from tests.support.portal import Browser, facts, signed_in

pytest_plugins = ["tests.support.api"]
QUEUE = "/reviews"


def plan(api: ApiWorld, **options: Any) -> Review:
    said: dict[str, Any] = {
        "name": "Winter", "reviewer": "PRIV\\grace", "fallback": "PRIV\\heidi", "silence": Verdict.REMOVE,
        "roles": ("File administrators",), **options,
    }  # fmt: skip
    review = api.services.oversight.reviews.create(api.dave, Draft(**said))
    api.runner.run_due()
    return review


def lines(api: ApiWorld, review: Review) -> dict[str, Any]:
    return {line.person: line for line in api.services.oversight.reviews.show(api.frank, review.id)[1]}


@pytest.fixture
def grace(api: ApiWorld) -> Browser:
    return signed_in(api, "PRIV\\grace")


def test_a_page_without_reviews_says_so(api: ApiWorld, grace: Browser) -> None:
    page = grace.open(QUEUE)
    assert "Nothing is yours to review" in page.text
    is_sound(page)


def test_the_lines_show_evidence_and_what_silence_does(api: ApiWorld, grace: Browser) -> None:
    api.ask("File administrators", justification=HOSTILE)
    api.work()
    plan(api)
    page = grace.open(QUEUE)
    assert "2 of 2 lines wait for you" in page.text
    assert "Where nobody decides: remove." in page.text
    assert facts(page)["Used"].startswith(("0 times", "1 time"))
    is_quoted(page)


def test_keep_and_remove_are_decided_with_a_code_and_can_be_changed(api: ApiWorld, grace: Browser) -> None:
    review = plan(api)
    alice, bob = (f"{QUEUE}/{review.id}/{lines(api, review)[name].id}" for name in ("priv.alice", "priv.bob"))
    page = grace.send(grace.open(QUEUE).form(alice), button="verdict=keep", code=api.code("grace"))
    assert "You said keep." in page.text
    page = grace.send(page.form(bob), button="verdict=remove", reason="left the team")
    assert "You said remove." in page.text
    page = grace.send(page.form(alice), button="verdict=remove", reason="left too")
    assert "0 of 2 lines wait for you" in page.text
    api.services.oversight.reviews.close(api.dave, review.id)
    api.runner.run_due()
    assert api.services.oversight.reviews.show(api.frank, review.id)[0].state is State.CLOSED
    assert "Nothing is yours to review" in grace.open(QUEUE).text


def test_without_a_code_or_a_reason_nothing_is_decided(api: ApiWorld, grace: Browser) -> None:
    review = plan(api)
    address = f"{QUEUE}/{review.id}/{lines(api, review)['priv.alice'].id}"
    page = grace.open(QUEUE)
    refused = grace.post(address, {**page.form(address).fields, "verdict": "keep", "code": ""})
    assert refused.status == 403
    is_sound(refused)
    refused = grace.send(page.form(address), button="verdict=remove", code=api.code("grace"))
    assert "taking away needs a reason" in refused.text
    assert grace.post(address, {**page.form(address).fields, "verdict": "maybe"}).status == 422
    assert lines(api, review)["priv.alice"].decision is None


def test_what_is_not_ones_own_is_not_shown_and_not_decided(api: ApiWorld, grace: Browser) -> None:
    review = plan(api)
    heidi = signed_in(api, "PRIV\\heidi")
    assert "Nothing is yours to review" in heidi.open(QUEUE).text
    address = f"{QUEUE}/{review.id}/{lines(api, review)['priv.alice'].id}"
    stolen = {**grace.open(QUEUE).form(address).fields, "verdict": "keep"}
    assert heidi.post(address, stolen).status == 403, "another session's token"
    own = grace.open(QUEUE).form(address).fields
    assert grace.post(f"{QUEUE}/{review.id}/{NOBODYS}", {**own, "verdict": "keep"}).status == 404
    assert lines(api, review)["priv.alice"].decision is None


def test_many_lines_come_in_turns(api: ApiWorld, grace: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bastide.portal.reviews.MOST", 1)
    review = plan(api)
    page = grace.open(QUEUE)
    assert "The first 1 are shown" in page.text
    shown = {name for name, line in lines(api, review).items() if line.id in page.html}
    assert len(shown) == 1
    (first,) = shown
    address = f"{QUEUE}/{review.id}/{lines(api, review)[first].id}"
    page = grace.send(page.form(address), button="verdict=keep", code=api.code("grace"))
    assert lines(api, review)[first].id not in page.html
