"""Nodes: join, beat, drain, resume, adopt, leave; who may; what is on record; and what a load balancer hears."""

import time
from datetime import timedelta

import pytest

from bastide.domain.errors import Conflict, NotAuthorized, NotFound
from bastide.domain.nodes import State
from bastide.domain.requests import State as RequestState
from bastide.services.ports import AuditQuery
from bastide.wiring import process
from bastide.workers.heartbeat import Heartbeat
from tests.support.api import ASK
from tests.support.nodes import BEAT, Cluster, TestNode
from tests.support.portal import Browser

pytest_plugins = ["tests.support.nodes"]
READY = "/api/v1/health/ready"


def records(cluster: Cluster, kind: str) -> list[tuple[str, str, str]]:
    with cluster.world.store.read() as uow:
        found = uow.audit.read(AuditQuery(kind=kind, limit=0))
        return [(one.actor_name, one.subject_name, one.data) for one in found]


def seen(cluster: Cluster, node: TestNode, name: str) -> tuple[State, bool, int]:
    one = node.services.nodes.show(cluster.world.dave, name)
    return one.state, one.alive, one.in_hand


def ask(cluster: Cluster, node: TestNode) -> str:
    """Alice asks for her role at a node; the request's id."""
    cluster.turn_to(node)
    answer = cluster.world.corp_caller("alice").post("/requests", ASK, code=True)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def state(cluster: Cluster, node: TestNode, request: str) -> RequestState:
    return node.services.requests.show(cluster.world.dave, request).state


# ------------------------------------------------------------------------------------------------------------ the node itself


def test_a_node_joins_beats_and_leaves_and_each_is_seen(cluster: Cluster) -> None:
    a, b = cluster.node("a"), cluster.node("b")
    assert seen(cluster, b, "a") == (State.SERVING, True, 0)
    ((actor, name, data),) = [one for one in records(cluster, "node.joined") if one[1] == "a"]
    assert (actor, name) == ("bastide", "a")
    assert '"partition":"default"' in data
    cluster.world.clock.move(seconds=31)
    b.services.nodes.beat()
    assert seen(cluster, b, "a") == (State.SERVING, False, 0)
    assert seen(cluster, b, "b") == (State.SERVING, True, 0)
    a.services.nodes.beat()
    assert seen(cluster, b, "a") == (State.SERVING, True, 0)
    a.services.nodes.leave()
    assert seen(cluster, b, "a") == (State.LEFT, False, 0)
    assert len(records(cluster, "node.left")) == 1
    a.services.nodes.join()
    assert seen(cluster, b, "a") == (State.SERVING, True, 0)


def test_a_second_process_under_a_name_is_refused_until_the_first_is_gone(cluster: Cluster) -> None:
    a = cluster.node("a")
    second = cluster.node("a", process="second", joined=False)
    with pytest.raises(Conflict, match="another process serves as node 'a'"):
        second.services.nodes.join()
    second.services.nodes.leave()
    assert seen(cluster, a, "a") == (State.SERVING, True, 0), "it cannot say that the other one left"
    killed = cluster.node("a", process="third", gone=lambda word: word == a.me.process)
    assert killed.services.nodes.show(cluster.world.dave, "a").node.process == "third"
    with pytest.raises(Conflict):
        a.services.nodes.beat()
    request = ask(cluster, killed)
    assert a.runner.run_due() == 0, "the first one gets no work any more"
    cluster.world.runner = killed.runner
    cluster.world.work()
    assert state(cluster, killed, request) is RequestState.ACTIVE


def test_a_node_that_the_database_forgot_joins_again(cluster: Cluster) -> None:
    """It was restored from a backup, or the node was asleep and taken for lost."""
    a = cluster.node("a")
    cluster.world.clock.move(minutes=1)
    with a.store.write() as uow:
        uow.nodes.remove("a")
        uow.commit()
    a.services.nodes.beat()
    assert seen(cluster, a, "a") == (State.SERVING, True, 0)
    assert len(records(cluster, "node.joined")) == 2


