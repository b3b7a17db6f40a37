"""A person is told of what the help desk did; the numbers are those of domain/help_desk_told.py and services/help_desk/letters.py."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.errors import BastideError, DirectoryUnavailable, InvalidInput, LostLease, StoreError
from bastide.domain.help_desk_told import LIFE
from bastide.domain.management_agents import MvId
from bastide.domain.passwords import Code
from bastide.domain.wording import Language
from bastide.notify.memory_texts import MemoryTexts
from bastide.services.help_desk.letters import Letters
from bastide.services.help_desk.post import Post, RegisteredContacts
from bastide.services.notifications.people import AddressBook
from bastide.services.notifications.ports import Channel, Fate, Message, Outcome
from bastide.services.pace import HELP_DESK, HELP_DESK_TEXT
from bastide.services.passwords.at_once import AtOnce
from bastide.services.passwords.ports import Result
from bastide.services.ports import AuditQuery, Lease
from bastide.services.reset.contents import Contents
from bastide.wiring import Adapters
from tests.support.help_desk import HelpDeskWorld, id_of
from tests.unit.test_help_desk import NEW, proved, set_it
from tests.unit.test_help_desk_contacts import DIRECTORY, NUMBER, OTHER, OWN, register

pytest_plugins = ["tests.support.help_desk"]
OLD = "Old-Horse-1"


class Killed(BaseException):
    """As by kill -9."""


@pytest.fixture
def world(help_desk_world: HelpDeskWorld) -> HelpDeskWorld:
    help_desk_world.set_mail("alice", DIRECTORY)
    return help_desk_world


def goes_on(world: HelpDeskWorld, **span: float) -> None:
    """So much time goes by, and what is due is done, two times: what was delivered is told."""
    world.clock.move(**(span or {"seconds": 2}))
    world.work()
    world.clock.move(seconds=2)
    world.work()


def of_kind(world: HelpDeskWorld, kind: str) -> list[dict[str, Any]]:
    with world.store.read() as uow:
        return [json.loads(one.data) for one in uow.audit.read(AuditQuery(kind=kind, limit=0))]


def rows(world: HelpDeskWorld) -> list[dict[str, object]]:
    with world.store.read() as uow:
        return [dict(one) for one in uow.work.listing() if one["kind"] == HELP_DESK]


def down(world: HelpDeskWorld, *spaces: str, now: bool = True) -> None:
    for space in spaces:
        world.systems.systems[space].faults.down = now


def unlock(world: HelpDeskWorld) -> None:
    world.desk.unlock(world.operator(), world.person("alice"), world.accounts("crm", "files"))


def change(world: HelpDeskWorld) -> None:
    world.desk.change(world.operator(), world.person("alice"), world.accounts("crm", "files"), OLD, NEW)


def set_two(world: HelpDeskWorld) -> None:
    set_it(world, accounts=world.accounts("crm", "files"), verification=proved(world))


# --------------------------------------------------------------------------------------------------------------- it is told


@pytest.mark.parametrize(
    ("does", "what", "says"),
    [
        (set_two, "set", "set a new password for Alice"),
        (change, "change", "changed the password of Alice"),
        (unlock, "unlock", "unlocked Alice"),
    ],
)
def test_1_each_deed_is_told_once(
    world: HelpDeskWorld, does: Callable[[HelpDeskWorld], None], what: str, says: str
) -> None:
    does(world)
    world.work()
    at = f"{world.clock.now():%Y-%m-%d %H:%M} UTC"
    assert world.told() == []
    for _ in range(5):
        goes_on(world, minutes=10)
    (told,) = world.told()
    assert told.to == DIRECTORY
    for wanted in ("CORP\\hanna of the help desk", says, at, "In: crm, files", "tell your help desk at once"):
        assert wanted in told.body
    assert rows(world) == []
    (record,) = of_kind(world, "help-desk.told")
    assert (record["what"], record["route"], record["by"]) == (
        what,
        "directory",
        "mail",
    )
    assert record["accounts"] == ["crm: CN=alice,OU=crm", "files: CN=alice,OU=files"]


def test_1_a_set_that_waited_is_told_when_it_was_carried_out(world: HelpDeskWorld) -> None:
    down(world, "crm", "files")
    set_two(world)
    goes_on(world, minutes=2)
    goes_on(world, minutes=2)
    assert world.told() == []
    down(world, "crm", "files", now=False)
    for _ in range(4):
        goes_on(world, minutes=2)
    assert world.there("crm").password == NEW
    (told,) = world.told()
    assert f"{world.clock.now():%Y-%m-%d}" in told.body
    assert "09:00 UTC" not in told.body, "when it was carried out, not when it was ordered"
    assert rows(world) == []


def test_2_what_waits_is_named_and_told_when_it_comes(world: HelpDeskWorld) -> None:
    down(world, "files")
    set_two(world)
    goes_on(world)
    assert world.told() == []
    goes_on(world, minutes=1)
    (first,) = world.told()
    assert "In: crm\nIt is still being tried in: files\n" in first.body
    down(world, "files", now=False)
    for _ in range(4):
        goes_on(world, minutes=2)
    first, second = world.told()
    assert "In: files\n" in second.body
    assert "still being tried" not in second.body
    assert first.id != second.id
    assert rows(world) == []


@pytest.mark.parametrize("does", [set_two, change, unlock])
def test_3_nothing_is_told_where_nothing_was_done(
    world: HelpDeskWorld, does: Callable[[HelpDeskWorld], None]
) -> None:
    for space in ("crm", "files"):
        refusal = Result(Code.POLICY, "no")
        world.systems.systems[space].faults.answers[id_of(f"{space} alice")] = refusal
    down(world, *(("crm", "files") if does is unlock else ()))
    does(world)
    for _ in range(3):
        goes_on(world, minutes=10)
    assert world.told() == []
    assert rows(world) == []
    assert [one for one in world.kinds() if "told" in one] == []


def test_3_what_was_refused_before_any_system_was_asked_is_told_to_nobody(world: HelpDeskWorld) -> None:
    with pytest.raises(InvalidInput):
        set_it(world, verification=proved(world), password="Short-1")
    assert rows(world) == []


@pytest.mark.parametrize("does", [change, unlock])
def test_4_a_node_that_died_while_it_asked(
    world: HelpDeskWorld, does: Callable[[HelpDeskWorld], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(AtOnce, "_each", killed)
        with pytest.raises(Killed):
            does(world)
    goes_on(world, minutes=5)
    assert world.told() == []
    for _ in range(5):
        goes_on(world, minutes=6)
    (told,) = world.told()
    assert "no system has said what became of it" in told.body
    assert rows(world) == []


def test_an_unlock_of_a_reset_is_told_by_the_reset_alone(world: HelpDeskWorld) -> None:
    """What is planned here is the help desk's: an order without its record is nobody's."""
    with world.store.write() as uow:
        uow.work.poke(HELP_DESK, "set:nothing-that-was-ordered", world.clock.now())
        uow.commit()
    goes_on(world)
    assert rows(world) == []
    assert [one for one in world.kinds() if "told" in one] == []


# --------------------------------------------------------------------------------------------------------------------- to whom


def test_2_it_goes_to_what_was_registered(world: HelpDeskWorld) -> None:
    register(world, Contents(mail=OWN))
    world.set_mail("alice", OTHER)
    unlock(world)
    goes_on(world)
    assert [one.to for one in world.told()] == [OWN]
    (record,) = of_kind(world, "help-desk.told")
    assert record["route"] == "registered"
    assert not [one for one in (OWN, OTHER, DIRECTORY) if one in world.whole_audit()]


def test_2_it_goes_to_the_registered_number(world: HelpDeskWorld) -> None:
    register(world, Contents(sms=NUMBER))
    texts = MemoryTexts()
    letters = with_telephones(world, texts)
    unlock(world)
    world.clock.move(seconds=2)
    run(world, letters)
    ((number, body),) = texts.taken
    assert number == NUMBER
    assert "CORP\\hanna of the help desk unlocked Alice" in body
    assert of_kind(world, "help-desk.told")[0]["by"] == "sms"
    assert world.told() == []


def test_2_a_telephone_that_hangs_holds_up_no_mail(world: HelpDeskWorld) -> None:
    texts = MemoryTexts()
    letters = with_telephones(world, texts)
    register(world, Contents(sms=NUMBER))
    unlock(world)
    world.clock.move(seconds=2)
    run_kind(world, letters, HELP_DESK)
    register(world, Contents(mail=OWN))
    unlock(world)
    world.clock.move(seconds=2)
    run_kind(world, letters, HELP_DESK)
    assert [one.to for one in world.told()] == [OWN]
    register(world, Contents(sms=NUMBER))
    run_kind(world, letters, HELP_DESK_TEXT)
    assert [number for number, _ in texts.taken] == [NUMBER]
    assert [one["by"] for one in of_kind(world, "help-desk.told")] == ["mail", "sms"]


def with_telephones(
    world: HelpDeskWorld, texts: MemoryTexts, language: Language = Language.ENGLISH
) -> Letters:
    """As on a server that sends short messages."""
    made = world.desk.letters
    post = Post(
        notifier=world.notifier,
        language=language,
        book=AddressBook(store=world.store, forests=world.services.forests, now=world.clock.now),
        contacts=RegisteredContacts(store=world.store, sealer=world.adapters.sealer),
        text=texts.send,
        channels=("mail",),
    )
    return Letters(
        store=world.store,
        tier=made._tier,
        post=post,
        sealer=world.adapters.sealer,
        now=world.clock.now,
        jitter=lambda: 0.5,
    )


def run(world: HelpDeskWorld, letters: Letters, lease: Lease | None = None) -> None:
    """What is due, by these and not by the server's own."""
    run_kind(world, letters, HELP_DESK, lease)
    run_kind(world, letters, HELP_DESK_TEXT, lease)


