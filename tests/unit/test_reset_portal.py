"""Pages of self-service reset: the journey without JavaScript, and what each page is held to."""

import asyncio
from collections.abc import Iterator
from html import unescape
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient

from bastide.domain.reset.gates import Gate
from bastide.http.door import COOKIE as SESSION_COOKIE
from bastide.portal.reset import COOKIE
from tests.support.api import app_over, served
from tests.support.portal import Browser, Page, signed_in
from tests.support.reset_world import MAIL, NEW, NUMBER, ResetWorld, app_code
from tests.support.world import ADDRESS

GATES = (Gate.MAIL, Gate.SMS, Gate.TOTP, Gate.QUESTIONS)


class TwoCookies(Browser):
    """Keeps the cookie of a reset as well."""

    def __init__(self, api: ResetWorld, ticket: str = "") -> None:
        super().__init__(api, ticket)
        self.jar: dict[str, str] = {}
        self.last: httpx.Response

    def _ask(
        self, method: str, path: str, data: dict[str, str] | None, headers: dict[str, str]
    ) -> httpx.Response:
        held = "; ".join(f"{name}={value}" for name, value in self.jar.items() if value)
        self._api.client.cookies.clear()
        options: dict[str, Any] = {} if data is None else {"data": data}
        said = headers | ({"Cookie": held} if held else {})
        answer = self._api.client.request(method, path, headers=said, follow_redirects=False, **options)
        self._api.client.cookies.clear()
        for line in answer.headers.get_list("set-cookie"):
            self.jar |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        self.cookie = self.jar.get(SESSION_COOKIE, "")
        self.last = answer
        return answer

    def begin(self, account: str) -> Page:
        return self.send(self.open("/reset").form("/reset/start"), account=account)


@pytest.fixture
def world() -> Iterator[ResetWorld]:
    yield from _served((Gate.MAIL,))


@pytest.fixture
def all_gates() -> Iterator[ResetWorld]:
    yield from _served(GATES)


def _served(gates: tuple[Gate, ...]) -> Iterator[ResetWorld]:
    made = ResetWorld(gates)
    try:
        with app_over(made.services) as app, TestClient(app, raise_server_exceptions=False) as client:
            made.client = client
            yield made
    finally:
        made.close()


def _register(world: ResetWorld, browser: TwoCookies) -> str:
    """Through the pages; the key URI of the authenticator."""
    uri = ""
    for gate in GATES[:3]:
        page = browser.open("/reset/registration")
        form = next(form for form in page.forms if form.fields.get("gate") == gate.value)
        to = {} if gate is Gate.TOTP else {"to": MAIL if gate is Gate.MAIL else NUMBER}
        page = browser.send(form, password="nina-corp-pw", **to)
        world.deliver()
        code = world.last_code(gate) if gate is not Gate.TOTP else ""
        if gate is Gate.TOTP:
            uri = unescape(page.html.split("<code>")[1].split("</code>")[0])
            code = app_code(uri, world.clock.now())
        page = browser.send(page.form("/reset/registration/confirm"), code=code)
        assert "It is registered." in page.text
    form = page.form("/reset/registration/answers")
    typed = {"answer0": "Struppi", "answer1": "Elm Grove", "answer2": "Rue du Four", "answer3": "Ingrid M."}
    assert "You are registered" in browser.send(form, password="nina-corp-pw", **typed).text
    world.clock.move(seconds=60)
    return uri


def test_register_and_reset_by_pages_alone(all_gates: ResetWorld) -> None:
    world = all_gates
    browser = TwoCookies(world)
    browser.sign_in("CORP\\nina", "nina-corp-pw")
    uri = _register(world, browser)
    other = TwoCookies(world)
    page = other.begin("nina")
    for gate in GATES:
        world.deliver()
        form = page.form("/reset/gate")
        if gate is Gate.QUESTIONS:
            labels = [
                text for text in ("First pet?", "First school?", "Street", "Best friend") if text in page.html
            ]
            known = {
                "First pet?": "struppi",
                "First school?": "elm grove",
                "Street": "rue du four",
                "Best friend": "ingrid m",
            }
            order = sorted(labels, key=page.html.index)
            page = other.send(form, **{f"answer{n}": known[one] for n, one in enumerate(order, 1)})
        else:
            code = app_code(uri, world.clock.now()) if gate is Gate.TOTP else world.last_code(gate)
            page = other.send(form, code=code)
    assert "At least 10 characters." in page.text
    form = next(form for form in page.forms if "password" in form.fields)
    page = other.send(form, button="choice=set", password="short", again="short")
    assert page.status == 422
    assert "shorter than 10" in page.text
    form = next(form for form in page.forms if "password" in form.fields)
    page = other.send(form, button="choice=set", password=NEW, again=NEW)
    assert "on its way" in page.text
    world.deliver()
    assert other.open("/reset").text.count("done") >= 2
    assert world.password("nina", "corp") == NEW


