"""What a system says it is, when it cannot be asked, when it answers badly, and what becomes of a target that nobody knows."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from bastide.domain.errors import Conflict, TargetUnavailable
from bastide.domain.management_agents import ManagementAgent, PasswordManagement, PasswordSource
from bastide.services.events import by_worker
from bastide.services.passwords.identity import asked, together
from bastide.services.passwords.imports import Mode
from bastide.services.passwords.management_agents import AgentDraft
from bastide.services.ports import AuditQuery
from bastide.targets.memory import MemorySystem
from tests.support.company import SECRET, agent_of, audited
from tests.support.spaces import HR, SpaceWorld, draft

pytest_plugins = ["tests.support.company"]

AD = ("directory 77f3", "domain corp.test")
ENABLED = PasswordManagement(enabled=True)


def moved(name: str, system: str, *, enabled: bool = True) -> AgentDraft:
    """The same agent, whose settings lead to another system."""
    agent = draft(name, passwords=PasswordManagement(enabled=enabled)).agent
    return AgentDraft(replace(agent, settings={"system": system}))


def kinds(world: SpaceWorld) -> list[str]:
    with world.store.read() as uow:
        return [record.kind for record in uow.audit.read(AuditQuery(limit=0))]


@pytest.fixture
def alias(world: SpaceWorld) -> MemorySystem:
    """`writer` is an enabled target of `corp`. The system `alias` is corp.test, and says so to whoever has the secret."""
    world.add("corp", source=PasswordSource(domain="corp.test"))
    agents = world.services.management_agents
    world.systems.systems["writer"] = first = MemorySystem(secret=SECRET)
    first.says = ("directory first",)
    world.systems.systems["alias"] = found = MemorySystem(secret=SECRET)
    found.says = AD
    world.add("writer")
    source = PasswordSource(domain="corp.test")
    agents.edit(world.dave, "corp", draft("corp", source=source, targets=("writer",)))
    agents.set_secret(world.dave, "writer", SECRET)
    agents.switch(world.dave, "writer", target=True)
    agents.switch(world.dave, "corp", source=True)
    return found


# --------------------------------------------------------------------------------------------------- who may be a target


def test_7_a_target_that_leads_to_an_unknown_system_is_disabled_in_the_same_commit(
    world: SpaceWorld, alias: MemorySystem
) -> None:
    agents = world.services.management_agents
    before = agent_of(world, "writer")
    tried = agents.edit(world.dave, "writer", moved("writer", "alias"), dry_run=True)
    assert (tried.disabled, agent_of(world, "writer")) == (True, before)
    known = len(kinds(world))
    done = agents.edit(world.dave, "writer", moved("writer", "alias"))
    assert (done.disabled, done.after.agent.passwords.enabled, done.after.agent.system) == (True, False, ())
    assert kinds(world)[known:] == ["ma.changed", "ma.disabled", "ma.identified"]
    assert "lead elsewhere" in audited(world, "ma.disabled")[-1]["because"]
    assert audited(world, "ma.identified")[-1]["system"] == [["directory first"], []]
    agents.set_secret(world.dave, "writer", SECRET)
    with pytest.raises(Conflict, match="round"):
        agents.switch(world.dave, "writer", target=True)
    with pytest.raises(Conflict, match="round"):
        agents.edit(world.dave, "writer", moved("writer", "alias"))
    alias.says = ("directory other",)
    assert agents.switch(world.dave, "writer", target=True).agent.system == ("directory other",)


@pytest.mark.parametrize("enabled", [True, False])
def test_7_a_target_whose_new_system_says_at_once_what_it_is_stays_as_it_was(
    world: SpaceWorld, alias: MemorySystem, enabled: bool
) -> None:
    """As with a keytab: there is no secret to be set first."""
    alias.secret = ""
    agents = world.services.management_agents
    with pytest.raises(Conflict, match="round"):
        agents.edit(world.dave, "writer", moved("writer", "alias", enabled=enabled))
    alias.says = ("directory other",)
    done = agents.edit(world.dave, "writer", moved("writer", "alias", enabled=enabled))
    assert (done.disabled, done.after.agent.passwords.enabled) == (False, enabled)
    assert done.after.agent.system == ("directory other",)


def test_7_a_target_of_a_kind_that_says_nothing_stays_enabled(world: SpaceWorld) -> None:
    world.add("files", passwords=ENABLED)
    world.systems.systems["folder"] = MemorySystem()
    done = world.services.management_agents.edit(world.dave, "files", moved("files", "folder"))
    assert (done.disabled, done.after.agent.passwords.enabled) == (False, True)
    assert "ma.identified" not in kinds(world)


def test_7_to_enable_by_an_edit_asks_as_the_switch_does(world: SpaceWorld, alias: MemorySystem) -> None:
    agents = world.services.management_agents
    agents.edit(world.dave, "writer", moved("writer", "alias", enabled=False))
    with pytest.raises(Conflict, match="cannot be asked what it is") as refused:
        agents.edit(world.dave, "writer", moved("writer", "alias"))
    assert "bastide ma secret" in refused.value.remedy
    with pytest.raises(Conflict, match="cannot be asked what it is"):
        agents.switch(world.dave, "writer", target=True)
    assert not agent_of(world, "writer").passwords.enabled
    agents.set_secret(world.dave, "writer", SECRET)
    with pytest.raises(Conflict, match="round"):
        agents.edit(world.dave, "writer", moved("writer", "alias"))
    alias.says = ("directory other",)
    done = agents.edit(world.dave, "writer", moved("writer", "alias"))
    assert (done.after.agent.passwords.enabled, done.after.agent.system) == (True, ("directory other",))
    assert audited(world, "ma.identified")[-1]["system"] == [[], ["directory other"]]


def test_7_nobody_is_made_an_enabled_target_before_it_can_be_asked(world: SpaceWorld) -> None:
    world.systems.systems["writer"] = system = MemorySystem(secret=SECRET)
    system.says = AD
    with pytest.raises(Conflict, match="cannot be asked what it is"):
        world.add("writer", passwords=ENABLED)
    assert not world.services.management_agents.all(world.dave)
    system.secret = ""
    assert world.add("writer", passwords=ENABLED).agent.system == AD


# -------------------------------------------------------------------------------------------------- what an import proves


def test_7_an_import_that_proves_a_cycle_disables_the_target_once_and_says_so(
    world: SpaceWorld, alias: MemorySystem
) -> None:
    """The system behind the name became another one, and nobody changed a setting."""
    world.systems.systems["writer"] = alias
    with pytest.raises(Conflict, match="round"):
        world.load("writer", Mode.FULL, dry_run=True)
    assert agent_of(world, "writer").passwords.enabled, "a preview changes nothing"
    known = len(kinds(world))
    with pytest.raises(Conflict, match="round") as refused:
        world.load("writer", Mode.FULL)
    assert refused.value.remedy.startswith("writer is disabled now. ")
    now = agent_of(world, "writer")
    assert (now.passwords.enabled, now.system) == (False, ("directory first",))
    assert kinds(world)[known:] == ["ma.disabled", "ma.import-failed"]
    (said,) = audited(world, "ma.disabled")
    assert "the same system as corp" in said["because"]
    assert said["passwords"][1]["enabled"] is False
    with pytest.raises(Conflict, match="round") as again:
        world.load("writer", Mode.FULL)
    assert "disabled now" not in again.value.remedy
    assert len(audited(world, "ma.disabled")) == 1
    with pytest.raises(Conflict, match="round"):
        world.services.management_agents.switch(world.dave, "writer", target=True)


def test_7_an_import_by_schedule_disables_it_too(world: SpaceWorld, alias: MemorySystem) -> None:
    world.systems.systems["writer"] = alias
    world.services.imports.ask(world.dave, "writer", full=True)
    world.runner.run_due()
    assert not agent_of(world, "writer").passwords.enabled
    with world.store.read() as uow:
        (record,) = uow.audit.read(AuditQuery(kind="ma.disabled", limit=0))
    assert (record.actor, record.subject_name) == (by_worker("x", world.clock.now()).actor, "writer")


# --------------------------------------------------------------------------------------------------------- bad answers


def answering(says: Callable[[], Any]) -> Any:
    class Systems:
        def identity(self, agent: ManagementAgent, secret: str) -> Any:
            del agent, secret
            return says()

    return Systems()


def raising(error: BaseException) -> Callable[[], Any]:
    def raise_it() -> Any:
        raise error

    return raise_it


WHO = draft("writer").agent


@pytest.mark.parametrize(
    "error", [ValueError(SECRET), OSError(SECRET), AssertionError(SECRET), RecursionError(SECRET)]
)
def test_a_system_that_fails_in_a_way_of_its_own_is_one_that_cannot_be_read(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert asked(answering(raising(error)), WHO, SECRET) is None
    assert type(error).__name__ in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("says", [None, 7, [b"directory 1"], [1]])
def test_what_is_no_list_of_texts_is_no_answer(says: Any) -> None:
    assert asked(answering(lambda: says), WHO, SECRET) is None


def test_the_secret_reaches_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    refused = TargetUnavailable(f"cannot sign in: who bound with {SECRET.encode().hex()}")
    assert asked(answering(raising(refused)), WHO, SECRET) is None
    assert asked(answering(raising(TargetUnavailable("it is away"))), WHO, SECRET) is None
    assert "it is away" in caplog.text
    assert "not repeated here" in caplog.text
    assert SECRET.encode().hex() not in caplog.text


def test_the_secret_is_no_label() -> None:
    said = ["directory 1", f"mariadb hostname={SECRET}"]
    assert asked(answering(lambda: said), WHO, SECRET) == ("directory 1",)
    assert asked(answering(lambda: said), WHO, "") == tuple(said)


def test_labels_are_few_short_and_printable() -> None:
    said = asked(answering(lambda: (f"directory {'x' * 1000}{number}" for number in range(20_000))), WHO, "")
    assert said is not None
    assert (len(said), len(set(said)), max(map(len, said)) <= 200) == (32, 32, True)
    odd = ["", "directory \x1b[31m", "a\nb", "half \ud83d", "directory 1", "directory 1"]
    assert asked(answering(lambda: odd), WHO, "") == ("directory 1",)
    long = "postgresql " + "x" * 189
    assert asked(answering(lambda: [long]), WHO, "") == (long,)


def test_an_endless_answer_ends() -> None:
    def forever() -> Iterator[str]:
        while True:
            yield "directory 1"

    assert asked(answering(forever), WHO, "") == ("directory 1",)


# ------------------------------------------------------------------------------------------------------ what is remembered


def test_7_labels_do_not_vanish_while_the_settings_are_the_same(
    world: SpaceWorld, alias: MemorySystem
) -> None:
    """A directory that shows less than before (a right that was taken away) is still the same one."""
    agents = world.services.management_agents
    agents.switch(world.dave, "corp", source=False)
    agents.edit(world.dave, "corp", draft("corp", source=PasswordSource(domain="corp.test")))
    world.systems.systems["writer"] = alias
    world.load("writer", Mode.FULL)
    both = ("directory 77f3", "directory first", "domain corp.test")
    assert agent_of(world, "writer").system == both
    assert audited(world, "ma.identified")[-1]["system"] == [["directory first"], list(both)]
    known = len(audited(world, "ma.identified"))
    for fewer in (("directory 77f3",), ()):
        alias.says = fewer
        world.load("writer", Mode.FULL)
        agents.switch(world.dave, "writer", target=False)
        agents.switch(world.dave, "writer", target=True)
        assert agent_of(world, "writer").system == both
    assert len(audited(world, "ma.identified")) == known
    with pytest.raises(Conflict, match="round"):
        agents.edit(
            world.dave, "corp", draft("corp", source=PasswordSource(domain="corp.test"), targets=("writer",))
        )


def test_where_it_is_too_much_what_is_said_now_goes_first() -> None:
    old = tuple(f"directory old {number:02}" for number in range(32))
    kept = together(("directory new",), old)
    assert (len(kept), "directory new" in kept, kept == tuple(sorted(kept))) == (32, True, True)


def test_7_who_makes_an_agent_is_told_in_the_audit_what_it_is(world: SpaceWorld) -> None:
    world.systems.systems["ldap"] = system = MemorySystem()
    system.says = ("directory 1",)
    world.add("ldap")
    (said,) = audited(world, "ma.identified")
    assert said["system"] == [[], ["directory 1"]]


# ------------------------------------------------------------------------------------------------------------ two at once


def between(world: SpaceWorld, monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Somebody else acts after the first read and before the write."""
    agents = world.services.management_agents
    inner = agents._asked
    acted: list[bool] = []

    def asking(agent: ManagementAgent, secret: str) -> tuple[str, ...] | None:
        said = inner(agent, secret)
        if not acted:
            acted.append(True)
            action()
        return said

    monkeypatch.setattr(agents, "_asked", asking)


