"""Filter, join, projection and flow: pure decisions about one object at a time."""

from collections.abc import Collection, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide.domain import credentials, joins
from bastide.domain.errors import InvalidInput
from bastide.domain.joins import Decision
from bastide.domain.management_agents import (
    Condition,
    CsId,
    CsObject,
    Filter,
    Flow,
    ImportRules,
    JoinRule,
    Link,
    MaId,
    ManagementAgent,
    MvId,
    MvObject,
    check,
)
from bastide.domain.management_agents import (
    Test as Compare,
)

HR, LDAP = MaId("hr"), MaId("ldap")
BY_NUMBER = JoinRule((("employeeNumber", "number"),))
BY_NAME = JoinRule((("givenName", "first"), ("sn", "last")))


def cs(
    anchor: str = "a", ma: MaId = LDAP, link: Link = Link.NONE, mv: str = "", **attributes: Any
) -> CsObject:
    values = {n: (v,) if isinstance(v, str) else tuple(v) for n, v in attributes.items()}
    return CsObject(
        id=CsId(f"{ma}-{anchor}"), ma=ma, anchor=anchor, dn=f"CN={anchor}", type="user", attributes=values, link=link,
        mv=MvId(mv) if mv else None,
    )  # fmt: skip


def agent(name: str = "ldap", **rules: Any) -> ManagementAgent:
    return ManagementAgent(
        id=MaId(name), name=name, connector="memory", settings={}, rules=ImportRules(**rules)
    )


class Metaverse:
    """Known, over dictionaries. `people`: id to attributes; `taken`: id to the object of an agent that is connected with it."""

    def __init__(
        self, people: Mapping[str, Mapping[str, str]], taken: Mapping[str, CsObject] | None = None
    ) -> None:
        self.people = people
        self.taken = taken or {}

    def matching(self, attribute: str, values: Collection[str]) -> Mapping[str, Collection[MvId]]:
        return {
            value: [
                MvId(i) for i, person in self.people.items() if person.get(attribute, "").casefold() == value
            ]
            for value in values
        }

    def connector(self, mv: MvId, ma: MaId) -> CsObject | None:
        one = self.taken.get(mv)
        return one if one is not None and one.ma == ma else None


def decide(
    one: CsObject, people: Mapping[str, Mapping[str, str]], *, exists: bool = False, **rules: Any
) -> Decision:
    return joins.decide(one, ImportRules(**rules), Metaverse(people), mv_exists=exists)


# ------------------------------------------------------------------------------------------------------- (1) credentials


@pytest.mark.parametrize(
    "name",
    ["unicodePwd", "userPassword", "USERPASSWORD", "userPassword;binary", "supplementalCredentials", "sambaNTPassword",
     "ntPwdHistory", "ms-Mcs-AdmPwd", "msLAPS-EncryptedPassword", "krbPrincipalKey", "2.5.4.35", " userPassword "],
)  # fmt: skip
def test_1_credentials_are_taken_out(name: str) -> None:
    assert joins.clean({name: ("x",), "mail": ("a@b",)}) == {"mail": ("a@b",)}
    assert credentials.denied(name)


def test_1_empty_values_and_half_characters_are_no_values() -> None:
    assert joins.clean({"a": (), "b": ("",), "c": ("", "x"), "d": ("\ud800z", "é")}) == {
        "c": ("x",),
        "d": ("?z", "é"),
    }


