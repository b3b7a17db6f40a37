"""A controller whose clock differs from ours is not used: ends would be written, and read, by the wrong clock."""

from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bastide.directory.kerberos import Identity
from bastide.directory.ldap import Controllers, SealedConnect, listed
from bastide.directory.session import Session
from bastide.domain.errors import DirectoryUnavailable
from tests.support.recording_ldap import RecordingDc, connected

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def compare(ahead: timedelta) -> None:
    """Our clock against that of one controller."""
    dc = RecordingDc()
    dc.time = NOW
    connect = SealedConnect(Identity("svc@X", Path("/nowhere")), lambda: NOW + ahead)
    with connected(dc) as controllers:
        controllers.on_any("compare", connect._compare_clocks)


@pytest.mark.parametrize("seconds", [0, 299, -299])
def test_less_than_five_minutes_is_for_the_doctor(seconds: int) -> None:
    compare(timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (300, "300 s ahead of"),
        (-300, "300 s behind"),
        (86400, "86400 s ahead of"),
        # Five minutes behind, and the controller left out the part of its second.
        (-299.3, "299 s behind"),
    ],
)
def test_from_five_minutes_on_it_is_said_and_nothing_is_done(seconds: float, said: str) -> None:
    with pytest.raises(
        DirectoryUnavailable, match=f"the clock of this machine is {said} the clock of"
    ) as refused:
        compare(timedelta(seconds=seconds))
    assert refused.value.remedy.startswith("set the clock")


def test_a_remedy_that_all_controllers_agree_on_is_the_one_that_is_given() -> None:
    problems = {"dc1": "set the clock", "dc2": "set the clock", "dc3": ""}

    def connect(controller: str) -> tuple[Session, float]:
        raise DirectoryUnavailable(f"{controller} is wrong", remedy=problems[controller])

    with ExitStack() as stack:
        controllers = Controllers("x.test", listed(["dc1", "dc2", "dc3"]), connect, lambda: 0.0)
        stack.callback(controllers.close)
        with pytest.raises(DirectoryUnavailable, match="dc1 is wrong; dc2 is wrong") as refused:
            controllers.on_any("look", lambda _: None)
        assert refused.value.remedy == "set the clock"
    problems["dc2"] = "open the port"
    with ExitStack() as stack:
        controllers = Controllers("x.test", listed(["dc1", "dc2"]), connect, lambda: 0.0)
        stack.callback(controllers.close)
        with pytest.raises(DirectoryUnavailable) as refused:
            controllers.on_any("look", lambda _: None)
        assert "the network" in refused.value.remedy
