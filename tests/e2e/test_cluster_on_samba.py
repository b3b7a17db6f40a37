"""Several nodes over PostgreSQL with Patroni, in front of two real forests: whatever of it is killed or cut off, what was acknowledged is done once, in time.

What is measured is printed (`pytest -s`); docs/operations/postgresql-patroni.md has the figures.
"""

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Playwright

from bastide.domain.ids import UserId
from bastide.domain.requests import State
from bastide.workers.jobs import LEASE
from bastide_lab import plan
from tests.support.failover_load import steady_load
from tests.support.failover_node import FailoverNode
from tests.support.failover_world import Caller, FailoverWorld
from tests.support.patience import PATIENCE
from tests.support.person import Person
from tests.support.ticket_browser import DESK, PHONE, Look, person_at

pytest_plugins = [
    "tests.support.lab",
    "tests.support.directory_fixtures",
    "tests.support.failover_fixtures",
    "tests.support.ticket_browser",
]
pytestmark = pytest.mark.lab

APPROVER = r"PRIV\apr.grace"
FILES, DATABASES = "Files of the cluster", "Databases of the cluster"
#: Seconds. The second is what is promised; the rest is for a machine that does many other things.
LATE = LEASE.total_seconds() + 1 + 4
DONE, NOT_READY = 200, 503
ATTEMPTS = 5
#: So many acknowledgements for each of the people before a failure, and after it before it counts as over.
SERVED = 10
#: Seconds in which somebody who claims what is not his would have done it.
TEMPTING = 3.0


@dataclass(frozen=True, slots=True)
class People:
    """Who plays. Alice and carol may read files at once, and databases if grace agrees; bob and carol make the load."""

    alice: Caller
    alice_id: UserId
    carol: Caller
    grace: Caller
    dave: Caller
    load: dict[UserId, Caller]


@dataclass(frozen=True, slots=True)
class Takeover:
    """A request whose node was killed while it worked on it. `claimed`, `active`: seconds from the kill."""

    request: str
    killed: FailoverNode
    successor: str
    claimed: float
    active: float


@pytest.fixture(scope="module")
def people(cluster: FailoverWorld) -> People:
    ids = {name: cluster.prepare(name) for name in ("alice", "bob", "carol")}
    cluster.prepare_role(FILES, "FileAdmins", ("alice", "carol"))
    cluster.prepare_role(DATABASES, "DbAdmins", tuple(ids), approvers=(APPROVER,))
    alice, bob, carol = (cluster.caller(rf"corp\{name}") for name in ids)
    return People(
        alice=alice,
        alice_id=ids["alice"],
        carol=carol,
        grace=cluster.caller(r"priv\apr.grace"),
        dave=cluster.caller(r"priv\adm.dave"),
        load={ids["bob"]: bob, ids["carol"]: carol},
    )


@pytest.fixture
def everything_runs(cluster: FailoverWorld) -> Iterator[None]:
    """Afterwards, whatever the test did."""
    yield
    for node in cluster.nodes:
        node.lab.mend(node.host)
        node.resume()
        node.start(wait=False)
    for node in cluster.nodes:
        node.until_ready()


def state_of(cluster: FailoverWorld, request: str) -> State:
    return cluster.request(request).state


def told(text: str) -> None:
    print(f"\n  measured: {text}")


def test_any_node_serves_any_request_and_every_session(cluster: FailoverWorld, people: People) -> None:
    one, two, three = cluster.nodes
    session = people.alice.token(one)
    began = time.monotonic()
    request = people.alice.ask(one, DATABASES)
    assert [people.alice.call(node, "GET", "/sessions").status_code for node in (two, three)] == [DONE, DONE]
    assert people.alice.token(three) == session, "no other one was opened"
    decided = people.grace.call(
        two, "POST", f"/approvals/{request}", {"decision": "approve", "reason": "agreed"}
    )
    assert decided.status_code == DONE, decided.text
    seen = cluster.patiently(
        lambda: people.alice.call(three, "GET", f"/requests/{request}").json(),
        lambda found: found["state"] == "Active",
    )
    assert seen["directory_end"], "it was read back"
    told(f"asked at node 1, approved at node 2, seen active at node 3: {time.monotonic() - began:.1f} s")
    assert (
        people.alice.call(three, "POST", f"/requests/{request}/close", {"reason": "done"}).status_code == DONE
    )
    cluster.patiently(lambda: state_of(cluster, request), lambda state: state is State.CLOSED)


