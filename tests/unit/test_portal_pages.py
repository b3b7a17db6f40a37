"""What holds for every page: headers, escaped words, tokens in forms, names for every field, errors as pages."""

import hashlib
import re
from pathlib import Path

import pytest

from bastide.domain.errors import DirectoryUnavailable
from bastide.portal import forms, pages
from bastide.portal.addresses import is_ours
from bastide.portal.visits import Visit
from tests.support.admin import by_ticket
from tests.support.api import APPROVAL, NOBODYS, ApiWorld, served
from tests.support.portal import Browser, Page, active, ask, signed_in

CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"
TYPES = {"text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml"}
STATIC = Path(pages.__file__).parent / "static"
pytest_plugins = ["tests.support.api"]


@pytest.fixture
def alice(api: ApiWorld) -> Browser:
    return signed_in(api, "CORP\\alice")


def posts(api: ApiWorld) -> list[str]:
    """Every address of the portal that takes a form in a session."""
    return [
        re.sub(r"{\w+:str}", NOBODYS, route.path)
        for route in api.client.app.routes
        if is_ours(route.path)
        for handler in getattr(route, "route_handlers", ())
        if "POST" in handler.http_methods and handler.opt["right"] is not None
        if not route.path.startswith("/desk")  # nobody here has its rights: test_portal_help_desk.py
    ]


def every_page(api: ApiWorld, alice: Browser) -> list[Page]:
    """Each template at least once, with something in it, and errors of each kind."""
    found = [
        Browser(api).open("/"),
        Browser(api).open("/signin"),
        Browser(api).sign_in("CORP\\alice", "wrong"),
    ]
    found.append(alice.open("/"))
    found.append(active(api, alice))
    found.append(alice.open(next(link for link in alice.open("/").links if link.startswith("/ask/"))))
    ask(api, alice, "Approved")
    grace = signed_in(api, "PRIV\\grace")
    found.append(grace.open("/approvals"))
    found.append(grace.send(found[-1].form("/code"), code=api.code("grace")))
    found += [alice.open("/"), alice.open("/history"), alice.open("/approvals"), alice.open("/requests/x")]
    found += [
        alice.open("/history/x"),
        alice.open("/requests"),
        alice.open("/static/x.css"),
        alice.post("/code", {}),
    ]
    return found


def of_portal(found: list[Page]) -> list[Page]:
    return [page for page in found if is_ours(page.answer.url.path)]


def test_every_page_has_the_security_headers(api: ApiWorld, alice: Browser) -> None:
    for page in of_portal(every_page(api, alice)):
        headers = page.answer.headers
        assert headers["content-security-policy"] == CSP, page.answer.url
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert headers["server"] == "bastide"


def test_no_page_holds_a_script_a_style_or_a_foreign_address(api: ApiWorld, alice: Browser) -> None:
    for page in every_page(api, alice):
        for tag, said in page.tags:
            assert tag not in {"style", "iframe", "object", "base"}, page.answer.url
            assert tag != "script" or {"src"} <= said.keys() <= {"src", "defer"}, page.answer.url
            assert not [name for name in said if name == "style" or name.startswith("on")]
            for name in ("href", "src", "action"):
                assert (said.get(name) or "/").startswith(("/", "#")), said
                assert not (said.get(name) or "").startswith("//")


def test_every_page_can_be_used_with_a_keyboard_and_a_reader(api: ApiWorld, alice: Browser) -> None:
    for page in of_portal(every_page(api, alice)):
        tags = [tag for tag, _ in page.tags]
        ids = [said["id"] for _, said in page.tags if "id" in said]
        assert tags.count("h1") == tags.count("main") == tags.count("header") == tags.count("footer") == 1
        assert page.links[0] == "#content", "the first stop leads past the navigation"
        assert ("html", {"lang": "en"}) in page.tags
        assert len(set(ids)) == len(ids), "an id is on the page once"
        labelled = {said.get("for") for tag, said in page.tags if tag == "label"}
        for tag, said in page.tags:
            if tag in {"input", "select", "textarea"} and said.get("type") != "hidden":
                assert said.get("id") in labelled, said
            for name in ("aria-describedby", "aria-labelledby"):
                assert name not in said or said[name] in ids, said
        for moment, said in re.findall(r"<time([^>]*)>([^<]*)</time>", page.html):
            assert re.fullmatch(r' datetime="\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"', moment)
            assert said.endswith(" UTC")


