"""Which server it is, and whose password is never set: that of the agent itself, and of who has power over the server."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from bastide.domain.errors import (
    TargetDenied,
)
from bastide.domain.management_agents import PasswordManagement
from bastide.domain.passwords import Code
from bastide.services.passwords.ports import NewPassword, Security
from bastide.targets import sql, sql_mariadb, sql_postgres
from bastide.targets.sql_vendor import Account, Powers
from tests.support.sql_world import (
    BOTH,
    ON_MARIADB,
    ON_POSTGRES,
    REGISTRY,
    ROLE,
    SECRET,
    World,
    cs_object,
    make_role,
    set_password,
)

pytest_plugins = ["tests.support.sql_world"]

# ---------------------------------------------------------------------------------------------------------- what it is


@BOTH
def test_a_server_is_the_same_by_whatever_way_it_was_reached(world: World) -> None:
    by_name = REGISTRY.identity(world.agent(passwords=ROLE), SECRET)
    by_socket = REGISTRY.identity(world.agent(passwords=ROLE, host=world.socket, ca=""), SECRET)
    assert by_name == by_socket
    (label,) = by_name
    assert label.startswith(f"{world.kind} ")
    assert len(label) > len(world.kind) + 10


@BOTH
def test_a_server_is_not_asked_where_the_secret_would_be_heard(world: World) -> None:
    open_one = replace(world.agent(passwords=ROLE, tls="off"), passwords=PasswordManagement())
    assert REGISTRY.identity(open_one, SECRET) == ()


@BOTH
def test_a_server_that_refuses_us_does_not_say_what_it_is(world: World) -> None:
    with pytest.raises(TargetDenied):
        REGISTRY.identity(world.agent(passwords=ROLE), "wrong")


# ------------------------------------------------------------------------------------------------------ whose it is not


@BOTH
def test_the_account_of_the_agent_is_never_set(world: World) -> None:
    for anchor in (world.settings["user"], world.settings["user"] + " "):
        for rules in (ROLE, {**ROLE, "privileged": True}):
            code, detail = set_password(world, anchor, "taken-over", rules)
            assert (code, "own account" in detail) == (Code.SET_UNSUPPORTED, True)
    with REGISTRY.target(world.agent(passwords=ROLE), SECRET) as target:
        assert target.change(cs_object(world.settings["user"]), SECRET, "x-1").code is Code.SET_UNSUPPORTED
        assert target.security() is Security.SECURE


POWER = {
    "postgresql": (
        "ALTER ROLE {name} REPLICATION",
        "ALTER ROLE {name} BYPASSRLS",
        "ALTER ROLE {name} CREATEROLE",
        "GRANT pg_write_server_files TO {name}",
        "CREATE ROLE {via} CREATEROLE; GRANT {via} TO {name}",
    ),
    "mariadb": (
        "GRANT SUPER ON *.* TO {name}@'%'",
        "GRANT REPLICATION SLAVE ON *.* TO {name}@'%'",
        "GRANT UPDATE ON mysql.* TO {name}@'%'",
        "GRANT INSERT ON `my%`.* TO {name}@'%'",
        "GRANT UPDATE ON mysql.global_priv TO {name}@'%'",
        "CREATE ROLE {via}; GRANT FILE ON *.* TO {via}; GRANT {via} TO {name}@'%'",
    ),
}


@BOTH
def test_accounts_with_power_over_the_server_are_not_set(world: World) -> None:
    for grant in POWER[world.kind]:
        name = make_role(world)
        quote = '"' if world.kind == "postgresql" else "`"
        via = f"{quote}{name}-via{quote}"
        for statement in grant.format(name=f"{quote}{name}{quote}", via=via).split("; "):
            world.run(statement)
        code, detail = set_password(world, name, "taken-over")
        assert (code, "power over the server" in detail) == (Code.SET_UNSUPPORTED, True), grant
        assert world.opens(name, "old-one"), grant
        with REGISTRY.target(world.agent(passwords=ROLE), SECRET) as target:
            assert target.change(cs_object(name), "old-one", "new-one").code is Code.SET_UNSUPPORTED
        if "_via" in grant:
            world.run(f"DROP ROLE {via}")
    assert set_password(world, name, "new-one", {**ROLE, "privileged": True})[0] is Code.SUCCESS


@ON_MARIADB
@pytest.mark.parametrize(
    "right", ["UPDATE ON mysql.*", "SELECT ON mysql.global_priv", "SUPER ON *.*", "INSERT ON `my%`.*"]
)
def test_what_everybody_may_do_counts_for_each_account(world: World, right: str) -> None:
    """MariaDB 10.11: rights of PUBLIC are those of whoever signs in."""
    name = make_role(world)
    world.run(f"GRANT {right} TO PUBLIC")
    try:
        code, detail = set_password(world, name, "taken-over")
        assert (code, "power over the server" in detail) == (Code.SET_UNSUPPORTED, True)
        assert world.opens(name, "old-one")
    finally:
        world.run(f"REVOKE {right} FROM PUBLIC")
    assert set_password(world, name, "new-one")[0] is Code.SUCCESS, "PUBLIC is there still, with no right"


@ON_MARIADB
def test_what_everybody_may_do_with_ordinary_tables_is_no_power(world: World) -> None:
    name = make_role(world)
    database = world.settings["database"]
    world.run(f"GRANT SELECT ON {database}.* TO PUBLIC")
    try:
        assert set_password(world, name, "new-one")[0] is Code.SUCCESS
    finally:
        world.run(f"REVOKE SELECT ON {database}.* FROM PUBLIC")


@BOTH
def test_power_is_asked_for_a_part_at_once_and_anew_for_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor: Any = {"postgresql": sql_postgres.PostgreSQL, "mariadb": sql_mariadb.MariaDB}[world.kind]
    asked: list[int] = []
    inner = vendor.privileged

    def counting(self: Any, raw: Any, accounts: Sequence[Account]) -> Powers:
        asked.append(len(accounts))
        found: Powers = inner(self, raw, accounts)
        return found

    monkeypatch.setattr(vendor, "privileged", counting)
    monkeypatch.setattr(sql, "_AT_ONCE", 4)
    names = [make_role(world) for _ in range(4)]
    quote = '"' if world.kind == "postgresql" else "`"
    role, host = f"{quote}{names[0]}-via{quote}", "" if world.kind == "postgresql" else "@'%'"
    power = "CREATE ROLE {0} CREATEROLE" if world.kind == "postgresql" else "CREATE ROLE {0}"
    world.run(power.format(role))
    if world.kind == "mariadb":
        world.run(f"GRANT FILE ON *.* TO {role}")
    batch = [NewPassword(cs_object(name), "new-one") for name in (*names, "nobody", names[0])]

    def grant(name: str) -> None:
        world.run(f"GRANT {role} TO {quote}{name}{quote}{host}")

    grant(names[1])
    with REGISTRY.target(world.agent(passwords=ROLE), SECRET) as target:
        first = [one.code for one in target.set(batch)]
        grant(names[2])
        second = [one.code for one in target.set(batch)]
    done, never, missing = Code.SUCCESS, Code.SET_UNSUPPORTED, Code.OBJECT_MISSING
    assert first == [done, never, done, done, missing, done]
    assert second == [done, never, never, done, missing, done], "on the same connection"
    assert asked == [4, 2, 4, 2]
    world.run(f"DROP ROLE {role}")


@BOTH
def test_a_name_that_the_server_cannot_take_keeps_nobody_from_an_answer(world: World) -> None:
    first, last = make_role(world), make_role(world)
    with REGISTRY.target(world.agent(passwords=ROLE), SECRET) as target:
        results = target.set([NewPassword(cs_object(name), "new-one") for name in (first, "a\0b", last)])
    assert [one.code is Code.SUCCESS for one in results] == [True, False, True]


@ON_MARIADB
def test_names_are_values_where_a_backslash_escapes_nothing(world: World) -> None:
    """What was quoted for the other mode would end the text early there."""
    ((mode,),) = world.run("SELECT @@GLOBAL.sql_mode")
    name = make_role(world, f"o\\'hara {secrets.token_hex(3)}")
    world.run("SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES'")
    try:
        hostile = "\\' OR 1=1) -- "
        with REGISTRY.target(world.agent(passwords=ROLE), SECRET) as target:
            results = target.set([NewPassword(cs_object(one), "new-one") for one in (hostile, name)])
    finally:
        world.run("SET GLOBAL sql_mode = %s", mode)
    assert [one.code for one in results] == [Code.OBJECT_MISSING, Code.SUCCESS]
    assert world.opens(name, "new-one")


@BOTH
def test_an_ordinary_account_is_set_whatever_it_may_do_with_its_own_tables(world: World) -> None:
    name = make_role(world)
    world.run("CREATE TABLE mine (id INTEGER)")
    who = f"`{name}`@'%'" if world.kind == "mariadb" else f'"{name}"'
    world.run(f"GRANT SELECT, UPDATE ON mine TO {who}")
    assert set_password(world, name, "new-one")[0] is Code.SUCCESS
    assert world.opens(name, "new-one")


@ON_POSTGRES
def test_a_superuser_is_not_set(world: World) -> None:
    name = make_role(world)
    world.run(f'ALTER ROLE "{name}" SUPERUSER')
    assert set_password(world, name, "taken-over")[0] is Code.SET_UNSUPPORTED


@ON_MARIADB
def test_root_is_not_set_under_any_spelling_of_its_host(world: World) -> None:
    settings = {"kind": "role", "name": "user", "host": "host"}
    for host in ("localhost", "LOCALHOST", "localhost "):
        with REGISTRY.target(world.agent(passwords=settings), SECRET) as target:
            (done,) = target.set([NewPassword(cs_object("1", user="root", host=host), "taken-over")])
        assert done.code in {Code.SET_UNSUPPORTED, Code.OBJECT_MISSING}, host


@ON_POSTGRES
def test_a_role_that_was_made_again_is_another_one(world: World) -> None:
    name = make_role(world)
    ((oid,),) = world.run("SELECT oid FROM pg_roles WHERE rolname = %s", name)
    rules = {**ROLE, "name": "login", "identity": "oid"}
    with REGISTRY.target(world.agent(passwords=rules), SECRET) as target:
        (other,) = target.set([NewPassword(cs_object("1", login=name, oid=str(oid + 1)), "taken-over")])
        (same,) = target.set([NewPassword(cs_object("1", login=name, oid=str(oid)), "new-one")])
    assert (other.code, same.code) == (Code.OBJECT_MISSING, Code.SUCCESS)
    assert world.opens(name, "new-one")
