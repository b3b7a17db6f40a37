"""Alerts of those who keep us from seeing, of guessing at resets and the help desk, and of what comes and goes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.audit.siem import MemoryOutlet
from bastide.domain.alerts import HOLD, Policy, Severity, Stage, State
from bastide.domain.errors import DirectoryDenied
from bastide.domain.people import Forest
from bastide.wiring import Adapters
from bastide.wiring.alerts import AlertAdapters
from tests.support.alert_world import FOLLOWERS, AlertWorld, only, rule
from tests.support.monitored import MonitoredWorld

pytest_plugins = ["tests.support.alert_world"]
CORP = Forest.CORP


class Watched(MonitoredWorld):
    """A monitored Bastide that raises alerts."""

    def __init__(self) -> None:
        self.people = MemoryOutlet("people", people=True)
        super().__init__(followers=FOLLOWERS)
        assert self.services.alerts is not None
        self.services.alerts.reader.plant()

    def _adapters(self) -> Adapters:
        return replace(super()._adapters(), alerts=AlertAdapters((self.people,), Policy()))

    def rung(self) -> list[str]:
        return [one.alert.rule for one in self.people.taken]

    def alerts(self, *states: State) -> list[str]:
        with self.store.read() as uow:
            return [one.rule for one in uow.alerts.newest(states, 10)]

    def shut(self) -> Callable[[], None]:
        """CORP's administrator disables the account that Bastide reads with. Returns what enables it."""
        feed = self.feeds[CORP]
        real = feed.usn, feed.mark

        def refused(controller: str = "") -> object:
            raise DirectoryDenied("the account svc-bastide is disabled", remedy="enable it")

        feed.usn = feed.mark = refused  # type: ignore[assignment,method-assign]

        def undo() -> None:
            feed.usn, feed.mark = real  # type: ignore[method-assign]

        return undo


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    made.ready()
    made.look()
    yield made
    made.close()


# ------------------------------------------------------------------------------------------------------------ not monitored


def test_a_domain_that_is_not_read_for_five_minutes_is_an_alert_until_it_is_read(watched: Watched) -> None:
    undo = watched.shut()
    watched.look(seconds=90)
    assert (watched.told("monitor.blind"), watched.rung()) == ([], [])
    for _ in range(4):
        watched.look(seconds=200)
    (blind,) = watched.told("monitor.blind")
    assert (blind["problem"], bool(blind["last_contact"])) == ("the account svc-bastide is disabled", True)
    assert watched.rung() == ["not-monitored"]
    undo()
    for _ in range(3):
        watched.look(seconds=300)
    assert len(watched.told("monitor.seen")) == 1
    assert watched.alerts(State.OPEN) == []
    assert watched.alerts(State.OVER) == ["not-monitored"]


def test_that_monitoring_is_paused_is_an_alert_until_it_is_resumed(watched: Watched) -> None:
    control = watched.monitoring.control
    control.turn(watched.dave, "CHG-4711", on=False)
    watched.look()
    watched.look()
    assert watched.rung() == ["not-monitored"]
    assert watched.people.taken[0].alert.title == r"Monitoring was paused by PRIV\dave"
    assert "CHG-4711" in watched.people.taken[0].alert.text
    control.turn(watched.dave, "done", on=True)
    watched.look()
    watched.look()
    assert watched.alerts(State.OVER) == ["not-monitored"]


# --------------------------------------------------------------------------------------------------------- resets, help desk


@pytest.mark.parametrize("kind", ["reset.gate-refused", "help-desk.verification-refused"])
def test_who_guesses_at_resets_or_at_the_help_desk_is_found(alert_world: AlertWorld, kind: str) -> None:
    for _ in range(4):
        alert_world.happen(kind)
    alert_world.settle()
    assert alert_world.found() == ()
    alert_world.happen(kind)
    alert_world.settle()
    assert [one.rule for one in alert_world.found()] == ["failing-gates-of-one"]
    for number in range(25):
        alert_world.happen(kind, subject=f"S-1-5-21-1-2-3-{2000 + number}", name=f"p{number}")
    alert_world.settle()
    assert {one.rule for one in alert_world.found()} == {"failing-gates-of-one", "failing-gates-of-many"}