def test_hostile_words_stay_words() -> None:
    with served(prepared=False) as api:
        api.prepare("alice")
        api.prepare_group()
        api.corp.add_group(HOSTILE, protected=True, members=[api.share.ref.sid])
        api.corp.add_group(f"{HOSTILE} 2", members=[api.share.ref.sid])
        api.add_role(HOSTILE, candidates=("CORP\\alice",), description=HOSTILE, ticket_pattern="")
        api.add_role(f"{HOSTILE} 2", candidates=("CORP\\alice",), stages=APPROVAL)
        alice = signed_in(api, "CORP\\alice")
        home = alice.open("/")
        first, second = (link for link in home.links if link.startswith("/ask/"))
        found = [home]
        for link in (first, second):
            form = alice.open(link).form(link)
            found.append(alice.page)
            refused = alice.send(form, justification=HOSTILE, ticket=HOSTILE, start=HOSTILE)
            assert refused.status == 422
            found.append(refused)
            code = {"code": api.code("alice")} if "code" in form.fields else {}
            typed = {"justification": HOSTILE, "ticket": HOSTILE, **code}
            found.append(alice.send(form, **typed))
        api.work()
        grace = signed_in(api, "PRIV\\grace")
        queue = grace.send(grace.open("/approvals").form("/code"), code=api.code("grace"))
        form = next(form for form in queue.forms if form.action.startswith("/approvals/"))
        found.append(queue)
        grace.send(form, button="decision=reject", reason=HOSTILE)
        over = form.action.replace("/approvals", "/requests")
        found += [alice.open("/"), alice.open("/history"), alice.open(over), grace.open(over)]
        found += [
            Browser(api).sign_in(HOSTILE, "x"),
            alice.open("/requests/%3Cscript%3E"),
            alice.open("/ask/%3Cscript%3E"),
        ]
        for page in found:
            loaded = [said.get("src", "") for tag, said in page.tags if tag in {"script", "img"}]
            assert all(str(src).startswith("/static/") for src in loaded), "our own"
            assert not [said for _, said in page.tags if "onerror" in said]
            assert HOSTILE.replace("{{7*7}}", "49") not in page.text
        assert sum(HOSTILE in page.text for page in found) >= 9, "they are on the pages, as words"


def test_a_person_is_named_as_words(api: ApiWorld) -> None:
    api.corp.add_person("<b>eve</b>", password="eve-pw")
    browser = Browser(api)
    page = browser.sign_in("CORP\\<b>eve</b>", "eve-pw")
    assert page.status == 200
    assert "CORP\\<b>eve</b>" in page.text
    assert "b" not in {tag for tag, _ in page.tags}


# ---------------------------------------------------------------------------------------------------------------- forms


def test_every_form_of_a_session_carries_its_token(api: ApiWorld, alice: Browser) -> None:
    for page in every_page(api, alice):
        for form in page.forms:
            assert form.method == "post"
            if form.action != "/signin":
                assert len(form.fields[forms.CSRF_FIELD]) == 64, form.action
            assert alice.cookie not in page.html


@pytest.mark.parametrize("token", ["", "0" * 64, "é", None])
def test_no_form_is_taken_without_the_token_of_its_session(
    api: ApiWorld, alice: Browser, token: str | None
) -> None:
    grace, dave, frank = (signed_in(api, f"PRIV\\{name}") for name in ("grace", "dave", "frank"))
    grace.send(grace.open("/approvals").form("/code"), code=api.code("grace"))
    dave.send(dave.open("/admin/roles").form("/code"), code=api.code("dave"))
    frank.send(frank.open("/auditing").form("/code"), code=api.code("frank"))
    others = {"/admin": by_ticket(api, "dave"), "/auditing": by_ticket(api, "frank")}
    for one in others.values():
        one.open("/")
    addresses = posts(api)
    assert {"/signout", "/code", f"/sessions/{NOBODYS}/end", "/sessions/others/end"} < set(addresses)
    for path in addresses:
        said = {} if token is None else {forms.CSRF_FIELD: token}
        sender = {"admin": dave, "auditing": frank}.get(path.split("/")[1], grace)
        page = sender.post(
            path, {**said, "decision": "approve", "code": "123456", "reason": "x", "amount": "5"}
        )
        assert (page.status, "does not belong to your session" in page.text) == (403, True), path
    assert [one.open("/").status for one in (grace, dave, frank)] == [200] * 3, "not even signed out"