@pytest.fixture(scope="module")
def takeover(cluster: FailoverWorld, people: People) -> Takeover:
    """Only the first node could take the work up when it was acknowledged; it is killed as soon as it has."""
    first, *others = cluster.nodes
    for _ in range(ATTEMPTS):
        _pause(cluster, others, people.alice_id)
        request = people.alice.ask(first, FILES)
        holder = _until_held(cluster, people.alice_id, request)
        first.kill()
        killed_at = time.monotonic()
        held = cluster.holder(people.alice_id)
        for other in others:
            other.resume()
        if first.holds(holder) and first.holds(held):
            break
        first.start()
    else:
        pytest.fail("the node was never killed while it held the work")
    successor = cluster.patiently(
        lambda: cluster.holder(people.alice_id), lambda owner: bool(owner) and not first.holds(owner)
    )
    claimed = time.monotonic() - killed_at
    cluster.patiently(lambda: state_of(cluster, request), lambda state: state is State.ACTIVE)
    done = Takeover(request, first, successor, claimed, time.monotonic() - killed_at)
    first.start()
    return done


def _pause(cluster: FailoverWorld, nodes: Iterable[FailoverNode], user: UserId) -> None:
    """None of them has the person's work in hand."""
    cluster.patiently(lambda: cluster.holder(user), lambda owner: not owner)
    for node in nodes:
        node.pause()


def _until_held(cluster: FailoverWorld, user: UserId, request: str) -> str:
    """Who took the work up; empty: it is done already. Without a pause between two looks: it takes a tenth of a second."""
    deadline = time.monotonic() + PATIENCE
    while not (owner := cluster.holder(user)):
        if state_of(cluster, request) is State.ACTIVE:
            return ""
        assert time.monotonic() < deadline, "nobody took the work up"
    return owner


def test_the_work_of_a_killed_node_is_taken_over_within_its_lease(
    cluster: FailoverWorld, takeover: Takeover
) -> None:
    told(
        f"kill -9 of the node that held the work: claimed by {takeover.successor} after {takeover.claimed:.1f} s, "
        f"active after {takeover.active:.1f} s (lease {LEASE.total_seconds():g} s)"
    )
    assert not takeover.killed.holds(takeover.successor)
    assert takeover.claimed <= LATE
    assert [one.kind for one in cluster.records(takeover.request)].count("request.active") == 1


def test_a_node_that_cannot_reach_the_database_says_so_and_the_others_serve(
    cluster: FailoverWorld, people: People, everything_runs: None
) -> None:
    one, two, three = cluster.nodes
    cluster.lab.cut(three.host, *(host.name for host in plan.DATABASES))
    began = time.monotonic()
    cluster.patiently(three.health, lambda status: status == NOT_READY)
    said = time.monotonic() - began
    assert [one.health(), two.health()] == [DONE, DONE]
    request = people.alice.ask(two, DATABASES)
    assert people.alice.call(one, "POST", f"/requests/{request}/close").status_code == DONE
    assert people.alice.call(three, "GET", "/requests").status_code == NOT_READY
    cluster.lab.mend(three.host)
    began = time.monotonic()
    cluster.patiently(three.health, lambda status: status == DONE)
    told(
        f"a node cut off from the database: not ready after {said:.1f} s; mended: ready after {time.monotonic() - began:.1f} s"
    )


@pytest.fixture
def island(cluster: FailoverWorld) -> Iterator[FailoverNode]:
    """A node of another partition, that runs."""
    made = cluster.island()
    made.start()
    yield made
    made.close()


def test_a_drained_node_and_one_of_another_partition_claim_nothing(
    cluster: FailoverWorld, people: People, island: FailoverNode, everything_runs: None
) -> None:
    drained, *others = cluster.nodes
    cluster.services.nodes.drain(cluster.dave, drained.name)
    try:
        _pause(cluster, others, people.alice_id)
        request = people.alice.ask(drained, FILES)
        own = people.carol.ask(island, FILES)
        cluster.patiently(lambda: state_of(cluster, own), lambda state: state is State.ACTIVE)
        until = time.monotonic() + TEMPTING
        while time.monotonic() < until:
            assert not cluster.holder(people.alice_id)
        assert state_of(cluster, request) is not State.ACTIVE
        for other in others:
            other.resume()
        cluster.patiently(lambda: state_of(cluster, request), lambda state: state is State.ACTIVE)
    finally:
        cluster.services.nodes.resume(cluster.dave, drained.name)
    for caller, node, id_ in ((people.alice, drained, request), (people.carol, island, own)):
        closed = caller.call(node, "POST", f"/requests/{id_}/close", {"reason": "done"})
        assert closed.status_code == DONE
        cluster.patiently(partial(state_of, cluster, id_), lambda state: state is State.CLOSED)


