"""Streams that keep pages up to date: for whom they speak, of what, how many there are, and when they are over. One test or more for each
number of portal/live.py.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from bastide.domain.errors import Conflict, StoreBusy, StoreUnavailable
from bastide.domain.people import Actor
from bastide.domain.requests import Decision
from bastide.portal import live
from bastide.portal.live import APPROVALS, REQUESTS, Follower, Live, stamp
from bastide.services.pace import CHECKPOINT
from bastide.store.unit_of_work import SqlStore
from tests.support.api import ApiWorld
from tests.support.portal import Browser, Page, active, signed_in

pytest_plugins = ["tests.support.api"]
#: Longer than anything takes that is to come.
_PATIENCE = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.01)
    monkeypatch.setattr(live, "KEEP_ALIVE", 0.05)


@pytest.fixture
def streams(api: ApiWorld) -> Iterator[Live]:
    made = Live(api.services)
    yield made
    made.close()


def poke(api: ApiWorld) -> None:
    """As in production, where the signing of the audit follows every record."""
    with api.store.write() as uow:
        uow.work.poke(CHECKPOINT, "", api.clock.now())
        uow.commit()


class Listener:
    """Reads one stream. `said`: the events, without signs of life."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream
        self.said: list[str] = []
        self.alive = 0
        self.over = False

    async def read(self) -> None:
        async for chunk in self._stream:
            if chunk.startswith(b": "):
                self.alive += 1
            else:
                self.said.append(chunk.decode())
        self.over = True

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(_PATIENCE):
            while not true():  # noqa: ASYNC110  # what makes it true are threads
                await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(
    api: ApiWorld, streams: Live, actor: Actor, what: str, *, seen: str | None = None
) -> AsyncIterator[tuple[Listener, str]]:
    """A stream of a session of its own, with the session's token."""
    token = api.services.authn.open_session(actor)
    if seen is None:
        seen = stamp(what, live._SEEN[what](api.services, actor))
    follower = Follower(actor, token, what, seen, streams.until())
    streams.follow(follower)
    listener = Listener(streams.events(follower))
    task = asyncio.create_task(listener.read())
    await listener.until(lambda: listener.alive >= 2)
    try:
        yield listener, token
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def run(body: Any) -> None:
    asyncio.run(body())


def test_a_session_that_is_ended_ends_its_stream(api: ApiWorld, streams: Live) -> None:  # (1)
    async def body() -> None:
        async with listening(api, streams, api.alice(), REQUESTS) as (heard, token):
            api.services.authn.end_session(token)
            poke(api)
            await heard.until(lambda: heard.over)
            assert heard.said == []

    run(body)


def test_nobody_else_loses_a_stream_by_that(api: ApiWorld, streams: Live) -> None:  # (1)
    async def body() -> None:
        async with (
            listening(api, streams, api.alice(), REQUESTS) as (heard, token),
            listening(api, streams, api.dave, REQUESTS) as (other, _),
        ):
            api.services.authn.end_session(token)
            poke(api)
            await heard.until(lambda: heard.over)
            alive = other.alive
            await other.until(lambda: other.alive > alive)
            assert not other.over

    run(body)


def test_a_stream_is_over_after_five_minutes(api: ApiWorld, streams: Live) -> None:  # (1)
    async def body() -> None:
        async with listening(api, streams, api.alice(), REQUESTS) as (heard, _):
            api.clock.move(minutes=4, seconds=59)
            alive = heard.alive
            await heard.until(lambda: heard.alive > alive + 1)
            assert not heard.over
            api.clock.move(seconds=1)
            await heard.until(lambda: heard.over)

    run(body)


def test_a_session_that_was_over_before_has_no_stream(api: ApiWorld, streams: Live) -> None:  # (1)
    async def body() -> None:
        follower = Follower(api.alice(), "0" * 64, REQUESTS, "", streams.until())
        streams.follow(follower)
        heard = Listener(streams.events(follower))
        async with asyncio.timeout(_PATIENCE):
            await heard.read()
        assert (heard.said, streams._all()) == ([], ())

    run(body)