def test_a_token_is_good_in_its_own_session_only(api: ApiWorld, alice: Browser) -> None:
    of_bob = signed_in(api, "CORP\\bob").open("/").form("/signout").fields
    assert alice.post("/signout", of_bob).status == 403
    before = alice.open("/").form("/signout").fields
    alice.sign_in("CORP\\alice", "alice-corp-pw")
    assert alice.post("/signout", before).status == 403


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"form_token=%FF", "application/x-www-form-urlencoded", 400),
        (b"form_token", "application/x-www-form-urlencoded", 403),
        (b"code=1&code=2", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"f%d=1" % n for n in range(40)), "application/x-www-form-urlencoded", 400),
        (b'{"form_token":"x"}', "application/json", 403),
        (b"x", "text/plain", 415),
        (b"x", "multipart/form-data; boundary=x", 415),
        (b"code=" + b"1" * 70_000, "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_is_no_form(api: ApiWorld, alice: Browser, body: bytes, media_type: str, status: int) -> None:
    headers = {
        "Cookie": f"__Host-bastide={alice.cookie}",
        "Content-Type": media_type,
        "Origin": "https://testserver.local",
    }
    page = Page(api.client.post("/code", content=body, headers=headers))
    assert page.status == status
    assert page.answer.headers["content-type"] == "text/html; charset=utf-8"


def test_a_long_code_is_no_code(alice: Browser) -> None:
    form = alice.open("/").form("/signout")
    assert alice.post("/code", {**form.fields, "code": "1" * 65}).status == 400
    assert alice.post("/code", {**form.fields, "code": ""}).status == 422


# --------------------------------------------------------------------------------------------------------------- errors


def test_a_directory_that_is_down_is_a_page(
    api: ApiWorld, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise DirectoryUnavailable("no domain controller answered", remedy="try again in a moment")

    monkeypatch.setattr(api.services.authn.__class__, "session", down)
    page = alice.open("/")
    assert (page.status, page.answer.headers["retry-after"]) == (503, "5")
    assert "no domain controller answered" in page.text
    assert "try again in a moment" in page.text


def test_a_defect_shows_an_incident_and_nothing_else(
    api: ApiWorld, alice: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("secret words")

    monkeypatch.setattr(api.services.requests.__class__, "offers", broken)
    page = alice.open("/")
    assert page.status == 500
    assert "secret words" not in page.html
    assert re.search(r"Incident [0-9a-f]{16}", page.text)


def test_who_lacks_a_right_is_told_who_gives_it_and_not_asked_for_a_code_in_vain(api: ApiWorld) -> None:
    mallory = signed_in(api, "CORP\\mallory")
    page = mallory.open("/approvals")
    assert page.status == 403
    assert "be a member of the approvers group" in page.text
    assert [form.action for form in page.forms] == []


def test_a_visit_tells_no_log_its_token(api: ApiWorld) -> None:
    assert "beef" not in repr(Visit(api.dave, "beef", api.services))


# --------------------------------------------------------------------------------------------------------------- weight


def test_static_files_may_be_kept_for_ever(api: ApiWorld, alice: Browser) -> None:
    page = alice.open("/")
    addresses = [str(said.get("href") or said["src"]) for tag, said in page.tags if tag in {"link", "script"}]
    assert {address.removeprefix("/static/") for address in addresses} <= pages.FILES.keys()
    for address in (f"/static/{name}" for name in pages.FILES):
        answer = api.client.get(address)
        assert (answer.status_code, answer.headers["cache-control"]) == (
            200,
            "public, max-age=31536000, immutable",
        )
        assert answer.headers["content-type"] in TYPES
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "name", ["portal.css", "..%2f..%2fpages.py", "portal.0000000000000000.css", "%2e%2e/pages.py"]
)
def test_no_other_file_is_served(api: ApiWorld, name: str) -> None:
    answer = api.client.get(f"/static/{name}")
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"


def test_the_first_view_is_light(api: ApiWorld, alice: Browser) -> None:
    page = active(api, alice)
    needed = [str(said.get("href") or said["src"]) for tag, said in page.tags if tag in {"link", "script"}]
    weight = len(page.answer.content) + sum(
        len(pages.FILES[address.removeprefix("/static/")].packed) for address in needed
    )
    assert weight < 35_000, "pages go as they are, files packed"


def test_files_are_packed_for_who_takes_it_and_pages_for_nobody(api: ApiWorld, alice: Browser) -> None:
    address = next(said["href"] for tag, said in alice.open("/").tags if said.get("rel") == "stylesheet")
    packed = api.client.get(str(address), headers={"Accept-Encoding": "br, gzip"})
    plain = api.client.get(str(address), headers={"Accept-Encoding": "identity"})
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert "content-encoding" not in plain.headers
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.content == plain.content
    page = alice.open("/", **{"Accept-Encoding": "br, gzip"})
    assert "content-encoding" not in page.answer.headers, "a token beside words of others (BREACH)"


#: As npm has them (tools/vendor_htmx.py); nobody has changed them here.
VENDORED = {
    "htmx.min.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "hx-sse.min.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
}


def test_what_others_wrote_is_what_they_wrote() -> None:
    for name, digest in VENDORED.items():
        content = (STATIC / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
    assert "Zero-Clause BSD" in (STATIC / "htmx.LICENSE").read_text()
