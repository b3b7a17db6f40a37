"""Pages that are kept up to date without a reload: Server-Sent Events that say "something changed", and nothing of what.

(1) A stream belongs to a session, and is over with it: signed out, ended from a list, or out of time. It lives five minutes at most; the
    browser then comes back through the door, so that rights are looked at anew.
(2) It speaks when what its person may see has changed, and for nobody else's sake. What has changed, the page asks for itself, as ever.
(3) The database is not asked again and again: a thread sleeps until something is woken, as the workers do, and looks only if there is a new
    record in the audit. Nothing that a page shows changes without one.
(4) Streams are bounded, for each person and for the node.

A page says what it was made from (`seen`), so that nothing is lost between the making and the stream.
"""

import asyncio
import hashlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from litestar import Request as Call
from litestar import get
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation
from litestar.response import ServerSentEventMessage, Stream

from bastide.domain.errors import BastideError, Conflict
from bastide.domain.ids import parse_id
from bastide.domain.people import Actor, Right
from bastide.domain.requests import Request
from bastide.http.door import needs, session_of
from bastide.http.handed import Caller
from bastide.services.passwords.person import Ordered
from bastide.wiring import Services

_log = logging.getLogger(__name__)
REQUESTS, APPROVALS = "requests", "approvals"
PER_PERSON, IN_ALL = 12, 500
LIFE = timedelta(minutes=5)
#: Shorter than what proxies on the way take for a dead connection.
KEEP_ALIVE = 20.0
#: What happens together is told together.
PAUSE = 0.3
#: Seconds until the next look, where one failed: what changed is still to be told.
AGAIN = 1.0
_STAMP_LENGTH = 16
#: X-Accel-Buffering: nginx would keep the events until it has a bufferful.
_HEADERS = {"X-Accel-Buffering": "no"}

#: In front of the id of an order of the help desk.
ORDER = "order "

_Look = Callable[[Services, Actor], tuple[Request, ...]]
_SEEN: Mapping[str, _Look] = {
    REQUESTS: lambda services, actor: services.requests.current(actor),
    APPROVALS: lambda services, actor: services.requests.to_approve(actor),
}


def stamp(what: str, found: tuple[Request, ...]) -> str:
    """What a page was made from, as a word that changes with it."""
    return _stamped(what, repr([(request.id, request.version) for request in found]))


def stamp_of_order(found: Ordered) -> str:
    """The same for what was set or changed."""
    told = [(one.account, one.state.value, one.attempts) for one in found.outcomes]
    return _stamped(ORDER + found.id, repr(told))


def _now(services: Services, actor: Actor, what: str) -> str:
    if not what.startswith(ORDER):
        return stamp(what, _SEEN[what](services, actor))
    if services.help_desk is None:
        raise Conflict("this server has no help desk")
    return stamp_of_order(services.help_desk.operation(actor, what.removeprefix(ORDER)))


def _stamped(what: str, told: str) -> str:
    return hashlib.sha256(f"{what} {told}".encode()).hexdigest()[:_STAMP_LENGTH]


class Follower:
    """One stream, on the side of the thread that looks."""

    def __init__(self, actor: Actor, token: str, what: str, seen: str, until: datetime) -> None:
        self.actor = actor
        self.token = token
        self.what = what
        self.seen = seen
        self.until = until
        #: The end of the audit at the last look on its behalf.
        self.looked: tuple[int, str] | None = None
        self.over = False
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()

    def tell(self, seen: str) -> None:
        """From any thread."""
        self.seen = seen
        self._wake()

    def end(self) -> None:
        """From any thread."""
        self.over = True
        self._wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the server stopped meanwhile: its loop is closed
            self._loop.call_soon_threadsafe(self._told.set)

    async def told(self) -> bool:
        """Whether there is something to say, before it is time to show that the stream is alive."""
        try:
            async with asyncio.timeout(KEEP_ALIVE):
                await self._told.wait()
        except TimeoutError:
            return False
        self._told.clear()
        return True


