"""Two agents in one domain."""

import time
from collections.abc import Iterator

import pytest

from bastide_agent.failures import NoAccount
from bastide_agent.ldapi import Directory
from bastide_lab import plan
from bastide_lab.lab import Lab
from tests.support.agent_changes import connected, told, tool
from tests.support.agent_lab import AgentLab, AgentOnDc
from tests.support.inside import inside

pytest_plugins = ["tests.support.lab", "tests.support.agent_changes"]
pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def priv(lab: Lab) -> Iterator[AgentLab]:
    """Two controllers of one domain; the first does not encrypt yet."""
    work = lab.root / "agent-priv"
    work.mkdir(mode=0o755, exist_ok=True)
    with inside(lab.namespace("bastide")):
        made = AgentLab(lab, work, forest="priv", hosts=("privdc2",), port=8447)
        yield made
        made.close()


def await_replicated(priv: AgentLab, host: str) -> None:
    """The configuration was written on one controller; an agent that finds none stops (6000)."""
    path = priv.lab.site.data(plan.host(host)) / "private" / "ldap_priv" / "ldapi"
    directory = Directory(lambda: connected(path))
    deadline = time.monotonic() + 30
    while True:
        try:
            directory.read(priv.target_dn, ["cn"])
        except NoAccount:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            directory.close()
            return


def on_first(priv: AgentLab, *arguments: str) -> None:
    tool(priv, *arguments, host="privdc")


def test_two_controllers_name_a_change_alike_and_a_missing_ciphertext_is_said(priv: AgentLab) -> None:
    second = AgentOnDc(priv.lab, "privdc2", priv.work / "b2")
    await_replicated(priv, "privdc2")
    second.start()
    try:
        on_first(priv, "user", "add", "twins", "Without-Cipher-1")
        second.until(lambda: [one for one in second.events(6005) if "twins" in str(one["detail"])])
        assert told(priv, "twins") == []
        priv.lab.enable_capture(bytes(priv.key.extract_certificate()), hosts=("privdc",))
        first = AgentOnDc(priv.lab, "privdc", priv.work / "b1")
        first.start()
        try:
            on_first(priv, "user", "setpassword", "twins", "--newpassword=Both-See-This-1")
            second.until(lambda: len(told(priv, "twins")) >= 2)
        finally:
            first.kill()
        one, other = told(priv, "twins")
        assert (one.reference, one.changed_at, one.revision, one.origin, one.check) == (
            other.reference, other.changed_at, other.revision, other.origin, other.check,
        )  # fmt: skip
        assert {priv.opened(one), priv.opened(other)} == {"Both-See-This-1"}
        callers = {caller.partition("@")[0] for caller in priv.server.callers}
        assert callers == {"PRIVDC$", "PRIVDC2$"}
    finally:
        second.kill()
