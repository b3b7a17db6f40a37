"""What can go wrong with three nodes, their database and the directories, and how it is made right again. Each is done to real machines of the lab."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from bastide.clock import SystemClock
from bastide_lab import plan
from tests.support.clocks import off_by
from tests.support.failover_node import FailoverNode
from tests.support.failover_world import FailoverWorld
from tests.support.inside import filled

#: Seconds a fault lasts. Longer than a lease (10 s), Patroni's lock (20 s) and half a grant (60 s).
LASTS = 30.0
#: Minutes. From here on Kerberos refuses, and Bastide does not use what differs so much.
SKEW = 5
_DATABASES = tuple(host.name for host in plan.DATABASES)
_CONTROLLERS = ("privdc", "privdc2", "corpdc")


@dataclass(frozen=True, slots=True)
class Fault:
    """`done`: a block in which the fault is there; what it broke is started again at its end. `hurts`: what a person may notice of it, for the table.
    `askew`: the PRIV controller whose clock is wrong meanwhile: who looks at it has to know.
    """

    name: str
    done: Callable[[FailoverWorld], AbstractContextManager[None]]
    hurts: str
    askew: str = ""


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
def _paused(node: FailoverNode) -> Iterator[None]:
    node.pause()
    try:
        yield
    finally:
        node.resume()


@contextmanager
def _wrong_clock(world: FailoverWorld, node: FailoverNode, minutes: int) -> Iterator[None]:
    node.stop()
    node.start(wait=False, env=off_by(minutes))
    try:
        yield
    finally:
        node.kill()
        # Of a process whose clock was wrong nobody can say since when its machine runs, so nothing proves it over but its silence.
        world.patiently(lambda: _alive(world, node), lambda alive: not alive)
        node.start(wait=False)


def _alive(world: FailoverWorld, node: FailoverNode) -> bool:
    with world.services.store.read() as uow:
        return uow.nodes.get(node.name).alive(uow.nodes.time(SystemClock().now()))


@contextmanager
def _node_full(world: FailoverWorld, node: FailoverNode) -> Iterator[None]:
    """All of its host's disk: log files, audit file, mark. It serves on meanwhile, and writes again when there is room."""
    with filled(world.lab.site.directory(plan.host(node.host))):
        yield
        assert node.health() == HTTPStatus.OK, node.tail()
        noted = node.mark()
    world.patiently(node.mark, lambda mark: mark != noted)


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
        yield
    finally:
        world.lab.databases.start(primary)


@contextmanager
def _primary_paused(world: FailoverWorld) -> Iterator[None]:
    primary = world.lab.databases.primary()
    world.lab.pause(primary)
    try:
        yield
    finally:
        world.lab.resume(primary)


@contextmanager
def _primary_full(world: FailoverWorld) -> Iterator[None]:
    """All of its disk, etcd's too: a file system of its own (tests/chaos/campaign.py)."""
    primary = world.lab.databases.primary()
    with filled(world.lab.site.directory(plan.host(primary))):
        yield
    world.lab.databases.start(primary)


@contextmanager
def _controllers_killed(world: FailoverWorld, *hosts: str) -> Iterator[None]:
    for host in hosts:
        world.lab.stop_dc(host, kill=True)
    try:
        yield
    finally:
        for host in hosts:
            world.lab.start_dc(host)


@contextmanager
def _controller_paused(world: FailoverWorld, host: str) -> Iterator[None]:
    world.lab.pause(host)
    try:
        yield
    finally:
        world.lab.resume(host)


@contextmanager
def _controller_apart(world: FailoverWorld, host: str, minutes: int) -> Iterator[None]:
    world.lab.stop_dc(host, kill=True)
    world.lab.start_dc(host, env=off_by(minutes))
    try:
        yield
    finally:
        world.lab.stop_dc(host, kill=True)
        world.lab.start_dc(host)


def _third_cut(world: FailoverWorld, *others: str) -> AbstractContextManager[None]:
    """Not the first: this process is on its host."""
    return _cut(world, world.nodes[2].host, *others)


FAULTS = (
    Fault(
        "kill -9 of a node",
        lambda world: _killed(world.nodes[:1]),
        "its calls fail; work that it held waits for the lease",
    ),
    Fault(
        "kill -9 of all nodes", lambda world: _killed(world.nodes), "nobody answers; access ends by itself"
    ),
    Fault(
        "a node is paused and goes on as if nothing were",
        lambda world: _paused(world.nodes[1]),
        "calls to it hang",
    ),
    Fault("a node's cable is pulled", _third_cut, "its calls fail"),
    Fault("a node reaches no database", lambda world: _third_cut(world, *_DATABASES), "it says 503"),
    Fault(
        "a node reaches no domain controller",
        lambda world: _third_cut(world, *_CONTROLLERS),
        "work that it takes up waits",
    ),
    Fault(
        f"a node's clock is {SKEW} minutes ahead",
        lambda world: _wrong_clock(world, world.nodes[2], SKEW),
        "it changes nothing in a directory",
    ),
    Fault(
        f"a node's clock is {SKEW} minutes behind",
        lambda world: _wrong_clock(world, world.nodes[2], -SKEW),
        "it changes nothing in a directory",
    ),
    Fault(
        "a node's disk is full",
        lambda world: _node_full(world, world.nodes[2]),
        "its log and audit files wait for room; it serves on",
    ),
    Fault(
        "kill -9 of the primary database's host", _primary_killed, "no new request until another one leads"
    ),
    Fault("the primary database's host is paused", _primary_paused, "no new request until another one leads"),
    Fault(
        "the primary database's cable is pulled",
        lambda world: _cut(world, world.lab.databases.primary()),
        "no new request until another one leads",
    ),
    Fault("the primary database's disk is full", _primary_full, "no new request until another one leads"),
    Fault(
        "kill -9 of one PRIV controller",
        lambda world: _controllers_killed(world, "privdc"),
        "ends wait for it to be read back",
    ),
    Fault(
        "a PRIV controller is paused",
        lambda world: _controller_paused(world, "privdc"),
        "calls that ask it wait until it is given up; ends wait for it to be read back",
    ),
    Fault(
        f"a PRIV controller's clock is {SKEW} minutes ahead",
        lambda world: _controller_apart(world, "privdc", SKEW),
        "it is not used; ends wait for it to be read back",
        askew="privdc",
    ),
    Fault(
        f"a PRIV controller's clock is {SKEW} minutes behind",
        lambda world: _controller_apart(world, "privdc", -SKEW),
        "it is not used, and lets people in until its own clock says no; ends wait for it to be read back",
        askew="privdc",
    ),
    Fault(
        "kill -9 of both PRIV controllers",
        lambda world: _controllers_killed(world, "privdc", "privdc2"),
        "no activation",
    ),
    Fault(
        "kill -9 of the CORP controller",
        lambda world: _controllers_killed(world, "corpdc"),
        "no sign-in from CORP",
    ),
)
