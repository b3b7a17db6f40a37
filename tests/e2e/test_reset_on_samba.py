"""A person of CORP who is locked out comes back alone: through a code by mail and an authenticator, on a real domain, with the least rights, and in OpenLDAP as well."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.directory.entries import by_guid
from bastide.directory.session import ADD, DELETE, REPLACE
from bastide.domain.errors import Conflict, InvalidInput, NotAuthorized
from bastide.domain.people import Forest
from bastide.domain.reset.exclusion import PAM_USER, PRIVILEGED
from bastide.domain.reset.flow import Choice, Stage
from bastide.domain.reset.gates import Gate
from bastide.domain.reset.password_rules import Lockout, Policy
from bastide.services.ports import AuditQuery
from tests.support.directory_lab import CORP, CORP_BASE, DirectoryLab
from tests.support.notification_servers import mail_server, tls
from tests.support.policy_world import SambaPolicyWorld
from tests.support.reset_lab import reset_lab
from tests.support.reset_node import ELSEWHERE, GATES, OLD, ResetNode, Someone
from tests.support.target_systems import Slapd

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures", "tests.support.policy_world"]
pytestmark = pytest.mark.lab

NEW = "Correct-Horse-Battery-7"
STRICT = Policy(
    source="",
    length=14,
    complex=True,
    history=5,
    least_age=timedelta(days=2),
    lockout=Lockout(3, timedelta(minutes=30), timedelta(minutes=30)),
)
ADMINS = f"CN=Domain Admins,CN=Users,{CORP_BASE}"


@pytest.fixture(scope="module")
def node(directory_lab: DirectoryLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResetNode]:
    work = tmp_path_factory.mktemp("reset")
    context, ca = tls(work)
    people = Slapd(directory_lab.lab, directory_lab.lab.start_target("slapd"))
    with mail_server(context) as mail:
        made = ResetNode(reset_lab(directory_lab), people, mail, ca, work)
        made.start()
        yield made
        made.close()


@pytest.fixture
def locked(node: ResetNode, policies: SambaPolicyWorld) -> Someone:
    """Registered, under a policy of their own, and locked out by wrong passwords."""
    someone = node.newcomer(*GATES)
    assert node.joined(someone) == 2
    policies.fine(STRICT, someone.corp)
    assert node.signs_in(someone, OLD) == ""
    for number in range(3):
        assert "data 52e" in node.signs_in(someone, f"Wrong-Horse-Battery-{number}")
    assert "data 775" in node.signs_in(someone, OLD), "locked, as the domain says it"
    return someone


def test_who_is_locked_out_unlocks_and_keeps_the_password(node: ResetNode, locked: Someone) -> None:
    token = node.through(locked)
    node.reset.journey.choose(token, Choice.UNLOCK, "", ELSEWHERE)
    states = node.states(token)
    assert states["corp"].good
    assert states["corp"].settled
    assert states["corp"].outcome == "the account is not locked any more, and has its old password"
    assert set(states) == {"corp", "people"}
    assert node.signs_in(locked, OLD) == ""
    assert node.buys_ticket(locked, OLD)


def test_a_new_password_is_refused_with_what_is_wrong_and_then_counts_everywhere(
    node: ResetNode, locked: Someone
) -> None:
    had = len(node.letters(locked.mail))
    token = node.through(locked)
    view = node.reset.journey.view(token)
    assert view is not None
    assert "At least 14 characters." in view.rules
    assert any("your last 5" in one for one in view.rules)
    assert "You can change it yourself again after 2 days." in view.rules
    for short, why in (("Aa1-four", "shorter than 14"), ("onlysmall letters here", "three kinds")):
        with pytest.raises(InvalidInput, match=why):
            node.reset.journey.choose(token, Choice.SET, short, ELSEWHERE)
    node.reset.journey.choose(token, Choice.SET, NEW, ELSEWHERE)
    assert set(node.states(token)) == {"corp", "people"}
    took = node.soon(lambda: all(one.settled for one in node.states(token).values()), "it is not delivered")
    print(f"set in both systems after {took:.1f} s")
    assert all(one.good for one in node.states(token).values()), node.states(token)
    assert node.signs_in(locked, NEW) == "", "the lock is gone as well"
    assert node.buys_ticket(locked, NEW)
    assert not node.buys_ticket(locked, OLD)
    assert node.signs_in(locked, OLD) == "", "known, and said in docs/how-to: LDAP takes it for another hour"
    assert node.people.signs_in(locked.people_dn, NEW)
    node.soon(
        lambda: any("a new password was set" in one for one in node.letters(locked.mail)[had:]),
        "nobody was told",
    )
    with node.store.read() as uow:
        said = "".join(one.data for one in uow.audit.read(AuditQuery(limit=0)))
    assert NEW not in said
    assert OLD not in said


def test_what_the_domain_alone_refuses_is_explained_and_nothing_is_set_there(
    node: ResetNode, policies: SambaPolicyWorld
) -> None:
    """The policy becomes stricter between our look and the set: the domain decides, and the page says what it said."""
    someone = node.newcomer(*GATES)
    token = node.through(someone)
    worker, node.runner = node.runner, None
    assert worker is not None
    worker.stop()
    node.reset.journey.choose(token, Choice.SET, NEW, ELSEWHERE)
    assert not any(one.settled for one in node.states(token).values()), "live: nothing has come of it yet"
    policies.fine(replace(STRICT, length=40), someone.corp)
    node.start()
    node.soon(lambda: all(one.settled for one in node.states(token).values()), "it is not over")
    corp = node.states(token)["corp"]
    assert not corp.good
    assert "the password policy there refuses this password (it has too few characters" in corp.outcome
    assert NEW not in corp.outcome
    assert node.signs_in(someone, OLD) == ""


def test_an_earlier_password_and_one_that_was_just_changed_are_the_domains_to_judge_of_a_change(
    node: ResetNode, policies: SambaPolicyWorld
) -> None:
    """A reset is a set: Samba asks it for neither the history nor the least age. So the page promises neither."""
    someone = node.newcomer(*GATES)
    policies.fine(STRICT, someone.corp)
    token = node.through(someone)
    node.reset.journey.choose(token, Choice.SET, OLD, ELSEWHERE)
    node.soon(lambda: all(one.settled for one in node.states(token).values()), "it is not over")
    assert node.states(token)["corp"].good
    assert node.signs_in(someone, OLD) == ""


def test_who_is_outside_of_what_the_agent_may_reset_keeps_the_password(node: ResetNode) -> None:
    someone = node.newcomer(*GATES, container=f"CN=Users,{CORP_BASE}")
    token = node.through(someone)
    for choice in Choice:
        with pytest.raises(Conflict, match="no connected system has an account of yours"):
            node.reset.journey.choose(token, choice, NEW, ELSEWHERE)
    assert node.signs_in(someone, OLD) == ""


@contextmanager
def administers(node: ResetNode, someone: Someone) -> Iterator[None]:
    """A member of Domain Admins, for so long."""
    member = someone.corp.dn.encode()
    node.forests.admin_modify(Forest.CORP, ADMINS, [(ADD, "member", [member])])
    try:
        yield
    finally:
        node.forests.admin_modify(Forest.CORP, ADMINS, [(DELETE, "member", [member])])


def test_administrators_and_pam_users_have_no_way_through(node: ResetNode) -> None:
    chief, alice = node.newcomer(), node.newcomer()
    node.services.accounts.add_user(node.dave, alice.name)
    with administers(node, chief):
        for someone, why in ((chief, PRIVILEGED), (alice, PAM_USER)):
            assert node.reset.administration.rules(node.dave, someone.name).excluded == why
            with pytest.raises(NotAuthorized, match=why):
                node.register(someone, Gate.MAIL)
            token = node.reset.journey.begin(someone.name, ELSEWHERE)
            view = node.reset.journey.view(token)
            assert view is not None
            assert (view.reset.person, view.reset.gate) == ("", Gate.MAIL), "looks like any other"
            with pytest.raises(InvalidInput):
                node.reset.journey.answer(token, Gate.MAIL, {"code": "2222-2222"}, ELSEWHERE)
            assert node.letters(someone.mail) == node.letters(f"{someone.name}@{CORP}") == []


def test_who_becomes_an_administrator_on_the_way_chooses_nothing(node: ResetNode) -> None:
    someone = node.newcomer(*GATES)
    token = node.through(someone)
    with administers(node, someone):
        for choice in Choice:
            with pytest.raises(Conflict, match="is over"):
                node.reset.journey.choose(token, choice, NEW, ELSEWHERE)
    view = node.reset.journey.view(token)
    assert view is not None
    assert view.reset.stage is Stage.CHOOSE
    assert node.signs_in(someone, OLD) == ""


def test_a_password_that_somebody_set_in_the_domain_meanwhile_ends_the_reset(node: ResetNode) -> None:
    """No agent tells of it. The delegation shows the service account of PRIV when a password of CORP was set, and in whole seconds."""
    someone = node.newcomer(*GATES)
    token = node.through(someone)
    time.sleep(1)
    node.forests.admin_modify(
        Forest.CORP,
        by_guid(someone.corp.guid),
        [(REPLACE, "unicodePwd", [f'"{NEW}"'.encode("utf-16-le")])],
    )
    for choice in Choice:
        with pytest.raises(Conflict, match="changed after this reset began"):
            node.reset.journey.choose(token, choice, OLD, ELSEWHERE)
    assert node.signs_in(someone, NEW) == ""