def test_what_is_no_node_neither_joins_nor_beats(cluster: Cluster) -> None:
    nodes = cluster.world.services.nodes
    nodes.join()
    nodes.beat()
    nodes.leave()
    nodes.ready()
    assert nodes.overview(cluster.world.dave).nodes == ()


def test_the_heartbeat_goes_on_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    said = iter([Conflict("the name is taken"), Conflict("the name is taken"), ValueError("x"), None, None])

    def beat() -> None:
        if (error := next(said)) is not None:
            raise error

    caplog.set_level("INFO")
    heart = Heartbeat(beat, BEAT)
    for _ in range(5):
        heart.once()
    messages = [one.getMessage() for one in caplog.records]
    assert messages == [
        "no heartbeat: the name is taken",
        "the heartbeat failed unexpectedly",
        "no heartbeat: ValueError",
        "the heartbeat goes on",
    ]


def test_the_heartbeat_comes_by_itself_and_stops() -> None:
    beats: list[int] = []
    heart = Heartbeat(lambda: beats.append(1), timedelta(milliseconds=20))
    heart.start()
    deadline = time.monotonic() + 10
    while len(beats) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    heart.stop()
    assert len(beats) >= 3
    before = len(beats)
    assert not heart._thread.is_alive()
    assert len(beats) == before


def test_a_process_of_this_machine_can_be_looked_up() -> None:
    mine = process.this_process()
    assert not process.is_gone(mine)
    machine, start, space, pid, began = mine.split("/")
    assert process.is_gone("/".join((machine, start, space, pid, str(int(began) + 1)))), (
        "the id was given again"
    )
    assert process.is_gone(f"{machine}/{start}/{space}/4194305/{began}"), "no process has such an id"
    for other in (
        ("another", start, space, "4194305", began),
        (machine, str(int(start) - 60), space, "4194305", began),
        (machine, start, "pid:[1]", "4194305", began),
        ("", start, space, "4194305", began),
        ("a word of an earlier version",),
    ):
        assert not process.is_gone("/".join(other)), "nobody here knows"


# ---------------------------------------------------------------------------------------------------------------------- drain


def test_a_drained_node_answers_and_others_do_its_work(cluster: Cluster) -> None:
    a, b = cluster.node("a"), cluster.node("b")
    dave = cluster.world.caller("dave")
    cluster.turn_to(b)
    answer = dave.post("/nodes/a/drain")
    assert answer.status_code == 200, answer.text
    assert (answer.json()["state"], answer.json()["others"]) == ("drained", 1)
    ready = a.client.get(READY)
    assert ready.status_code == 503
    assert ready.json()["code"] == "not-serving"
    assert "Retry-After" in ready.headers
    assert a.client.get("/api/v1/health/live").status_code == 200
    assert b.client.get(READY).status_code == 200
    request = ask(cluster, a)
    assert a.runner.run_due() == 0
    cluster.world.runner = b.runner
    cluster.world.work()
    assert state(cluster, a, request) is RequestState.ACTIVE
    assert dave.post("/nodes/a/drain").status_code == 409
    assert dave.post("/nodes/a/resume").json()["state"] == "serving"
    assert dave.post("/nodes/a/resume").status_code == 409
    assert a.client.get(READY).status_code == 200
    for kind in ("node.drained", "node.resumed"):
        ((actor, name, _),) = records(cluster, kind)
        assert (actor, name) == ("PRIV\\dave", "a")


def test_a_node_is_draining_while_it_has_something_in_hand(cluster: Cluster) -> None:
    a = cluster.node("a")
    ask(cluster, a)
    now = cluster.world.clock.now()
    (work,) = a.store.claim(["account"], owner="a:1", lease=BEAT, limit=1, now=now)
    shown = a.services.nodes.drain(cluster.world.dave, "a")
    assert (shown.state, shown.in_hand, shown.others) == (State.DRAINING, 1, 0)
    assert shown.until == now + BEAT
    with a.store.write() as uow:
        uow.work.finish(work, now)
        uow.commit()
    assert seen(cluster, a, "a") == (State.DRAINED, True, 0)
    again = cluster.node("a", process="after the restart", gone=lambda _: True)
    assert seen(cluster, again, "a") == (State.DRAINED, True, 0), "a restart does not resume it"


