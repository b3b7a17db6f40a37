"""Beyond passing on: the proof that no change was missed, the proof that a password works, the rehearsal without writes, and plain words."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.clocks import off_by
from tests.support.password_lab import PasswordLab
from tests.support.password_node import CORP_DNS, until
from tests.support.password_systems import EVERYWHERE, LDAP, RECORDER

pytest_plugins = ["tests.support.lab", "tests.support.password_fixtures"]
pytestmark = pytest.mark.lab

#: A change is called missing when it is older than two minutes; nobody waits for them here.
LATER = 3


@contextmanager
def setting(scene: PasswordLab, agent: str, name: str) -> Iterator[None]:
    scene.cli("ma", "edit", agent, "--set", f"passwords.{name}=true", "--yes")
    try:
        yield
    finally:
        scene.cli("ma", "edit", agent, "--set", f"passwords.{name}=false", "--yes")


def delivery(scene: PasswordLab, name: str, agent: str) -> dict[str, Any]:
    """Of the newest change that CORP told of."""
    newest = next(one for one in scene.history(scene.people[name]) if one["source"] == "corp")
    found: dict[str, Any] = next(one for one in newest["deliveries"] if one["agent"] == agent)
    return found


def test_a_change_that_no_agent_told_of_is_named_with_its_controller(scene: PasswordLab) -> None:
    ghost, agent = scene.people["ghost"], scene.agents["corpdc"]
    agent.stop()
    began = datetime.now(UTC).isoformat()
    scene.reset_by_tool(ghost, scene.new_password())
    later = scene.new_node("later", port=8453, pcns=8456)
    later.start("serve", "--no-worker", env=off_by(minutes=LATER))
    asked = ("passwords", "coverage", "--domain", CORP_DNS, "--since", began)
    (found,) = json.loads(scene.cli(*asked, "--json", node=later, code=1))["items"]
    assert [(one["account"], one["controller"]) for one in found["uncovered"]] == [
        ("ghost", f"corpdc.{CORP_DNS}")
    ]
    assert found["by_controller"] == [{"controller": f"corpdc.{CORP_DNS}", "users": 1}]
    words = scene.cli(*asked, node=later, code=1)
    assert "ghost" in words
    assert f"corpdc.{CORP_DNS}: 1" in words
    agent.start()
    scene.arrives(ghost)
    assert "0 missing" in scene.cli(*asked, node=later)
    (found,) = json.loads(scene.cli(*asked, "--json"))["items"]
    heard = next(one for one in found["contacts"] if one["controller"] == f"corpdc.{CORP_DNS}")
    assert not heard["silent"]
    assert datetime.now(UTC) - datetime.fromisoformat(heard["heard_at"]) < timedelta(minutes=5)
    later.stop()


def test_accepted_and_proved_are_different_outcomes(scene: PasswordLab) -> None:
    person = scene.people["p8"]
    with setting(scene, LDAP, "verify"):
        scene.reset_by_ldap(person, scene.new_password())
        scene.arrives(person)
    proofs = {name: delivery(scene, "p8", name)["proof"] for name in EVERYWHERE}
    assert proofs == {name: "proved" if name == LDAP else "not-asked" for name in EVERYWHERE}
    assert "A sign-in with it was tried and worked." in scene.explain(person)


def test_shadow_mode_does_everything_but_the_write(scene: PasswordLab) -> None:
    person = scene.people["p8"]
    before = scene.systems[RECORDER].writes(person.name)
    with setting(scene, RECORDER, "shadow"):
        scene.reset_by_ldap(person, scene.new_password())
        scene.arrives(person, [name for name in EVERYWHERE if name != RECORDER])
        until(lambda: delivery(scene, "p8", RECORDER)["state"] == "delivered", lambda: scene.explain(person))
        found = delivery(scene, "p8", RECORDER)
    assert (found["code"], found["detail"]) == ("success", "shadow mode: not set")
    assert scene.systems[RECORDER].writes(person.name) == before
    assert "it would have been set" in scene.explain(person)
    scene.reset_by_ldap(person, scene.new_password())
    scene.arrives(person)


def test_in_plain_words(scene: PasswordLab) -> None:
    person = scene.people["p8"]
    scene.reset_by_ldap(person, scene.new_password())
    scene.arrives(person)
    words = scene.explain(person)
    assert "is in the connector space of corp and joined to a person by its rules" in words
    assert f"taken in from corpdc.{CORP_DNS} and delivered to 5 of 5 targets" in words
    assert "Bastide set this password itself" in words
    chief = scene.explain(scene.people["chief"])
    assert "joined to a person" in chief
    assert "taken in" not in chief
    scene.cli("passwords", "explain", "nobody-by-that-name", code=1)
