"""Two nodes on one database with log files of their own, one that is lost, and a person at the first. For modules with `pytest_plugins = ["tests.support.log_stand"]`."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from litestar.testing import TestClient
from typer.testing import CliRunner, Result

from bastide.cli.main import app
from bastide.cli.remote import Surroundings
from bastide.config import Logs
from bastide.journal.files import open_files
from bastide.wiring.journal import node_journal
from tests.support.api import app_over
from tests.support.nodes import Cluster, TestNode, several
from tests.support.stores import with_schema
from tests.unit.test_cli_app import SERVER, InProcess, Ticket

DAVE = "PRIV\\dave"
LOST = "lost"


class Stand:
    """Two nodes with files of their own, one that is lost, and a person at the first."""

    def __init__(self, cluster: Cluster, folder: Path, stack: ExitStack) -> None:
        self.cluster, self.world, self.folder = cluster, cluster.world, folder
        cluster.node(LOST)
        cluster.world.clock.move(minutes=10)
        self.nodes: dict[str, TestNode] = {}
        for name in ("a", "b"):
            self.nodes[name] = cluster.node(name, journal=node_journal(Logs(folder=str(folder)), name))
        served = stack.enter_context(app_over(self.nodes["a"].services))
        client = stack.enter_context(TestClient(served, base_url=SERVER))
        self.transport = InProcess(client._transport)
        self.answering = {"a", "b"}

    def write(self, node: str, level: int, text: str, *, ago: timedelta, **more: object) -> None:
        """As the process of that node does it."""
        handler = open_files(self.folder, node, "serve", 8)
        assert handler is not None
        record = logging.LogRecord("bastide.test", level, __file__, 1, text, (), None)
        record.created = (self.world.clock.now() - ago).timestamp()
        record.__dict__.update(more)
        handler.handle(record)
        handler.close()

    def look(self) -> None:
        """What the watchers of the nodes do."""
        for name in sorted(self.answering):
            self.nodes[name].services.tracing.look()
            self.nodes[name].services.logs.answer()

    def run(self, *arguments: str, who: str = DAVE, wanted: int = 0) -> Result:
        surroundings = Surroundings(
            transport=self.transport,
            handshake=lambda _: Ticket(f"{who.partition(chr(92))[2]}@PRIV.BASTIDE.TEST"),
            now=self.world.clock.now,
            sleep=lambda _: self.look(),
        )
        done = CliRunner().invoke(app, [*arguments, "--server", SERVER], obj=surroundings)
        assert done.exit_code == wanted, (done.output, done.stderr, done.exception)
        return done


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    url = with_schema(tmp_path / "bastide.db")
    with ExitStack() as stack:
        yield Stand(stack.enter_context(several(url)), tmp_path / "logs", stack)
