"""What a connected system says is kept for people, unless it holds a password of the part it was sent, or the agent's own secret."""

import json
from collections.abc import Iterable

import pytest

from bastide.domain.errors import (
    BadSource,
    BastideError,
    CapabilityMissing,
    InvalidInput,
    NotConfigured,
    TargetDenied,
    TargetUnavailable,
)
from bastide.domain.passwords import Code
from bastide.domain.spelling import repeats, spellings, spells, told
from bastide.services.passwords import setting
from bastide.services.passwords.lookup import secret_context
from bastide.services.passwords.ports import Result
from tests.support.sync_world import SyncWorld, guid_of

PASSWORDS = {"alice": "Grüße 🐟 pass", "bob": "Correct-Horse-Battery-1"}
SECRET = "svc-crm-Own-Secret-77"


@pytest.fixture
def world() -> SyncWorld:
    made = SyncWorld()
    made.ready("alice", "bob")
    return made


def details(world: SyncWorld, agent: str = "crm") -> list[str]:
    return [one.detail for one in world.deliveries() if one.ma == f"ma-{agent}"]


def everything(world: SyncWorld) -> str:
    return f"{world.deliveries()} {world.audit()} {world.events.written}"


def tell_both(world: SyncWorld) -> None:
    for name, password in PASSWORDS.items():
        world.tell(name, password)


def say(world: SyncWorld, name: str, detail: str) -> None:
    world.systems.systems["crm"].faults.answers[guid_of(f"crm {name}")] = Result(Code.POLICY, detail)


@pytest.mark.parametrize(
    "error",
    [
        TargetDenied(f"who bound with {SECRET}"),
        TargetUnavailable(f"gone: {SECRET.upper()}"),
        NotConfigured(f"no way: {SECRET.encode().hex()}"),
        CapabilityMissing(f"cannot: {json.dumps(SECRET)}"),
        InvalidInput("settings.x", SECRET[:-2]),
        BadSource(SECRET[2:]),
    ],
)
def test_the_agents_secret_is_in_no_delivery_and_no_record(world: SyncWorld, error: BastideError) -> None:
    with world.store.write() as uow:
        crm = uow.agents.by_name("crm")
        uow.agents.set_secret(crm.id, world.sealer.seal(SECRET.encode(), secret_context(crm.id)))
        uow.commit()
    held = error.message.rpartition(" ")[2]
    world.systems.systems["crm"].faults.openings.append(error)
    world.tell("alice", PASSWORDS["alice"])
    world.work()
    assert details(world) == ["what it said is not repeated here: it may hold a part of the password"]
    assert held not in everything(world)


def test_an_answer_that_quotes_somebody_elses_password_is_withheld(world: SyncWorld) -> None:
    """A driver that quotes its batch, in the answer to one account of it."""
    tell_both(world)
    say(world, "alice", f"batch [{PASSWORDS['bob']}] refused")
    say(world, "bob", "too short")
    world.work()
    assert sorted(details(world)) == ["the target's words are withheld: they held a password", "too short"]
    assert PASSWORDS["bob"] not in everything(world)


@pytest.mark.parametrize(
    "kind", [TargetUnavailable, TargetDenied, BadSource, NotConfigured, CapabilityMissing]
)
def test_an_error_of_any_kind_tells_no_password_of_its_part(
    world: SyncWorld, kind: type[BastideError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking(*_: object) -> None:
        raise kind(f"gone at {PASSWORDS['bob'].encode('utf-16-le').hex()}")

    monkeypatch.setattr(world.systems.systems["crm"], "write", breaking)
    tell_both(world)
    world.work()
    assert details(world) == ["the target's words are withheld: they held a password"] * 2


@pytest.mark.parametrize(("words", "times"), [("no", [2]), ("", [])])
def test_the_passwords_of_a_part_are_spelled_out_once_and_only_if_the_target_says_something(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch, words: str, times: list[int]
) -> None:
    worked_out: list[int] = []

    def counting(secrets: Iterable[str]) -> frozenset[str]:
        given = list(secrets)
        worked_out.append(len(given))
        return spellings(given)

    monkeypatch.setattr(setting, "spellings", counting)
    tell_both(world)
    say(world, "alice", words)
    say(world, "bob", words)
    world.work()
    assert worked_out == times


class Long(str):
    """A text that says how much of it was looked at."""

    __slots__ = ()

    def casefold(self) -> str:
        raise AssertionError("all of it was looked at")

    def __iter__(self) -> object:  # type: ignore[override]
        raise AssertionError("all of it was looked at")


def test_no_more_than_a_few_kilobytes_of_a_text_are_looked_at() -> None:
    password = PASSWORDS["bob"]
    long = Long("x " * 500_000 + password)
    assert told(long, [password]) == told("x " * 200, [password])
    assert not spells(long, spellings([password]))
    assert not repeats(long, [password])
    near = "x" * 3_900 + password
    assert "not repeated here" in told(near, [password])
    assert spells(near, spellings([password]))


def test_what_is_behind_them_is_never_shown(world: SyncWorld) -> None:
    for name, password in PASSWORDS.items():
        say(world, name, "x" * 4_090 + password)
    tell_both(world)
    world.work()
    assert [set(detail) for detail in details(world)] == [{"x"}, {"x"}]


def test_no_secret_at_all_is_repeated_by_nothing() -> None:
    assert spellings(["", ""]) == frozenset()
    assert told("refused", ["", ""]) == "refused"
