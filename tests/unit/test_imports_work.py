"""Imports as durable work, and large ones."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.errors import (
    BadSource,
    BastideError,
    CapabilityMissing,
    TargetDenied,
    TargetUnavailable,
)
from bastide.domain.management_agents import (
    ImportPlan,
    ImportRules,
    MaId,
    ManagementAgent,
)
from bastide.services.passwords.imports import Mode
from bastide.services.passwords.ports import Page
from bastide.services.passwords.workspace import Touched
from bastide.targets.memory import MemorySystem
from tests.support.company import SECRET, audited
from tests.support.spaces import HR, JOIN, SpaceWorld

pytest_plugins = ["tests.support.company"]


def test_a_schedule_imports_and_plans_the_next(world: SpaceWorld) -> None:
    world.add("hr", rules=HR, imports=ImportPlan(every=timedelta(minutes=15)))
    world.staff("ann")
    world.runner.run_due()
    assert world.people() == [], "a minute to set the secret"
    world.clock.move(minutes=1)
    world.runner.run_due()
    assert len(world.people()) == 1
    world.staff("ben")
    world.clock.move(minutes=14)
    world.runner.run_due()
    assert len(world.people()) == 1
    world.clock.move(minutes=1)
    world.runner.run_due()
    assert len(world.people()) == 2
    assert audited(world, "ma.imported")[-1]["mode"] == "delta"


def test_an_asked_import_runs_once(world: SpaceWorld) -> None:
    world.add("hr", rules=HR)
    world.staff("ann")
    world.services.imports.ask(world.dave, "hr")
    world.runner.run_due()
    assert len(world.people()) == 1
    world.services.imports.ask(world.dave, "hr", full=True)
    world.runner.run_due()
    assert [one["mode"] for one in audited(world, "ma.imported")] == ["full", "full"]
    world.clock.move(days=1)
    world.runner.run_due()
    assert len(audited(world, "ma.imported")) == 2


def test_a_failed_import_is_tried_again_and_audited_once(world: SpaceWorld) -> None:
    world.add("hr", rules=HR)
    world.staff("ann")
    world.system("hr").faults.down = True
    world.services.imports.ask(world.dave, "hr")
    for _ in range(5):
        world.runner.run_due()
        world.clock.move(minutes=1)
    assert audited(world, "ma.import-failed") == [
        {"error": "target-unavailable", "message": "the system does not answer"}
    ]
    world.system("hr").faults.down = False
    world.clock.move(minutes=1)
    world.runner.run_due()
    assert len(world.people()) == 1


def test_a_blown_fuse_waits_for_a_person(company: SpaceWorld) -> None:
    company.system("ldap").delete("zoe")
    company.services.imports.ask(company.dave, "ldap", full=True)
    company.runner.run_due()
    with company.store.read() as uow:
        row = next(r for r in uow.work.listing() if r["kind"] == "import")
    assert "more than 10 %" in str(row["error"])
    assert row["due"] == company.clock.now() + timedelta(hours=1)
    assert company.cs("zoe")


def test_work_of_an_agent_that_is_gone_is_over(world: SpaceWorld) -> None:
    world.add("hr")
    world.services.imports.ask(world.dave, "hr")
    world.services.management_agents.remove(world.dave, "hr")
    assert world.runner.run_due() == 1
    assert world.runner.run_due() == 0


@pytest.mark.parametrize("raised", [KeyError(SECRET), ValueError(SECRET), OSError(SECRET)])
def test_a_connector_that_fails_in_a_way_of_its_own_tells_no_secret(
    world: SpaceWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, raised: Exception
) -> None:
    world.add("hr")

    def broken(_: bytes) -> Iterator[Page]:
        raise raised
        yield

    monkeypatch.setattr(world.system("hr"), "pages", broken)
    with pytest.raises(BadSource, match=f"failed with {type(raised).__name__}") as refused:
        world.load("hr")
    assert SECRET not in repr(refused.getrepr()) + caplog.text + str(audited(world, "ma.import-failed"))


def test_an_object_without_an_anchor_is_no_object(world: SpaceWorld) -> None:
    world.add("hr")
    world.system("hr").put("", cn="nobody")
    with pytest.raises(BadSource, match="without an anchor"):
        world.load("hr")


def test_too_many_changed_values_are_all_values(monkeypatch: pytest.MonkeyPatch) -> None:
    touched = Touched()
    assert not touched
    monkeypatch.setattr("bastide.services.passwords.workspace._TOUCHED_LIMIT", 2)
    touched.add([("a", "1"), ("a", "2"), ("a", "3")])
    assert touched.everything
    assert not touched.keys
    rules = ImportRules(joins=(JOIN,))
    agent = ManagementAgent(id=MaId("x"), name="x", connector="memory", settings={}, rules=rules)
    assert touched.concerns(agent, {})
    assert not touched.concerns(replace(agent, rules=ImportRules()), {})


def test_a_thousand_objects_in_pages_of_odd_sizes(world: SpaceWorld) -> None:
    world.add("hr", rules=HR, system=MemorySystem(page_size=1234))
    world.add("ldap", system=MemorySystem(page_size=77))
    for number in range(1501):
        for name in ("hr", "ldap"):
            world.system(name).put(f"{name}-{number}", employeeNumber=str(number), cn=f"n{number}")
    assert world.load("ldap").statistics.waiting == 1501
    numbers = world.load("hr").statistics
    assert (numbers.projected, numbers.joined, numbers.people_added) == (1501, 1501, 1501)
    again = world.load("ldap", Mode.FULL).statistics
    assert (again.unchanged, again.disconnected, again.people_added) == (1501, 0, 0)


@pytest.mark.parametrize(
    "error",
    [
        TargetUnavailable(f"gone: who bound with {SECRET}", remedy="look there"),
        TargetDenied("refused", remedy=f"is the password {SECRET.upper()} right?"),
        BadSource(f"cannot be read: {SECRET.encode().hex()}", remedy=SECRET),
        CapabilityMissing(SECRET[:-3]),
        BadSource("x" * 5_000 + SECRET, remedy=SECRET),
    ],
)
def test_what_a_system_says_while_it_is_read_tells_no_secret(
    world: SpaceWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: BastideError
) -> None:
    world.add("hr")
    world.services.management_agents.set_secret(world.dave, "hr", SECRET)

    def broken(_: bytes) -> Iterator[Page]:
        raise error
        yield

    monkeypatch.setattr(world.system("hr"), "pages", broken)
    world.services.imports.ask(world.dave, "hr")
    world.runner.run_due()
    with pytest.raises(type(error)) as refused:
        world.load("hr")
    with world.store.read() as uow:
        rows = str(list(uow.work.listing()))
    shown = repr(refused.getrepr()) + caplog.text + str(audited(world, "ma.import-failed")) + rows
    shown += refused.value.message + refused.value.remedy + str(refused.value)
    forms = (SECRET[:-3].lower(), SECRET.encode().hex())
    assert not [form for form in forms if form in shown.lower()]
    assert "not repeated here" in shown


def test_what_a_system_says_is_kept_where_it_holds_no_secret(world: SpaceWorld) -> None:
    world.add("hr")
    world.services.management_agents.set_secret(world.dave, "hr", SECRET)
    world.system("hr").faults.openings.append(TargetDenied("it is closed today", remedy="come tomorrow"))
    with pytest.raises(TargetDenied) as refused:
        world.load("hr")
    assert (refused.value.message, refused.value.remedy) == ("it is closed today", "come tomorrow")
