"""`make chaos`: every fault of faults.py, one after the other, under a steady load. After each, what must hold is looked at:

(1) Nothing that was acknowledged is lost, and nothing is there that was not asked.
(2) No effect twice: each step of a request has one audit record.
(3) No access without a grant: an account that a domain controller shows open is covered by a request, from its approval to its announced end,
    or until it was ended and read back. On a controller whose clock is wrong: until Bastide says that it is over.
(4) All that is due is finished once the fault is over.
(5) The audit's chain is whole.
(6) No node says anything that was not foreseen, or takes a primary that was succeeded for a database from the past.

Not collected with the tests: it takes a quarter of an hour. Writes docs/operations/faults.md if all of it was run.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from bastide.domain.ids import Sid, UserId
from bastide.domain.requests import OPEN, State
from bastide.services import recovery
from bastide_lab import network, plan
from bastide_lab.lab import Lab
from tests.chaos import page
from tests.chaos.faults import FAULTS, LASTS, Fault
from tests.chaos.witness import Activations, Watch, activating, longest_wait, uncovered, watched
from tests.support.failover_load import Load, steady_load
from tests.support.failover_world import Caller, FailoverWorld
from tests.support.inside import small_disk

pytest_plugins = [
    "tests.support.lab",
    "tests.support.directory_fixtures",
    "tests.support.failover_fixtures",
]

ROLE, APPROVED = "Files in chaos", "Databases in chaos"
#: Room for a database with its log, for an hour of this load.
DISK = "700m"
#: Seconds of load before a fault, so that something is on its way, and acknowledgements after it.
BEFORE, SERVED = 6.0, 10
ONCE = ("request.submitted", "request.active", "request.expired", "request.closed", "request.cancelled")


@pytest.fixture(scope="module")
def cluster_lab(lab: Lab) -> Iterator[Lab]:
    """In the place of the ordinary one: each database host, and the third node's, has a disk of its own that can be filled."""
    with ExitStack() as stack:
        for host in (*plan.DATABASES, plan.BASTIDE3):
            folder = lab.site.directory(host)
            folder.mkdir(parents=True)
            stack.enter_context(small_disk(folder, DISK))
        lab.add_cluster()
        try:
            yield lab
        finally:
            # Their namespaces are named in this mount namespace alone: outside of it nobody would find what runs on them.
            network.remove(lab.site, plan.CLUSTER)


@dataclass(frozen=True, slots=True)
class People:
    """`doers` activate; `askers` ask for what needs an approval, and withdraw it."""

    doers: Mapping[UserId, Caller]
    askers: Mapping[UserId, Caller]
    accounts: Mapping[Sid, UserId]

    def all(self) -> set[UserId]:
        return {*self.doers, *self.askers}


@pytest.fixture(scope="module")
def people(cluster: FailoverWorld) -> People:
    ids = {name: cluster.prepare(name) for name in ("alice", "erin", "bob", "carol")}
    cluster.prepare_role(ROLE, "FileAdmins", ("alice", "erin"))
    cluster.prepare_role(APPROVED, "DbAdmins", ("bob", "carol"), approvers=(r"PRIV\apr.grace",))
    callers = {id_: cluster.caller(rf"corp\{name}") for name, id_ in ids.items()}
    with cluster.services.store.read() as uow:
        accounts = {uow.users.get(id_).priv.sid: id_ for id_ in callers}
    doing = {ids["alice"], ids["erin"]}
    return People(
        {id_: one for id_, one in callers.items() if id_ in doing},
        {id_: one for id_, one in callers.items() if id_ not in doing},
        accounts,
    )


@dataclass(slots=True)
class Round:
    """One fault, and what was seen. Moments are monotonic."""

    fault: Fault
    before: set[str]
    load: Load
    doing: Activations
    watch: Watch
    began: float = 0.0
    mended: float = 0.0
    ended: float = 0.0

    @property
    def asked(self) -> set[str]:
        """All that was acknowledged."""
        return {*self.load.acknowledged, *self.doing.asked}


@pytest.fixture(scope="module")
def rows() -> Iterator[list[page.Row]]:
    """One for each fault that held; the page is written when there is one for every fault."""
    made: list[page.Row] = []
    yield made
    if [row.fault for row in made] == [fault.name for fault in FAULTS]:
        Path(page.PAGE).write_text(page.render(made, datetime.now().astimezone().date()))