class Live:
    """All streams of a node."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._followers: set[Follower] = set()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def follow(self, follower: Follower) -> None:
        """(4). Raises Conflict."""
        now = self._services.clock.now()
        with self._lock:
            # A caller that went before the answer began never leaves.
            self._followers = {one for one in self._followers if one.until > now}
            mine = sum(one.actor.sid == follower.actor.sid for one in self._followers)
            if mine >= PER_PERSON or len(self._followers) >= IN_ALL or self._stop.is_set():
                raise Conflict(
                    "no more pages are kept up to date", remedy="close some of them, or load the page again"
                )
            self._followers.add(follower)
        self._listen()

    def until(self) -> datetime:
        """When a stream that begins now is over at the latest."""
        return self._services.clock.now() + LIFE

    def leave(self, follower: Follower) -> None:
        """It is over."""
        with self._lock:
            self._followers.discard(follower)

    def end(self) -> None:
        """Let all streams end, and take no more. Waits for none of them."""
        self._stop.set()
        for follower in self._all():
            follower.end()
        self._services.store.wake()

    def close(self) -> None:
        """End all streams, and the thread."""
        self.end()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    async def events(self, follower: Follower) -> AsyncIterator[bytes]:
        """What a stream says: at once if the page is old by now, then as things change."""
        try:
            clock = self._services.clock
            yield ServerSentEventMessage(data=None, comment="here").encode()
            await sync_to_thread(self._compare, follower)
            while not follower.over and clock.now() < follower.until:
                if not await follower.told():
                    yield ServerSentEventMessage(data=None, comment="still here").encode()
                elif not follower.over:
                    yield ServerSentEventMessage(data="changed", event="news", id=follower.seen).encode()
        finally:
            self.leave(follower)

    def _all(self) -> tuple[Follower, ...]:
        with self._lock:
            return tuple(self._followers)

    def _listen(self) -> None:
        """Returns when no change can be missed any more."""
        listening = threading.Event()
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(
                target=self._watch, args=(listening,), name="portal-live", daemon=True
            )
            self._thread.start()
        listening.wait()

    def _watch(self, listening: threading.Event) -> None:
        """(3)"""
        store = self._services.store
        store.wait(0)
        listening.set()
        problem = ""
        while not self._stop.is_set():
            store.wait(AGAIN if problem else None)
            self._stop.wait(PAUSE)
            before, problem = problem, self._look()
            if problem and problem != before:
                _log.warning("pages are not kept up to date: %s", problem)

    def _look(self) -> str:
        """What went wrong, of the first whose look failed: it is made again, and only theirs. Empty: nothing did."""
        followers = self._all()
        if not followers or self._stop.is_set():
            return ""
        try:
            with self._services.store.read() as uow:
                head = uow.audit.head()
        except BastideError as error:
            return error.message
        late = [one for one in followers if one.looked != head]
        return next(filter(None, [self._problem_with(one, head) for one in late]), "")

    def _problem_with(self, follower: Follower, head: tuple[int, str]) -> str:
        try:
            self._compare(follower)
        except BastideError as error:
            return error.message
        follower.looked = head
        return ""

    def _compare(self, follower: Follower) -> None:
        """(1), (2)"""
        if not self._services.sessions.is_open(follower.token):
            follower.end()
            return
        now = _now(self._services, follower.actor, follower.what)
        if now != follower.seen:
            follower.tell(now)


LiveStreams = NamedDependency[SkipValidation[Live]]


@get("/events/requests", opt=needs(Right.USE, cookie=True))
async def of_requests(request: Call[Any, Any, Any], actor: Caller, live: LiveStreams) -> Stream:
    """Says when one's own requests changed."""
    return await _stream(request, actor, live, REQUESTS)


@get("/events/approvals", opt=needs(Right.APPROVE, cookie=True))
async def of_approvals(request: Call[Any, Any, Any], actor: Caller, live: LiveStreams) -> Stream:
    """Says when what waits for one's decision changed."""
    return await _stream(request, actor, live, APPROVALS)


@get("/events/orders/{order:str}", opt=needs(Right.BROWSE, cookie=True))
async def of_order(
    request: Call[Any, Any, Any], order: FromPath[str], actor: Caller, live: LiveStreams
) -> Stream:
    """Says when what the help desk set or changed got further."""
    return await _stream(request, actor, live, ORDER + parse_id("order", order))


async def _stream(request: Call[Any, Any, Any], actor: Actor, live: Live, what: str) -> Stream:
    token = session_of(request)
    if not token:
        raise Conflict("this call has no session", remedy="open the page anew")
    seen = request.headers.get("last-event-id", "") or request.query_params.get("seen", "")
    follower = Follower(actor, token, what, seen, live.until())
    await sync_to_thread(live.follow, follower)
    return Stream(live.events(follower), media_type="text/event-stream", headers=_HEADERS)


HANDLERS = [of_requests, of_approvals, of_order]