def test_it_speaks_to_whom_it_concerns_and_says_nothing_of_what(api: ApiWorld, streams: Live) -> None:  # (2)
    async def body() -> None:
        alice, bob = (
            api.alice(),
            replace(api.alice(), sid=api.services.accounts.user(api.dave, "priv.bob").corp.sid),
        )
        grace, ivan = api.sign_in("grace"), api.sign_in("ivan")
        async with (
            listening(api, streams, alice, REQUESTS) as (of_alice, _),
            listening(api, streams, bob, REQUESTS) as (of_bob, _),
            listening(api, streams, grace, APPROVALS) as (of_grace, _),
            listening(api, streams, ivan, APPROVALS) as (of_ivan, _),
        ):
            request = api.ask("Approved", justification="secret words")
            await of_grace.until(lambda: bool(of_grace.said) and bool(of_alice.said))
            api.services.requests.decide(api.sign_in("heidi", mfa=True), request.id, Decision.REJECT, "no")
            poke(api)
            await of_grace.until(lambda: len(of_grace.said) >= 2 and len(of_alice.said) >= 2)
            assert (of_bob.said, of_ivan.said) == ([], [])
            for event in of_grace.said + of_alice.said:
                lines = event.strip().splitlines()
                assert lines[1:] == ["event: news", "data: changed"]
                assert lines[0].removeprefix("id: ").isalnum()

    run(body)


def test_what_changed_before_the_stream_was_there_is_said_at_once(api: ApiWorld, streams: Live) -> None:
    async def body() -> None:
        async with listening(api, streams, api.alice(), REQUESTS, seen="old") as (heard, _):
            await heard.until(lambda: len(heard.said) == 1)

    run(body)


def test_without_a_new_record_nobody_is_looked_at(
    api: ApiWorld, streams: Live, monkeypatch: pytest.MonkeyPatch
) -> None:  # (3)
    async def body() -> None:
        async with listening(api, streams, api.alice(), REQUESTS) as (heard, _):
            poke(api)
            await heard.until(lambda: all(one.looked is not None for one in streams._all()))
            looked: list[Follower] = []
            monkeypatch.setattr(streams, "_compare", looked.append)
            reads = threading.Event()
            read = api.store.read

            def noted() -> Any:
                reads.set()
                return read()

            monkeypatch.setattr(api.store, "read", noted)

            def later(before: int) -> bool:
                return heard.alive > before + 3

            for _ in range(3):  # what woke it before may still be looked at
                reads.clear()
                await heard.until(partial(later, heard.alive))
            assert not reads.is_set(), "nothing was woken, so nothing is asked"
            poke(api)
            await heard.until(reads.is_set)
            assert looked == []

    run(body)


