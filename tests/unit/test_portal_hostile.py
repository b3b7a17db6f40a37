"""Every page of the portal there is, where every word that others may choose is hostile; and what a journey through it leaves behind."""

import logging
import re
from collections.abc import Callable, Iterator, Sequence

import pytest

from bastide.domain.people import Forest
from bastide.domain.requests import Decision
from bastide.domain.reviews import Verdict
from bastide.portal.addresses import HEADERS, is_ours
from bastide.portal.forms import csrf_token
from bastide.services import sessions
from bastide.services.reviews.campaigns import Draft
from bastide.services.security_keys import Ballot
from tests.support.admin import HOSTILE, is_sound
from tests.support.api import APPROVAL, ApiWorld, served
from tests.support.authenticator import Authenticator
from tests.support.portal import Browser, Page
from tests.unit.test_api_secrets import database
from tests.unit.test_two_people import of_method

#: Names of groups and accounts are shorter.
SHORT = "<img src=x onerror=alert(2)>\"'"


@pytest.fixture(scope="module")
def hostile() -> Iterator[ApiWorld]:
    """Omni may do everything, and has a security key. Alice has had, has, and asks for roles with such names."""
    with served(prepared=False) as api:
        omni = api.priv.add_person("omni", display_name=HOSTILE, password="omni-priv-pw").ref.sid
        for team in ("Administrators", "Auditors", "Approvers"):
            api.services.forests[Forest.PRIV].add_members(api.teams[team].ref, [omni], None)
        api.prepare("alice", "bob")
        api.prepare_group()
        api.corp.add_group(SHORT, members=[api.share.ref.sid])
        for number, stages in enumerate(((), (), APPROVAL)):
            api.add_role(
                f"{HOSTILE} {number}", candidates=("CORP\\alice",), stages=stages, description=HOSTILE
            )
        for number in range(3):
            api.ask(f"{HOSTILE} {number}", justification=HOSTILE, ticket=HOSTILE)
        api.work()
        first, *_ = (r for r in api.services.requests.all(api.dave) if r.role_name.endswith("0"))
        api.services.requests.close(api.alice(), first.id, HOSTILE)
        api.work()
        api.services.oversight.reviews.create(
            api.dave, Draft(name=HOSTILE, fallback="PRIV\\omni", silence=Verdict.KEEP)
        )
        api.work()
        api.clock.move(minutes=1)
        actor, keys = api.sign_in("omni"), api.services.security_keys
        keys.register(actor, "s", SHORT, Authenticator().make(keys.ask_to_register(actor, "s")))
        yield api


def pages(api: ApiWorld, browser: Browser) -> Iterator[Page]:
    """All that is read, with everything there is in its place."""
    use = api.services
    places: dict[str, Sequence[str]] = {
        "request_id": [r.id for r in use.requests.all(api.dave)],
        "role_id": [role.id for role in use.roles.all(api.dave)],
        "user_id": [user.id for user in use.accounts.users(api.dave)],
        "group_id": [group.id for group in use.accounts.groups(api.dave)],
        "proposal_id": ["none"],
        "review_id": [review.id for review in use.oversight.reviews.all(api.dave)],
        "person": ["none"],
        "operation": ["none"],
    }
    for path in of_method(api, "GET"):
        if not is_ours(path) or path.startswith(("/events/", "/static/")):
            continue
        named = re.search(r"{(\w+):str}", path)
        for one in places[named[1]] if named else [""]:
            yield browser.open(re.sub(r"{\w+:str}", one, path))


def omni(api: ApiWorld) -> Browser:
    browser = Browser(api, f"omni@{api.priv.dns_name.upper()}")
    browser.open("/")
    return browser


def alices(api: ApiWorld) -> Browser:
    browser = Browser(api, f"alice@{api.corp.dns_name.upper()}")
    browser.open("/")
    return browser


@pytest.mark.parametrize("who", [omni, alices])
def test_every_page_shows_words_as_words(hostile: ApiWorld, who: Callable[[ApiWorld], Browser]) -> None:
    shown = 0
    for page in pages(hostile, who(hostile)):
        headers = page.answer.headers
        for name, value in HEADERS.items():
            assert headers[name] == value, page.answer.url
        assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
        if headers["content-type"].startswith("text/html"):
            is_sound(page)
            assert "<script>alert" not in page.html, page.answer.url
            assert "<img src=x" not in page.html, page.answer.url
        else:
            assert headers["content-disposition"].startswith("attachment; ")
        shown += HOSTILE in page.text
    assert shown >= (8 if who is omni else 4), "they are there"


def test_the_chart_of_a_hostile_role_is_a_drawing_with_words(hostile: ApiWorld) -> None:
    page = omni(hostile).open("/auditing/charts")
    drawn = page.html[page.html.index("<svg") : page.html.rindex("</svg>")]
    assert "&lt;script&gt;" in drawn
    assert {tag for tag, _ in page.tags if tag in {"script", "foreignobject", "image", "use", "a"}} <= {
        "script",
        "a",
    }


def test_a_journey_leaves_no_session_no_form_token_and_no_challenge_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """F7: not in log, audit, export or database, but where each has to be; the sealed and hashed forms are others."""
    caplog.set_level(logging.WARNING, "httpx")  # the test's own client
    caplog.set_level(logging.DEBUG)
    with served() as api:
        keys, grace = api.services.security_keys, api.sign_in("grace", mfa=True)
        keys.register(grace, "s", "key", Authenticator().make(keys.ask_to_register(grace, "s")))
        request = api.ask("Approved")
        asked = keys.ask_to_sign(grace, "s", Ballot(request.id, Decision.APPROVE))
        browser = Browser(api)
        browser.sign_in("CORP\\alice", "alice-corp-pw")
        first = browser.cookie
        browser.open(f"/requests/{request.id}")
        browser.open("/nowhere")
        browser.sign_in("CORP\\alice", "alice-corp-pw")
        secrets = [first, browser.cookie, csrf_token(first), csrf_token(browser.cookie)]
        assert api.services.sessions.is_open(browser.cookie)
        browser.post("/signout", {"form_token": csrf_token(browser.cookie)})
        export, log = api.caller("frank").get("/audit/export").text, caplog.text
        told = {"log": log, "export": export, "database": database(api)}
    for secret in secrets:
        for where, text in told.items():
            assert secret not in text, where
    for hashed in map(sessions.digest, secrets[:2]):
        assert hashed not in told["log"] + told["export"], "nor what the session is kept by"
    assert asked.id not in told["log"] + told["export"]
    assert "'/nowhere'" in told["log"], "the log is on"
