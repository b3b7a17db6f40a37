"""Whatever one person has, every address there is, and everybody else: nothing is told, and nothing is moved. New routes are in it by themselves."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from bastide.domain.people import Forest
from bastide.domain.proposals import Proposal
from bastide.http.door import COOKIE
from bastide.portal.forms import csrf_token
from bastide.services.ports import AuditQuery
from tests.support import build
from tests.support.api import ApiWorld, Caller, served
from tests.support.authenticator import Authenticator
from tests.support.portal import ORIGIN, Browser, ask, signed_in
from tests.support.world import START

#: In words of Alice's own, of her role without approval and of the one with.
SECRET, SHARED = "ALICE-ALONE", "ALICE-AND-APPROVERS"
GRAPH = "/v1.0/roleManagement/directory"


@dataclass
class Alices:
    """What is hers, by what it is called in an address."""

    ids: tuple[str, ...]
    request: str
    pending: str
    key: str
    session: str
    role: str


@pytest.fixture(scope="module")
def world() -> Iterator[tuple[ApiWorld, Alices]]:
    with served() as api:
        yield api, hers(api)


def hers(api: ApiWorld) -> Alices:
    api.add_role(f"{SECRET} role", candidates=("CORP\\alice",), description=SECRET)
    browser = signed_in(api, "CORP\\alice")
    active = ask(api, browser, f"{SECRET} role", justification=SECRET).answer.url.path.rpartition("/")[2]
    pending = ask(api, browser, "Approved", justification=SHARED).answer.url.path.rpartition("/")[2]
    api.work()
    alice, keys = api.alice(), api.services.security_keys
    mine = api.code("alice")
    proved = alice.proved(api.services.factors.prove(alice, mine))
    asked = keys.ask_to_register(proved, "session")
    key = keys.register(proved, "session", f"{SECRET} key", Authenticator().make(asked))
    (session, *_) = api.services.sessions.mine(alice)
    role = next(one for one in api.services.roles.all(api.dave) if one.name.startswith(SECRET))
    proposal = Proposal(build.uid("p"), role, None, api.dave.sid, f"{SECRET} name", api.clock.now())
    with api.store.write() as uow:
        user = uow.users.by_sid(alice.sid)
        uow.proposals.add(proposal)
        uow.commit()
    assert user is not None
    ids = (
        active,
        pending,
        key.id,
        key.name,
        session.id,
        role.id,
        role.name,
        user.id,
        user.name,
        proposal.id,
        user.priv.sid,
        user.corp.guid,
    )
    return Alices(ids, active, pending, key.id, session.id, role.id)


def everybody(api: ApiWorld) -> dict[str, Caller]:
    """Each with a ticket: who may ask, who may ask and is nobody's, who approves elsewhere, and nobody."""
    return {
        "bob": api.corp_caller("bob"),
        "mallory": api.corp_caller("mallory"),
        "ivan": api.caller("ivan"),
        "nobody": api.anonymous(),
    }


