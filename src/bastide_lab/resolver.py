"""The site's name server: gives each question to the controllers of its zone. Runs as a program in the switch.

usage: resolver.py ADDRESS ZONE=SERVER,SERVER...

Samba's own forwarder waits 10 s for a dead server, and libc 1 s for every name: with one PRIV controller cut off, a single
kinit took 41 s. This one asks the next server after a moment and then stays with whoever answered. A name in no zone does
not exist, which also ends the loops of servers that forward to each other.
"""

import asyncio
import sys
from typing import cast

PORT = 53
HEADER = 12  # RFC 1035 4.1.1: six 16-bit words
QUESTION_CLASS_AND_TYPE = 4
# RFC 1035: QR, RD, RA and RCODE 3 (name error); one question and nothing else. The id goes before it.
NO_SUCH_NAME = bytes.fromhex("8183 0001 0000 0000 0000")
# How long each round waits for one server, in seconds.
ROUNDS = (0.3, 1.0, 2.0)

Zones = dict[str, list[str]]
Address = tuple[str, int]


def question(message: bytes) -> tuple[str, int]:
    """The name asked for, in lower case, and where its section ends."""
    labels = []
    at = HEADER
    while length := message[at]:
        labels.append(message[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    return ".".join(labels), at + 1 + QUESTION_CLASS_AND_TYPE


class Once(asyncio.DatagramProtocol):
    """One question to one server."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _addr: object) -> None:
        if not self.answer.done():
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


async def ask_udp(server: str, message: bytes) -> bytes:
    transport, once = await asyncio.get_running_loop().create_datagram_endpoint(
        Once, remote_addr=(server, PORT)
    )
    try:
        transport.sendto(message)
        return await once.answer
    finally:
        transport.close()


async def ask_tcp(server: str, message: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server, PORT)
    try:
        writer.write(len(message).to_bytes(2, "big") + message)
        return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    finally:
        writer.close()


class Resolver(asyncio.DatagramProtocol):
    def __init__(self, zones: Zones) -> None:
        self.zones = zones
        self.answering: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        task = asyncio.create_task(self._reply(data, addr))
        self.answering.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self.answering.discard)

    async def _reply(self, message: bytes, addr: Address) -> None:
        if answer := await self.resolve(message, over_tcp=False):
            self.transport.sendto(answer, addr)

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            message = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            if answer := await self.resolve(message, over_tcp=True):
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (OSError, EOFError):
            pass  # the client has gone
        finally:
            writer.close()

    async def resolve(self, message: bytes, *, over_tcp: bool) -> bytes | None:
        """The answer of the first server that gives one; None, silence, if none does."""
        try:
            name, end = question(message)
        except IndexError:
            return None
        zone = next((zone for zone in self.zones if f".{name}".endswith(f".{zone}")), None)
        if zone is None:
            return message[:2] + NO_SUCH_NAME + message[HEADER:end]
        ask = ask_tcp if over_tcp else ask_udp
        for patience in ROUNDS:
            for server in list(self.zones[zone]):
                try:
                    answer = await asyncio.wait_for(ask(server, message), patience)
                except (OSError, EOFError, TimeoutError):
                    continue
                self._prefer(zone, server)
                return answer
        return None

    def _prefer(self, zone: str, server: str) -> None:
        """Whoever answered is asked first from now on."""
        self.zones[zone].sort(key=lambda other: other != server)


async def serve(address: str, zones: Zones) -> None:
    loop = asyncio.get_running_loop()
    resolver = Resolver(zones)
    await loop.create_datagram_endpoint(lambda: resolver, local_addr=(address, PORT))
    async with await asyncio.start_server(resolver.serve_tcp, address, PORT) as server:
        await server.serve_forever()


def main(address: str, *zones: str) -> None:
    parsed = {zone: servers.split(",") for zone, _, servers in (text.partition("=") for text in zones)}
    asyncio.run(serve(address, parsed))


if __name__ == "__main__":
    main(*sys.argv[1:])
