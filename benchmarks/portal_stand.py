"""A server of its own for the portal's numbers: the product as `bastide serve` runs it, with database, TLS and workers, over forests in memory;
or the same server with the framework and nothing else (`hello`), or with one question to a database at each call (`asks`). Until SIGTERM.

Usage: python -m benchmarks.portal_stand ORDER, a file of JSON: what, port, url, work, certificate, key, people, tokens (a file to write).
"""

import asyncio
import json
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from litestar import Litestar, get
from litestar.concurrency import set_asyncio_executor

from bastide.authn import Realm, RightsTable
from bastide.cli import logs
from bastide.cli.server import collect_seldom, share_arenas
from bastide.clock import SystemClock
from bastide.directory.memory import MemoryDirectory, MemoryPreparer
from bastide.directory.memory_forest import MemoryForest
from bastide.domain.errors import NotAuthenticated
from bastide.domain.ids import ObjectRef
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.accounts import Preparation
from bastide.store import keys, migrations
from bastide.store.unit_of_work import SqlStore
from bastide.web import create_app
from bastide.wiring import Adapters, assemble
from bastide.workers import jobs
from bastide.workers.runner import Runner
from benchmarks import objects

HOST = "127.0.0.1"
GROUP, PEOPLE = "BenchShare", "BenchPeople"
#: As `bastide serve` has unless it is told.
THREADS = 8


class NoPasswords:
    """Nobody signs in here: the sessions are there before."""

    def check(self, name: str, password: str) -> int:  # noqa: ARG002  # as the port has it
        raise NotAuthenticated("no passwords here")


def hello() -> Litestar:
    """What the framework does with nothing to do."""

    @get("/hello", sync_to_thread=False)
    def say() -> dict[str, str]:
        return {"hello": "world"}

    return Litestar([say], openapi_config=None, logging_config=None)


def asks(store: SqlStore) -> Litestar:
    """The least of an application that asks its database at each call: a thread, because the driver blocks, a transaction, a row by its key."""

    @get("/asks", sync_to_thread=True)
    def say() -> dict[str, int]:
        with store.read() as uow:
            return {"records": uow.audit.head()[0]}

    return Litestar([say], openapi_config=None, logging_config=None)


def product(order: dict[str, Any]) -> tuple[Any, Runner]:
    """The application and its workers; writes the tokens of everybody's session."""
    work, clock = Path(order["work"]), SystemClock()
    corp = MemoryForest(Forest.CORP, clock.now, controllers=("corpdc",))
    priv = MemoryForest(Forest.PRIV, clock.now, controllers=("privdc1", "privdc2"))
    share = corp.add_group(GROUP, scope=Scope.DOMAIN_LOCAL)
    names = [f"b{number:04d}" for number in range(order["people"])]
    everyday = {name: corp.add_person(name).ref for name in names}
    group = corp.add_group(PEOPLE, members=[ref.sid for ref in everyday.values()])
    carrier = priv.add_group("PAM-Bench")
    asleep = clock.now().replace(year=2000)
    people = {
        f"priv.{name}": (everyday[name], priv.add_person(f"priv.{name}", expires=asleep).ref)
        for name in names
    }
    migrations.upgrade(order["url"])
    store = SqlStore(order["url"])
    adapters = adapters_over(store, MemoryDirectory(priv), corp, work, clock)
    registered = objects.register(
        store,
        {name: (reference(one), reference(other)) for name, (one, other) in people.items()},
        (reference(share.ref), reference(carrier.ref)),
        reference(group.ref),
    )
    tokens = objects.open_sessions(store, registered, list(people), adapters.sealer)
    services = assemble(adapters, Preparation())
    services.upkeep.plant()
    runner = Runner(store=store, jobs=jobs.table(services), owner="bench", clock=clock)
    Path(order["tokens"]).write_text(json.dumps(list(tokens.values())), encoding="utf-8")
    return create_app(services), runner


def adapters_over(
    store: SqlStore, priv: MemoryDirectory, corp: MemoryForest, work: Path, clock: SystemClock
) -> Adapters:
    """Directories in memory, nobody who may do anything, the keys of that folder."""
    return Adapters(
        store=store,
        realms={
            one.world.forest: Realm(one.world.forest, one.world.dns_name.upper(), one, NoPasswords())
            for one in (priv, MemoryDirectory(corp))
        },
        preparer=MemoryPreparer(priv.world),
        acceptor=None,
        rights=RightsTable(frozenset(), frozenset(), frozenset()),
        sealer=keys.load_sealer([work / "master.key"]),
        signer=keys.load_signer(work / "signing.key", []),
        hasher=keys.Argon2Hasher(),
        random=keys.SystemRandom(),
        sinks=(),
        clock=clock,
    )


def reference(ref: ObjectRef) -> objects.Reference:
    """As `objects.register` takes it."""
    return {"guid": ref.guid, "sid": str(ref.sid), "dn": ref.dn, "name": ref.name}


async def answer(app: Any, order: dict[str, Any]) -> None:
    """Serve until SIGTERM, with what `bastide serve` gives the server."""
    server = Server(
        app,
        address=HOST,
        port=order["port"],
        interface=Interfaces.ASGI,
        http=HTTPModes.auto,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=logs.NOTHING_ELSE,
        ssl_cert=Path(order["certificate"]),
        ssl_key=Path(order["key"]),
    )

    def stop() -> None:
        if hasattr(app, "hang_up"):
            app.hang_up()
        server.stop()  # type: ignore[no-untyped-call]

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    await server.serve()


def main() -> None:
    """As the order says."""
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    share_arenas()
    collect_seldom()
    set_asyncio_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="api"))
    if order["what"] == "hello":
        uvloop.run(answer(hello(), order))
        return
    if order["what"] == "asks":
        with closing(SqlStore(order["url"])) as store:
            uvloop.run(answer(asks(store), order))
        return
    logs.to_stderr()
    app, runner = product(order)
    with closing(app.state["services"].store):
        runner.start()
        try:
            uvloop.run(answer(app, order))
        finally:
            runner.stop()


if __name__ == "__main__":
    main()