def test_what_was_taken_over_ends_in_time_and_once(cluster: FailoverWorld, takeover: Takeover) -> None:
    """Here: its minute has gone by meanwhile, and the database is there. While it is not, the directory ends access, and Bastide is late to say so."""
    cluster.patiently(lambda: state_of(cluster, takeover.request), lambda state: state is State.EXPIRED)
    ended = cluster.request(takeover.request)
    assert ended.ends_at is not None
    assert ended.closed_at is not None
    late = (ended.closed_at - ended.ends_at).total_seconds()
    told(f"its end was read back {late:.1f} s after it was due")
    assert late <= LATE
    counted = Counter(one.kind for one in cluster.records(takeover.request))
    assert counted["request.submitted"] == counted["request.active"] == counted["request.expired"] == 1, (
        counted
    )
    with cluster.services.store.read() as uow:
        user = uow.users.get(ended.user)
    for states in cluster.forests.priv.observe([user.priv.sid]).values():
        assert not states[user.priv.sid].open_at(cluster.services.clock.now())
    cluster.services.audit.verify_chain()


def test_with_the_primary_killed_nothing_acknowledged_is_lost(
    cluster: FailoverWorld, people: People, everything_runs: None
) -> None:
    databases = cluster.lab.databases
    primary = databases.primary()
    before = _requests(cluster, people)

    def enough(count: int) -> bool:
        return count >= SERVED * len(people.load)

    try:
        with steady_load(cluster.nodes, list(people.load.values()), DATABASES) as load:
            cluster.patiently(lambda: load.since(0.0), enough)
            cluster.lab.kill_host(primary)
            killed_at = time.monotonic()
            # What is acknowledged in the very moment may have been committed before.
            cluster.patiently(lambda: load.since(killed_at + 1), enough)
        told(
            f"kill -9 of the primary's host: nothing acknowledged for {load.longest_gap():.1f} s; {len(load.acknowledged)} requests "
            f"acknowledged, {load.failed} calls sent again"
        )
        assert _requests(cluster, people) - before == load.acknowledged.keys(), "neither lost nor made twice"
        _all_is_withdrawn_once(cluster, load.acknowledged)
        for node in cluster.nodes:
            node.until_ready()
    finally:
        began = time.monotonic()
        databases.start(primary)
        told(f"the host was brought back: whole again after {time.monotonic() - began:.1f} s")


def _requests(cluster: FailoverWorld, people: People) -> set[str]:
    """Of those who make the load."""
    return set().union(*(cluster.requests_of(user) for user in people.load))


def _all_is_withdrawn_once(cluster: FailoverWorld, acknowledged: Iterable[str]) -> None:
    """With one record of each step, in a chain that is whole."""
    for request in acknowledged:
        assert state_of(cluster, request) is State.CANCELLED
        counted = Counter(one.kind for one in cluster.records(request))
        assert counted["request.submitted"] == counted["request.cancelled"] == 1, counted
    cluster.services.audit.verify_chain()


def test_nothing_of_all_that_was_unexpected_to_a_node(cluster: FailoverWorld) -> None:
    """Last. Each failure was foreseen, and said in a line."""
    for node in cluster.nodes:
        assert "Traceback" not in node.log.read_text(), node.tail()


def approve(playwright: Playwright, cluster: FailoverWorld, grace: Caller, profile: Path, look: Look) -> None:
    """Grace, who has no ticket, at the second node."""
    with person_at(playwright, cluster.nodes[1], "priv", profile, look) as person:
        signed_in(person, cluster, grace, "PRIV\\apr.grace")
        person.press("Approvals")
        person.sees("by the portal")
        person.press("Approve")
        person.sees("You approved the request.")
        assert [fault for fault in person.faults if "401" not in fault] == []


def signed_in(person: Person, cluster: FailoverWorld, who: Caller, account: str) -> None:
    """With password and code."""
    person.open("/signin")
    person.type("Account", account)
    person.type("Password", cluster.lab.password(who.account))
    person.type("Code from your authenticator", who.code())
    person.press("Sign in")


def follows(cluster: FailoverWorld, person: Person, look: Look, text: str | re.Pattern[str]) -> None:
    """By itself with scripts; without them somebody loads the page again. Of a page that does not, the node may say why."""
    deadline = time.monotonic() + PATIENCE
    while not look.scripts and not person.page.get_by_text(text).count() and time.monotonic() < deadline:
        time.sleep(0.5)
        person.page.reload()
    try:
        person.sees(text)
    except AssertionError as error:
        for node in cluster.nodes:
            error.add_note(f"{node.name}:\n{node.tail()}")
        raise