# ---------------------------------------------------------------------------------------------------------------------- adopt


def test_the_work_of_a_lost_partition_is_adopted(cluster: Cluster) -> None:
    lyon, a = cluster.node("l", "lyon"), cluster.node("a")
    request = ask(cluster, lyon)
    dave = cluster.world.caller("dave")
    cluster.turn_to(a)
    assert a.runner.run_due() == 0, "never by another partition"
    path, body = "/partitions/lyon/adopt", {"into": "default"}
    refused = dave.post(path, body)
    assert refused.status_code == 409
    assert "node l of partition lyon is alive" in refused.json()["detail"]
    cluster.world.clock.move(seconds=31)
    a.services.nodes.beat()
    listed = dave.get("/nodes").json()
    assert listed["abandoned"] == [{"partition": "lyon", "work": 1}]
    assert {one["name"]: one["alive"] for one in listed["items"]} == {"a": True, "l": False}
    assert dave.delete("/nodes/l").status_code == 409
    assert dave.post("/partitions/default/adopt", {"into": "default"}).status_code == 422
    assert dave.post(path, {"into": "paris"}).status_code == 404
    assert a.runner.run_due() == 0
    done = dave.post(path, body)
    assert done.json() == {"partition": "lyon", "into": "default", "work": 1}
    cluster.world.runner = a.runner
    cluster.world.work()
    assert state(cluster, a, request) is RequestState.ACTIVE
    assert dave.post(path, body).status_code == 404, "nothing is left to adopt"
    ((actor, name, data),) = records(cluster, "node.adopted")
    assert (actor, name) == ("PRIV\\dave", "lyon")
    assert '"into":"default"' in data
    assert dave.delete("/nodes/l").status_code == 204
    assert [one["name"] for one in dave.get("/nodes").json()["items"]] == ["a"]
    assert dave.delete("/nodes/l").status_code == 404
    assert [one[1] for one in records(cluster, "node.removed")] == ["l"]


def test_who_is_not_registered_and_has_work_is_shown(cluster: Cluster) -> None:
    """A node of the version before does not register."""
    a = cluster.node("a")
    ask(cluster, a)
    now = cluster.world.clock.now()
    cluster.world.store.claim(["account"], owner="old-node:7", lease=timedelta(hours=1), limit=1, now=now)
    overview = a.services.nodes.overview(cluster.world.dave)
    assert [one.owner for one in overview.strangers] == ["old-node:7"]
    assert not overview.abandoned
    lyon = cluster.node("l", "lyon")
    cluster.world.clock.move(minutes=1)
    lyon.services.nodes.beat()
    with pytest.raises(Conflict, match="somebody holds work of partition default"):
        lyon.services.nodes.adopt(cluster.world.dave, "default", "lyon")


def test_only_administrators_touch_nodes(cluster: Cluster) -> None:
    a, frank = cluster.node("a"), cluster.world.frank
    nodes = a.services.nodes
    for act in (
        lambda: nodes.overview(frank),
        lambda: nodes.show(frank, "a"),
        lambda: nodes.drain(frank, "a"),
        lambda: nodes.resume(frank, "a"),
        lambda: nodes.remove(frank, "a"),
        lambda: nodes.adopt(frank, "lyon", "default"),
    ):
        with pytest.raises(NotAuthorized):
            act()
    with pytest.raises(NotFound, match="there is no node 'b'"):
        nodes.show(cluster.world.dave, "b")


def test_the_page_of_work_shows_idle_and_lost_nodes(cluster: Cluster) -> None:
    a, lyon = cluster.node("a"), cluster.node("l", "lyon")
    ask(cluster, lyon)
    cluster.world.clock.move(seconds=31)
    a.services.nodes.beat()
    cluster.turn_to(a)
    page = Browser(cluster.world, "dave@" + cluster.world.priv.dns_name.upper()).open("/admin/work")
    assert "serving, lost" in page.text
    assert "Partition lyon has 1 piece of work and no living node" in page.text
    assert "nothing in hand" in page.text
