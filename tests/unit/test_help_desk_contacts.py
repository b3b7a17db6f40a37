"""Where a caller's code goes, and what wrong codes cost the person; the numbers are those of services/help_desk/post.py, verify.py and services/factors.py."""

import json
from typing import Any

import pytest

from bastide.domain.errors import MfaRefused
from bastide.domain.help_desk import Differs, Method, Route, Stage, Verification, differs
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.domain.reset.gates import Gate
from bastide.domain.wording import Language
from bastide.notify.memory_texts import MemoryTexts
from bastide.services.factors import READ_OUT_FAILURES
from bastide.services.help_desk.post import Post, RegisteredContacts
from bastide.services.notifications.people import AddressBook
from bastide.services.ports import AuditQuery
from bastide.services.reset.contents import Contents, seal
from bastide.services.reset.ports import Registration
from bastide.services.signin import Factor
from tests.support.help_desk import HelpDeskWorld
from tests.unit.test_help_desk import _mv, sent

pytest_plugins = ["tests.support.help_desk"]
OWN, DIRECTORY, OTHER = "alice@home.test", "alice@corp.bastide.test", "hanna@corp.bastide.test"
NUMBER = "+33612345678"


@pytest.fixture
def world(help_desk_world: HelpDeskWorld) -> HelpDeskWorld:
    return help_desk_world


def register(world: HelpDeskWorld, contents: Contents) -> None:
    """What Alice registered for resets."""
    person = Sid(world.sid_of("alice"))
    sealed = seal(world.adapters.sealer, person, contents)
    with world.store.write() as uow:
        uow.resets.register(
            Registration(
                person=person,
                name="alice",
                registered_at=world.clock.now(),
                sealed=sealed,
                gates=(Gate.MAIL,),
            )
        )
        uow.commit()


def begin(world: HelpDeskWorld, method: Method = Method.SENT) -> Verification:
    return world.desk.verify.begin(world.operator(), _mv(world, "alice"), method)


def begun(world: HelpDeskWorld) -> list[dict[str, Any]]:
    """What the audit says of each beginning."""
    with world.store.read() as uow:
        records = [
            one for one in uow.audit.read(AuditQuery(limit=0)) if one.kind == "help-desk.verification-begun"
        ]
    return [json.loads(one.data) for one in records]


def factor(world: HelpDeskWorld) -> Factor:
    with world.store.read() as uow:
        (found,) = uow.factors.of(Sid(world.sid_of("alice")))
    return found


# --------------------------------------------------------------------------------------------------------------- where it goes


def test_1_a_code_goes_to_what_was_registered(world: HelpDeskWorld) -> None:
    world.set_mail("alice", OTHER)
    register(world, Contents(mail=OWN))
    made = begin(world)
    assert [one.to for _, one in world.notifier.taken] == [OWN]
    assert (made.route, made.differs) == (Route.REGISTERED, Differs.REGISTERED)
    assert world.desk.verify.prove(world.operator(), made.id, sent(world)).stage is Stage.PROVED


def test_1_who_registered_and_has_no_mail_in_the_directory_can_be_verified(world: HelpDeskWorld) -> None:
    register(world, Contents(mail=OWN))
    made = begin(world)
    assert world.notifier.taken[-1][1].to == OWN
    assert (made.route, made.differs) == (Route.REGISTERED, None)


def test_1_a_number_counts_where_short_messages_are_sent(world: HelpDeskWorld) -> None:
    world.set_mail("alice", DIRECTORY)
    register(world, Contents(sms=NUMBER))
    people, texts = (Sid(world.sid_of("alice")),), MemoryTexts()

    def post(*, texting: bool) -> Post:
        return Post(
            notifier=world.notifier,
            language=Language.ENGLISH,
            book=AddressBook(store=world.store, forests=world.services.forests, now=world.clock.now),
            contacts=RegisteredContacts(store=world.store, sealer=world.adapters.sealer),
            text=texts.send if texting else None,
            channels=("mail",),
        )

    to = post(texting=True).destination(people)
    assert to is not None
    assert (to.to, to.route) == (NUMBER, Route.REGISTERED)
    assert not post(texting=True).send("id", to, "subject", "the words")
    assert texts.taken == [(NUMBER, "the words")]
    assert not world.notifier.taken
    other = post(texting=False).destination(people)
    assert other is not None
    assert (other.to, other.route) == (DIRECTORY, Route.DIRECTORY)
    assert NUMBER not in repr(to)


def test_2_else_it_goes_to_the_directorys_address(world: HelpDeskWorld) -> None:
    world.set_mail("alice", DIRECTORY)
    register(world, Contents(totp="a secret"))
    made = begin(world)
    assert world.notifier.taken[-1][1].to == DIRECTORY
    assert (made.route, made.differs) == (Route.DIRECTORY, None)


# ---------------------------------------------------------------------------------------------------------------- what differs


def test_6_another_address_than_the_last_code_went_to_is_said_and_on_record(world: HelpDeskWorld) -> None:
    world.set_mail("alice", DIRECTORY)
    assert begin(world).differs is None
    world.clock.move(days=30)
    world.set_mail("alice", DIRECTORY.upper())
    assert begin(world).differs is None, "the same address, written otherwise"
    world.clock.move(days=30)
    world.code("alice")
    assert begin(world, Method.TOTP).differs is None
    world.clock.move(days=30)
    world.set_mail("alice", OTHER)
    assert begin(world).differs is Differs.BEFORE
    assert [(one.get("route"), one.get("differs")) for one in begun(world)] == [
        ("directory", None),
        ("directory", None),
        (None, None),
        ("directory", "before"),
    ]
    whole = world.whole_audit().casefold()
    assert DIRECTORY not in whole
    assert OTHER not in whole


def test_6_what_differs_from_what() -> None:
    assert differs(Route.REGISTERED, OWN, OWN.upper(), OTHER) is None
    assert differs(Route.REGISTERED, OWN, "", OTHER) is None
    assert differs(Route.REGISTERED, OWN, OTHER, "") is Differs.REGISTERED
    assert differs(Route.DIRECTORY, OTHER, OTHER, "") is None
    assert differs(Route.DIRECTORY, OTHER, OTHER, OWN) is Differs.BEFORE


# ----------------------------------------------------------------------------------------------------------------- wrong codes


def test_6_wrong_codes_of_an_operator_leave_the_person_three(world: HelpDeskWorld) -> None:
    wrong = world.wrong_code("alice")
    for _ in range(2):
        made = begin(world, Method.TOTP)
        for _ in range(3):
            with pytest.raises(MfaRefused):
                world.desk.verify.prove(world.operator(), made.id, wrong)
    assert (factor(world).failures, factor(world).locked_until) == (READ_OUT_FAILURES, None)
    alice = world.sign_in("alice", Forest.CORP)
    for _ in range(2):
        with pytest.raises(MfaRefused):
            world.services.factors.prove(alice, wrong)
    assert factor(world).locked_until is None
    made = begin(world, Method.TOTP)
    with pytest.raises(MfaRefused, match="not asked by the help desk"):
        world.desk.verify.prove(world.operator(), made.id, world.code("alice"))
    world.services.factors.prove(alice, world.code("alice"))
    assert world.desk.verify.prove(world.operator(), made.id, world.code("alice")).stage is Stage.PROVED