#: httpcore leaves the socket of a connection that breaks during its handshake to the garbage collector.
@pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <ssl\.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.lab
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_after(fault: Fault, cluster: FailoverWorld, people: People, rows: list[page.Row]) -> None:
    done = _play(fault, cluster, people)
    _nothing_is_lost(done, cluster, people)
    _nothing_is_done_twice(done, cluster)
    late = _nothing_stayed(done, cluster, people)
    cluster.services.audit.verify_chain()
    with cluster.services.store.read() as uow:
        assert uow.audit.last(recovery.BEGAN, recovery.DATABASE) is None
    for node in cluster.nodes:
        assert "Traceback" not in node.log.read_text(), node.tail()
    acknowledged = [
        *done.load.acknowledged.values(),
        *done.load.withdrawn.values(),
        *done.doing.asked.values(),
    ]
    row = page.Row(
        fault=fault.name,
        hurts=fault.hurts,
        silence=longest_wait(acknowledged, done.began, done.ended),
        activation=longest_wait(list(done.doing.opened.values()), done.began, done.ended),
        asked=len(done.asked),
        again=done.load.failed + done.doing.load.failed,
        late=late,
        looks=done.watch.right.looks + done.watch.wrong.looks,
    )
    print(f"\n  {row}")
    rows.append(row)


def _play(fault: Fault, cluster: FailoverWorld, people: People) -> Round:
    """The load, the fault, the load again, and the end of all that was begun."""
    before = set().union(*map(cluster.requests_of, people.all()))
    _refresh(cluster, people)
    with (
        watched(cluster, people.accounts, fault.askew) as watch,
        steady_load(cluster.nodes, list(people.askers.values()), APPROVED) as load,
        activating(cluster, cluster.nodes, list(people.doers.values()), ROLE) as doing,
    ):
        done = Round(fault, before, load, doing, watch)
        time.sleep(BEFORE)
        done.began = time.monotonic()
        with fault.done(cluster):
            time.sleep(LASTS)
        done.mended = time.monotonic()
        for node in cluster.nodes:
            node.until_ready()
        cluster.lab.databases.until_whole()
        cluster.patiently(partial(load.since, time.monotonic()), lambda count: count >= SERVED)
        done.ended = time.monotonic()
    for node in cluster.nodes:
        node.until_ready()
    return done


def _refresh(cluster: FailoverWorld, people: People) -> None:
    """A session that was opened long ago would need a controller, and a second factor, in the middle of the fault."""
    for one in (*people.doers.values(), *people.askers.values()):
        one.forget()
        one.token(cluster.nodes[0])


def _nothing_is_lost(done: Round, cluster: FailoverWorld, people: People) -> None:
    """(1), (4)"""
    found = set().union(*map(cluster.requests_of, people.all())) - done.before
    assert found == done.asked
    for request in done.load.acknowledged:
        assert cluster.request(request).state is State.CANCELLED
    for request in done.doing.asked:
        state = cluster.patiently(partial(_state, cluster, request), lambda state: state not in OPEN)
        assert state in {State.CLOSED, State.EXPIRED}, state


def _state(cluster: FailoverWorld, request: str) -> State:
    return cluster.request(request).state


def _nothing_is_done_twice(done: Round, cluster: FailoverWorld) -> None:
    """(2)"""
    for request in done.asked:
        counted = Counter(record.kind for record in cluster.records(request))
        assert counted["request.submitted"] == 1, (request, counted)
        assert all(counted[kind] <= 1 for kind in ONCE), (request, counted)


def _no_spans(people: People) -> dict[UserId, list[tuple[datetime, datetime]]]:
    return {user: [] for user in people.all()}


def _nothing_stayed(done: Round, cluster: FailoverWorld, people: People) -> float:
    """(3). Seconds, the latest end that was read back."""
    covers, said = _no_spans(people), _no_spans(people)
    late = [0.0]
    for id_ in done.doing.asked:
        request = cluster.request(id_)
        assert request.closed_at is not None, id_
        said[request.user].append((done.doing.since[id_], request.closed_at))
        if request.ends_at is not None:
            early = request.state is State.CLOSED
            covers[request.user].append(
                (done.doing.since[id_], request.closed_at if early else request.ends_at)
            )
            late.append(0.0 if early else (request.closed_at - request.ends_at).total_seconds())
    stayed = uncovered(done.watch.right.seen, covers) + uncovered(done.watch.wrong.seen, said)
    assert not stayed, "\n".join([*map(str, stayed[:9]), *map(str, said.items())])
    assert done.watch.right.looks, "nobody looked"
    assert bool(done.watch.wrong.looks) == bool(done.fault.askew), "nobody looked where the clock is wrong"
    return max(late)