def run_kind(world: HelpDeskWorld, letters: Letters, kind: str, lease: Lease | None = None) -> None:
    """As one of the jobs."""
    works = world.store.claim(
        (kind,), owner="another", lease=timedelta(seconds=10), limit=10, now=world.clock.now()
    )
    letters.run(works, lease or Held())


class Held(Lease):
    """Surely ours; `lost`: not any more."""

    def __init__(self, *, lost: bool = False) -> None:
        self.lost = lost

    def require(self) -> None:
        if self.lost:
            raise LostLease("another node has it")


def test_who_has_no_name_is_called_as_an_account_is(world: HelpDeskWorld) -> None:
    with world.store.write() as uow:
        nameless = replace(uow.metaverse.get(MvId(world.person("alice"))), attributes={})
        uow.metaverse.put([nameless])
        uow.commit()
    unlock(world)
    assert "of the help desk unlocked alice," in world.told_by_now()[0]


def test_the_language_is_that_of_the_other_letters(world: HelpDeskWorld) -> None:
    unlock(world)
    world.clock.move(seconds=2)
    run(world, with_telephones(world, MemoryTexts(), Language.GERMAN))
    (message,) = [one for _, one in world.notifier.taken if "Haben Sie nicht darum gebeten" in one.body]
    assert "CORP\\hanna vom Helpdesk hat Alice mit dem alten Passwort entsperrt" in message.body


