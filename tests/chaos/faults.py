"""What can go wrong with three nodes, their database and the directories, and how it is made right again. Each is done to real machines of the lab."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bastide_lab import plan
from tests.support.clocks import off_by
from tests.support.failover_node import FailoverNode
from tests.support.failover_world import FailoverWorld
from tests.support.inside import filled

#: Seconds a fault lasts. Longer than a lease (10 s), Patroni's lock (20 s) and half a grant (60 s).
LASTS = 30.0
#: Minutes. From here on Kerberos refuses, and Bastide does not use what differs so much.
SKEW = 5


@dataclass(frozen=True, slots=True)
class Fault:
    """`done`: a block in which the fault is there; what it broke runs again at its end. `hurts`: what a person may notice of it, for the table."""

    name: str
    done: Callable[[FailoverWorld], AbstractContextManager[None]]
    hurts: str


def _wait() -> None:
    time.sleep(LASTS)


@contextmanager
def _killed(nodes: Sequence[FailoverNode]) -> Iterator[None]:
    for node in nodes:
        node.kill()
    try:
        yield
    finally:
        for node in nodes:
            node.start(wait=False)


@contextmanager
def _one_killed(world: FailoverWorld) -> Iterator[None]:
    with _killed(world.nodes[:1]):
        _wait()
        yield


@contextmanager
def _all_killed(world: FailoverWorld) -> Iterator[None]:
    with _killed(world.nodes):
        _wait()
        yield


@contextmanager
def _one_paused(world: FailoverWorld) -> Iterator[None]:
    world.nodes[1].pause()
    try:
        _wait()
        yield
    finally:
        world.nodes[1].resume()


@contextmanager
def _one_cut(world: FailoverWorld) -> Iterator[None]:
    """The third: this process is on the first one's host."""
    with _cut(world, world.nodes[2].host):
        _wait()
        yield


@contextmanager
def _cut_from_databases(world: FailoverWorld) -> Iterator[None]:
    with _cut(world, world.nodes[2].host, *(host.name for host in plan.DATABASES)):
        _wait()
        yield


@contextmanager
def _cut_from_directories(world: FailoverWorld) -> Iterator[None]:
    with _cut(world, world.nodes[2].host, "privdc", "privdc2", "corpdc"):
        _wait()
        yield


@contextmanager
def _cut(world: FailoverWorld, host: str, *others: str) -> Iterator[None]:
    world.lab.cut(host, *others)
    try:
        yield
    finally:
        world.lab.mend(host)


@contextmanager
def _primary_killed(world: FailoverWorld) -> Iterator[None]:
    primary = world.lab.databases.primary()
    world.lab.kill_host(primary)
    try:
        _wait()
        yield
    finally:
        world.lab.databases.start(primary)


@contextmanager
def _primary_paused(world: FailoverWorld) -> Iterator[None]:
    primary = world.lab.databases.primary()
    world.lab.pause(primary)
    try:
        _wait()
        yield
    finally:
        world.lab.resume(primary)


@contextmanager
def _primary_cut(world: FailoverWorld) -> Iterator[None]:
    with _cut(world, world.lab.databases.primary()):
        _wait()
        yield


@contextmanager
def _primary_full(world: FailoverWorld) -> Iterator[None]:
    """All of its disk, etcd's too."""
    primary = world.lab.databases.primary()
    with filled(disk(world, primary)):
        _wait()
        yield
    world.lab.databases.start(primary)


def disk(world: FailoverWorld, host: str) -> Path:
    """Where a database host keeps all that it keeps: a file system of its own (tests/chaos/campaign.py)."""
    return world.lab.site.directory(plan.host(host))


@contextmanager
def _controllers_killed(world: FailoverWorld, *hosts: str) -> Iterator[None]:
    for host in hosts:
        world.lab.stop_dc(host, kill=True)
    try:
        _wait()
        yield
    finally:
        for host in hosts:
            world.lab.start_dc(host)


def _controllers(*hosts: str) -> Callable[[FailoverWorld], AbstractContextManager[None]]:
    return lambda world: _controllers_killed(world, *hosts)


def _clock(minutes: int) -> Callable[[FailoverWorld], AbstractContextManager[None]]:
    @contextmanager
    def done(world: FailoverWorld) -> Iterator[None]:
        node = world.nodes[2]
        node.stop()
        node.start(wait=False, env=off_by(minutes))
        try:
            _wait()
            yield
        finally:
            node.kill()
            node.start(wait=False)

    return done


FAULTS = (
    Fault("kill -9 of a node", _one_killed, "its calls fail; work that it held waits for the lease"),
    Fault("kill -9 of all nodes", _all_killed, "nobody answers; access ends by itself"),
    Fault("a node is paused and goes on as if nothing were", _one_paused, "calls to it hang"),
    Fault("a node's cable is pulled", _one_cut, "its calls fail"),
    Fault("a node reaches no database", _cut_from_databases, "it says 503"),
    Fault("a node reaches no domain controller", _cut_from_directories, "work that it takes up waits"),
    Fault(f"a node's clock is {SKEW} minutes ahead", _clock(SKEW), "it changes nothing in a directory"),
    Fault(f"a node's clock is {SKEW} minutes behind", _clock(-SKEW), "it changes nothing in a directory"),
    Fault(
        "kill -9 of the primary database's host", _primary_killed, "no new request until another one leads"
    ),
    Fault("the primary database's host is paused", _primary_paused, "no new request until another one leads"),
    Fault("the primary database's cable is pulled", _primary_cut, "no new request until another one leads"),
    Fault("the primary database's disk is full", _primary_full, "no new request until another one leads"),
    Fault("kill -9 of one PRIV controller", _controllers("privdc"), "ends wait for it to be read back"),
    Fault("kill -9 of both PRIV controllers", _controllers("privdc", "privdc2"), "no activation"),
    Fault("kill -9 of the CORP controller", _controllers("corpdc"), "no sign-in from CORP"),
)