class Late:
    """A store in which somebody else is faster: `write` is called in place of its own."""

    def __init__(self, store: Any, write: Callable[[], Any]) -> None:
        self.read = store.read
        self.write = write


@pytest.mark.parametrize("switching", [True, False])
def test_7_settings_that_somebody_else_changed_meanwhile_are_a_conflict(
    world: SpaceWorld, monkeypatch: pytest.MonkeyPatch, switching: bool
) -> None:
    """What was asked was about another system."""
    for name in ("a", "b"):
        world.systems.systems[name] = MemorySystem()
        world.systems.systems[name].says = (f"directory {name}",)
    world.systems.systems["c"] = MemorySystem()
    world.add("a")
    agents = world.services.management_agents
    between(world, monkeypatch, lambda: agents.edit(world.dave, "a", moved("a", "b", enabled=False)))
    acts: dict[bool, Callable[[], object]] = {
        True: lambda: agents.switch(world.dave, "a", target=True),
        False: lambda: agents.edit(world.dave, "a", moved("a", "c", enabled=False)),
    }
    with pytest.raises(Conflict, match="changed by somebody else"):
        acts[switching]()
    now = agent_of(world, "a")
    assert (now.settings, now.system, now.passwords.enabled) == ({"system": "b"}, ("directory b",), False)