def reads(api: ApiWorld, ids: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every address that is read, with each of her ids in each place; lists also asked for her. Streams have tests of their own."""
    for path in of_method(api, "GET"):
        if path.startswith(("/events/", "/static/")):
            continue
        if "{" not in path:
            yield path, {}
            for asked in (
                {"user": "priv.alice"},
                {"person": "priv.alice"},
                {"$filter": f"principalId eq '{ids[-1]}'"},
            ):
                yield path, asked
        for one in ("principal", "approver", "createdBy") if path.endswith("{on:str}") else ids:
            if "{" in path:
                yield re.sub(r"{\w+:str}", one, path), {}


#: Nobody here has its rights: its forms are in test_portal_help_desk.py.
DESK = "/desk"
#: Forms of who is not signed in: their token is that of another cookie (test_reset_portal.py).
RESETS = {f"/reset/{step}" for step in ("start", "send", "gate", "choose", "leave", "stop")}


def of_method(api: ApiWorld, method: str) -> list[str]:
    return [
        route.path
        for route in api.client.app.routes
        if method in {one for handler in getattr(route, "route_handlers", ()) for one in handler.http_methods}
    ]


def test_nobody_reads_what_is_anothers(world: tuple[ApiWorld, Alices]) -> None:
    api, alices = world
    told: list[tuple[str, str, str]] = []
    for name, caller in everybody(api).items():
        if name == "nobody":
            continue  # the door stops them: test_api_access.py
        for path, query in reads(api, alices.ids):
            answer = caller.send("GET", path, params=query, follow_redirects=False)
            assert answer.status_code < 500, (name, path, answer.text)
            given = f"{path} {query}"
            found = [one for one in (SECRET, SHARED, *alices.ids) if one in answer.text and one not in given]
            if found:
                told.append((name, given, ", ".join(found)))
    assert not told


def test_it_would_be_seen(world: tuple[ApiWorld, Alices]) -> None:
    """Alice reads all of it herself, and an auditor what is to be audited: the words are on the pages."""
    api, alices = world
    for caller, wanted in ((api.corp_caller("alice"), 6), (api.caller("frank"), 8)):
        seen = [
            path
            for path, query in reads(api, (alices.request, alices.pending, alices.role))
            if SECRET in caller.send("GET", path, params=query).text and SECRET not in f"{path} {query}"
        ]
        assert len(set(seen)) >= wanted, seen


def test_an_approver_sees_what_waits_for_them_and_nothing_else(world: tuple[ApiWorld, Alices]) -> None:
    api, alices = world
    grace, shared = api.caller("grace"), set()
    for path, query in reads(api, alices.ids):
        answer = grace.send("GET", path, params=query)
        if SECRET in answer.text:
            assert SECRET in f"{path} {query}", path
        if SHARED in answer.text:
            shared.add(path)
    assert {"/api/v1/approvals", "/approvals", f"/requests/{alices.pending}"} <= shared
    assert not [path for path in shared if alices.request in path]


def writes(alices: Alices) -> Iterator[tuple[str, str, Any]]:
    """What moves something of hers, as a person would send it about something of their own."""
    for request in (alices.request, alices.pending):
        yield "POST", f"/api/v1/requests/{request}/close", {"reason": "x"}
        yield "POST", f"/api/v1/requests/{request}/extension", {"seconds": 600}
        yield "POST", f"/api/v1/requests/{request}/mfa", None
        yield "POST", f"/api/v1/approvals/{request}", {"decision": "approve", "reason": "x"}
        yield "POST", f"/api/v1/approvals/{request}", {"decision": "reject", "reason": "x"}
        yield "POST", f"/api/v1/approvals/{request}/challenge", {"decision": "approve"}
        yield "POST", f"/api/pamresources/pamrequests(guid'{request}')/close", None
        yield "POST", f"/api/pamresources/pamrequeststoapprove(guid'{request}')/approve", None
        yield "POST", f"/api/pamresources/pamrequeststoapprove(guid'{request}')/reject", {"Reason": "x"}
        yield "POST", f"{GRAPH}/roleAssignmentScheduleRequests/{request}/cancel", None
        for part in ("stages", "steps"):
            where = f"{GRAPH}/roleAssignmentApprovals/{request}/{part}/{request}"
            yield "PATCH", where, {"reviewResult": "Approve", "justification": "x"}
    yield "DELETE", f"/api/v1/me/keys/{alices.key}", None
    yield "DELETE", f"/api/v1/me/keys/{SECRET} key", None
    yield "DELETE", f"/api/v1/sessions/{alices.session}", None
    yield "POST", "/api/v1/requests", {"role": f"{SECRET} role", "justification": "x"}
    yield "POST", "/api/v1/requests", {"role": alices.role, "justification": "x"}
    yield "POST", "/api/v1/kill", {"request": alices.request, "reason": "x"}
    yield "DELETE", "/api/v1/factors/priv.alice", None
    yield "POST", "/api/v1/factors/invitations", {"account": "priv.alice"}


def forms(alices: Alices) -> Iterator[tuple[str, dict[str, str]]]:
    """The same, as forms of the portal."""
    for request in (alices.request, alices.pending):
        yield f"/requests/{request}/close", {"reason": "x"}
        yield f"/requests/{request}/extension", {"amount": "5", "unit": "minutes"}
        yield f"/requests/{request}/mfa", {}
        yield f"/approvals/{request}", {"decision": "approve"}
        yield f"/approvals/{request}", {"decision": "reject", "reason": "x"}
        yield f"/approvals/{request}/sign", {"reason": "x"}
    yield f"/factors/{alices.key}/remove", {}
    yield f"/factors/{SECRET} key/remove", {}
    yield f"/sessions/{alices.session}/end", {}
    yield f"/ask/{alices.role}", {"justification": "x"}
    yield f"/admin/roles/{alices.role}/remove", {"confirm": f"{SECRET} role"}
    yield (
        "/admin/kill",
        {"step": "kill", "kind": "request", "which": alices.request, "confirm": "priv.alice", "reason": "x"},
    )


def state(api: ApiWorld) -> str:
    """Of everything that is hers, and how much is asked for at all."""
    with api.store.read() as uow:
        alice = uow.users.by_sid(api.alice().sid)
        assert alice is not None
        mine = uow.requests.history(user=alice.id, limit=100, before=None)
        keys, factors = uow.factors.keys_of(alice.priv.sid), uow.factors.of(alice.priv.sid)
        sessions = [one for one in uow.factors.open_sessions(START) if one.sid == alice.corp.sid]
        told = [
            one.kind
            for one in uow.audit.read(AuditQuery(limit=0))
            if one.kind.startswith(("request.", "mfa.removed", "mfa.reset", "kill", "role."))
        ]
        return repr(
            (
                mine,
                keys,
                factors,
                len(sessions),
                uow.roles.all(),
                told,
                uow.factors.invitation(alice.priv.sid),
            )
        )


@pytest.mark.parametrize("name", ["bob", "mallory", "ivan", "nobody"])
def test_nobody_moves_what_is_anothers(world: tuple[ApiWorld, Alices], name: str) -> None:
    """With a second factor of their own on each call."""
    api, alices = world
    caller, before = everybody(api)[name], state(api)
    for method, path, body in writes(alices):
        options: dict[str, Any] = {} if body is None else {"json": body}
        answer = caller.send(method, path, code=name != "nobody", **options)
        assert 400 <= answer.status_code < 500, (method, path, answer.text)
        assert state(api) == before, (method, path, answer.text)
        assert SHARED not in answer.text


@pytest.mark.parametrize(("name", "account"), [("bob", "CORP\\bob"), ("ivan", "PRIV\\ivan")])
def test_nobody_moves_what_is_anothers_by_a_form(
    world: tuple[ApiWorld, Alices], name: str, account: str
) -> None:
    api, alices = world
    browser, before = signed_in(api, account), state(api)
    for path, fields in forms(alices):
        browser = browser if api.services.sessions.is_open(browser.cookie) else signed_in(api, account)
        said = {"form_token": csrf_token(browser.cookie), "code": api.code(name), **fields}
        page = browser.post(path, said)
        assert 400 <= page.status < 500, (path, page.text)
        assert state(api) == before, (path, page.text)
        assert SHARED not in page.text


def test_every_form_without_the_token_of_the_session_is_refused(world: tuple[ApiWorld, Alices]) -> None:
    """Every address of the portal that takes a form, whatever is in it; with the headers of a page of ours, and with those of a script."""
    api, _ = world
    taken = [
        re.sub(r"{\w+:str}", build.uid("x"), path)
        for path in of_method(api, "POST")
        if not path.startswith(("/api/", "/v1.0/", "/signin"))
        and path not in RESETS
        and not path.startswith(DESK)
    ]
    assert len(taken) > 20
    omni = api.priv.add_person("omni", password="omni-priv-pw").ref.sid
    for team in ("Administrators", "Auditors", "Approvers"):
        api.services.forests[Forest.PRIV].add_members(api.teams[team].ref, [omni], None)
    browser = Browser(api, f"omni@{api.priv.dns_name.upper()}")
    browser.open("/")
    good, other = csrf_token(browser.cookie), csrf_token(browser.cookie[::-1])
    for path in taken:
        for token in ({}, {"form_token": ""}, {"form_token": other}):
            for script in ({}, {"HX_Request": "true", "X_Requested_With": "XMLHttpRequest"}):
                page = browser.post(path, {**token, "decision": "approve", "step": "kill"}, **script)
                assert page.status == 403, (path, page.text)
                assert "this form does not belong to your session" in page.text, path
        for foreign in ("https://evil.example", "null", "http://testserver.local:81"):
            page = browser.post(path, {"form_token": good}, Origin=foreign)
            assert (page.status, "another web site" in page.text) == (403, True), (path, foreign)
        headers = {"Content-Type": "text/plain", "Cookie": f"{COOKIE}={browser.cookie}", "Origin": ORIGIN}
        assert api.client.post(path, content=f"form_token={good}", headers=headers).status_code == 415, path


def test_nothing_is_said_to_a_session_that_is_over(world: tuple[ApiWorld, Alices]) -> None:
    """Signed out, ended from a list, out of time: each page of hers is the page to sign in on, and no answer may be kept."""
    api, alices = world
    ways: dict[str, Callable[[Browser], object]] = {
        "signed out": lambda b: b.post("/signout", {"form_token": csrf_token(b.cookie)}),
        "ended": lambda _: api.services.sessions.end_others(api.alice()),
        "out of time": lambda _: api.clock.move(minutes=16),
    }
    for how, end in ways.items():
        browser = signed_in(api, "CORP\\alice")
        address = f"/requests/{alices.pending}"
        page = browser.open(address)
        assert SHARED in page.text
        assert page.answer.headers["cache-control"] == "no-store"
        cookie = browser.cookie
        end(browser)
        browser.cookie = cookie
        for path in (
            address,
            "/",
            "/history",
            "/sessions",
            "/factors",
            "/events/requests",
            "/api/pamresources/pamrequests",
        ):
            page = browser.open(path)
            assert (page.status, SHARED in page.text) == (401, False), (how, path)


def test_a_session_is_worth_what_the_directory_says_now(world: tuple[ApiWorld, Alices]) -> None:
    """Heidi leaves the approvers while her queue is open: the next page, form and stream are refused."""
    api, alices = world
    heidi = signed_in(api, "PRIV\\heidi")
    queue = heidi.send(heidi.open("/approvals").form("/code"), code=api.code("heidi"))
    form = queue.form(f"/approvals/{alices.pending}")
    before = state(api)
    priv, heidis = api.services.forests[Forest.PRIV], api.sign_in("heidi").sid
    priv.remove_members(api.teams["Approvers"].ref, [heidis])
    try:
        assert heidi.post(form.action, {**form.fields, "decision": "approve"}).status == 403
        for path in ("/approvals", "/events/approvals"):
            assert heidi.open(path).status == 403
        assert heidi.open(f"/requests/{alices.pending}").status == 404
        assert state(api) == before
    finally:
        priv.add_members(api.teams["Approvers"].ref, [heidis], None)
