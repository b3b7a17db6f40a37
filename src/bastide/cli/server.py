"""The service itself: one process with the API and the workers, or the workers alone.

  (1) No core file holds a key: RLIMIT_CORE is 0 and the process is not dumpable.
  (2) TLS 1.2 at least, or no listening at all unless on loopback.
  (3) Workers start before the API answers and stop after it: what the last call planned is done here or by another node.
  (4) SIGTERM and SIGINT let calls and jobs finish; a second one does not wait.

granian's embedded server runs in this process's event loop: one process holds API and workers, where its ordinary server would put each
worker into a process of its own. Calls run in a pool of `server.threads` threads, because the directory libraries block.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bastide.cli import logs, probes
from bastide.cli.exits import Stop
from bastide.config import Config, load, secret_path
from bastide.wiring import Services
from bastide.wiring.production import build, node_name
from bastide.workers import jobs
from bastide.workers.runner import Runner

if TYPE_CHECKING:
    from granian.server.embed import Server

_log = logging.getLogger(__name__)
#: prctl(2)
_PR_SET_DUMPABLE = 4
_ENDING = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def open_services(path: Path) -> Iterator[Services]:
    """The use cases by the settings, with the database closed at the end. Raises ConfigError, BastideError."""
    services = build(load(path))
    try:
        yield services
    finally:
        close = getattr(services.store, "close", None)
        if close is not None:
            close()


def harden() -> None:
    """No core dumps, no ptrace by the same user: (1)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise Stop("the process cannot be made undumpable", remedy="it must run on Linux")


def serve(path: Path, *, with_worker: bool) -> None:
    """Answer the API until SIGTERM. Raises Stop, ConfigError, BastideError."""
    harden()
    config = load(path)
    check_tls(config)
    logs.to_stderr()
    with open_services(path) as services, _working(config, services, start=with_worker):
        _pool(config.server.threads)
        asyncio.run(_answer(config, services))


def work(path: Path) -> None:
    """Do the durable work until SIGTERM, without the API: (4).

    The signals are blocked and waited for. A handler that sets an Event can arrive while this thread holds the Event's own lock, and then
    nobody ever wakes up: seen once in a test.
    """
    harden()
    config = load(path)
    logs.to_stderr()
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    with open_services(path) as services, _working(config, services, start=True):
        _log.info("worker is up")
        signal.sigwait(_ENDING)
        for number in _ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def check_tls(config: Config) -> None:
    """(2). Raises Stop."""
    server = config.server
    if bool(server.certificate) != bool(server.key):
        raise Stop("server.certificate and server.key belong together", remedy="set both in bastide.toml")
    if not server.certificate and not probes.is_loopback(server.address):
        raise Stop(
            f"no certificate is set, and {server.address} can be reached by others",
            remedy='set server.certificate and server.key, or server.address = "127.0.0.1"',
        )


@contextlib.contextmanager
def _working(config: Config, services: Services, *, start: bool) -> Iterator[None]:
    """The job threads, around everything else: (3)."""
    if not start:
        yield
        return
    services.upkeep.plant()
    owner = f"{node_name(config)}:{os.getpid()}"
    runner = Runner(store=services.store, jobs=jobs.table(services), owner=owner, clock=services.clock)
    runner.start()
    try:
        yield
    finally:
        runner.stop()


def _pool(threads: int) -> None:
    from litestar.concurrency import set_asyncio_executor  # noqa: PLC0415  # `worker` does without it

    set_asyncio_executor(ThreadPoolExecutor(threads, thread_name_prefix="api"))


async def _answer(config: Config, services: Services) -> None:
    """Serve until a signal: (4)."""
    server = _server(config, services)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()
        server.stop()  # type: ignore[no-untyped-call]

    for number in _ENDING:
        loop.add_signal_handler(number, stop)
    _log.info("listening on %s port %s", config.server.address, config.server.port)
    await server.serve()
    if not stopping.is_set():
        raise Stop("the API ended by itself", remedy="look at the log above")


def _server(config: Config, services: Services) -> "Server":
    from granian.constants import HTTPModes, Interfaces, SSLProtocols  # noqa: PLC0415  # `worker` does without it
    from granian.log import LogLevels  # noqa: PLC0415
    from granian.server.embed import Server  # noqa: PLC0415

    from bastide.api.app import create_app  # noqa: PLC0415

    tls: dict[str, Any] = {}
    if config.server.certificate:
        tls = {
            "ssl_cert": Path(config.server.certificate),
            "ssl_key": secret_path(config.server.key),
            "ssl_protocol_min": SSLProtocols.tls12,
        }
    return Server(
        create_app(services, origins=config.http.origins),
        address=config.server.address,
        port=config.server.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.auto,
        websockets=False,
        log_level=LogLevels.error,  # below it says only that it starts, and that embedding is experimental
        log_dictconfig=logs.NOTHING_ELSE,
        **tls,
    )
