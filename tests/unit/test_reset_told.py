"""What people are told of a reset, and when: what became of it and no sooner than it is known, and nothing that somebody else could use."""

import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bastide.domain.errors import Conflict
from bastide.domain.people import Forest
from bastide.domain.reset.flow import Choice
from bastide.domain.reset.gates import Gate
from bastide.services.notifications.ports import Fate, Message, Outcome
from bastide.services.pace import RESET
from bastide.services.passwords.at_once import AtOnce
from bastide.services.reset.contents import codes_in
from bastide.services.reset.ports import NamedRule
from bastide.workers.jobs import table
from bastide.workers.runner import Runner
from tests.support.reset_world import ELSEWHERE, MAIL, NEW, NUMBER, ResetWorld, app_code
from tests.support.stores import with_schema

pytest_plugins = ["tests.support.reset_world"]
_COOLING = timedelta(hours=8)
DIRECTORY = "nina@corp.bastide.test"
_NEW_WAY, _TAKEN = "A new way", "was taken away"


@pytest.fixture
def world() -> Iterator[ResetWorld]:
    made = ResetWorld()
    made.register()
    yield made
    made.close()


@pytest.fixture
def cooling() -> Iterator[tuple[ResetWorld, str]]:
    """With the key URI of an authenticator: a way without any message but the one about the time to cool off."""
    made = ResetWorld(rules=(NamedRule(gates=(Gate.TOTP,), cooling=_COOLING),))
    yield made, made.register("nina", Gate.TOTP)
    made.close()


def notices(world: ResetWorld) -> list[str]:
    return [one.body for _, one in world.notifier.taken if "By self-service" in one.body]


def down(world: ResetWorld, *, now: bool = True) -> None:
    for system in world.systems.systems.values():
        system.faults.down = now


# ----------------------------------------------------------------------------------------------------- what became of it


@pytest.mark.parametrize(
    ("choice", "words"), [(Choice.UNLOCK, "was unlocked"), (Choice.SET, "new password was set")]
)
def test_what_was_done_is_told_to_all_contacts(world: ResetWorld, choice: Choice, words: str) -> None:
    token = world.through()
    world.reset.journey.choose(token, choice, NEW, ELSEWHERE)
    world.clock.move(seconds=30)
    world.deliver()
    assert len(notices(world)) == 2
    assert all(words in one for one in notices(world))


def test_an_unlock_that_no_system_took_is_not_told_as_one(world: ResetWorld) -> None:
    token = world.through()
    down(world)
    world.reset.journey.choose(token, Choice.UNLOCK, "", ELSEWHERE)
    world.deliver()
    assert len(notices(world)) == 2
    assert all("nothing was changed" in one for one in notices(world))


def test_a_set_is_told_when_the_first_system_took_it(world: ResetWorld) -> None:
    token = world.through()
    down(world)
    world.finish(token)
    assert notices(world) == []
    down(world, now=False)
    for _ in range(6):
        world.clock.move(minutes=2)
        world.deliver()
    assert world.password("nina") == NEW
    assert len(notices(world)) == 2
    assert all("was set" in one for one in notices(world))


def test_a_set_that_every_system_refuses_is_told_as_nothing(world: ResetWorld) -> None:
    token = world.through()
    for system in world.systems.systems.values():
        system.policy = lambda _: "too short"
    world.finish(token)
    world.clock.move(seconds=30)
    world.deliver()
    assert len(notices(world)) == 2
    assert all("nothing was changed" in one for one in notices(world))