@pytest.mark.parametrize(
    ("kind", "expected", "severity"),
    [
        ("reset.stopped", "reset-stopped", Severity.HIGH),
        ("reset.key-copied", "failing-gates-of-one", Severity.MEDIUM),
    ],
)
def test_one_record_of_a_reset_is_enough(
    alert_world: AlertWorld, kind: str, expected: str, severity: Severity
) -> None:
    alert_world.happen(kind)
    alert_world.settle()
    (alert,) = alert_world.found()
    assert (alert.rule, alert.severity) == (expected, severity)
    assert "alice" in alert.title


# -------------------------------------------------------------------------------------------------------- comes and goes


def come_and_go(world: AlertWorld) -> None:
    world.happen("drift.found", name="PAM-Files")
    world.settle()
    world.happen("drift.repaired", name="PAM-Files")
    world.settle()


def test_what_comes_and_goes_rings_once_and_counts(alert_world: AlertWorld) -> None:
    """(3)."""
    for _ in range(20):
        come_and_go(alert_world)
    (alert,) = alert_world.found()
    assert (alert.count, alert.returns, alert.state) == (20, 19, State.OVER)
    assert alert_world.told(alert_world.people) == [("raised", "drift")]
    assert len(alert_world.audited("alert.reopened")) == 19
    alert_world.clock.move(hours=2)
    alert_world.settle()
    assert len(alert_world.people.taken) == 1
    come_and_go(alert_world)
    assert [one.count for one in alert_world.found()] == [1, 20]
    assert len(alert_world.people.taken) == 2


def test_programs_are_told_of_each_with_an_id_of_its_own(alert_world: AlertWorld) -> None:
    for _ in range(3):
        come_and_go(alert_world)
    assert [one.stage.value for one in alert_world.program.taken] == ["raised", "over"] * 3
    assert len({one.id for one in alert_world.program.taken}) == 6


def test_what_came_back_and_stands_rings_again_at_the_end_of_its_window(alert_world: AlertWorld) -> None:
    """(3)."""
    come_and_go(alert_world)
    alert_world.happen("drift.found", name="PAM-Files")
    alert_world.settle()
    assert [one.state for one in alert_world.found()] == [State.OPEN]
    assert len(alert_world.people.taken) == 1
    alert_world.clock.move(seconds=HOLD.total_seconds())
    alert_world.settle()
    assert [one.alert.count for one in alert_world.people.taken] == [1, 2]


def test_who_had_it_in_hand_has_it_in_hand_again(alert_world: AlertWorld) -> None:
    alert_world.happen("drift.found", name="PAM-Files")
    alert_world.settle()
    alert_world.alerts.desk.acknowledge(alert_world.sign_in("dave"), alert_world.found()[0].id, "I look")
    alert_world.happen("drift.repaired", name="PAM-Files")
    alert_world.settle()
    alert_world.happen("drift.found", name="PAM-Files")
    alert_world.settle()
    assert [one.state for one in alert_world.found()] == [State.ACKNOWLEDGED]


def test_what_came_back_is_escalated_as_a_new_one_is() -> None:
    policy = only(rule("drift", escalate_after=timedelta(minutes=30), escalate_to=frozenset({"people"})))
    world = AlertWorld(policy)
    come_and_go(world)
    world.clock.move(minutes=31)
    world.settle()
    world.happen("drift.found", name="PAM-Files")
    world.settle()
    world.clock.move(minutes=31)
    world.settle()
    assert ("escalated", "drift") in world.told(world.people)
    world.close()


def test_what_was_escalated_and_comes_back_is_escalated_again() -> None:
    """(3)."""
    policy = only(
        rule("not-monitored", escalate_after=timedelta(minutes=5), escalate_to=frozenset({"people"}))
    )
    world = AlertWorld(policy)
    for times in (1, 2):
        world.happen("monitor.blind", subject="corp", name="corp.test")
        world.settle()
        world.clock.move(minutes=6)
        world.settle()
        assert world.told(world.people).count(("escalated", "not-monitored")) == times
        assert world.found()[0].escalated_at is not None
        world.happen("monitor.seen", subject="corp", name="corp.test")
        world.settle()
    assert len({one.id for one in world.people.taken if one.stage is Stage.ESCALATED}) == 2
    world.close()