@pytest.mark.parametrize(
    "rules",
    [
        {"joins": (JoinRule((("userPassword", "x"),)),)},
        {"joins": (JoinRule((("x", "unicodePwd"),)),)},
        {"flows": (Flow("unicodePwd", "x"),)},
        {"flows": (Flow("x", "userPassword;lang-en"),)},
        {"filters": (Filter((Condition("userPassword", Compare.STARTS, "{SSHA}"),)),)},
        {"filters": (Filter(()),)},
        {"joins": (JoinRule(()),)},
        {"filters": (Filter((Condition("uac", Compare.BIT, "two"),)),)},
        {"filters": (Filter((Condition("uac", Compare.EQUALS, ""),)),)},
        {"flows": (Flow("a", "b", -1),)},
        {"joins": (BY_NUMBER,) * 201},
    ],
    ids=str,
)
def test_rules_that_cannot_be_right_are_refused(rules: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        check(agent(**rules))


# ------------------------------------------------------------------------------------------------------------ (2) filter


@pytest.mark.parametrize(
    ("condition", "kept_out"),
    [
        (Condition("Title", Compare.EQUALS, "robot"), True),
        (Condition("title", Compare.EQUALS, "rob"), False),
        (Condition("title", Compare.STARTS, "ROB"), True),
        (Condition("title", Compare.ENDS, "OT"), True),
        (Condition("title", Compare.CONTAINS, "obo"), True),
        (Condition("title", Compare.CONTAINS, "x"), False),
        (Condition("title", Compare.PRESENT), True),
        (Condition("other", Compare.PRESENT), False),
        (Condition("other", Compare.ABSENT), True),
        (Condition("userAccountControl", Compare.BIT, "2"), True),
        (Condition("userAccountControl", Compare.BIT, "3"), False),
        (Condition("userAccountControl", Compare.BIT, "514"), True),
        (Condition("userAccountControl", Compare.BIT, "0"), False),
        (Condition("title", Compare.BIT, "2"), False),
    ],
    ids=str,
)
def test_2_conditions(condition: Condition, kept_out: bool) -> None:
    one = cs(title="Robot", userAccountControl="514")
    said = decide(one, {}, filters=(Filter((condition,)),), project="person")
    assert (said.link is Link.FILTERED) is kept_out


def test_2_all_conditions_of_a_filter_must_hold_and_any_filter_is_enough() -> None:
    first = Filter((Condition("a", Compare.PRESENT), Condition("b", Compare.PRESENT)))
    second = Filter((Condition("c", Compare.PRESENT),))
    assert decide(cs(a="1"), {}, filters=(first, second)).link is Link.NONE
    assert decide(cs(a="1", b="1"), {}, filters=(first, second)).because == "kept out by filter 1"
    assert decide(cs(c="1"), {}, filters=(first, second)).because == "kept out by filter 2"


def test_2_a_filter_disconnects_what_a_rule_joined_and_leaves_what_a_person_joined() -> None:
    out = (Filter((Condition("a", Compare.PRESENT),)),)
    for link, wanted in (
        (Link.JOINED, Link.FILTERED),
        (Link.PROJECTED, Link.FILTERED),
        (Link.MANUAL, Link.MANUAL),
    ):
        said = decide(cs(a="1", link=link, mv="m"), {"m": {}}, exists=True, filters=out)
        assert said.link is wanted
        assert said.mv == ("m" if wanted is Link.MANUAL else None)


def test_2_what_a_person_keeps_apart_is_joined_by_no_rule() -> None:
    one = cs(link=Link.APART, employeeNumber="7")
    assert decide(one, {"m": {"number": "7"}}, joins=(BY_NUMBER,), project="person").link is Link.APART


# -------------------------------------------------------------------------------------------------------------- (3) stays


def test_3_a_join_stays_when_the_rules_would_say_something_else() -> None:
    one = cs(link=Link.JOINED, mv="old", employeeNumber="8")
    said = decide(one, {"old": {"number": "7"}, "new": {"number": "8"}}, exists=True, joins=(BY_NUMBER,))
    assert (said.link, said.mv) == (Link.JOINED, "old")


@pytest.mark.parametrize("link", [Link.JOINED, Link.PROJECTED, Link.MANUAL])
def test_3_a_join_whose_person_is_gone_is_decided_anew(link: Link) -> None:
    one = cs(link=link, mv="gone", employeeNumber="8")
    said = decide(one, {"new": {"number": "8"}}, exists=False, joins=(BY_NUMBER,))
    assert (said.link, said.mv) == (Link.JOINED, "new")


# --------------------------------------------------------------------------------------------------------------- (4) join


def test_4_the_first_rule_that_fits_decides() -> None:
    people = {"x": {"number": "7"}, "y": {"first": "ann", "last": "lee"}}
    one = cs(employeeNumber="7", givenName="Ann", sn="Lee")
    assert decide(one, people, joins=(BY_NUMBER, BY_NAME)).mv == "x"
    assert decide(one, people, joins=(BY_NAME, BY_NUMBER)).mv == "y"
    assert decide(one, {"y": people["y"]}, joins=(BY_NUMBER, BY_NAME)) == Decision(
        Link.JOINED, "join rule 2", MvId("y")
    )


def test_4_every_pair_must_have_a_value_in_common() -> None:
    people = {"x": {"first": "ann", "last": "lee"}, "y": {"first": "ann", "last": "ray"}}
    assert decide(cs(givenName="ANN", sn="Ray"), people, joins=(BY_NAME,)).mv == "y"
    assert decide(cs(givenName="ann", sn="moss"), people, joins=(BY_NAME,)).link is Link.NONE
    assert decide(cs(givenName="ann"), people, joins=(BY_NAME,)).link is Link.NONE


def test_4_two_pairs_of_one_mv_attribute_both_count() -> None:
    rule = JoinRule((("a", "mail"), ("b", "mail")))
    assert decide(cs(a="x", b="y"), {"m": {"mail": "y"}}, joins=(rule,)).link is Link.NONE
    assert decide(cs(a="y", b="y"), {"m": {"mail": "y"}}, joins=(rule,)).link is Link.JOINED


def test_4_several_fits_are_a_conflict_that_lists_them_and_no_later_rule_is_asked() -> None:
    people = {"x": {"number": "7"}, "y": {"number": "7"}, "z": {"first": "ann", "last": "lee"}}
    said = decide(
        cs(employeeNumber="7", givenName="ann", sn="lee"),
        people,
        joins=(BY_NUMBER, BY_NAME),
        project="person",
    )
    assert said == Decision(Link.CONFLICT, "join rule 1 fits several: x, y")


def test_4_a_long_list_is_cut() -> None:
    said = decide(
        cs(employeeNumber="7"), {f"p{n:02}": {"number": "7"} for n in range(12)}, joins=(BY_NUMBER,)
    )
    assert said.because.endswith("p09 and 2 more")


# -------------------------------------------------------------------------------------------------------------- (5) taken


def test_5_a_person_who_has_an_object_of_the_agent_already_is_a_conflict() -> None:
    other = cs("other")
    known = Metaverse({"x": {"number": "7"}}, {"x": other})
    rules = ImportRules(joins=(BY_NUMBER,), project="person")
    said = joins.decide(cs("new", employeeNumber="7"), rules, known, mv_exists=False)
    assert said == Decision(Link.CONFLICT, "join rule 1 fits x, which has CN=other of this agent already")
    assert joins.decide(cs("other", employeeNumber="7"), rules, known, mv_exists=False).link is Link.JOINED
    assert (
        joins.decide(cs("new", ma=HR, employeeNumber="7"), rules, known, mv_exists=False).link is Link.JOINED
    )


# ------------------------------------------------------------------------------------------------------------ (6) project


def test_6_projection_only_where_it_is_allowed() -> None:
    assert decide(cs(employeeNumber="7"), {}, joins=(BY_NUMBER,)).link is Link.NONE
    assert decide(cs(employeeNumber="7"), {}, joins=(BY_NUMBER,), project="person").link is Link.PROJECTED


# --------------------------------------------------------------------------------------------------------------- (7) flow


def test_7_the_lowest_rank_that_has_a_value_wins_then_the_name_of_the_agent() -> None:
    agents = {
        a.id: a
        for a in (
            agent("zebra", flows=(Flow("mail", "mail", 10), Flow("tel", "phone", 10))),
            agent("ant", flows=(Flow("mail", "Mail", 20), Flow("TEL", "phone", 10), Flow("room", "room"))),
        )
    }
    mv = MvObject(id=MvId("m"), type="person")
    zebra, ant = (
        cs("z", MaId("zebra"), mail="z@x", tel="1"),
        cs("a", MaId("ant"), mail="a@x", tel="2", room="9"),
    )
    both = joins.flow(mv, [zebra, ant], agents)
    assert both is not None
    assert both.attributes == {"mail": ("z@x",), "phone": ("2",), "room": ("9",)}
    assert both.origins == {"mail": "zebra", "phone": "ant", "room": "ant"}
    without = joins.flow(mv, [cs("z", MaId("zebra"), tel="1"), ant], agents)
    assert without is not None
    assert without.attributes["Mail"] == ("a@x",)


@given(st.permutations(["a", "b", "c"]))
def test_7_the_order_of_the_connectors_means_nothing(names: list[str]) -> None:
    agents = {HR: agent("hr", flows=(Flow("mail", "mail"),))}
    connectors = [cs(name, HR, mail=name) for name in names]
    flowed = joins.flow(MvObject(id=MvId("m"), type="person"), connectors, agents)
    assert flowed is not None
    assert flowed.attributes == {"mail": ("a",)}


# --------------------------------------------------------------------------------------------------------------- (8) gone


def test_8_a_person_goes_with_the_last_connector() -> None:
    assert joins.flow(MvObject(id=MvId("m"), type="person"), [], {}) is None


# -------------------------------------------------------------------------------------------------------------- the order


def test_agents_come_in_the_order_of_their_needs() -> None:
    hr = agent("x-hr", project="person", flows=(Flow("nr", "number"),))
    ad = agent("b-ad", joins=(JoinRule((("nr", "number"),)),), flows=(Flow("upn", "upn"),))
    cloud = agent("a-cloud", joins=(JoinRule((("upn", "upn"),)),))
    assert [a.name for a in joins.order([cloud, ad, hr])] == ["x-hr", "b-ad", "a-cloud"]


def test_a_projecting_agent_that_joins_comes_after_those_it_joins_by() -> None:
    hr = agent("z-hr", project="person", flows=(Flow("nr", "number"),))
    ad = agent("a-ad", project="person", joins=(JoinRule((("nr", "number"),)),))
    assert [a.name for a in joins.order([ad, hr])] == ["z-hr", "a-ad"]


def test_a_ring_of_needs_has_an_order_too() -> None:
    one = agent("one", joins=(JoinRule((("a", "b"),)),), flows=(Flow("a", "a"),))
    two = agent("two", joins=(JoinRule((("a", "a"),)),), flows=(Flow("b", "b"),), project="person")
    assert [a.name for a in joins.order([one, two])] == ["two", "one"]


def test_trials_say_why() -> None:
    known = Metaverse({"x": {"number": "7"}, "y": {"number": "7"}})
    said = [
        joins.try_rule(1, BY_NUMBER, attributes, known).outcome
        for attributes in ({}, {"employeeNumber": ("8",)}, {"employeeNumber": ("7",)})
    ]
    assert said == [
        "does not apply: the object has no employeeNumber",
        "fits nothing in the metaverse",
        "fits 2 objects of the metaverse: a conflict",
    ]
