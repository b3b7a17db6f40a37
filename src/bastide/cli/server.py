"""The service itself: one process with the API and the workers, or the workers alone.

  (1) No core file holds a key: RLIMIT_CORE is 0 and the process is not dumpable.
  (2) TLS 1.2 at least, or no listening at all unless on loopback.
  (3) Workers start before the API answers and stop after it: what the last call planned is done here or by another node.
  (4) SIGTERM and SIGINT let calls and jobs finish; a second one does not wait.

granian's embedded server runs in this process's event loop: one process holds API and workers, where its ordinary server would put each
worker into a process of its own. The loop is uvloop's: asyncio's own took a sixth of the CPU of a request (measured). Calls run in a pool of `server.threads` threads, because the directory libraries block.
"""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from bastide.cli import logs
from bastide.cli.exits import Stop
from bastide.cli.hardening import harden
from bastide.config import Config, load, secret_path
from bastide.domain.errors import BastideError
from bastide.domain.nodes import owner
from bastide.intake.server import Intake
from bastide.places import is_loopback
from bastide.receiver.conversation import Host
from bastide.receiver.server import Receiver
from bastide.wiring import Services
from bastide.wiring.intake import intake_tls
from bastide.wiring.master_key import check_master_key, sealed_values
from bastide.wiring.process import node_name
from bastide.wiring.production import build
from bastide.workers import jobs
from bastide.workers.heartbeat import Heartbeat
from bastide.workers.runner import Runner
from bastide.workers.watcher import Watcher

if TYPE_CHECKING:
    from granian.server.embed import Server

_log = logging.getLogger(__name__)
#: mallopt(3)
_M_ARENA_MAX = -8
_ARENAS = 2
#: Objects that come and stay before the interpreter looks for cycles among them; its own number is 700.
_YOUNG = 10_000
#: An agent may be silent for a day (the longest keep-alive interval); whether it is still there, TCP asks.
_PATIENCE = 90_000.0
_ENDING = (signal.SIGTERM, signal.SIGINT)
_TOLD = "told to stop; what is under way is finished first"


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


def share_arenas() -> None:
    """Before the first thread. Else glibc gives the dozens of threads an arena each, and each keeps what it once needed. musl has none."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


def collect_seldom() -> None:
    """A batch of a thousand rows is tens of thousands of objects that live until its commit, and none is in a cycle: to look through them again and again cost a
    sixth of the CPU (measured).
    """
    gc.set_threshold(_YOUNG)


def return_memory() -> None:
    """What a burst of work needed goes back to the system. musl does so by itself."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def serve(path: Path, *, with_worker: bool) -> None:
    """Answer the API until SIGTERM. Raises Stop, ConfigError, BastideError."""
    harden()
    share_arenas()
    collect_seldom()
    config = load(path)
    check_tls(config)
    check_master_key(config, sealed_values(config))
    logs.to_stderr()
    logs.to_files(config.logs, node_name(config), "serve")
    with (
        open_services(path) as services,
        _exporting(config, services),
        _working(config, services, start=with_worker),
        _watching(config, services),
        _receiving(config, services),
        _hearing(config, services),
    ):
        _pool(config.server.threads)
        uvloop.run(_answer(config, services))


def work(path: Path) -> None:
    """Do the durable work until SIGTERM, without the API: (4).

    The signals are blocked and waited for. A handler that sets an Event can arrive while this thread holds the Event's own lock, and then
    nobody ever wakes up: seen once in a test.
    """
    harden()
    share_arenas()
    collect_seldom()
    config = load(path)
    check_master_key(config, sealed_values(config))
    logs.to_stderr()
    logs.to_files(config.logs, node_name(config), "worker")
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    with (
        open_services(path) as services,
        _exporting(config, services),
        _working(config, services, start=True),
        _watching(config, services),
    ):
        _log.info("worker is up")
        signal.sigwait(_ENDING)
        _log.info(_TOLD)
        for number in _ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def check_tls(config: Config) -> None:
    """(2). Raises Stop."""
    server = config.server
    if bool(server.certificate) != bool(server.key):
        raise Stop("server.certificate and server.key belong together", remedy="set both in bastide.toml")
    if not server.certificate and not is_loopback(server.address):
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
    services.nodes.join()  # first: two processes under one name are refused before either does anything
    services.upkeep.plant()
    services.recovery.plant()
    if services.passwords is not None:
        services.passwords.switchboard.plant()
        services.passwords.silence.plant()
    if services.notifications is not None:
        services.notifications.plan.plant()
    if services.alerts is not None:
        services.alerts.reader.plant()
        services.alerts.looker.plant()
    if services.intake is not None:
        services.intake.judge.plant()
    if services.monitoring is not None:
        services.monitoring.watch.plant()
    runner = Runner(
        store=services.store,
        jobs=jobs.table(services),
        owner=owner(node_name(config), os.getpid()),
        clock=services.clock,
        after_burst=return_memory,
        trace=services.tracer.work,
    )

    def beat() -> None:
        services.nodes.beat()
        services.recovery.follow()

    heartbeat = Heartbeat(beat, timedelta(seconds=config.server.heartbeat_seconds))
    runner.start()
    heartbeat.start()
    try:
        yield
    finally:
        runner.stop()
        heartbeat.stop()
        _leave(services)


