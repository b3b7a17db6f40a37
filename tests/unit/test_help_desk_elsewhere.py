"""Where a caller's code went before is told that this one goes elsewhere (services/help_desk/verify.py (7))."""

import pytest

from bastide.domain.help_desk import KEPT, MOST, PER, Method
from bastide.domain.help_desk_told import LIFE
from bastide.domain.management_agents import MvId
from bastide.notify.memory_texts import MemoryTexts
from bastide.services.pace import HELP_DESK
from bastide.services.reset.contents import Contents
from bastide.store.keys import AeadSealer
from tests.support.help_desk import HelpDeskWorld, id_of
from tests.unit.test_help_desk_contacts import DIRECTORY, NUMBER, OTHER, OWN, begin, register
from tests.unit.test_help_desk_told import goes_on, of_kind, rows, run, with_telephones

pytest_plugins = ["tests.support.help_desk"]


@pytest.fixture
def world(help_desk_world: HelpDeskWorld) -> HelpDeskWorld:
    help_desk_world.set_mail("alice", DIRECTORY)
    return help_desk_world


def elsewhere(world: HelpDeskWorld) -> list[str]:
    """Who was told that a code goes elsewhere."""
    return [one.to for _, one in world.notifier.taken if "goes to another address" in one.subject]


def asks(world: HelpDeskWorld) -> None:
    """A code, a while after the one before."""
    world.clock.move(minutes=5)
    begin(world)


def test_7_the_earlier_address_hears_that_a_code_goes_elsewhere(world: HelpDeskWorld) -> None:
    asks(world)
    world.clock.move(days=30)
    asks(world)
    world.work()
    assert elsewhere(world) == []
    world.set_mail("alice", OTHER)
    asks(world)
    assert world.notifier.taken[-1][1].to == OTHER
    goes_on(world)
    goes_on(world, hours=1)
    assert elsewhere(world) == [DIRECTORY]
    (record,) = of_kind(world, "help-desk.told")
    assert (record["what"], record["route"]) == ("elsewhere", "earlier")
    asks(world)
    goes_on(world)
    assert elsewhere(world) == [DIRECTORY], "it goes where the last one went"
    for address in (DIRECTORY, OTHER):
        assert address not in world.whole_audit() + repr(rows(world))


def test_7_so_does_a_code_that_goes_to_what_was_registered_meanwhile(world: HelpDeskWorld) -> None:
    asks(world)
    register(world, Contents(mail=OWN))
    asks(world)
    goes_on(world)
    assert elsewhere(world) == [DIRECTORY]


def test_7_more_codes_do_not_make_it_forget_whom_to_tell(world: HelpDeskWorld) -> None:
    """Whoever moved the address waits until no mail goes out, and asks for codes until the one before is forgotten."""
    asks(world)
    world.set_mail("alice", OTHER)
    asks(world)
    world.notifier.refuses.add(DIRECTORY)
    goes_on(world)
    for _ in range(20):
        world.clock.move(seconds=2 * PER.total_seconds() / MOST)
        world.desk.verify.begin(world.operator("otto"), MvId(world.person("alice")), Method.SENT)
        world.work()
    world.notifier.refuses.clear()
    goes_on(world, minutes=10)
    assert elsewhere(world) == [DIRECTORY]
    assert LIFE < KEPT


def test_7_a_number_is_told_by_a_short_message_and_else_the_audit_says_so(world: HelpDeskWorld) -> None:
    texts = MemoryTexts()
    letters, verify = with_telephones(world, texts), world.desk.verify
    own, verify._post = verify._post, letters._post
    register(world, Contents(sms=NUMBER))
    asks(world)
    register(world, Contents(mail=OWN))
    asks(world)
    texts.taken.clear()
    run(world, letters)
    assert [number for number, _ in texts.taken] == [NUMBER]
    register(world, Contents(sms=NUMBER))
    asks(world)
    verify._post = own
    register(world, Contents())
    asks(world)
    goes_on(world)
    (record,) = of_kind(world, "help-desk.not-told")
    assert record["problem"] == "nothing is sent to telephones any more"
    assert NUMBER not in {one.to for _, one in world.notifier.taken}


def test_7_an_address_that_no_key_opens_is_given_up_after_a_day(world: HelpDeskWorld) -> None:
    asks(world)
    world.set_mail("alice", OTHER)
    asks(world)
    world.desk.letters._sealer = AeadSealer([bytes(range(32))])
    goes_on(world)
    assert len(rows(world)) == 1
    goes_on(world, seconds=LIFE.total_seconds())
    assert rows(world) == []
    (record,) = of_kind(world, "help-desk.not-told")
    assert (record["what"], record["problem"]) == ("elsewhere", "within a day nobody could say where to")


def test_7_what_is_forgotten_is_told_to_nobody(world: HelpDeskWorld) -> None:
    with world.store.write() as uow:
        uow.work.poke(HELP_DESK, f"elsewhere:{id_of('nothing')}", world.clock.now())
        uow.commit()
    goes_on(world)
    assert rows(world) == []