def test_a_node_that_dies_before_it_asks_tells_of_no_unlock(
    world: ResetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As by kill -9."""

    def killed(*_: Any, **__: Any) -> Any:
        raise Killed

    token = world.through()
    with monkeypatch.context() as patch:
        patch.setattr(AtOnce, "_each", killed)
        with pytest.raises(Killed):
            world.reset.journey.choose(token, Choice.UNLOCK, "", ELSEWHERE)
    world.deliver()
    assert notices(world) == []
    for _ in range(20):
        world.clock.move(minutes=2)
        world.deliver()
    assert len(notices(world)) == 2
    assert all("no system has said" in one for one in notices(world))


# ------------------------------------------------------------------------------------------------------ registering anew


def told(world: ResetWorld, subject: str, since: int = 0) -> list[str]:
    """To whom, in order of the address."""
    world.deliver()
    return sorted(one.to for _, one in world.notifier.taken[since:] if subject in one.subject)


def register_elsewhere(world: ResetWorld, to: str = "thief@evil.example") -> None:
    """As whoever knows the password does, in a browser of his own."""
    actor, use = world.everyday("nina"), world.reset.registrations
    use.begin(actor, "of a thief", Gate.MAIL, to, "nina-corp-pw", ELSEWHERE)
    world.deliver()
    use.confirm(actor, "of a thief", Gate.MAIL, world.last_code(), ELSEWHERE)


def test_old_contacts_hear_of_a_new_destination(world: ResetWorld) -> None:
    before = len(world.notifier.taken)
    register_elsewhere(world)
    assert told(world, _NEW_WAY, before) == [DIRECTORY, MAIL]


def test_the_first_registration_is_told_to_the_address_of_the_directory(world: ResetWorld) -> None:
    assert told(world, _NEW_WAY) == [DIRECTORY]


def test_what_comes_beside_what_there_was_is_told_too() -> None:
    world = ResetWorld((Gate.MAIL, Gate.TOTP, Gate.KEY, Gate.QUESTIONS))
    world.register("nina", Gate.MAIL)
    for gate in (Gate.TOTP, Gate.KEY, Gate.QUESTIONS):
        before = len(world.notifier.taken)
        world.register("nina", gate)
        assert told(world, _NEW_WAY, before) == [DIRECTORY, MAIL], gate
    world.close()


def test_who_registered_the_address_of_the_directory_is_told_once(world: ResetWorld) -> None:
    register_elsewhere(world, DIRECTORY.title())
    world.deliver()
    before = len(world.notifier.taken)
    world.register("nina", Gate.MAIL)
    assert told(world, _NEW_WAY, before) == [DIRECTORY.title()]


def test_taking_it_away_first_hides_nothing(world: ResetWorld) -> None:
    """A breaker's: then nothing was registered any more that a new way took the place of, and nobody had heard of either."""
    before = len(world.notifier.taken)
    world.reset.registrations.remove(world.everyday("nina"), "nina-corp-pw")
    register_elsewhere(world)
    assert told(world, _TAKEN, before) == [DIRECTORY, MAIL]
    assert told(world, _NEW_WAY, before) == [DIRECTORY]


def test_a_telephone_hears_of_it_as_well() -> None:
    world = ResetWorld((Gate.SMS,))
    world.register()
    world.reset.registrations.remove(world.everyday("nina"), "nina-corp-pw")
    world.deliver()
    (number, text) = world.texts.taken[-1]
    assert number == NUMBER
    assert "was taken away" in text
    world.close()


def test_a_security_key_that_is_taken_away_and_registered_anew_is_told() -> None:
    world = ResetWorld((Gate.KEY,))
    world.register_key()
    before = len(world.notifier.taken)
    world.reset.keys.remove(world.everyday("nina"), "blue key", "nina-corp-pw")
    world.register_key(called="a thief's", address=ELSEWHERE)
    assert told(world, _TAKEN, before) == [DIRECTORY]
    assert told(world, _NEW_WAY, before) == [DIRECTORY]
    world.close()


def test_what_an_administrator_takes_away_is_told(world: ResetWorld) -> None:
    before = len(world.notifier.taken)
    world.reset.administration.unregister(world.dave, "nina")
    assert told(world, _TAKEN, before) == [DIRECTORY, MAIL]


def test_a_notice_to_who_is_gone_is_dropped(world: ResetWorld) -> None:
    before = len(world.notifier.taken)
    world.corp.remove(world.services.forests[Forest.CORP].find_person("nina").ref)
    world.reset.administration.unregister(world.dave, "nina")
    assert told(world, _TAKEN, before) == []
    with world.store.read() as uow:
        assert not [work for work in uow.work.listing() if work["kind"] == RESET]


# ------------------------------------------------------------------------------------------------------- time to cool off


def test_the_time_to_cool_off_begins_with_the_first_message(cooling: tuple[ResetWorld, str]) -> None:
    world, uri = cooling
    token = world.begin()
    world.notifier.down["mail"] = "the mail server does not answer"
    world.reset.journey.answer(token, Gate.TOTP, {"code": app_code(uri, world.clock.now())}, ELSEWHERE)
    for _ in range(20):
        world.clock.move(minutes=26)
        world.deliver()
    with pytest.raises(Conflict):
        world.finish(token)
    world.notifier.down.clear()
    world.clock.move(minutes=26)
    world.deliver()
    ready = world.row(token).ready_at
    assert ready == world.clock.now() + _COOLING
    said = next(
        one.body
        for _, one in world.notifier.taken
        if "this wasn't me" in one.body.lower() or "stop" in one.body
    )
    assert f"{ready:%Y-%m-%d %H:%M}" in said
    world.clock.move(hours=7, minutes=59)
    with pytest.raises(Conflict):
        world.finish(token)
    world.clock.move(minutes=1)
    world.finish(token)
    assert world.password("nina") == NEW


def test_a_second_message_does_not_begin_it_anew(cooling: tuple[ResetWorld, str]) -> None:
    world, uri = cooling
    token = world.begin()
    world.reset.journey.answer(token, Gate.TOTP, {"code": app_code(uri, world.clock.now())}, ELSEWHERE)
    world.deliver()
    ready = world.row(token).ready_at
    world.clock.move(hours=1)
    world.deliver()
    assert world.row(token).ready_at == ready


# --------------------------------------------------------------------------------------------------- everybody's messages


def test_names_of_nobody_spend_none_of_everybodys_messages() -> None:
    world = ResetWorld((Gate.SMS,), texts_per_day=5)
    world.register()
    for number in range(20):
        world.begin(f"nobody{number}", "192.0.2.66")
    before = len(world.texts.taken)
    world.begin("nina", ELSEWHERE)
    world.deliver()
    assert len(world.texts.taken) == before + 1
    world.close()


def test_a_program_for_short_messages_that_hangs_holds_up_no_mail(tmp_path: Path) -> None:
    """A breaker's: one job sent both in turn, half a minute for each text, and a code by mail was too old before its turn came."""
    rules = (NamedRule(gates=(Gate.SMS,), groups=("Phones",)), NamedRule(gates=(Gate.MAIL,)))
    world = ResetWorld(rules=rules, url=with_schema(tmp_path / "bastide.db"))
    phones, sid = world.corp.add_group("Phones").ref, world.everyday("olaf").sid
    world.services.forests[Forest.CORP].add_members(phones, [sid])
    world.register("olaf", Gate.SMS)
    world.register("nina", Gate.MAIL)
    hanging, released = threading.Event(), threading.Event()

    def hangs(number: str, text: str) -> None:
        hanging.set()
        assert released.wait(60)

    world.texts.send = hangs  # type: ignore[method-assign]
    world.begin("olaf", "203.0.113.20")
    world.clock.move(seconds=1)
    world.begin("nina")
    before = len(world.notifier.taken)
    jobs = tuple(job for job in table(world.services) if "reset" in job.kinds[0])
    runner = Runner(store=world.store, jobs=jobs, owner="a node", clock=world.clock)
    runner.start()
    try:
        assert hanging.wait(30)
        for _ in range(200):
            if len(world.notifier.taken) > before:
                break
            threading.Event().wait(0.05)
        assert [one.to for _, one in world.notifier.taken[before:]] == [MAIL]
    finally:
        released.set()
        runner.stop()
        world.close()


# --------------------------------------------------------------------------------------------- what a mail server repeats


def test_what_a_mail_server_repeats_of_a_refused_message_is_kept_nowhere(
    world: ResetWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Message] = []

    def repeating(_: str, messages: Sequence[Message]) -> tuple[Outcome, ...]:
        seen.extend(messages)
        return tuple(Outcome(Fate.REFUSED, f"554 {one.to}: {one.body[60:140]}") for one in messages)

    monkeypatch.setattr(world.notifier, "send", repeating)
    world.begin()
    world.deliver()
    (message,) = seen
    (code,) = codes_in(message.body)
    with world.store.read() as uow:
        rows = repr(uow.work.listing())
    assert "the channel mail" in rows
    assert code in message.body[60:140]
    assert code not in rows
    assert message.to not in rows
