"""Management agents, connector space and metaverse, on SQLite in a file, SQLite in memory and PostgreSQL."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.errors import Conflict, NotFound
from bastide.domain.ids import Sid
from bastide.domain.management_agents import (
    Condition,
    CsId,
    CsObject,
    Filter,
    Flow,
    ImportPlan,
    ImportRules,
    JoinRule,
    Link,
    MaId,
    ManagementAgent,
    MvId,
    MvObject,
    Operation,
    PasswordManagement,
    PasswordSource,
)
from bastide.domain.management_agents import Test as Compare
from bastide.services.passwords.ports import Agents, ConnectorSpace, Metaverse
from bastide.services.ports import UnitOfWork
from bastide.store.unit_of_work import SqlStore
from tests.support import build

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
NOW = build.NOW
HOSTILE = "O'Brien \\ % _ \" ; DROP TABLE -- ß İ \u202e \n 😀"


def commit(store: SqlStore, act: Callable[[UnitOfWork], Any]) -> Any:
    with store.write() as uow:
        done = act(uow)
        uow.commit()
    return done


def add(store: SqlStore, one: ManagementAgent) -> None:
    commit(store, lambda uow: uow.agents.add(one))


def agent(name: str = "Corp", **fields: Any) -> ManagementAgent:
    return ManagementAgent(
        id=MaId(f"id-{name.lower()}"), name=name, connector="memory", settings={"system": name}, **fields
    )


def cs(anchor: str, ma: str = "id-corp", link: Link = Link.NONE, mv: str = "", **attributes: str) -> CsObject:
    return CsObject(
        id=CsId(f"{ma}/{anchor}"[:64]),
        ma=MaId(ma),
        anchor=anchor,
        dn=f"CN={anchor}",
        type="user",
        attributes={n: (v,) for n, v in attributes.items()},
        link=link,
        mv=MvId(mv) if mv else None,
        seen_at=NOW,
    )


def mv(id_: str, **attributes: str | tuple[str, ...]) -> MvObject:
    return MvObject(
        id=MvId(id_),
        type="person",
        attributes={n: (v,) if isinstance(v, str) else v for n, v in attributes.items()},
        origins=dict.fromkeys(attributes, MaId("id-corp")),
    )


@pytest.fixture
def space(store: SqlStore) -> SqlStore:
    for one in (agent(), agent("Ldap")):
        add(store, one)
    return store


def test_they_are_the_ports(store: SqlStore) -> None:
    with store.read() as uow:
        agents: Agents = uow.agents
        connector_space: ConnectorSpace = uow.space
        metaverse: Metaverse = uow.metaverse
        assert agents.all() == ()
        assert connector_space.search(ma=None, text="", link="", limit=9) == ()
        assert metaverse.search(text="", limit=9) == ()


# --------------------------------------------------------------------------------------------------------------- agents


def test_an_agent_comes_back_whole(store: SqlStore) -> None:
    whole = agent(
        rules=ImportRules(
            filters=(Filter((Condition("uac", Compare.BIT, "2"),)),),
            joins=(JoinRule((("a", "b"), ("c", "d"))),),
            project="person",
            flows=(Flow("a", "b", 3),),
        ),
        passwords=PasswordManagement(
            enabled=True, operation=Operation.BOTH, retry_interval=timedelta(seconds=61), require_secure=False
        ),
        source=PasswordSource(
            domain="corp.test", enabled=True, targets=(MaId("x"),), own_accounts=(Sid("S-1-5-21-1-2-3-500"),)
        ),
        imports=ImportPlan(every=timedelta(minutes=5), fuse=25),
        cookie="YQ==",
        imported_at=NOW,
        run="r",
    )
    whole = replace(
        whole, settings={"hosts": ["a", "b"], "port": 636, "tls": {"ca": None, "on": True}, "q": HOSTILE}
    )
    commit(store, lambda uow: uow.agents.add(whole))
    with store.read() as uow:
        assert (
            uow.agents.get(whole.id)
            == uow.agents.by_name("CORP")
            == uow.agents.by_domain("Corp.Test")
            == whole
        )
        assert uow.agents.by_domain("other.test") is None
        own = uow.agents.get(whole.id).source
        assert own is not None
        assert isinstance(own.own_accounts[0], Sid)


def test_names_and_domains_are_unique(space: SqlStore) -> None:
    source = PasswordSource(domain="corp.test")
    commit(space, lambda uow: uow.agents.save(replace(agent(), source=source)))
    for other in (agent("CORP", source=None), replace(agent("Third"), source=source)):
        with pytest.raises(Conflict):
            add(space, replace(other, id=MaId("new")))


def test_saving_an_agent_is_optimistic_and_noting_is_not_a_version(space: SqlStore) -> None:
    read = agent()
    commit(space, lambda uow: uow.agents.note(replace(read, cookie="YQ==")))
    saved = commit(space, lambda uow: uow.agents.save(replace(read, connector="other")))
    assert saved.version == 1
    with pytest.raises(Conflict, match="meanwhile"):
        commit(space, lambda uow: uow.agents.save(replace(read, connector="third")))
    with pytest.raises(Conflict, match="meanwhile"):
        commit(space, lambda uow: uow.agents.note(replace(read, cookie="Yg==")))
    with pytest.raises(NotFound):
        commit(space, lambda uow: uow.agents.note(agent("Nobody")))


def test_a_secret_is_kept_apart_replaced_and_gone_with_its_agent(space: SqlStore) -> None:
    id_ = MaId("id-corp")
    with space.read() as uow:
        assert uow.agents.secret(id_) == b""
    commit(space, lambda uow: uow.agents.set_secret(id_, b"\x00one"))
    commit(space, lambda uow: uow.agents.set_secret(id_, b"two"))
    with space.read() as uow:
        assert uow.agents.secret(id_) == b"two"
        assert uow.agents.get(id_) == agent()
    commit(space, lambda uow: uow.agents.remove(id_))
    commit(space, lambda uow: uow.agents.add(agent()))
    with space.read() as uow:
        assert uow.agents.secret(id_) == b""
    with pytest.raises(Conflict):
        commit(space, lambda uow: uow.agents.set_secret(MaId("nobody"), b"x"))


def test_an_agent_takes_its_objects_with_it(space: SqlStore) -> None:
    commit(space, lambda uow: uow.space.put([cs("a"), cs("b", "id-ldap")]))
    commit(space, lambda uow: uow.agents.remove(MaId("id-corp")))
    with space.read() as uow:
        assert [one.anchor for one in uow.space.search(ma=None, text="", link="", limit=9)] == ["b"]
    with pytest.raises(NotFound):
        commit(space, lambda uow: uow.agents.remove(MaId("id-corp")))


# ------------------------------------------------------------------------------------------------------ connector space


def test_an_object_comes_back_by_id_and_anchor(space: SqlStore) -> None:
    one = replace(cs(HOSTILE, mv="m", link=Link.JOINED, cn=HOSTILE), id=CsId("1"), because="join rule 1")
    other = replace(cs(HOSTILE, "id-ldap"), id=CsId("2"))
    commit(space, lambda uow: uow.space.put([one, other]))
    with space.read() as uow:
        assert uow.space.get(one.id) == one
        assert uow.space.many([one.id, CsId("x"), other.id]) == {one.id: one, other.id: other}
        assert uow.space.by_anchor(MaId("id-corp"), [HOSTILE, "x"]) == {HOSTILE: one}
        assert uow.space.by_anchor(MaId("id-corp"), [HOSTILE.upper()]) == {}
        with pytest.raises(NotFound):
            uow.space.get(CsId("x"))


def test_an_object_is_replaced_by_id(space: SqlStore) -> None:
    commit(space, lambda uow: uow.space.put([cs("a", cn="old"), cs("b")]))
    commit(space, lambda uow: uow.space.put([cs("a", link=Link.JOINED, mv="m", cn="new")]))
    with space.read() as uow:
        assert uow.space.get(CsId("id-corp/a")).attributes == {"cn": ("new",)}
        assert uow.space.search(ma=None, text="old", link="", limit=9) == ()
        assert [one.anchor for one in uow.space.of_mv(MvId("m"))] == ["a"]
    with pytest.raises(Conflict):
        commit(space, lambda uow: uow.space.put([replace(cs("a"), id=CsId("another"))]))


def test_objects_of_a_person_an_agent_and_those_that_wait(space: SqlStore) -> None:
    objects = [
        cs("a", link=Link.JOINED, mv="m"), cs("b", link=Link.CONFLICT), cs("c"), cs("d", link=Link.FILTERED),
        cs("e", link=Link.APART), cs("a", "id-ldap", Link.MANUAL, "m"),
    ]  # fmt: skip
    commit(space, lambda uow: uow.space.put(objects))
    with space.read() as uow:
        found = uow.space.of_mvs([MvId("m"), MvId("none")])
        assert {key: [one.ma for one in all_] for key, all_ in found.items()} == {
            "m": ["id-corp", "id-ldap"], "none": [],
        }  # fmt: skip
        assert [one.anchor for one in uow.space.of_ma(MaId("id-corp"))] == ["a", "b", "c", "d", "e"]
        assert [one.anchor for one in uow.space.loose(MaId("id-corp"))] == ["b", "c"]
        assert uow.space.count(MaId("id-corp")) == {
            "joined": 1, "conflict": 1, "none": 1, "filtered": 1, "kept-apart": 1,
        }  # fmt: skip
        assert uow.space.count(MaId("nobody")) == {}


def test_search_takes_text_as_it_is(space: SqlStore) -> None:
    objects = [
        cs("100%", cn="Straße"),
        cs("100x", cn=HOSTILE),
        cs("under_score", "id-ldap"),
        cs("underXscore"),
    ]
    commit(space, lambda uow: uow.space.put(objects))

    def found(text: str, ma: str = "", link: str = "", limit: int = 9) -> list[str]:
        with space.read() as uow:
            return [
                one.anchor
                for one in uow.space.search(ma=MaId(ma) if ma else None, text=text, link=link, limit=limit)
            ]

    assert found("100%") == ["100%"]
    assert found("under_s") == ["under_score"]
    assert found("STRASSE") == ["100%"]
    assert found("o'brien \\") == ["100x"]
    assert found("", "id-ldap") == ["under_score"]
    assert found("", link="joined") == []
    assert len(found("", limit=2)) == 2


def test_many_objects_go_in_pieces(space: SqlStore) -> None:
    many = [cs(f"{number:05}", link=Link.JOINED, mv=f"m{number}") for number in range(1203)]
    commit(space, lambda uow: uow.space.put(many))
    ids, anchors = [one.id for one in many], [one.anchor for one in many]
    with space.read() as uow:
        assert len(uow.space.many(ids)) == len(uow.space.by_anchor(MaId("id-corp"), anchors)) == 1203
        assert all(uow.space.of_mvs([MvId(f"m{number}") for number in range(1203)]).values())
        assert [one.id for one in uow.space.of_ma(MaId("id-corp"))] == ids
    commit(space, lambda uow: uow.space.remove([*ids, CsId("gone already")]))
    with space.read() as uow:
        assert list(uow.space.of_ma(MaId("id-corp"))) == []


def test_values_without_a_limit(space: SqlStore) -> None:
    """An index row has one; PostgreSQL takes no NUL in a text."""
    long = replace(cs("x" * 20_000, cn="y" * 50_000, nul="b"), id=CsId("1"))
    person = mv("m", cn="y" * 50_000, nul="a\0b")
    commit(space, lambda uow: uow.space.put([long]))
    commit(space, lambda uow: uow.metaverse.put([person]))
    with space.read() as uow:
        assert uow.space.by_anchor(MaId("id-corp"), [long.anchor]) == {long.anchor: long}
        assert uow.metaverse.get(person.id) == person
        assert uow.metaverse.matching("cn", ["Y" * 50_000]) == {"y" * 50_000: ("m",)}
        assert uow.space.search(ma=None, text="x" * 256, link="", limit=9) == (long,)
        assert uow.space.search(ma=None, text="\0", link="", limit=9) == ()


# ------------------------------------------------------------------------------------------------------------ metaverse


def test_people_are_found_by_any_value_in_whatever_case(space: SqlStore) -> None:
    people = [mv("m1", mail=("A@x", "b@x"), cn="Ann"), mv("m2", Mail="a@X"), mv("m3", other="a@x")]
    commit(space, lambda uow: uow.metaverse.put(people))
    with space.read() as uow:
        assert uow.metaverse.matching("MAIL", ["A@X", "B@x", "none"]) == {"a@x": ("m1", "m2"), "b@x": ("m1",)}
        assert uow.metaverse.many([MvId("m1"), MvId("x")]) == {"m1": people[0]}
        assert [one.id for one in uow.metaverse.search(text="ANN", limit=9)] == ["m1"]
        assert len(uow.metaverse.search(text="", limit=2)) == 2
        with pytest.raises(NotFound):
            uow.metaverse.get(MvId("x"))


def test_a_changed_person_is_found_by_new_values_only(space: SqlStore) -> None:
    commit(space, lambda uow: uow.metaverse.put([mv("m1", mail="old@x"), mv("m2", mail="old@x")]))
    commit(space, lambda uow: uow.metaverse.put([mv("m1", mail="new@x")]))
    with space.read() as uow:
        assert uow.metaverse.matching("mail", ["old@x", "new@x"]) == {"old@x": ("m2",), "new@x": ("m1",)}
    commit(space, lambda uow: uow.metaverse.remove([MvId("m1"), MvId("gone already")]))
    with space.read() as uow:
        assert uow.metaverse.matching("mail", ["new@x"]) == {}


def test_a_value_that_differs_in_case_only_is_one_value(space: SqlStore) -> None:
    commit(space, lambda uow: uow.metaverse.put([mv("m1", mail=("A@x", "a@X"), Mail="a@x")]))
    with space.read() as uow:
        assert uow.metaverse.matching("mail", ["a@x"]) == {"a@x": ("m1",)}


def test_what_is_not_committed_is_not_there(space: SqlStore) -> None:
    with space.write() as uow:
        uow.space.put([cs("a")])
        uow.metaverse.put([mv("m", cn="x")])
    with space.read() as uow:
        assert uow.space.search(ma=None, text="", link="", limit=9) == ()
        assert uow.metaverse.search(text="", limit=9) == ()
