"""A steady small load of requests on several nodes: what was acknowledged, and when."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import httpx

from tests.support.failover_node import FailoverNode
from tests.support.failover_world import PAUSE, Caller
from tests.support.patience import PATIENCE

#: Seconds between two requests of one person.
EVERY = 0.15


@dataclass(slots=True)
class Load:
    """`acknowledged`, `withdrawn`: ids of requests, and when (monotonic); `failed`: calls without an acknowledgement."""

    nodes: Sequence[FailoverNode]
    role: str
    acknowledged: dict[str, float] = field(default_factory=dict)
    withdrawn: dict[str, float] = field(default_factory=dict)
    failed: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def longest_gap(self) -> float:
        """Seconds between two acknowledgements."""
        moments = sorted([*self.acknowledged.values(), *self.withdrawn.values()])
        return max(after - before for before, after in pairwise(moments))

    def since(self, moment: float) -> int:
        """How many requests were acknowledged after it."""
        return sum(at > moment for at in list(self.acknowledged.values()))

    def ask_on(self, one: Caller) -> None:
        """Ask and withdraw, again and again, at one node after the other. As a careful program does, a call without an answer is sent again, with the same key."""
        turn = 0
        while not self.stop.is_set():
            body = {"role": self.role, "justification": "load"}
            made = str(self.insist(one, "/requests", body, str(uuid.uuid4()), turn).json()["id"])
            self.acknowledged[made] = time.monotonic()
            self.insist(one, f"/requests/{made}/close", {"reason": "load"}, "", turn + 1)
            self.withdrawn[made] = time.monotonic()
            turn += 2
            self.stop.wait(EVERY)

    def insist(self, one: Caller, path: str, body: object, key: str, turn: int) -> httpx.Response:
        """Until it is acknowledged, at the next node each time. Without a key: what was withdrawn by a call whose answer was lost is a conflict."""
        good = {httpx.codes.OK, httpx.codes.CREATED, *(() if key else (httpx.codes.CONFLICT,))}
        deadline = time.monotonic() + PATIENCE
        said = ""
        while time.monotonic() < deadline:
            try:
                answer = one.call(self.nodes[turn % len(self.nodes)], "POST", path, body, key=key)
            except httpx.HTTPError as error:
                said = repr(error)
            else:
                if answer.status_code in good:
                    return answer
                said = f"{answer.status_code}: {answer.text}"
                assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, said
            self.failed += 1
            turn += 1
            time.sleep(PAUSE)
        raise AssertionError(f"no acknowledgement for {path} after {PATIENCE} s: {said}")


@contextmanager
def steady_load(nodes: Sequence[FailoverNode], callers: Sequence[Caller], role: str) -> Iterator[Load]:
    """Until the end of the block; then each of them finishes what it has begun. What went wrong in one of them fails the test (pytest sees to it)."""
    made = Load(nodes, role)
    for one in callers:
        one.token(nodes[0])
    with in_threads([partial(made.ask_on, one) for one in callers], made.stop):
        yield made


@contextmanager
def in_threads(work: Sequence[Callable[[], None]], stop: threading.Event) -> Iterator[None]:
    """Each in a thread, until the end of the block; then they are told to stop, and finish what they have begun."""
    threads = [threading.Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE * 2)
