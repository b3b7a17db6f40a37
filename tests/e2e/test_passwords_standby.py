"""A second server with the same database, vault and keys takes over from one that was killed, in the order of docs/operations/outage.md."""

import time
from collections.abc import Iterator

import pytest

from tests.support.password_lab import PasswordLab
from tests.support.password_node import CORP_DNS, until
from tests.support.password_systems import MARIADB, POSTGRES, PRIV, RECORDER

pytest_plugins = ["tests.support.lab", "tests.support.password_fixtures"]
pytestmark = pytest.mark.lab


@pytest.fixture(autouse=True)
def restored(scene: PasswordLab) -> Iterator[None]:
    yield
    scene.restore()


def tell_agents(scene: PasswordLab, address: str) -> None:
    """By a domain administrator; it replicates, and agents follow without a restart."""
    scene.domain_cli("corp", "target", "edit", "Bastide", "--server-address", address)


def test_a_standby_takes_over_what_waits_and_what_comes(scene: PasswordLab) -> None:
    waiting, coming, first = scene.people["p5"], scene.people["p6"], scene.node
    scene.lab.stop_target("slapd", kill=True)
    scene.reset_by_ldap(waiting, scene.new_password())
    scene.arrives(waiting, (POSTGRES, MARIADB, PRIV, RECORDER))
    assert "Next try at" in scene.explain(waiting)
    first.kill()
    scene.reset_by_ldap(coming, scene.new_password())
    standby = scene.new_node("standby", port=8444, pcns=8447)
    tell_agents(scene, f"bastide.{CORP_DNS}:8447")  # (1)
    standby.start()  # (2)
    scene.node = standby
    scene.lab.start_target("slapd")
    began = time.monotonic()
    scene.arrives(coming)  # (3)
    scene.arrives(waiting)
    print(f"the standby had delivered everything {time.monotonic() - began:.1f} s after it was up")
    assert scene.history(coming)[-1]["receipt"] == "staged"
    assert scene.repeated(waiting) == scene.repeated(coming) == 0
    until(lambda: scene.waiting() == 0, lambda: scene.cli("passwords", "queue", "list"))
    scene.node = first
    first.start()
    tell_agents(scene, f"bastide.{CORP_DNS}")
    standby.stop()
    scene.reset_by_ldap(coming, scene.new_password())
    scene.arrives(coming)
