"""The third table of docs/operations/outage.md: what monitoring, events, reviews, help desk and self-service reset do while something is down. test_outage.py names these."""

from collections.abc import Iterator

import pytest

from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.help_desk import Method
from bastide.domain.management_agents import MvId
from bastide.domain.observed import Verdict
from bastide.domain.reset.flow import Stage
from bastide.domain.reset.gates import Gate
from bastide.domain.reviews import State
from bastide.domain.reviews import Verdict as Decided
from bastide.wiring import assemble
from tests.support.help_desk import HelpDeskWorld
from tests.support.intake_world import STRANGER, IntakeWorld, samba_group
from tests.support.reset_world import ELSEWHERE, ResetWorld
from tests.support.world import ADDRESS
from tests.unit.test_help_desk import set_it
from tests.unit.test_reviews import House

ADMINS = "CN=Domain Admins,CN=Users,DC=corp,DC=bastide,DC=test"


@pytest.fixture
def intake() -> Iterator[IntakeWorld]:
    made = IntakeWorld()
    yield made
    made.close()


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.world.close()


@pytest.fixture
def desk() -> Iterator[HelpDeskWorld]:
    made = HelpDeskWorld()
    yield made
    made.close()


@pytest.fixture
def resetting() -> Iterator[ResetWorld]:
    made = ResetWorld()
    yield made
    made.close()


def test_events_are_taken_in_and_judged_when_the_directory_is_back(intake: IntakeWorld) -> None:
    """After a start: which accounts are Bastide's own is asked once."""
    intake.priv.cut("privdc")
    intake.take(samba_group(STRANGER, "CN=Eve,DC=x", ADMINS, at=intake.clock.now().isoformat()))
    assert [one.verdict for one in intake.judged()] == [Verdict.PENDING]
    assert intake.audited("intake.unexplained") == []
    intake.priv.heal("privdc")
    intake.clock.move(minutes=5)
    assert [one.verdict for one in intake.judged()] == [Verdict.UNEXPLAINED]


def test_a_review_ends_and_removes_with_every_directory_down(house: House) -> None:
    review = house.plan(silence=Decided.REMOVE, roles=("File administrators",))
    house.decide(review, "mallory", "priv.alice", Decided.KEEP)
    house.world.corp.cut("corpdc")
    house.world.priv.cut("privdc")
    house.end(review)
    assert house.state(review).state is State.CLOSED
    assert house.candidates() == {"CORP\\alice"}


def test_the_help_desk_helps_nobody_whom_no_directory_shows(desk: HelpDeskWorld) -> None:
    """What protects a person is read anew each time, so nothing is set on what was known before."""
    hanna = desk.operator()
    person = MvId(desk.person("alice"))
    desk.corp.cut("corpdc")
    with pytest.raises(DirectoryUnavailable):
        set_it(desk)
    with pytest.raises(DirectoryUnavailable):
        desk.desk.verify.begin(hanna, person, Method.TOTP)
    assert "help-desk.ordered" not in desk.kinds()


def test_a_reset_that_cannot_be_begun_tells_nobody_apart(resetting: ResetWorld) -> None:
    resetting.register()
    resetting.corp.cut("corpdc")
    said = set()
    for name in ("nina", "olaf", "zoe"):
        with pytest.raises(DirectoryUnavailable) as refused:
            resetting.begin(name)
        said.add(refused.value.message)
    assert len(said) == 1
    resetting.corp.heal("corpdc")
    resetting.finish(resetting.through())


def test_a_code_that_the_mail_server_does_not_take_is_tried_again_until_it_counts_no_more(
    resetting: ResetWorld,
) -> None:
    resetting.register()
    sent = len(resetting.notifier.taken)
    resetting.notifier.down["mail"] = "it is down"
    resetting.begin()
    resetting.deliver()
    assert len(resetting.notifier.taken) == sent
    resetting.notifier.down.clear()
    resetting.clock.move(minutes=2)
    resetting.deliver()
    assert len(resetting.notifier.taken) == sent + 1, "it came late, and counts"
    resetting.notifier.down["mail"] = "it is down"
    resetting.begin()
    resetting.deliver()
    resetting.clock.move(minutes=16)
    resetting.notifier.down.clear()
    resetting.deliver()
    assert len(resetting.notifier.taken) == sent + 1
    assert "reset.not-told" in resetting.events()


def test_another_node_goes_on_with_a_reset(resetting: ResetWorld) -> None:
    """All that a reset is lies in the database."""
    resetting.register()
    token = resetting.begin()
    resetting.deliver()
    other = assemble(resetting.adapters, resetting._preparation(), address=ADDRESS).reset
    assert other is not None
    code = {"code": resetting.last_code()}
    assert other.journey.answer(token, Gate.MAIL, code, ELSEWHERE).stage is Stage.CHOOSE
    resetting.finish(token)