def test_a_database_that_is_away_ends_nothing(
    api: ApiWorld, streams: Live, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:  # (3)
    async def body() -> None:
        async with listening(api, streams, api.alice(), REQUESTS) as (heard, _):
            with monkeypatch.context() as away:

                def read(_: SqlStore) -> Any:
                    raise StoreUnavailable("the database is away")

                away.setattr(SqlStore, "read", read)
                poke(api)
                await heard.until(lambda: "not kept up to date: the database is away" in caplog.text)
            api.ask()
            await heard.until(lambda: bool(heard.said))

    run(body)


def test_a_look_that_failed_is_made_again_without_a_new_record(
    api: ApiWorld, streams: Live, monkeypatch: pytest.MonkeyPatch
) -> None:  # (3)
    """A page of the lab's that was busy said for minutes that access is being ended, which was over."""
    failing = iter([StoreBusy("the database is busy")])
    look = live._now

    def busy_once(*asked: Any) -> str:
        for error in failing:
            raise error
        return look(*asked)

    async def body() -> None:
        async with listening(api, streams, api.alice(), REQUESTS) as (heard, _):
            monkeypatch.setattr(live, "_now", busy_once)
            api.ask()
            await heard.until(lambda: bool(heard.said))
        assert next(failing, None) is None, "it did fail"

    run(body)


def test_streams_are_bounded_for_each_person_and_in_all(
    api: ApiWorld, streams: Live, monkeypatch: pytest.MonkeyPatch
) -> None:  # (4)
    monkeypatch.setattr(live, "PER_PERSON", 2)
    monkeypatch.setattr(live, "IN_ALL", 3)

    async def body() -> None:
        def follow(actor: Actor) -> None:
            streams.follow(Follower(actor, "", REQUESTS, "", streams.until()))

        follow(api.dave)
        follow(api.dave)
        with pytest.raises(Conflict):
            follow(api.dave)
        follow(api.frank)
        with pytest.raises(Conflict):
            follow(api.sign_in("grace"))
        api.clock.move(minutes=6)
        follow(api.sign_in("grace"))
        assert len(streams._all()) == 1, "who left before the answer began is forgotten"

    run(body)


def test_when_the_server_stops_all_are_over(api: ApiWorld, streams: Live) -> None:
    async def body() -> None:
        async with listening(api, streams, api.alice(), REQUESTS) as (heard, _):
            await asyncio.to_thread(streams.close)
            await heard.until(lambda: heard.over)
        with pytest.raises(Conflict):
            streams.follow(Follower(api.dave, "", REQUESTS, "", streams.until()))

    run(body)
    assert not [
        thread for thread in threading.enumerate() if thread.name == "portal-live" and thread.is_alive()
    ]


def test_a_stream_needs_a_session_and_its_right(api: ApiWorld) -> None:
    assert api.client.get("/events/requests").status_code == 401
    assert api.client.get("/events/requests").headers["www-authenticate"] == "Bastide-Session"
    assert api.corp_caller("alice").send("GET", "/events/requests").status_code == 409
    alice = signed_in(api, "CORP\\alice")
    assert alice.open("/events/approvals").status == 403
    assert alice.open("/events/nothing").status == 404


def test_over_http(api: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LIFE", timedelta(0))
    alice: Browser = signed_in(api, "CORP\\alice")
    page = alice.open("/events/requests?seen=x")
    assert page.status == 200
    headers = page.answer.headers
    assert headers["content-type"].startswith("text/event-stream")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
    assert page.html == ": here\r\n\r\n"


@pytest.mark.parametrize("what", [REQUESTS, APPROVALS])
def test_pages_name_their_stream_and_what_they_were_made_from(api: ApiWorld, what: str) -> None:
    alice = signed_in(api, "CORP\\alice")
    grace = signed_in(api, "PRIV\\grace")
    grace.send(grace.open("/approvals").form("/code"), code=api.code("grace"))
    browser, path = (alice, "/") if what == REQUESTS else (grace, "/approvals")

    def named() -> str:
        return stream_of(browser.open(path))

    before = named()
    assert before.startswith(f"/events/{what}?seen=")
    assert named() == before
    api.ask("Approved")
    assert named() != before


def test_what_changes_while_a_page_is_made_is_told_afterwards(
    api: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in the cluster: the end came while the directory was asked what the role gives. The page said that access is being ended, and for good."""
    alice = signed_in(api, "CORP\\alice")
    page = active(api, alice)
    alice.send(page.form(f"{page.answer.url.path}/close"))
    plain = api.services.requests.__class__.gives

    def gives_late(*arguments: Any) -> Any:
        api.work()
        return plain(*arguments)

    monkeypatch.setattr(api.services.requests.__class__, "gives", gives_late)
    old = alice.open(page.answer.url.path)
    assert "Is being ended" in old.text
    assert stream_of(old) != stream_of(alice.open(page.answer.url.path))


def stream_of(page: Page) -> str:
    return next(said for _, said in page.tags if said.get("id") == "stream")["hx-sse:connect"] or ""
