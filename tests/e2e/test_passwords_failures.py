"""What fails on the way of a password: server, network, controller, targets, disks, and processes killed at any moment. In the end every account has its
newest password everywhere, and no old one ever came after a new one: the recorder, a connected system, wrote down each set in its order.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.inside import filled, small_disk
from tests.support.password_lab import PasswordLab, Person
from tests.support.password_node import end, until
from tests.support.password_systems import LDAP, MARIADB, POSTGRES, PRIV, RECORDER

pytest_plugins = ["tests.support.lab", "tests.support.password_fixtures"]
pytestmark = pytest.mark.lab

#: Changes of one person in the stream; there are eight.
TURNS = 5
#: Where the processes of one machine wake each other: pipes, and none of them lives longer than its process.
WAKE = shutil.ignore_patterns("*.wake")
#: Who is killed, in this order, at random moments of the stream.
VICTIMS = ("agent", "server", "worker", "agent", "server", "worker", "agent", "server")


@pytest.fixture(autouse=True)
def restored(scene: PasswordLab) -> Iterator[None]:
    yield
    scene.restore()


def count(scene: PasswordLab, person: Person, number: int) -> int:
    return len([one for one in scene.agents["corpdc"].events(number) if one["user"] == person.name])


def test_server_and_controller_fail_and_come_back(scene: PasswordLab) -> None:
    """The server is killed; people change their passwords; then the controller loses its power too."""
    first, second, agent = scene.people["p1"], scene.people["p2"], scene.agents["corpdc"]
    before = count(scene, first, 4003)
    scene.node.kill()
    for person in (first, second, first):
        scene.reset_by_ldap(person, scene.new_password())
    agent.until(lambda: count(scene, first, 4003) > before)
    assert scene.traces() == {}, "while they wait in the queue of the agent"
    scene.lab.stop_dc("corpdc", kill=True)
    scene.lab.start_dc("corpdc")
    scene.reset_by_tool(second, scene.new_password())
    scene.node.start()
    for person in (first, second):
        scene.arrives(person)
        assert scene.repeated(person) == 0


def test_a_controller_without_network_tells_when_it_has_it_again(scene: PasswordLab) -> None:
    person, agent = scene.people["p3"], scene.agents["corpdc"]
    before = count(scene, person, 2302)
    with scene.cut("corpdc"):
        scene.reset_by_tool(person, scene.new_password())
        agent.until(lambda: count(scene, person, 2302) > before)
        time.sleep(0.5)
        assert not scene.systems[RECORDER].accepts(person.name, person.password)
    scene.arrives(person)
    assert scene.repeated(person) == 0


def test_targets_without_network_and_targets_that_are_down(scene: PasswordLab) -> None:
    """Those that can be reached do not wait for the others."""
    person = scene.people["p4"]
    until(lambda: scene.waiting() == 0, lambda: scene.cli("passwords", "queue", "list"))
    with scene.cut("targets"):
        scene.reset_by_ldap(person, scene.new_password())
        took = scene.arrives(person, (RECORDER, PRIV))
        print(f"beside three dead targets: {max(took.values()) * 1000:.0f} ms")
        scene.lab.stop_target("slapd", kill=True)
    scene.arrives(person, (POSTGRES, MARIADB))
    until(lambda: scene.waiting() == 1, lambda: scene.cli("passwords", "queue", "list"))
    scene.lab.start_target("slapd")
    scene.arrives(person, (LDAP,))
    until(lambda: scene.waiting() == 0, lambda: scene.cli("passwords", "queue", "list"))
    assert scene.repeated(person) == 0


def test_kill_9_of_agent_server_and_worker_in_a_stream_of_changes(scene: PasswordLab) -> None:
    people = [scene.people[f"p{number}"] for number in range(1, 9)]
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)
    worker = scene.node.start("worker")
    before = {person.name: scene.repeated(person) for person in people}
    moments = sorted(chance.sample(range(TURNS * len(people)), len(VICTIMS)))
    for number in range(TURNS * len(people)):
        scene.reset_by_ldap(people[number % len(people)], scene.new_password())
        if number in moments:
            time.sleep(chance.uniform(0, 0.3))
            victim = VICTIMS[moments.index(number)]
            if victim == "agent":
                scene.agents["corpdc"].kill()
                scene.agents["corpdc"].start(wait=False)
            elif victim == "server":
                scene.node.kill()
                scene.node.start(wait=False)
            else:
                end(worker, signal.SIGKILL)
                worker = scene.node.start("worker")
    scene.node.until_ready()
    for person in people:
        scene.arrives(person)
    again = sum(scene.repeated(person) - before[person.name] for person in people)
    print(
        f"{TURNS * len(people)} changes, {len(VICTIMS)} kills: {again} sets were repeated with the same password"
    )
    assert again <= len(people) * (VICTIMS.count("server") + VICTIMS.count("worker"))
    end(worker, signal.SIGTERM)
    until(lambda: scene.waiting() == 0, lambda: scene.cli("passwords", "queue", "list"))
    for log in (scene.node.log, scene.agents["corpdc"].log):
        assert "Traceback" not in log.read_text()


def test_a_full_disk_under_the_queue_of_the_agent(scene: PasswordLab) -> None:
    """What cannot be queued stays in the directory and is read again."""
    person, agent = scene.people["p5"], scene.agents["corpdc"]
    agent.stop()
    before = len(agent.events(6018))
    with small_disk(agent.state, "1m"):
        os.chown(agent.state, *agent.owner)
        agent.state.chmod(0o700)
        agent.start()
        with filled(agent.state):
            for _ in range(8):
                scene.reset_by_ldap(person, scene.new_password())
                time.sleep(0.1)
            agent.until(lambda: len(agent.events(6018)) > before)
        scene.arrives(person)
        agent.stop()
    agent.start()
    another = scene.people["p6"]
    scene.reset_by_ldap(another, scene.new_password())
    scene.arrives(another)
    scene.repeated(person)


def test_a_full_disk_under_the_database_of_the_server(scene: PasswordLab) -> None:
    """The agent keeps what the server cannot; nothing is half taken."""
    person, folder, safe = scene.people["p7"], scene.server / "database", scene.server / "kept"
    scene.node.stop()
    shutil.copytree(folder, safe, ignore=WAKE)
    with small_disk(folder, "24m"):
        shutil.copytree(safe, folder, dirs_exist_ok=True)
        scene.node.start()
        with filled(folder):
            before = count(scene, person, 4301) + count(scene, person, 4003)
            scene.reset_by_ldap(person, scene.new_password())
            scene.agents["corpdc"].until(
                lambda: count(scene, person, 4301) + count(scene, person, 4003) > before
            )
            assert not scene.systems[RECORDER].accepts(person.name, person.password)
        scene.arrives(person)
        scene.node.stop()
        shutil.rmtree(safe)
        shutil.copytree(folder, safe, ignore=WAKE)
    shutil.rmtree(folder)
    safe.rename(folder)
    scene.node.start()
    assert scene.repeated(person) == 0