# ------------------------------------------------------------------------------------------- one alert for the same alone

DOMAIN_ADMINS = {"subject": "S-1-5-21-1-2-3-512", "name": "Domain Admins"}


def unexplained(world: AlertWorld, target: str, what: str = "member-added") -> None:
    said = {
        "what": what,
        "target": target,
        "group": "Domain Admins",
        "computer": "dc1",
        "reason": "not Bastide",
    }
    world.happen("intake.unexplained", **DOMAIN_ADMINS, data=said)
    world.settle()


def test_each_kind_of_sign_of_an_emergency_account_is_told(alert_world: AlertWorld) -> None:
    """alike (2): a wrong password hid for an hour that somebody signed in."""
    for kind, what in (
        ("wrong-password", "wrong-password"),
        ("opened", ""),
        ("changed", "password"),
        ("changed", "groups"),
        ("used", "sign-in"),
    ):
        for _ in range(2):
            alert_world.happen(f"break-glass.{kind}", name="emergency-1", data={"what": what})
            alert_world.settle()
    assert {one.count for one in alert_world.found()} == {2}
    assert len(alert_world.people.taken) == len(alert_world.program.taken) == 5


def test_each_member_that_nothing_explains_is_told(alert_world: AlertWorld) -> None:
    """alike (2): a decoy hid the next one."""
    far = f"CN={'x' * 300},OU=y"
    for target in (
        "CN=decoy",
        "CN=eve",
        "CN=eve",
        f"CN=1,{far}",
        f"CN=2,{far}",
        f"{far},DC=1",
        f"{far},DC=2",
    ):
        unexplained(alert_world, target)
    unexplained(alert_world, "CN=eve", "member-removed")
    assert sorted(one.count for one in alert_world.found()) == [1, 1, 1, 1, 1, 1, 2]
    assert len(alert_world.people.taken) == len(alert_world.program.taken) == 7


def test_each_use_of_the_kill_switch_on_something_else_is_told(alert_world: AlertWorld) -> None:
    """alike (2): it has no subject."""
    for what in ("Files of alice", "all", "all"):
        alert_world.happen("kill-switch", subject="", name="", data={"what": what})
        alert_world.settle()
    assert sorted(one.count for one in alert_world.found()) == [1, 2]


@pytest.mark.parametrize(
    ("kind", "rings"),
    [
        ("break-glass.used", True),
        ("intake.unexplained", True),
        ("kill-switch", True),
        ("reset.stopped", True),
        ("drift.found", False),
        ("monitor.blind", False),
    ],
)
def test_what_happens_after_somebody_acknowledged_is_news(
    alert_world: AlertWorld, kind: str, rings: bool
) -> None:
    """(2): a state goes on, and whoever has it in hand knows; of what happens again they know nothing."""
    alert_world.happen(kind)
    alert_world.settle()
    alert_world.alerts.desk.acknowledge(
        alert_world.sign_in("dave"), alert_world.found()[0].id, "planned, CHG-1"
    )
    alert_world.clock.move(minutes=5)
    alert_world.happen(kind)
    alert_world.settle()
    assert len(alert_world.people.taken) == (2 if rings else 1)
    assert len(alert_world.found(State.OPEN)) == (1 if rings else 0)


def test_a_source_that_is_heard_again_settles_its_silence_and_no_gap_of_a_computer(
    alert_world: AlertWorld,
) -> None:
    """alike (1)."""
    for computer in ("dc1", "dc2", ""):
        data = (
            {"because": "silent"}
            if not computer
            else {"because": "record numbers jump", "computer": computer}
        )
        alert_world.happen("intake.gap", subject="wec", name="wec", data=data)
    alert_world.settle()
    alert_world.happen("intake.heard", subject="wec", name="wec")
    alert_world.settle()
    assert sorted((one.key, one.state.value) for one in alert_world.found()) == [
        ("wec", "over"),
        ("wec/dc1", "open"),
        ("wec/dc2", "open"),
    ]