def test_cookies_that_come_in_fields_of_their_own_are_all_read(world: ResetWorld) -> None:
    """As browsers send them with HTTP/2 (RFC 9113 8.2.3), here the cookie of a session and that of a reset."""
    world.register()
    browser = TwoCookies(world)
    browser.sign_in("CORP\\nina", "nina-corp-pw")
    browser.begin("nina")
    fields = [("Cookie", f"{name}={value}") for name, value in browser.jar.items()]
    assert len(fields) == 2

    async def ask(path: str, said: list[tuple[str, str]]) -> str:
        transport = httpx.ASGITransport(app=world.client.app)
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
            return (await client.get(path, headers=said)).text

    for said in (fields, fields[::-1]):
        assert "Step 1 of 1." in asyncio.run(ask("/reset", said))
        assert "CORP\\nina" in asyncio.run(ask("/reset/registration", said))


def test_a_registration_is_taken_away_while_a_group_of_the_settings_is_missing() -> None:
    """Nobody can say then who may reset; what is registered is the person's nevertheless."""
    world = ResetWorld(excluded=("Executives",))
    group = world.corp.add_group("Executives").ref
    world.register()
    with app_over(world.services) as app, TestClient(app, raise_server_exceptions=False) as client:
        world.client = client
        browser = TwoCookies(world)
        browser.sign_in("CORP\\nina", "nina-corp-pw")
        world.corp.remove(group)
        world.clock.move(minutes=10)  # names of groups are remembered no longer
        page = browser.open("/reset/registration")
        assert "You are registered. What it is cannot be shown now." in page.text
        assert [form.action for form in page.forms if form.action.startswith("/reset/")] == [
            "/reset/registration/remove"
        ]
        page = browser.send(page.form("/reset/registration/remove"), password="wrong")
        assert page.status == 422
        assert "the name or password is wrong" in page.text
        assert world.reset.registrations.holds(world.everyday("nina"))
        page = browser.send(page.form("/reset/registration/remove"), password="nina-corp-pw")
        assert "Nothing is registered for you any more." in page.text
        assert not world.reset.registrations.holds(world.everyday("nina"))
        assert "Take it all away" not in page.text
    world.close()


def test_unlock_and_keep(world: ResetWorld) -> None:
    world.register()
    browser = TwoCookies(world)
    page = browser.begin("nina")
    world.deliver()
    page = browser.send(page.form("/reset/gate"), code=world.last_code())
    form = next(f for f in page.forms if f.action == "/reset/choose" and "password" not in f.fields)
    page = browser.send(form, button="choice=unlock")
    assert "Unlocked" in page.text


def test_12_a_hostile_host_changes_nothing(world: ResetWorld) -> None:
    world.register()
    hostile = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "Forwarded": "host=evil.example",
    }
    answer = world.client.post(
        "/reset/start", data={"account": "nina"}, headers=hostile, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/reset")
    world.deliver()
    told = "".join(message.body for _, message in world.notifier.taken)
    assert "evil" not in told + answer.text + str(answer.headers)
    assert "http" not in world.notifier.taken[-1][1].body
    assert world.reset.settings.home == ADDRESS


def test_no_token_and_no_code_is_in_an_address(world: ResetWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.register()
    caplog.set_level(0)
    browser = TwoCookies(world)
    page = browser.begin("nina")
    world.deliver()
    code = world.last_code()
    browser.send(page.form("/reset/gate"), code=code)
    assert browser.last.headers.get("location", "/reset") == "/reset"
    for secret in (browser.jar[COOKIE], code):
        assert secret not in caplog.text
        assert secret not in browser.page.html


def test_22_the_page_is_strict(world: ResetWorld) -> None:
    answer = world.client.get("/reset")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    begun = world.client.post("/reset/start", data={"account": "nina"}, follow_redirects=False)
    cookie = begun.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "secure", "samesite=strict", "path=/"))
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("step", ["gate", "choose", "send", "leave"])
def test_14_each_step_fetched_by_itself_is_refused(world: ResetWorld, step: str) -> None:
    fields = {"gate": "mail", "code": "x", "choice": "set", "password": NEW, "again": NEW}
    answer = world.client.post(f"/reset/{step}", data=fields)
    assert answer.status_code in {403, 409}
    world.register()
    browser = TwoCookies(world)
    page = browser.begin("nina")
    token = page.form("/reset/leave").fields["form_token"]
    if step == "choose":
        page = browser.post("/reset/choose", {**fields, "form_token": token})
        assert page.status == 409
        assert world.password("nina") == ""
    if step == "gate":
        page = browser.post("/reset/gate", {**fields, "gate": "totp", "form_token": token})
        assert page.status == 409
    assert browser.post(f"/reset/{step}", {**fields, "form_token": "0" * 64}).status == 403


