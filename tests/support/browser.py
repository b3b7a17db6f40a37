"""The portal behind granian with TLS on a loopback address, and Debian's chromium in front of it."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from playwright.sync_api import Browser, sync_playwright

from bastide.cli import logs
from bastide.web import Api
from bastide_lab.targets import Pair
from tests.support.api import ApiWorld, app_over
from tests.support.certificates import issue

CHROMIUM = Path("/usr/bin/chromium")
HOST = "127.0.0.1"


@contextmanager
def chromium(*options: str) -> Iterator[Browser]:
    """With these options. Fails where there is none: a test that is left out in silence proves nothing."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing; as root: python3 tools/install.py --lab")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=options)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def online(api: ApiWorld, folder: Path) -> Iterator[str]:
    """The origin at which the world answers, as the service would."""
    pair, port = issue(folder, "portal", "localhost"), free_port()
    with serving(api, pair, port):
        yield f"https://{HOST}:{port}"


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def serving(api: ApiWorld, pair: Pair, port: int) -> Iterator[None]:
    """The service on that port of the loopback address."""
    with app_over(api.services) as app, _answering(app, pair, port):
        yield


@contextmanager
def _answering(app: Api, pair: Pair, port: int) -> Iterator[None]:
    server = Server(
        app,
        address=HOST,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.auto,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=logs.NOTHING_ELSE,
        ssl_cert=pair.certificate,
        ssl_key=pair.key,
    )
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def answer() -> None:
        ready.set()
        await server.serve()

    thread = threading.Thread(target=lambda: loop.run_until_complete(answer()), name="portal")
    thread.start()
    try:
        assert ready.wait(10)
        _wait_for(f"https://{HOST}:{port}")
        yield
    finally:
        app.hang_up()
        loop.call_soon_threadsafe(server.stop)
        thread.join(20)
        loop.close()
        assert not thread.is_alive(), "the server did not stop"


def _wait_for(origin: str) -> None:
    last: Exception | None = None
    for _ in range(100):
        try:
            httpx.get(f"{origin}/signin", verify=False, timeout=2)
        except httpx.TransportError as error:
            last = error
            threading.Event().wait(0.1)
        else:
            return
    raise AssertionError(f"nobody answers at {origin}: {last}")
