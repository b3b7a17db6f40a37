"""Requests over kept-open TLS connections, as many at a time as there are connections. Gets its order as JSON on standard input (it holds session
tokens), writes the result as JSON to the file that it names.

Each connection sends its next request when the last is answered: a closed loop. What is sent is made before the clock runs, and of an
answer only the status and the length are read, so that the driver takes little of what it measures.
"""

import asyncio
import itertools
import json
import ssl
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import uvloop

_BODY = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One closed loop."""

    def __init__(self, calls: Iterator[bytes], until: float, status: bytes) -> None:
        self._calls = calls
        self._until = until
        self._status = status
        self._buffer = b""
        self._sent = 0.0
        self.spans: list[float] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(_BODY)
        if not found or len(body) < _length(head):
            return
        if not head.startswith(self._status):
            self._fail(f"the answer is {head[:30]!r}: {body[:300]!r}")
            return
        self.spans.append(time.monotonic() - self._sent)
        self._buffer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection broke: {exc}")

    def _send(self) -> None:
        self._sent = time.monotonic()
        call = next(self._calls, None) if self._sent < self._until else None
        if call is None:
            if not self.over.done():
                self.over.set_result(None)
            self._transport.close()
            return
        self._transport.write(call)

    def _fail(self, why: str) -> None:
        if not self.over.done():
            self.over.set_exception(RuntimeError(why))


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    raise RuntimeError(f"an answer without a length: {head!r}")


async def drive(order: Mapping[str, Any]) -> object:
    """Answers in the time, and how long each took."""
    context = ssl.create_default_context(cafile=order["ca"])
    until = time.monotonic() + order["seconds"]
    began = time.monotonic()
    made = []
    loop = asyncio.get_running_loop()
    for calls in shares(order):
        _, connection = await loop.create_connection(
            lambda calls=calls: Connection(calls, until, order["status"].encode()),  # type: ignore[misc]
            order["host"],
            order["port"],
            ssl=context,
            server_hostname=order["name"],
        )
        made.append(connection)
    await asyncio.gather(*(one.over for one in made))
    return {"seconds": time.monotonic() - began, "spans": [span for one in made for span in one.spans]}


def shares(order: Mapping[str, Any]) -> list[Iterator[bytes]]:
    """What each connection sends: its share of the tokens in turn, so many times over (0: for ever)."""
    number, turns = order["connections"], order["turns"]
    calls = [_call(order, token) for token in order["tokens"]]
    parts = [calls[first::number] or calls for first in range(number)]
    return [itertools.cycle(part) if not turns else iter(part * turns) for part in parts]


def _call(order: Mapping[str, Any], token: str) -> bytes:
    body: bytes = order["body"].encode()
    head = (
        f"{order['method']} {order['path']} HTTP/1.1\r\nHost: {order['host']}:{order['port']}\r\n"
        f"Authorization: Bearer {token}\r\nAccept: application/json\r\n"
    )
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    whole: bytes = head.encode() + b"\r\n" + body
    return whole


if __name__ == "__main__":
    _order = json.loads(sys.stdin.read())
    Path(_order["result"]).write_text(json.dumps(uvloop.run(drive(_order))), encoding="utf-8")
