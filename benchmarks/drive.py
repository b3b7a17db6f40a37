"""One timed phase, inside the lab. Gets its order as JSON on standard input (it holds session tokens), prints the result as JSON.

A closed loop: each of `concurrency` threads takes an account, has it activated, waits until the watcher has seen it, and takes the next.
Bastide and the bare script go through the same loop; only `Activate` differs.
"""

import http.client
import json
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import bare
from benchmarks.bare import Account
from benchmarks.watch import Watcher, until_gone

Order = Mapping[str, Any]
Activate = Callable[[Account], None]
HOUR = 3600.0
START_LIMIT = 30.0
CREATED = frozenset({201, 202})


@dataclass(slots=True)
class Loop:
    """The closed loop, and what it saw."""

    watcher: Watcher
    accounts: Iterator[Account]
    lock: threading.Lock = field(default_factory=threading.Lock)
    spans: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def work(self, activate: Activate) -> None:
        """One thread."""
        while not self.problems and (account := self._next()) is not None:
            seen = self.watcher.expect(account, member=True)
            started = time.monotonic()
            try:
                activate(account)
                answered = time.monotonic()
                span = seen() - started
            except Exception as error:  # noqa: BLE001  # a number without all of its accounts is no number: the run stops and says why
                self.problems.append(f"{type(error).__name__}: {error}")
                return
            with self.lock:
                self.spans.append(span)
                self.answers.append(answered - started)

    def _next(self) -> Account | None:
        with self.lock:
            return next(self.accounts, None)


def activate(order: Order) -> object:
    """Latencies from the call to what the controller shows, and the time for all."""
    accounts = read_accounts(order)
    concurrency = order["concurrency"]
    makers = {"bastide": bastide_activator, "bare": bare_activator}
    activators = [makers[order["who"]](order) for _ in range(concurrency)]
    with Watcher(order["controller"], order["container"], order["group"]) as watcher:
        loop = Loop(watcher, iter(accounts))
        threads = [threading.Thread(target=loop.work, args=(a,), daemon=True) for a in activators]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - started
    if loop.problems:
        raise RuntimeError(loop.problems[0])
    return {"seconds": took, "spans": loop.spans, "answers": loop.answers}


def bare_activator(order: Order) -> Activate:
    """With a connection of its own for each thread."""
    connection = bare.connect(order["controller"])
    return lambda account: bare.grant(connection, order["group"], account, time.time() + HOUR)


def bastide_activator(order: Order) -> Activate:
    """An HTTPS connection kept open for each thread; every account comes with the session of its own person."""
    context = ssl.create_default_context(cafile=order["ca"])
    connection = http.client.HTTPSConnection(order["host"], order["port"], context=context, timeout=60)
    _connect(connection)
    body = json.dumps({"role": order["role"], "justification": "benchmark"}).encode()

    def post(account: Account) -> None:
        headers = {
            "Authorization": f"Bearer {order['tokens'][account.name]}",
            "Content-Type": "application/json",
        }
        connection.request("POST", "/api/v1/requests", body, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status not in CREATED:
            raise RuntimeError(f"the API answers {answer.status}: {said[:300]!r}")

    return post


def _connect(connection: http.client.HTTPSConnection) -> None:
    """The server may still be starting."""
    deadline = time.monotonic() + START_LIMIT
    while True:
        try:
            connection.connect()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def lateness(order: Order) -> object:
    """How long after its end each single grant is seen to be gone; they end one after the other."""
    accounts = read_accounts(order)
    late: list[float] = []
    with Watcher(order["controller"], order["container"], order["group"]) as watcher:
        shift = time.time() - time.monotonic()
        for account, end in zip(accounts, order["ends"], strict=True):
            time.sleep(max(0.0, end - 0.2 - time.time()))
            late.append(watcher.expect(account, member=False)() + shift - end)
    return {"late": late}


def removal(order: Order) -> object:
    """How long after their common end the last of many grants is seen to be gone."""
    end = order["end"]
    time.sleep(max(0.0, end - 0.1 - time.time()))
    return {"seconds": until_gone(order["controller"], order["group"], read_accounts(order)) - end}


def bare_removal(order: Order) -> object:
    """The same accounts out of the same group by the bare script, which reads back itself."""
    accounts = read_accounts(order)
    connection = bare.connect(order["controller"])
    started = time.monotonic()
    bare.remove(connection, order["group"], accounts, order["batch"])
    return {"seconds": time.monotonic() - started}


def read_accounts(order: Order) -> Sequence[Account]:
    return [Account(name, dn) for name, dn in order["accounts"]]


PHASES: Mapping[str, Callable[[Order], object]] = {
    "activate": activate,
    "lateness": lateness,
    "removal": removal,
    "bare_removal": bare_removal,
}


def main() -> None:
    """The order comes by standard input, the result goes to the file it names: libraries may print."""
    order = json.load(sys.stdin)
    result = PHASES[order["phase"]](order)
    Path(order["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
