"""The help desk on a real domain and OpenLDAP: an operator finds who calls, verifies, sets in both systems, unlocks; and what is refused, and why."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.directory.session import ADD, DELETE
from bastide.domain.errors import InvalidInput, NotAuthorized
from bastide.domain.help_desk import Method
from bastide.domain.passwords import Code, State
from bastide.domain.people import Forest
from bastide.domain.reset.password_rules import Lockout, Policy
from bastide.services.help_desk.desk import SetOrder
from bastide.services.ports import AuditQuery
from tests.support.directory_lab import CORP_BASE, DirectoryLab
from tests.support.help_desk_node import HelpDeskNode
from tests.support.notification_servers import mail_server, tls
from tests.support.policy_world import SambaPolicyWorld
from tests.support.reset_lab import reset_lab
from tests.support.reset_node import OLD, Someone
from tests.support.target_systems import Slapd

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures", "tests.support.policy_world"]
pytestmark = pytest.mark.lab

NEW, OWN = "Correct-Horse-Battery-7", "Own-Horse-Battery-8"
STRICT = Policy(
    source="",
    length=12,
    complex=True,
    history=5,
    least_age=timedelta(0),
    lockout=Lockout(3, timedelta(minutes=30), timedelta(minutes=30)),
)


@pytest.fixture(scope="module")
def node(directory_lab: DirectoryLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HelpDeskNode]:
    work = tmp_path_factory.mktemp("help-desk")
    context, ca = tls(work)
    people = Slapd(directory_lab.lab, directory_lab.lab.start_target("slapd"))
    with mail_server(context) as mail:
        made = HelpDeskNode(reset_lab(directory_lab), people, mail, ca, work)
        made.let_ask_for_a_change()
        made.start()
        yield made
        made.let_ask_no_more()
        made.close()


@pytest.fixture
def caller(node: HelpDeskNode, policies: SambaPolicyWorld) -> Someone:
    """Under a policy of their own: twelve characters, and three failures lock."""
    someone = node.caller()
    assert node.joined(someone) == 2
    policies.fine(STRICT, someone.corp)
    return someone


def test_an_operator_finds_verifies_and_sets_in_both_systems(node: HelpDeskNode, caller: Someone) -> None:
    hanna, desk = node.operator(), node.desk
    node.wrong_in_both(caller)
    person = node.found(caller)
    shown = desk.show(hanna, person)
    assert (shown.out_of_reach, shown.methods) == ("", (Method.SENT,))
    assert {one.account.agent: one.look.locked for one in shown.seats} == {"corp": True, "people": True}
    had = len(node.letters(node.address(caller)))
    made = desk.verify.begin(hanna, person, Method.SENT)
    desk.verify.prove(hanna, made.id, node.code_of_caller(caller, had))
    order = SetOrder(accounts=node.accounts(person), password="Short-1", verification=made.id)
    with pytest.raises(InvalidInput, match="shorter than 12"):
        desk.set(hanna, person, order)
    given = desk.set(hanna, person, replace(order, password=NEW))
    done = node.outcomes(given.operation)
    assert {name: one.code for name, one in done.items()} == {"corp": Code.SUCCESS, "people": Code.SUCCESS}
    told = node.told_of_it(caller, had + 1)
    assert f"{hanna.name} of the help desk set a new password for {caller.name}" in told
    assert "In: corp, people" in told
    assert NEW not in told
    assert node.must_change(caller)
    assert not node.buys_ticket(caller, NEW), "it is good for a change, and for nothing else"
    looks = {name: one.look for name, one in node.seats(person).items()}
    assert {name: (one.locked, one.must_change) for name, one in looks.items()} == {
        "corp": (False, True),
        "people": (False, True),
    }
    assert node.changes_it(caller, NEW, OWN)
    assert not node.must_change(caller)
    assert node.buys_ticket(caller, OWN)
    assert node.people.signs_in(caller.people_dn, NEW)
    with node.store.read() as uow:
        said = "".join(one.data for one in uow.audit.read(AuditQuery(limit=0)))
    assert not [one for one in (NEW, OWN, OLD) if one in said]


def test_unlock_alone_leaves_both_passwords(node: HelpDeskNode, caller: Someone) -> None:
    person = node.found(caller)
    node.wrong_in_both(caller)
    assert {name: one.look.locked for name, one in node.seats(person).items()} == {
        "corp": True,
        "people": True,
    }
    assert "data 775" in node.signs_in(caller, OLD), "locked, as the domain says it"
    answers = node.desk.unlock(node.operator(), person, node.accounts(person))
    assert {one.agent: one.result.code for one in answers} == {"corp": Code.SUCCESS, "people": Code.SUCCESS}
    assert {name: one.look.locked for name, one in node.seats(person).items()} == {
        "corp": False,
        "people": False,
    }
    assert node.signs_in(caller, OLD) == ""
    node.people.bare(caller.people_dn, OLD).unbind_s()
    assert not node.must_change(caller)


def test_what_the_directory_refuses_is_explained_system_by_system(
    node: HelpDeskNode, caller: Someone, policies: SambaPolicyWorld
) -> None:
    """The policy becomes stricter between our look and the set; OpenLDAP knows nothing of it."""
    hanna, person = node.operator(), node.found(caller)
    had = len(node.letters(node.address(caller)))
    made = node.desk.verify.begin(hanna, person, Method.SENT)
    node.desk.verify.prove(hanna, made.id, node.code_of_caller(caller, had))
    worker, node.runner = node.runner, None
    assert worker is not None
    worker.stop()
    order = SetOrder(accounts=node.accounts(person), password=NEW, verification=made.id, must_change=False)
    given = node.desk.set(hanna, person, order)
    assert not node.desk.operation(hanna, given.operation).over, "live: nothing has come of it yet"
    policies.fine(replace(STRICT, length=40), caller.corp, precedence=1)
    node.start()
    done = node.outcomes(given.operation)
    assert (done["people"].code, done["people"].state) == (Code.SUCCESS, State.DELIVERED)
    assert (done["corp"].code, done["corp"].state) == (Code.POLICY, State.FAILED)
    assert "the password policy there refuses this password" in done["corp"].words
    assert NEW not in done["corp"].words
    assert node.signs_in(caller, OLD) == ""


def test_people_above_the_operator_are_out_of_reach_as_the_directory_says_now(
    node: HelpDeskNode, caller: Someone
) -> None:
    hanna, person = node.operator(), node.found(caller)
    for group, why in (
        (f"CN=Domain Admins,CN=Users,{CORP_BASE}", "privileged group"),
        (node.forests.corp.find_group("FileAdmins").ref.dn, "gives rights here"),
    ):
        member = [caller.corp.dn.encode()]
        node.forests.admin_modify(Forest.CORP, group, [(ADD, "member", member)])
        try:
            assert why in node.desk.show(hanna, person).out_of_reach
            with pytest.raises(NotAuthorized, match=why):
                node.desk.unlock(hanna, person, node.accounts(person))
            with pytest.raises(NotAuthorized, match=why):
                node.desk.verify.begin(hanna, person, Method.SENT)
        finally:
            node.forests.admin_modify(Forest.CORP, group, [(DELETE, "member", member)])
