"""Pages of the security key of a reset: registered and shown as a browser does it, and what they tell of somebody who does not exist."""

import asyncio
import json
import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient

from bastide.domain.errors import InvalidInput, TooManyTries
from bastide.domain.reset import lockout
from bastide.domain.reset.gates import Gate
from bastide.portal.reset import COOKIE
from bastide.services.security_keys import Asked
from tests.support.api import app_over
from tests.support.authenticator import Authenticator
from tests.support.portal import Page
from tests.support.reset_world import ELSEWHERE, NEW, ResetWorld
from tests.support.world import ADDRESS
from tests.unit.test_reset_portal import TwoCookies

#: Of a person and of nobody: so many answers each. Twenty wrong ones lock a name.
SAMPLES = 15
NAMES = ("nina", "zoe", "petra", "olaf", "quinn")


@pytest.fixture
def world() -> Iterator[ResetWorld]:
    made = ResetWorld((Gate.KEY,))
    try:
        with app_over(made.services) as app, TestClient(app, raise_server_exceptions=False) as client:
            made.client = client
            yield made
    finally:
        made.close()


def asked(page: Page) -> Asked:
    """What webauthn.js reads."""
    (said,) = [attrs["data-key"] for _, attrs in page.tags if "data-key" in attrs]
    return Asked("", said or "")


def used(page: Page, device: Authenticator, **wrong: Any) -> str:
    """What webauthn.js puts into the form."""
    return json.dumps(device.use(asked(page), **wrong).credential)


def test_register_and_reset_by_pages(world: ResetWorld) -> None:
    browser, device = TwoCookies(world), Authenticator()
    browser.sign_in("CORP\\nina", "nina-corp-pw")
    page = browser.open("/reset/registration")
    assert "Not everything is registered yet" in page.text
    page = browser.send(page.form("/reset/registration/begin"), to="blue key", password="nina-corp-pw")
    said = json.dumps(device.make(asked(page)).credential)
    page = browser.send(page.form("/reset/registration/confirm"), credential=said)
    assert "You are registered" in page.text
    assert "Remove blue key" in page.text

    other = TwoCookies(world)
    page = other.begin("nina")
    page = other.send(page.form("/reset/gate"), credential=used(page, device))
    form = next(form for form in page.forms if "password" in form.fields)
    other.send(form, button="choice=set", password=NEW, again=NEW)
    world.deliver()
    assert world.password("nina", "corp") == NEW


def test_a_key_is_removed_by_pages(world: ResetWorld) -> None:
    world.register()
    browser = TwoCookies(world)
    browser.sign_in("CORP\\nina", "nina-corp-pw")
    page = browser.open("/reset/registration")
    page = browser.send(page.form("/reset/registration/key/remove"), password="wrong")
    assert page.status == 422
    page = browser.send(page.form("/reset/registration/key/remove"), password="nina-corp-pw")
    assert "The security key is removed." in page.text
    assert "Not everything is registered yet" in page.text


def test_a_registration_that_was_refused_begins_anew(world: ResetWorld) -> None:
    browser = TwoCookies(world)
    browser.sign_in("CORP\\nina", "nina-corp-pw")
    page = browser.open("/reset/registration")
    form = page.form("/reset/registration/begin")
    page = browser.post(form.action, {**form.fields, "to": "", "password": "nina-corp-pw"})
    assert page.status == 422
    page = browser.send(page.form("/reset/registration/begin"), to="blue key", password="nina-corp-pw")
    said = json.dumps(Authenticator().make(asked(page), origin="https://evil.example").credential)
    page = browser.send(page.form("/reset/registration/confirm"), credential=said)
    assert page.status == 422
    assert "not accepted" in page.text
    assert page.form("/reset/registration/begin").fields["gate"] == "key"


def test_without_javascript_the_page_says_so_and_nothing_is_counted(world: ResetWorld) -> None:
    world.register()
    browser = TwoCookies(world)
    page = browser.begin("nina")
    assert "needs JavaScript" in page.text
    for _ in range(5):
        page = browser.send(page.form("/reset/gate"))
        assert page.status == 422
        assert "JavaScript" in page.text
    page = browser.send(page.form("/reset/gate"), credential=used(page, world.device))
    assert "You passed all gates" in page.text


@pytest.mark.parametrize("said", ["{", "[]", "7", '"x"', "[" * 20_000])
def test_what_cannot_be_read_is_refused_and_asks_nobody(world: ResetWorld, said: str) -> None:
    world.register()
    for name in ("nina", "zoe"):
        browser = TwoCookies(world)
        page = browser.begin(name)
        before = world.row(browser.jar[COOKIE])
        assert browser.send(page.form("/reset/gate"), credential=said).status == 400
        assert world.row(browser.jar[COOKIE]) == before