@contextlib.contextmanager
def _exporting(config: Config, services: Services) -> Iterator[None]:
    """Spans leave for a collector, where there is a table [telemetry]: before anything is done, and until everything is."""
    if config.telemetry is None:
        yield
        return
    from bastide.wiring.telemetry import OtelSpans  # noqa: PLC0415  # an extra, and 10 MiB

    spans = OtelSpans.to_collector(config.telemetry, node_name(config))
    services.tracer.spans = spans
    try:
        yield
    finally:
        spans.close()


@contextlib.contextmanager
def _watching(config: Config, services: Services) -> Iterator[None]:
    """Follow what is asked of all nodes; of one that answers calls alone, too."""
    looks = (services.tracing.look, services.logs.answer)
    watcher = Watcher(services.store, looks, timedelta(seconds=config.server.heartbeat_seconds))
    watcher.start()
    try:
        yield
    finally:
        watcher.stop()


def _leave(services: Services) -> None:
    """A database that is down must not keep a node from stopping: it is taken for dead a little later."""
    try:
        services.nodes.leave()
    except BastideError as error:
        _log.warning("the node stops without a word: %s", error.message)


@contextlib.contextmanager
def _receiving(config: Config, services: Services) -> Iterator[None]:
    """The listener for agents on domain controllers, where there is a table [passwords]."""
    passwords = services.passwords
    if (
        config.passwords is None
        or passwords is None
        or passwords.acceptor is None
        or passwords.callers is None
    ):
        yield
        return
    host = Host(
        acceptor=passwords.acceptor,
        callers=passwords.callers,
        accept=passwords.accept,
        silence=passwords.silence,
        events=passwords.events,
        node=node_name(config),
        monotonic=services.clock.monotonic,
        patience=_PATIENCE,
    )
    passwords.switchboard.off_if_restored()  # here too: a node without a worker takes in as well
    receiver = Receiver(config.passwords.address, config.passwords.port, host)
    receiver.start()
    try:
        yield
    finally:
        receiver.stop()


@contextlib.contextmanager
def _hearing(config: Config, services: Services) -> Iterator[None]:
    """The listener for events of domain controllers, where there is a table [intake]."""
    if config.intake is None or services.intake is None:
        yield
        return
    door = Intake(
        config.intake.address,
        config.intake.port,
        tls=intake_tls(config.intake, config.server.certificate, config.server.key),
        sources={one.subject: one for one in services.intake.sources},
        accept=services.intake.accept,
        monotonic=services.clock.monotonic,
    )
    door.start()
    try:
        yield
    finally:
        door.stop()


def _pool(threads: int) -> None:
    from litestar.concurrency import set_asyncio_executor  # noqa: PLC0415  # `worker` does without it

    set_asyncio_executor(ThreadPoolExecutor(threads, thread_name_prefix="api"))


async def _answer(config: Config, services: Services) -> None:
    """Serve until a signal: (4)."""
    from bastide.web import create_app  # noqa: PLC0415  # `worker` does without it

    app = create_app(services, origins=config.http.origins)
    server = _server(config, app)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()
        _log.info(_TOLD)
        app.hang_up()
        server.stop()  # type: ignore[no-untyped-call]

    for number in _ENDING:
        loop.add_signal_handler(number, stop)
    _log.info("listening on %s port %s", config.server.address, config.server.port)
    await server.serve()
    if not stopping.is_set():
        raise Stop("the API ended by itself", remedy="look at the log above")


def behind_proxies(app: Any, trusted: list[str]) -> Any:
    """Behind a reverse proxy every call comes from the proxy's address, and one guesser would use up the attempts of all.

    Only what a proxy that is named here appended is believed: the rightmost address that is not a proxy's own.
    """
    if not trusted:
        return app
    from granian.utils.proxies import wrap_asgi_with_proxy_headers  # noqa: PLC0415  # `worker` does without it

    return wrap_asgi_with_proxy_headers(app, trusted_hosts=trusted)


def _server(config: Config, app: Any) -> "Server":
    from granian.constants import HTTPModes, Interfaces, SSLProtocols  # noqa: PLC0415  # `worker` does without it
    from granian.log import LogLevels  # noqa: PLC0415
    from granian.server.embed import Server  # noqa: PLC0415

    tls: dict[str, Any] = {}
    if config.server.certificate:
        tls = {
            "ssl_cert": Path(config.server.certificate),
            "ssl_key": secret_path(config.server.key),
            "ssl_protocol_min": SSLProtocols.tls12,
        }
    return Server(
        behind_proxies(app, config.server.trusted_proxies),
        address=config.server.address,
        port=config.server.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.auto,
        websockets=False,
        log_level=LogLevels.error,  # below it says only that it starts, and that embedding is experimental
        log_dictconfig=logs.NOTHING_ELSE,
        **tls,
    )
