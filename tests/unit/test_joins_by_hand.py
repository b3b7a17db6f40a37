"""Joins that a person makes, takes away or asks about."""

import pytest

from bastide.domain.errors import (
    Ambiguous,
    Conflict,
    InvalidInput,
    NotFound,
)
from bastide.domain.management_agents import (
    Condition,
    Filter,
    ImportRules,
    JoinRule,
    Link,
)
from bastide.domain.management_agents import Test as Compare
from bastide.services.passwords.imports import Mode
from tests.support.company import audited
from tests.support.spaces import JOIN, SpaceWorld, draft, filters

pytest_plugins = ["tests.support.company"]


def test_explain_says_of_each_rule_what_it_found(company: SpaceWorld) -> None:
    by_room = JoinRule((("room", "room"),))
    by_mail = JoinRule((("mail", "mail"),))
    rules = ImportRules(
        joins=(by_room, JOIN, by_mail), filters=(Filter((Condition("cn", Compare.EQUALS, "ben"),)),)
    )
    company.services.management_agents.edit(company.dave, "ldap", draft("ldap", rules=rules))
    explain = company.services.spaces.explain
    ann = explain(company.dave, "ann", agent="ldap")
    assert [(t.trial.outcome, t.decides) for t in ann.rules] == [
        ("does not apply: the object has no room", False),
        ("fits exactly one object of the metaverse", True),
        ("fits exactly one object of the metaverse", False),
    ]
    assert ann.rules[1].trial.looked_for == (("employeeNumber", ("e-ann",)),)
    assert (ann.verdict.link, ann.verdict.mv) == (Link.JOINED, ann.seen.object.mv)
    assert [person.id for person in ann.people] == [ann.seen.object.mv]
    assert explain(company.dave, "ben", agent="ldap").filter == 1
    zoe = explain(company.dave, "zoe")
    assert (zoe.verdict.link, zoe.people) == (Link.NONE, ())
    assert explain(company.dave, zoe.seen.object.id) == zoe


def test_objects_are_named_by_id_anchor_or_dn(company: SpaceWorld) -> None:
    assert company.cs("cn=ANN", "hr").object == company.cs("ann", "hr").object
    with pytest.raises(NotFound):
        company.cs("CN=an", "hr")
    with pytest.raises(Ambiguous, match="hr, ldap"):
        company.cs("CN=ann")
    with pytest.raises(Ambiguous, match="hr, ldap"):
        company.cs("ann")
    with pytest.raises(NotFound):
        company.cs("nobody")
    hr = company.cs("ann", "hr").object
    with pytest.raises(NotFound):
        company.cs(hr.id, "ldap")
    with pytest.raises(InvalidInput):
        company.services.spaces.search(company.dave, link="married")
    with pytest.raises(InvalidInput):
        company.services.spaces.search(company.dave, limit=0)


def test_a_join_by_hand_holds_against_rules_and_filters(company: SpaceWorld) -> None:
    spaces = company.services.spaces
    ann = company.cs("ann", "hr").object.mv or ""
    with pytest.raises(Conflict, match="has CN=ann of this agent already"):
        spaces.join(company.dave, "zoe", ann)
    spaces.disjoin(company.dave, "ann", agent="ldap", apart=True)
    assert spaces.join(company.dave, "zoe", ann).object.link is Link.MANUAL
    out = Filter((Condition("cn", Compare.PRESENT),))
    company.services.management_agents.edit(company.dave, "ldap", draft("ldap", rules=filters(out)))
    company.load("ldap", force=True)
    assert company.cs("zoe").object.mv == ann
    with pytest.raises(Conflict, match="is connected with"):
        spaces.join(company.dave, "zoe", ann)
    with pytest.raises(NotFound):
        spaces.join(company.dave, "ben", "00000000-0000-0000-0000-000000000000", agent="ldap")
    assert audited(company, "join.set")[0]["person"] == ann


def test_a_join_that_is_taken_away_comes_back_unless_it_is_kept_apart(company: SpaceWorld) -> None:
    spaces = company.services.spaces
    spaces.disjoin(company.dave, "ann", agent="ldap")
    assert company.cs("ann", "ldap").object.link is Link.NONE
    company.load("ldap", Mode.FULL)
    assert company.cs("ann", "ldap").object.link is Link.JOINED
    spaces.disjoin(company.dave, "ann", agent="ldap", apart=True)
    company.load("ldap", Mode.FULL)
    assert company.cs("ann", "ldap").object.link is Link.APART
    mail = next(p for p in company.people() if "E-ann" in p.attributes["employeeNumber"]).attributes["mail"]
    assert mail == ("ann@hr",), "what it gave goes with it"
    with pytest.raises(Conflict):
        spaces.disjoin(company.dave, "ann", agent="ldap", apart=True)
    spaces.disjoin(company.dave, "ann", agent="ldap")
    company.load("ldap", Mode.FULL)
    assert company.cs("ann", "ldap").object.link is Link.JOINED
    with pytest.raises(Conflict):
        spaces.disjoin(company.dave, "zoe")
    assert [one["apart"] for one in audited(company, "join.removed")] == [False, True, False]


def test_who_competed_takes_the_place_of_who_is_kept_apart(company: SpaceWorld) -> None:
    company.system("ldap").put("ann2", employeeNumber="E-ann", cn="Ann 2")
    company.load("ldap")
    assert company.cs("ann2").object.link is Link.CONFLICT
    company.services.spaces.disjoin(company.dave, "ann", agent="ldap", apart=True)
    assert company.cs("ann2").object.link is Link.JOINED


def test_an_object_is_projected_by_hand(company: SpaceWorld) -> None:
    spaces = company.services.spaces
    done = spaces.project(company.dave, "zoe", type="robot").object
    assert done.link is Link.MANUAL
    person = spaces.show_person(company.dave, done.mv or "").person
    assert (person.type, person.attributes) == ("robot", {"mail": ("zoe@ldap",)})
    with pytest.raises(Conflict):
        spaces.project(company.dave, "zoe")
    spaces.disjoin(company.dave, "zoe", apart=True)
    assert len(company.people()) == 2, "gone with its only connector"
    assert audited(company, "cs.projected")[0]["type"] == "robot"