def test_14_a_client_says_nothing_about_who_or_where_to(world: ResetWorld) -> None:
    world.register()
    browser = TwoCookies(world)
    page = browser.begin("nina")
    world.deliver()
    more = {
        "account": "olaf",
        "person": "S-1-5-21-1-2-3-500",
        "to": "me@evil.example",
        "mail": "me@evil.example",
        "passed": "1",
    }
    form = page.form("/reset/gate")
    browser.post("/reset/gate", {**form.fields, "code": world.last_code(), **more})
    world.finish(browser.jar[COOKIE])
    assert world.password("nina") == NEW
    assert world.password("olaf") == ""
    assert not any("evil" in message.to for _, message in world.notifier.taken)


@pytest.mark.parametrize("name", ["zoe", "olaf", "petra", "quinn"])
def test_15_the_same_answer_for_everybody(world: ResetWorld, name: str) -> None:
    world.register()
    seen = []
    for account in ("nina", name):
        browser = TwoCookies(world)
        steps = []
        page = browser.begin(account)
        world.deliver()
        steps.append(page)
        steps.append(browser.send(page.form("/reset/send")))
        for _ in range(4):
            page = browser.open("/reset")
            steps.append(browser.send(page.form("/reset/gate"), code="2222-2222"))
        steps.append(browser.open("/reset"))
        seen.append([(one.status, _plain(one), sorted(_headers(one))) for one in steps])
    assert seen[0] == seen[1]


def _plain(page: Page) -> str:
    """Without what is made by chance."""
    token = next((form.fields["form_token"] for form in page.forms if "form_token" in form.fields), "-")
    return page.html.replace(token, "")


def _headers(page: Page) -> list[tuple[str, str]]:
    return [(name, value) for name, value in page.answer.headers.items() if name != "set-cookie"]


def test_23_a_hostile_display_name_stays_text(world: ResetWorld) -> None:
    ref = world.add_everyday("tess")
    found = next(
        a for a in next(iter(world.corp.reachable().values())).accounts() if a.person.ref.sid == ref.sid
    )
    fields = {name: getattr(found.person, name) for name in type(found.person).__slots__}
    hostile = type(found.person)(**fields | {"display_name": "<script>alert(1)</script>"})
    world.corp.change(
        type(found)(**{n: getattr(found, n) for n in type(found).__slots__} | {"person": hostile}), None
    )
    world.register("tess")
    page = signed_in(world, "PRIV\\dave").open("/admin/reset")
    assert page.status == 200
    assert "<script>alert" not in page.html


def test_administrators_see_and_unlock_and_auditors_see(world: ResetWorld) -> None:
    world.register()
    browser = TwoCookies(world)
    browser.begin("nina")
    for _ in range(4):
        browser.post(
            "/reset/gate",
            {"gate": "mail", "code": "x", "form_token": browser.page.forms[0].fields["form_token"]},
        )
    dave = Browser(world, "dave@PRIV.BASTIDE.TEST")
    page = dave.open("/admin/reset")
    assert "at one address" in page.text
    page = dave.send(page.form("/admin/reset/unlock"))
    assert "Unlocked" in page.text
    assert "Nobody is locked." in page.text
    frank = Browser(world, "frank@PRIV.BASTIDE.TEST")
    page = frank.open("/admin/reset")
    assert page.status == 200
    assert not [form for form in page.forms if form.action.startswith("/admin")]
    page = dave.open("/admin/reset")
    assert "Nobody is registered." in dave.send(page.form("/admin/reset/remove")).text


def test_without_the_section_there_is_no_reset() -> None:
    with served(prepared=False) as api:
        for path in ("/reset", "/reset/stop"):
            assert api.client.get(path).status_code == 404
        assert api.client.post("/reset/start", data={"account": "nina"}).status_code == 404
        assert "/reset" not in api.client.get("/signin").text