@pytest.mark.parametrize("look", [DESK, PHONE], ids=["javascript-wide-light", "plain-narrow-dark"])
def test_in_the_portal_a_ticket_signs_in_another_node_approves_and_the_page_follows(
    cluster: FailoverWorld, people: People, playwright: Playwright, tmp_path: Path, look: Look
) -> None:
    before, profile = cluster.requests_of(people.alice_id), tmp_path / "alice"
    cluster.lab.kinit("client", people.alice.account, ccache=Path(f"{profile}.ccache")).check_returncode()
    with person_at(playwright, cluster.nodes[0], "corp", profile, look) as alice:
        alice.open("/")
        # The first time that a profile meets Negotiate, chromium for Linux only remembers that it needs the library for it.
        alice.press("go on without a password")
        alice.sees(DATABASES)
        alice.press(f"Ask for {DATABASES}")
        alice.type("What are you going to do?", "by the portal")
        if alice.page.get_by_label("Code from your authenticator").count():
            alice.type("Code from your authenticator", people.alice.code())
        alice.press("Ask")
        alice.sees("Waits for approval")
        (request,) = cluster.requests_of(people.alice_id) - before
        approve(playwright, cluster, people.grace, tmp_path / "grace", look)
        follows(cluster, alice, look, re.compile(r"^Active$"))
        assert cluster.request(request).directory_end is not None, "it was read back"
        alice.press("End now")
        follows(cluster, alice, look, "Ended early")
        cluster.patiently(lambda: cluster.request(request).state, lambda state: state is State.CLOSED)
        assert [one.kind for one in cluster.records(request)].count("request.active") == 1
        ask_and_extend(cluster, people, alice, look)
        alice.press("History")
        alice.sees("by the portal")
        assert [fault for fault in alice.faults if "401" not in fault] == []


def ask_and_extend(cluster: FailoverWorld, people: People, alice: Person, look: Look) -> None:
    """A role that nobody has to approve, and a later end."""
    before = cluster.requests_of(people.alice_id)
    alice.press("Back to My access")
    alice.press(f"Ask for {FILES}")
    alice.type("What are you going to do?", "one more look")
    alice.press("Ask")
    (request,) = cluster.requests_of(people.alice_id) - before
    follows(cluster, alice, look, re.compile(r"^Active$"))
    first = cluster.request(request).directory_end
    assert first is not None
    alice.type("How many", "10")
    alice.press("Extend")
    alice.sees("The later end was asked for.")
    cluster.patiently(
        lambda: cluster.request(request).directory_end, lambda end: end is not None and end > first
    )
    alice.press("End now")
    follows(cluster, alice, look, "Ended early")


@pytest.mark.parametrize("look", [DESK, PHONE], ids=["javascript-wide-light", "plain-narrow-dark"])
def test_in_the_portal_a_role_is_edited_and_the_kill_switch_ends_what_is_active(
    cluster: FailoverWorld, people: People, playwright: Playwright, tmp_path: Path, look: Look
) -> None:
    # Longer than somebody takes who types on a busy machine.
    request = people.alice.ask(cluster.nodes[0], FILES, ttl_seconds=1800)
    cluster.patiently(lambda: state_of(cluster, request), lambda state: state is State.ACTIVE)
    with person_at(playwright, cluster.nodes[1], "priv", tmp_path / "dave", look) as dave:
        signed_in(dave, cluster, people.dave, "PRIV\\adm.dave")
        dave.press("Administration")
        dave.press(FILES)
        dave.press("Edit")
        dave.type("What it is for", f"files, {look.scheme}")
        dave.press("See what would change")
        dave.sees("Nothing is saved yet.")
        dave.press("Save")
        dave.sees("The role is changed.")
        assert cluster.services.roles.show(cluster.dave, FILES).description == f"files, {look.scheme}"
        dave.press("Kill switch")
        dave.reach(dave.page.get_by_label("Of whom"))
        dave.page.keyboard.press("e")
        dave.type("Why", "exercise")
        dave.press("See what would end")
        dave.sees(re.compile("requests? would end"))
        many = dave.page.get_by_role("button", name=re.compile(r"^End \d+$")).inner_text()
        dave.type("Type everything to end it", "everything")
        dave.press(many)
        dave.sees(re.compile(r"The end of \d+ was asked for\."))
        cluster.patiently(lambda: state_of(cluster, request), lambda state: state is State.CLOSED)
        dave.press("Auditing")
        dave.sees(FILES)
        assert [fault for fault in dave.faults if "401" not in fault] == []