# ------------------------------------------------------------------------------------------------------ once, and until when


def test_3_a_lease_that_is_lost_sends_nothing(world: HelpDeskWorld) -> None:
    unlock(world)
    world.clock.move(seconds=2)
    with pytest.raises(LostLease):
        run(world, world.desk.letters, Held(lost=True))
    assert world.told() == []


def test_3_killed_between_the_order_and_the_word_it_is_told_once(
    world: HelpDeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    unlock(world)
    world.clock.move(seconds=2)
    with monkeypatch.context() as patched:
        patched.setattr(Post, "send", killed)
        with pytest.raises(Killed):
            run(world, world.desk.letters)
    assert world.told() == []
    world.runner = world.new_runner("node-2")
    for _ in range(3):
        goes_on(world, seconds=20)
    assert len(world.told()) == 1


def test_3_killed_between_the_word_and_its_end_it_comes_once_more_as_the_same(
    world: HelpDeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    unlock(world)
    world.clock.move(seconds=2)
    with monkeypatch.context() as patched:
        patched.setattr(Letters, "_settle", killed)
        with pytest.raises(Killed):
            run(world, world.desk.letters)
    for _ in range(3):
        goes_on(world, seconds=20)
    first, second = world.told()
    assert first.id == second.id


def test_4_a_word_that_no_channel_takes_is_tried_for_a_day(world: HelpDeskWorld) -> None:
    world.notifier.down["mail"] = "it is down"
    unlock(world)
    goes_on(world)
    (row,) = rows(world)
    assert row["error"] == "it is down"
    goes_on(world, hours=23)
    world.notifier.down.clear()
    goes_on(world, minutes=10)
    assert len(world.told()) == 1
    world.notifier.down["mail"] = "it is down"
    unlock(world)
    for _ in range(3):
        goes_on(world, seconds=LIFE.total_seconds() / 2)
    assert rows(world) == []
    assert len(world.told()) == 1
    (record,) = of_kind(world, "help-desk.not-told")
    assert (record["what"], record["problem"]) == ("unlock", "no channel took it within a day")


def test_4_a_word_that_waited_for_longer_than_a_day_is_tried_once(world: HelpDeskWorld) -> None:
    """Nothing ran meanwhile."""
    unlock(world)
    goes_on(world, seconds=2 * LIFE.total_seconds())
    assert len(world.told()) == 1
    assert of_kind(world, "help-desk.not-told") == []


@pytest.mark.parametrize("error", [DirectoryUnavailable, StoreError])
def test_4_where_nobody_can_say_where_to_it_is_tried_for_a_day(
    world: HelpDeskWorld, error: type[BastideError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No controller answers, or the key that an address was sealed with is not at hand."""

    def down(*_: object) -> None:
        raise error("no controller answers")

    unlock(world)
    with monkeypatch.context() as patched:
        patched.setattr(Post, "destination", down)
        goes_on(world, hours=12)
        (row,) = rows(world)
        assert row["error"] == "no controller answers"
        goes_on(world, hours=13)
        assert rows(world) == []
    (record,) = of_kind(world, "help-desk.not-told")
    assert (record["what"], record["problem"]) == ("unlock", "within a day nobody could say where to")
    goes_on(world, hours=1)
    assert world.told() == []


def test_4_and_once_more_where_that_day_is_over(
    world: HelpDeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise DirectoryUnavailable("no controller answers")

    unlock(world)
    world.clock.move(hours=25)
    with monkeypatch.context() as patched:
        patched.setattr(Post, "destination", down)
        world.work()
    goes_on(world, minutes=5)
    assert len(world.told()) == 1


def test_4_who_has_no_address_is_not_told_and_the_audit_says_so(world: HelpDeskWorld) -> None:
    world.set_mail("alice", "")
    unlock(world)
    goes_on(world)
    (record,) = of_kind(world, "help-desk.not-told")
    assert record["problem"] == "nothing is registered, and the directory has no mail address"
    assert rows(world) == []


def test_4_who_is_not_there_any_more_is_not_told(world: HelpDeskWorld) -> None:
    unlock(world)
    with world.store.write() as uow:
        uow.space.remove(list(world.accounts()))
        uow.metaverse.remove([MvId(world.person("alice"))])
        uow.commit()
    goes_on(world)
    (record,) = of_kind(world, "help-desk.not-told")
    assert record["problem"] == "Bastide does not know the person any more"


def test_4_a_server_that_sends_nothing_says_so(world: HelpDeskWorld) -> None:
    letters = world.desk.letters
    silent = Letters(
        store=world.store,
        tier=letters._tier,
        post=None,
        sealer=world.adapters.sealer,
        now=world.clock.now,
        jitter=lambda: 0.5,
    )
    unlock(world)
    world.clock.move(seconds=2)
    run(world, silent)
    (record,) = of_kind(world, "help-desk.not-told")
    assert record["problem"] == "this server sends no messages"


@pytest.mark.parametrize(("people", "told"), [(True, 1), (False, 0)])
def test_4_without_a_channel_for_codes_it_goes_by_one_that_reaches_people(*, people: bool, told: int) -> None:
    class Quiet(HelpDeskWorld):
        def _adapters(self) -> Adapters:
            made = super()._adapters()
            assert made.notifications is not None
            channels = (Channel(name="chat"), Channel(name="mail", people=people))
            settings = replace(made.notifications.settings, channels=channels)
            return replace(made, notifications=replace(made.notifications, settings=settings))

    world = Quiet(channels=())
    try:
        world.set_mail("alice", DIRECTORY)
        unlock(world)
        goes_on(world)
        assert len(world.told()) == told
        assert {channel for channel, _ in world.notifier.taken} <= {"mail"}
        assert [row["error"] for row in rows(world)] == [
            "no channel of [notifications] has people = true"
        ] * (1 - told)
    finally:
        world.close()


def test_5_no_secret_and_no_address_is_kept(world: HelpDeskWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Message] = []

    def repeating(_: str, messages: Sequence[Message]) -> tuple[Outcome, ...]:
        seen.extend(messages)
        return tuple(Outcome(Fate.REFUSED, f"554 no {one.to}") for one in messages)

    set_two(world)
    monkeypatch.setattr(world.notifier, "send", repeating)
    goes_on(world)
    (row,) = rows(world)
    assert seen
    for secret in (NEW, OLD, DIRECTORY):
        assert secret not in repr(row) + world.whole_audit()
    assert not [one for one in seen if NEW in one.body or OLD in one.body]
