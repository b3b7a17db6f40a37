"""What every PolicyReader says of a person's password, in memory and on Samba; and what Samba 4.22 computes of fine-grained policies."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.directory.constants import GUID_RESULTANT_PSO
from bastide.domain.reset.password_rules import Lockout, Policy
from tests.support.policy_world import MemoryPolicyWorld, PolicyWorld, SambaPolicyWorld

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
#: schemaIDGUID of uSNChanged.
USN_CHANGED = "bf967a6f-0de6-11d0-a285-00aa003049e2"
DOMAIN = Policy(
    source="",
    length=9,
    complex=True,
    history=12,
    least_age=timedelta(days=1),
    longest_age=timedelta(days=90),
    lockout=Lockout(4, timedelta(minutes=10), timedelta(minutes=15)),
)
LAX = Policy(source="", length=0, complex=False, history=0, least_age=timedelta(0))
OWN = Policy(
    source="",
    length=15,
    complex=False,
    history=3,
    least_age=timedelta(hours=36),
    longest_age=timedelta(days=365),
    lockout=Lockout(10, timedelta(hours=2), timedelta(hours=3)),
)


@pytest.fixture(scope="module", params=["memory", pytest.param("samba", marks=pytest.mark.lab)])
def arranged(request: pytest.FixtureRequest) -> PolicyWorld:
    if request.param == "memory":
        return MemoryPolicyWorld()
    return SambaPolicyWorld(request.getfixturevalue("directory_lab"))


@pytest.fixture
def world(arranged: PolicyWorld) -> Iterator[PolicyWorld]:
    yield arranged
    arranged.undo()


@pytest.mark.parametrize("policy", [DOMAIN, LAX], ids=["strict", "lax"])
def test_the_policy_of_the_domain_is_read_with_all_its_rules(world: PolicyWorld, policy: Policy) -> None:
    said = world.domain(policy)
    assert world.reader().policy(world.person().sid) == said
    assert said.source.upper().startswith("DC=CORP")


@pytest.mark.parametrize("policy", [OWN, LAX], ids=["strict", "lax"])
def test_a_policy_of_ones_own_takes_its_place_for_that_person_alone(
    world: PolicyWorld, policy: Policy
) -> None:
    domain, nina, olaf = world.domain(DOMAIN), world.person(), world.person()
    own = world.fine(policy, nina)
    assert world.reader().policy(nina.sid) == own
    assert world.reader().policy(olaf.sid) == domain
    world.undo()
    again = world.reader().policy(nina.sid)
    assert again is not None
    assert again.source == domain.source


def test_a_policy_of_ones_own_that_cannot_be_read_is_nothing_and_not_the_domains(world: PolicyWorld) -> None:
    nina, olaf = world.person(), world.person()
    world.fine(OWN, nina)
    assert world.blind().policy(nina.sid) is None
    assert world.blind().policy(olaf.sid) is not None


def test_of_nobody_nothing_is_said(world: PolicyWorld) -> None:
    assert world.reader().policy(world.nobody()) is None


# ------------------------------------------------------------------------------------------------------------ Samba alone


@pytest.fixture(params=[pytest.param("samba", marks=pytest.mark.lab)])
def samba(request: pytest.FixtureRequest) -> Iterator[SambaPolicyWorld]:
    made = SambaPolicyWorld(request.getfixturevalue("directory_lab"))
    yield made
    made.undo()


def test_of_several_policies_the_persons_counts_and_then_the_lowest_number(samba: SambaPolicyWorld) -> None:
    """By groups too, and by groups in groups."""
    nina = samba.person()
    with samba.group(nina) as inner, samba.group(inner) as outer:
        through = samba.fine(replace(OWN, length=10), outer, precedence=30)
        assert samba.reader().policy(nina.sid) == through
        nearer = samba.fine(replace(OWN, length=11), inner, precedence=20)
        assert samba.reader().policy(nina.sid) == nearer
        direct = samba.fine(replace(OWN, length=12), nina, precedence=40)
        assert samba.reader().policy(nina.sid) == direct


def test_where_a_domain_hides_all_but_what_is_delegated_the_delegation_is_enough(
    samba: SambaPolicyWorld,
) -> None:
    nina, olaf = samba.person(), samba.person()
    for one in (nina, olaf):
        samba.hide(one, USN_CHANGED, samba.forests.service_sid)
    own = samba.fine(OWN, nina)
    assert samba.reader().policy(nina.sid) == own
    found = samba.reader().policy(olaf.sid)
    assert found is not None
    assert found.source.upper().startswith("DC=CORP")


def test_where_a_domain_hides_which_policy_counts_nothing_is_said(samba: SambaPolicyWorld) -> None:
    """An attribute that is not shown looks like one that is empty: the domain's policy could be the wrong answer."""
    nina, olaf = samba.person(), samba.person()
    own = samba.fine(OWN, nina)
    for one in (nina, olaf):
        assert samba.resultant(one) == (own.source if one is nina else ""), "Samba shows it to everybody"
        samba.hide(one, USN_CHANGED, samba.forests.preparer_sid)
        samba.hide(one, GUID_RESULTANT_PSO, samba.forests.preparer_sid)
        assert samba.resultant(one) == ""
        assert samba.blind().policy(one.sid) is None