def test_14_the_step_of_a_key_is_refused_where_another_is_next() -> None:
    world = ResetWorld((Gate.MAIL, Gate.KEY))
    world.register()
    with app_over(world.services) as app, TestClient(app, raise_server_exceptions=False) as client:
        world.client = client
        browser = TwoCookies(world)
        page = browser.begin("nina")
        said = json.dumps(world.device.use(Asked("", '{"challenge": "AAAA"}')).credential)
        fields = {**page.form("/reset/gate").fields, "gate": "key", "credential": said, "code": "x"}
        assert browser.post("/reset/gate", fields).status == 409
        assert world.row(browser.jar[COOKIE]).passed == 0
    world.close()


@pytest.mark.parametrize("name", NAMES[1:])
def test_15_the_same_answer_for_everybody_at_a_security_key(world: ResetWorld, name: str) -> None:
    """With an answer of the right key for another question, one of a key that nobody registered, and no answer at all."""
    world.register()
    world.register_key(called="spare")
    seen = []
    for account in ("nina", name):
        browser, stranger = TwoCookies(world), Authenticator()
        page = browser.begin(account)
        steps = [page]
        for credential in (used(page, world.device, challenge="AAAA"), used(page, stranger), "", "{}", "{}"):
            page = browser.open("/reset")
            steps += [page, browser.send(page.form("/reset/gate"), credential=credential)]
        seen.append([(one.status, _plain(one), sorted(_headers(one)), len(one.html)) for one in steps])
    assert seen[0] == seen[1]
    assert {step[0] for step in seen[0]} == {200, 422, 429}


def _plain(page: Page) -> str:
    """Without what is made by chance."""
    html = page.html.replace(page.form("/reset/leave").fields["form_token"], "")
    for _, attrs in page.tags:
        if "data-key" in attrs:
            html = html.replace(json.loads(attrs["data-key"] or "")["challenge"], "")
    return html


def _headers(page: Page) -> list[tuple[str, str]]:
    return [(name, value) for name, value in page.answer.headers.items() if name != "set-cookie"]


async def _one_answer(app: Any, address: str, name: str, device: Authenticator) -> tuple[int, int, float]:
    """Of a key whose signature is wrong: for Nina it is the registered one."""
    transport = httpx.ASGITransport(app=app, client=(address, 40000))
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
        begun = await client.post("/reset/start", data={"account": name})
        client.cookies.set(COOKIE, begun.cookies[COOKIE])
        page = Page(await client.get("/reset"))
        fields = {**page.form("/reset/gate").fields, "credential": used(page, device, signature=b"nonsense")}
        began = time.perf_counter()
        answer = await client.post("/reset/gate", data=fields)
        return answer.status_code, len(answer.content), time.perf_counter() - began


def test_15_answers_to_keys_of_known_unknown_disabled_and_unregistered_people_are_alike() -> None:
    """As test_15 of test_reset_attacked.py, at the gate itself."""
    world = ResetWorld((Gate.KEY,), pace=timedelta(milliseconds=25))
    world.services.clock.monotonic = time.monotonic  # type: ignore[method-assign]
    world.register()
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    seen = set()
    with app_over(world.services) as app:
        for turn in range(SAMPLES):
            for name in NAMES:  # in turns: a load that comes and goes is the same for all
                host = f"2001:db8:{turn:x}:{NAMES.index(name):x}::1"
                status, length, took = asyncio.run(_one_answer(app, host, name, world.device))
                seen.add((status, length))
                times[name].append(took)
    world.close()
    assert len(seen) == 1
    own = times["nina"]
    spread = statistics.quantiles(own, n=4)
    for name in NAMES[1:]:
        apart = abs(statistics.median(times[name]) - statistics.median(own))
        assert apart <= max(spread[2] - spread[0], 0.02), (name, apart)


def test_16_answers_of_keys_have_the_limits_of_all_others(world: ResetWorld) -> None:
    world.register()
    stranger, judged = Authenticator(), 0
    for number in range(30):
        address = f"192.0.2.{number}"
        try:
            token = world.begin("nina", address)
            world.show(token, stranger.use(world.asked(token)), address)
        except InvalidInput:
            judged += 1
        except TooManyTries:
            break
    assert judged == lockout.NAME.most
    with pytest.raises(TooManyTries):
        world.begin("nina", ELSEWHERE)
