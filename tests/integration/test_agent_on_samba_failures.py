"""The agent on a real domain controller: what it survives, and a configuration that changes under it."""

import time

import pytest

from bastide.wire import Answer, Notification, Verdict
from tests.support.agent_changes import as_the_controller_has_it, await_told, reset, told, tool, user
from tests.support.agent_lab import AgentLab, AgentOnDc

pytest_plugins = ["tests.support.lab", "tests.support.agent_changes"]
pytestmark = pytest.mark.lab


def test_kill_9_at_any_moment_loses_nothing_and_doubles_nothing(corp: AgentLab, agent: AgentOnDc) -> None:
    """Killed while it captures, queues, sends and hears: the same reference may come again, another one never does."""
    dn = user(corp, "victim")
    await_told(corp, agent, "victim")
    expected = {one.reference for one in told(corp, "victim")}
    for number in range(8):
        password = f"Victim-Pass-{number}"
        reset(corp, dn, password)
        time.sleep(0.004 * number * number)
        agent.kill()
        agent.start()
        agent.until(lambda password=password: password in [corp.opened(one) for one in told(corp, "victim")])  # type: ignore[misc]
        expected.add(as_the_controller_has_it(corp, told(corp, "victim")[-1])[0])
    assert {one.reference for one in told(corp, "victim")} == expected
    assert not agent.events(6001)
    agent.until(lambda: agent.status()["waiting"] == 0)


def test_a_server_that_is_down_gets_it_when_it_is_back(corp: AgentLab, agent: AgentOnDc) -> None:
    dn = user(corp, "patient")
    await_told(corp, agent, "patient")
    corp.server.stop()
    reset(corp, dn, "While-Server-Down-1")
    agent.until(lambda: [one for one in agent.events(4003) if one["user"] == "patient"])
    agent.kill()
    agent.start()
    corp.server.start()
    last = await_told(corp, agent, "patient", 2)[-1]
    assert corp.opened(last) == "While-Server-Down-1"
    assert last.attempt >= 2


def test_a_lost_answer_is_asked_for_again_under_the_same_name(corp: AgentLab, agent: AgentOnDc) -> None:
    answers: list[Answer | None] = [None, None]

    def forgetful(one: Notification) -> Answer | None:
        return answers.pop() if answers else Answer(reference=one.reference, verdict=Verdict.ACCEPTED)

    corp.server.decide = forgetful
    user(corp, "echo")
    agent.until(lambda: agent.events(2100))
    assert len(corp.server.notifications) == 3
    assert len(set(corp.server.references())) == 1


def test_a_controller_that_restarts_is_followed(corp: AgentLab, agent: AgentOnDc) -> None:
    """The socket is another one then; only root's half can open it."""
    dn = user(corp, "restarted")
    await_told(corp, agent, "restarted")
    corp.lab.stop_dc("corpdc")
    agent.until(lambda: agent.events(7000))
    corp.lab.start_dc("corpdc")
    reset(corp, dn, "After-Restart-1")
    assert corp.opened(await_told(corp, agent, "restarted", 2)[-1]) == "After-Restart-1"
    assert len(agent.events(2001)) == 1


def test_a_lost_place_is_a_loud_new_baseline(corp: AgentLab, agent: AgentOnDc) -> None:
    dn = user(corp, "lost")
    await_told(corp, agent, "lost")
    agent.stop()
    (agent.state / "place.dat").unlink()
    reset(corp, dn, "Nobody-Hears-This-1")
    agent.start()
    assert agent.events(6007)
    reset(corp, dn, "Everybody-Hears-This-1")
    assert [corp.opened(one) for one in await_told(corp, agent, "lost", 2)][1:] == ["Everybody-Hears-This-1"]


# -------------------------------------------------------------------------------------------------------- configuration


def test_a_change_of_configuration_is_followed_without_a_restart(corp: AgentLab, agent: AgentOnDc) -> None:
    dn = user(corp, "config")
    await_told(corp, agent, "config")
    try:
        corp.save_target(disabled=True)
        agent.until(lambda: agent.events(2101) and agent.events(4002))
        reset(corp, dn, "Not-Told-To-Anybody-1")
        agent.until(lambda: [one for one in agent.events(4201) if one["user"] == "config"])
    finally:
        corp.save_target(disabled=False)
    agent.until(lambda: agent.events(2102))
    reset(corp, dn, "Told-Again-1")
    assert [corp.opened(one) for one in await_told(corp, agent, "config", 2)][1:] == ["Told-Again-1"]
    assert len(agent.events(2001)) == 1


def test_another_group_counts_from_the_next_change(corp: AgentLab, agent: AgentOnDc) -> None:
    tool(corp, "group", "add", "synced")
    dn = user(corp, "joiner")
    await_told(corp, agent, "joiner")
    everybody = corp.target.inclusion
    try:
        corp.save_target(inclusion=corp.group_sid("synced"))
        reset(corp, dn, "Outside-1-Pass")
        agent.until(lambda: [one for one in agent.events(2303) if one["user"] == "joiner"])
        tool(corp, "group", "addmembers", "synced", "joiner")
        reset(corp, dn, "Inside-1-Pass")
        assert [corp.opened(one) for one in await_told(corp, agent, "joiner", 2)][1:] == ["Inside-1-Pass"]
    finally:
        corp.save_target(inclusion=everybody)