def test_7_an_edit_does_not_enable_what_an_import_has_just_disabled(
    world: SpaceWorld, alias: MemorySystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the edit it was an enabled target when it was read, so nothing had to be asked."""
    world.systems.systems["writer"] = alias
    agents = world.services.management_agents
    acted: list[bool] = []
    inner = agents._store.write

    def writing() -> Any:
        if not acted:
            acted.append(True)
            with pytest.raises(Conflict, match="round"):
                world.load("writer", Mode.FULL)
        return inner()

    monkeypatch.setattr(agents, "_store", Late(world.store, writing))
    with pytest.raises(Conflict, match="changed by somebody else"):
        agents.edit(world.dave, "writer", draft("writer", rules=HR, passwords=ENABLED))
    assert not agent_of(world, "writer").passwords.enabled


def test_7_an_import_does_not_note_what_another_system_said(
    world: SpaceWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        world.systems.systems[name] = MemorySystem()
        world.systems.systems[name].says = (f"directory {name}",)
    world.add("a")
    agents = world.services.management_agents
    world.systems.systems["a"].says = ("directory a2",)
    inner = world.systems.identity

    def asking(agent: ManagementAgent, secret: str) -> tuple[str, ...]:
        said = inner(agent, secret)
        if agent.settings["system"] == "a":
            agents.edit(world.dave, "a", moved("a", "b", enabled=False))
        return said

    monkeypatch.setattr(world.systems, "identity", asking)
    world.load("a", Mode.FULL)
    assert agent_of(world, "a").system == ("directory b",)
