"""Databases as connected systems, on real servers: PostgreSQL and MariaDB with TLS, and with every statement logged."""

import base64
import gc
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import argon2
import pymysql
import pytest

from bastide.domain.errors import (
    BadSource,
    CapabilityMissing,
    InvalidInput,
    NotConfigured,
    TargetDenied,
    TargetUnavailable,
)
from bastide.domain.management_agents import CsId, CsObject, MaId, ManagementAgent, PasswordManagement
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Imported, NewPassword, Security
from bastide.targets.conformance import CHECKS, Subject
from bastide.targets.registry import Registry
from bastide_lab import tls
from tests.support.target_files import ssha512_fits

if TYPE_CHECKING:  # pytest imports them as plug-ins, and wants to be the first
    from tests.support.mariadb import MariaDb
    from tests.support.postgres_target import Postgres

pytest_plugins = ["tests.support.mariadb", "tests.support.postgres_target"]

SECRET = "svc-" + secrets.token_hex(8)
#: security-tests.md, row 20.
HOSTILE = {
    "quotes": "a'b\"c`d$$e\\",
    "line-ends": "one\r\ntwo\nthree",
    "dash": "-rf --password=x",
    "statement": "'; DROP TABLE accounts; --",
    "percent": "100%s %(x)s %%",
    "emoji": "пароль-\U0001f510-é",
    "long": "0123456789abcdef" * 16,
    "blanks": "  two  ",
    "controls": "bell\x07 escape\x1b[2J tab\t",
}


@dataclass(slots=True)
class World:
    """One server with a database of its own for the test, and a service account with just the rights that the docs name."""

    kind: str
    settings: dict[str, Any]
    run: Callable[..., Sequence[Any]]
    opens: Callable[[str, str], bool]
    logs: Callable[[], bytes]
    socket: str
    objects: list[str] = field(default_factory=list)

    def agent(self, **more: Any) -> ManagementAgent:
        return ManagementAgent(
            id=MaId("ma"), name="db", connector=self.kind, settings={**self.settings, **more},
            passwords=PasswordManagement(require_secure=more.get("tls") != "off"),
        )  # fmt: skip


REGISTRY = Registry(now=lambda: datetime(2026, 1, 1, tzinfo=UTC), monotonic=lambda: 0.0)
ROLE = {"kind": "role"}


def _object(anchor: str, **attributes: str) -> CsObject:
    return CsObject(
        id=CsId(anchor), ma=MaId("ma"), anchor=anchor, dn=anchor, type="user",
        attributes={name: (value,) for name, value in attributes.items()},
    )  # fmt: skip


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    name = f"t{secrets.token_hex(4)}"
    if request.param == "postgresql":
        yield from _postgres(request.getfixturevalue("postgres_target"), name)
    else:
        yield from _mariadb(request.getfixturevalue("mariadb"), name)


def _postgres(server: "Postgres", name: str) -> Iterator[World]:
    connection = server.root()

    def run(statement: str, *values: object) -> Sequence[Any]:
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    run(f"CREATE ROLE svc_{name} LOGIN CREATEROLE PASSWORD '{SECRET}'")
    settings = {
        "host": "localhost", "port": server.port, "database": "postgres", "user": f"svc_{name}", "ca": str(server.ca),
    }  # fmt: skip
    made = World("postgresql", settings, run, server.opens, server.logs, str(server.folder))
    with connection:
        yield made
        run("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO public")
        for role in (*made.objects, f"svc_{name}"):
            run(f'DROP ROLE "{role}"')


def _mariadb(server: "MariaDb", name: str) -> Iterator[World]:
    connection = server.root()

    def run(statement: str, *values: object) -> Sequence[Any]:
        with connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    run(f"CREATE DATABASE {name}")
    run(f"CREATE USER svc_{name}@'%' IDENTIFIED BY '{SECRET}' REQUIRE SSL")
    run(f"CREATE USER svc_{name}@localhost IDENTIFIED BY '{SECRET}'")
    for host in ("%", "localhost"):
        run(f"GRANT SELECT, UPDATE ON mysql.* TO svc_{name}@'{host}'")
    run(f"USE {name}")
    settings = {
        "host": "localhost", "port": server.port, "database": name, "user": f"svc_{name}", "ca": str(server.ca),
    }  # fmt: skip
    made = World("mariadb", settings, run, server.opens, server.logs, str(server.socket))
    with closing(connection):
        yield made
        run(f"DROP DATABASE {name}")
        for role in (*made.objects, f"svc_{name}"):
            run("DROP USER %s@'%%'", role)
        run(f"DROP USER svc_{name}@localhost")


BOTH = pytest.mark.parametrize(
    "world",
    [
        pytest.param("postgresql", marks=pytest.mark.postgres),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ],
    indirect=True,
)
ON_POSTGRES = pytest.mark.parametrize(
    "world", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
ON_MARIADB = pytest.mark.parametrize(
    "world", [pytest.param("mariadb", marks=pytest.mark.mariadb)], indirect=True
)


def _role(world: World, name: str = "", how: str = "") -> str:
    name = name or f"anna-{secrets.token_hex(4)}"
    if world.kind == "postgresql":
        world.run('CREATE ROLE "{}" {}'.format(name.replace('"', '""'), how or "LOGIN PASSWORD 'old-one'"))
    else:
        world.run(f"CREATE USER %s@'%%' {how or 'IDENTIFIED BY ' + chr(39) + 'old-one' + chr(39)}", name)
    world.objects.append(name.replace('"', '""') if world.kind == "postgresql" else name)
    return name


def _set(
    world: World, anchor: str, password: str, settings: dict[str, Any] = ROLE, **more: bool
) -> tuple[Code, str]:
    with REGISTRY.target(world.agent(passwords=settings), SECRET) as target:
        (result,) = target.set([NewPassword(_object(anchor), password, **more)])
    return result.code, result.detail


def _everything(world: World, **settings: Any) -> list[Imported]:
    return [
        one for page in REGISTRY.connector(world.agent(**settings), SECRET).read(b"") for one in page.objects
    ]


# --------------------------------------------------------------------------------------------------------------- roles


@BOTH
@pytest.mark.parametrize("password", HOSTILE.values(), ids=HOSTILE)
def test_an_account_signs_in_with_the_password_it_was_given(world: World, password: str) -> None:
    name = _role(world)
    assert _set(world, name, password) == (Code.SUCCESS, "")
    assert world.opens(name, password)
    assert not world.opens(name, "old-one")


@BOTH
@pytest.mark.parametrize("password", ["with\0nul", "", "half \ud83d"], ids=["nul", "empty", "surrogate"])
def test_what_a_server_would_keep_as_something_else_is_refused(world: World, password: str) -> None:
    name = _role(world)
    assert _set(world, name, password)[0] is Code.POLICY
    assert world.opens(name, "old-one")


@BOTH
@pytest.mark.parametrize(
    "name", ["o'hara", 'quo"te', "back`tick", "per%cent %s", "semi;colon --", "ünï", "a b"]
)
def test_an_account_has_any_name(world: World, name: str) -> None:
    anchor = _role(world, f"{name}-{secrets.token_hex(3)}")
    assert _set(world, anchor, "new-one") == (Code.SUCCESS, "")
    assert world.opens(anchor, "new-one")


@BOTH
def test_one_that_is_missing_does_not_keep_the_others_from_theirs(world: World) -> None:
    first, last = _role(world), _role(world)
    with REGISTRY.target(world.agent(passwords=ROLE), SECRET) as target:
        results = target.set([NewPassword(_object(name), "new-one") for name in (first, "nobody", last)])
    assert [one.code for one in results] == [Code.SUCCESS, Code.OBJECT_MISSING, Code.SUCCESS]
    assert world.opens(first, "new-one")
    assert world.opens(last, "new-one")


@BOTH
def test_no_log_of_the_server_has_the_clear_text(world: World) -> None:
    canary = f"canary-{secrets.token_hex(8)}-é'x"
    name = _role(world)
    assert _set(world, name, canary)[0] is Code.SUCCESS
    assert _set(world, "nobody", canary)[0] is Code.OBJECT_MISSING
    logs = world.logs()
    assert name.encode() in logs  # it does log statements
    for form in (
        canary.encode(),
        canary[:20].encode(),
        base64.b64encode(canary.encode()),
        canary.encode("utf-16-le"),
    ):
        assert form not in logs
    assert canary.encode().hex().encode() not in logs.lower()


@BOTH
def test_the_connection_is_secure_over_verified_tls_and_over_a_unix_socket(world: World) -> None:
    for more in ({}, {"host": world.socket, "ca": ""}):
        with REGISTRY.target(world.agent(passwords=ROLE, **more), SECRET) as target:
            assert target.security() is Security.SECURE


@BOTH
def test_a_certificate_for_another_name_is_refused(world: World) -> None:
    with pytest.raises(TargetUnavailable, match=r"[Cc]ertificate|verify"), _opened(world, host="127.0.0.1"):
        pass


@BOTH
def test_a_certificate_of_another_authority_is_refused(world: World, tmp_path: Path) -> None:
    tls.issue(tmp_path, "ca", "ca", ["somebody else"])
    with (
        pytest.raises(TargetUnavailable, match=r"[Cc]ertificate|verify"),
        _opened(world, ca=str(tmp_path / "ca.crt")),
    ):
        pass


@ON_MARIADB
def test_without_tls_the_connection_is_called_what_it_is(world: World) -> None:
    name = world.settings["user"]
    world.run(f"ALTER USER {name}@'%' REQUIRE NONE")
    with _opened(world, tls="off") as target:
        assert target.security() is Security.NOT_SECURE


@ON_POSTGRES
def test_a_server_that_wants_tls_lets_nobody_in_without(world: World) -> None:
    with pytest.raises(TargetUnavailable, match="pg_hba"), _opened(world, tls="off"):
        pass


def _opened(world: World, **more: Any) -> Any:
    return REGISTRY.target(world.agent(passwords=ROLE, **more), SECRET)


@BOTH
def test_a_wrong_secret_of_the_agent_is_told_from_a_server_that_is_down(world: World) -> None:
    with pytest.raises(TargetDenied), REGISTRY.target(world.agent(passwords=ROLE), "wrong"):
        pass
    with pytest.raises(TargetUnavailable), _opened(world, port=1):
        pass


@BOTH
def test_an_account_without_the_right_is_denied(world: World) -> None:
    name, weak = _role(world), _role(world)
    agent = replace(world.agent(passwords=ROLE, user=weak))
    with REGISTRY.target(agent, "old-one") as target:
        (result,) = target.set([NewPassword(_object(name), "new-one")])
    assert result.code is Code.DENIED
    assert world.opens(name, "old-one")


@BOTH
def test_a_broken_connection_is_no_answer_about_an_account(world: World) -> None:
    name, user = _role(world), world.settings["user"]
    with _opened(world) as target:
        if world.kind == "postgresql":
            world.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", user)
        else:
            for (number,) in world.run("SELECT id FROM information_schema.processlist WHERE user = %s", user):
                world.run("KILL %s", number)
        with pytest.raises(TargetUnavailable):
            target.set([NewPassword(_object(name), "new-one")])


@BOTH
def test_verify_proves_the_right_password_and_not_a_wrong_one(world: World) -> None:
    name = _role(world)
    with _opened(world) as target:
        assert target.verify(_object(name), "old-one") is Proof.PROVED
        assert target.verify(_object(name), "wrong") is Proof.NOT_PROVED
        assert target.verify(_object(name), "nul\0") is Proof.NOT_TRIED


@BOTH
def test_a_change_needs_the_old_password(world: World) -> None:
    name = _role(world)
    with _opened(world) as target:
        refused = target.change(_object(name), "wrong", "new-one")
        assert refused.code is Code.DENIED
        assert world.opens(name, "old-one")
        assert target.change(_object(name), "old-one", "new-one").code is Code.SUCCESS
    assert world.opens(name, "new-one")


@ON_POSTGRES
def test_postgres_proves_nothing_by_an_account_that_may_not_sign_in(world: World) -> None:
    closed = _role(world, how="PASSWORD 'x' NOLOGIN")
    over = _role(world, how="LOGIN PASSWORD 'x' VALID UNTIL '2001-01-01'")
    with _opened(world) as target:
        assert target.verify(_object(closed), "x") is Proof.NOT_TRIED
        assert target.verify(_object(over), "x") is Proof.NOT_TRIED
        assert target.verify(_object("nobody"), "x") is Proof.NOT_TRIED


@ON_POSTGRES
def test_postgres_has_no_must_change_and_says_so(world: World) -> None:
    name = _role(world)
    assert _set(world, name, "new-one", must_change=True)[0] is Code.SET_UNSUPPORTED
    assert world.opens(name, "old-one")


@ON_POSTGRES
def test_postgres_keeps_a_scram_verifier(world: World) -> None:
    name = _role(world)
    _set(world, name, "new-one", unlock=True)
    ((kept,),) = world.run("SELECT rolpassword FROM pg_authid WHERE rolname = %s", name)
    assert kept.startswith("SCRAM-SHA-256$4096:")


@ON_MARIADB
def test_mariadb_ed25519(world: World) -> None:
    name = _role(world, how="IDENTIFIED VIA ed25519 USING PASSWORD('old-one')")
    code, detail = _set(world, name, "né'w")
    assert code is Code.SET_UNSUPPORTED
    assert "format" in detail
    assert _set(world, name, "né'w", {"kind": "role", "format": "ed25519"}) == (Code.SUCCESS, "")
    assert world.opens(name, "né'w")


@ON_MARIADB
def test_mariadb_takes_no_other_way_in_away_and_gives_no_password_to_whom_had_none(world: World) -> None:
    both = _role(world, how="IDENTIFIED VIA mysql_native_password USING PASSWORD('old-one') OR unix_socket")
    none = _role(world, how="IDENTIFIED VIA unix_socket")
    assert _set(world, both, "new-one")[0] is Code.SUCCESS
    assert _set(world, none, "new-one")[0] is Code.SET_UNSUPPORTED
    ((shown,),) = world.run("SHOW CREATE USER %s@'%%'", both)
    assert "OR unix_socket" in shown


@ON_MARIADB
def test_mariadb_expires_what_must_be_changed_and_ends_a_lock_out(world: World) -> None:
    name = _role(world)
    world.run("SET GLOBAL max_password_errors = 2")
    try:
        for _ in range(2):
            assert not world.opens(name, "wrong")
        with pytest.raises(pymysql.OperationalError, match=r"4150|4151"):
            world.opens(name, "old-one")
        with _opened(world) as target:
            assert target.verify(_object(name), "old-one") is Proof.NOT_TRIED
        assert _set(world, name, "new-one", unlock=True)[0] is Code.SUCCESS
        assert world.opens(name, "new-one")
    finally:
        world.run("SET GLOBAL max_password_errors = DEFAULT")
    assert _set(world, name, "next-one", must_change=True)[0] is Code.SUCCESS
    ((expired,),) = world.run("SELECT password_expired FROM mysql.user WHERE User = %s", name)
    assert expired == "Y"
    with _opened(world) as target:
        assert target.verify(_object(name), "next-one") is Proof.PROVED
        assert target.verify(_object(name), "another") is Proof.NOT_PROVED


@ON_MARIADB
def test_mariadb_host_part(world: World) -> None:
    name = _role(world)
    world.run("CREATE USER %s@localhost IDENTIFIED BY 'old-one'", name)
    try:
        settings = {"kind": "role", "name": "user", "host": "host"}
        with REGISTRY.target(world.agent(passwords=settings), SECRET) as target:
            there = _object("1", user=name, host="localhost")
            assert target.set([NewPassword(there, "new-one")])[0].code is Code.SUCCESS
            assert target.verify(there, "new-one") is Proof.NOT_TRIED  # we do not come from there
            assert target.set([NewPassword(_object("1"), "x")])[0].code is Code.NOT_CONFIGURED
        with REGISTRY.target(world.agent(passwords=settings, host=world.socket, ca=""), SECRET) as target:
            assert target.verify(there, "new-one") is Proof.PROVED
        assert world.opens(name, "old-one")
    finally:
        world.run("DROP USER %s@localhost", name)


@BOTH
@pytest.mark.parametrize("check", CHECKS)
def test_contract_of_accounts(world: World, check: str) -> None:
    name = _role(world)
    subject = Subject(
        make=lambda: REGISTRY.target(world.agent(passwords=ROLE), SECRET),
        account=_object(name),
        absent=_object("nobody"),
        signs_in=lambda password: "\0" not in password and world.opens(name, password),
    )
    gc.collect()  # what other tests have left to be closed would be counted
    CHECKS[check](subject)


# ------------------------------------------------------------------------------------------------------ whose it is not


@BOTH
def test_the_account_of_the_agent_is_never_set(world: World) -> None:
    for anchor in (world.settings["user"], world.settings["user"] + " "):
        for rules in (ROLE, {**ROLE, "privileged": True}):
            code, detail = _set(world, anchor, "taken-over", rules)
            assert (code, "own account" in detail) == (Code.SET_UNSUPPORTED, True)
    with REGISTRY.target(world.agent(passwords=ROLE), SECRET) as target:
        assert target.change(_object(world.settings["user"]), SECRET, "x-1").code is Code.SET_UNSUPPORTED
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
        name = _role(world)
        quote = '"' if world.kind == "postgresql" else "`"
        via = f"{quote}{name}-via{quote}"
        for statement in grant.format(name=f"{quote}{name}{quote}", via=via).split("; "):
            world.run(statement)
        code, detail = _set(world, name, "taken-over")
        assert (code, "power over the server" in detail) == (Code.SET_UNSUPPORTED, True), grant
        assert world.opens(name, "old-one"), grant
        with REGISTRY.target(world.agent(passwords=ROLE), SECRET) as target:
            assert target.change(_object(name), "old-one", "new-one").code is Code.SET_UNSUPPORTED
        if "_via" in grant:
            world.run(f"DROP ROLE {via}")
    assert _set(world, name, "new-one", {**ROLE, "privileged": True})[0] is Code.SUCCESS


@BOTH
def test_an_ordinary_account_is_set_whatever_it_may_do_with_its_own_tables(world: World) -> None:
    name = _role(world)
    world.run("CREATE TABLE mine (id INTEGER)")
    who = f"`{name}`@'%'" if world.kind == "mariadb" else f'"{name}"'
    world.run(f"GRANT SELECT, UPDATE ON mine TO {who}")
    assert _set(world, name, "new-one")[0] is Code.SUCCESS
    assert world.opens(name, "new-one")


@ON_POSTGRES
def test_a_superuser_is_not_set(world: World) -> None:
    name = _role(world)
    world.run(f'ALTER ROLE "{name}" SUPERUSER')
    assert _set(world, name, "taken-over")[0] is Code.SET_UNSUPPORTED


@ON_MARIADB
def test_root_is_not_set_under_any_spelling_of_its_host(world: World) -> None:
    settings = {"kind": "role", "name": "user", "host": "host"}
    for host in ("localhost", "LOCALHOST", "localhost "):
        with REGISTRY.target(world.agent(passwords=settings), SECRET) as target:
            (done,) = target.set([NewPassword(_object("1", user="root", host=host), "taken-over")])
        assert done.code in {Code.SET_UNSUPPORTED, Code.OBJECT_MISSING}, host


@ON_POSTGRES
def test_a_role_that_was_made_again_is_another_one(world: World) -> None:
    name = _role(world)
    ((oid,),) = world.run("SELECT oid FROM pg_roles WHERE rolname = %s", name)
    rules = {**ROLE, "name": "login", "identity": "oid"}
    with REGISTRY.target(world.agent(passwords=rules), SECRET) as target:
        (other,) = target.set([NewPassword(_object("1", login=name, oid=str(oid + 1)), "taken-over")])
        (same,) = target.set([NewPassword(_object("1", login=name, oid=str(oid)), "new-one")])
    assert (other.code, same.code) == (Code.OBJECT_MISSING, Code.SUCCESS)
    assert world.opens(name, "new-one")


# -------------------------------------------------------------------------------------------------------------- tables

TABLE = {"kind": "table", "table": "accounts", "key": "id", "column": "hash"}


def _accounts(world: World, columns: str = "hash VARCHAR(300), note TEXT") -> None:
    world.run(f"CREATE TABLE accounts (id INTEGER PRIMARY KEY, {columns})")
    world.run("INSERT INTO accounts (id) VALUES (7), (8)")
    _grant(world, "accounts")


def _grant(world: World, table: str) -> None:
    user = world.settings["user"]
    if world.kind == "postgresql":
        world.run(f"GRANT SELECT, UPDATE ON {table} TO {user}")
    else:
        for host in ("%", "localhost"):
            world.run(f"GRANT SELECT, UPDATE ON {table} TO {user}@'{host}'")


@BOTH
@pytest.mark.parametrize("password", [*HOSTILE.values(), "with\0nul"], ids=[*HOSTILE, "nul"])
def test_a_table_gets_a_salted_hash(world: World, password: str) -> None:
    _accounts(world)
    assert _set(world, "7", password, TABLE) == (Code.SUCCESS, "")
    rows = dict(world.run("SELECT id, hash FROM accounts"))
    assert rows[7].startswith("$argon2id$")
    assert argon2.PasswordHasher().verify(rows[7], password)
    assert rows[8] is None


@BOTH
@pytest.mark.parametrize("check", CHECKS)
def test_contract_of_tables(world: World, check: str) -> None:
    _accounts(world)

    quick = {**TABLE, "scheme": "ssha512"}

    def fits(password: str) -> bool:
        ((kept,),) = world.run("SELECT hash FROM accounts WHERE id = 7")
        return ssha512_fits(kept, password)

    subject = Subject(
        make=lambda: REGISTRY.target(world.agent(passwords=quick), SECRET),
        account=_object("7"),
        absent=_object("9"),
        signs_in=fits,
    )
    gc.collect()
    CHECKS[check](subject)


@BOTH
def test_flags_are_set_where_the_agent_asks_and_columns_exist(world: World) -> None:
    _accounts(world, "hash VARCHAR(300), must BOOLEAN, locked SMALLINT DEFAULT 1")
    code, detail = _set(world, "7", "new-one", TABLE, must_change=True)
    assert code is Code.SET_UNSUPPORTED
    assert "must_change" in detail
    flagged = {**TABLE, "must_change": "must", "locked": "locked", "scheme": "bcrypt"}
    assert _set(world, "7", "new-one", flagged, must_change=True, unlock=True) == (Code.SUCCESS, "")
    ((kept, must, locked),) = world.run("SELECT hash, must, locked FROM accounts WHERE id = 7")
    assert (kept[:4], bool(must), locked) == ("$2b$", True, 0)


@BOTH
def test_a_key_that_was_given_to_somebody_else_opens_nothing(world: World) -> None:
    _accounts(world, "hash VARCHAR(300), person VARCHAR(40)")
    world.run("UPDATE accounts SET person = 'the-new-one' WHERE id = 7")
    rules = {**TABLE, "identity": "person", "identity_value": "guid"}
    with REGISTRY.target(world.agent(passwords=rules), SECRET) as target:
        (gone,) = target.set([NewPassword(_object("7", guid="the-old-one"), "new-one")])
        (unknown,) = target.set([NewPassword(_object("7"), "new-one")])
        assert {kept for _, kept in world.run("SELECT id, hash FROM accounts")} == {None}
        (found,) = target.set([NewPassword(_object("7", guid="the-new-one"), "new-one")])
    assert [one.code for one in (gone, unknown, found)] == [
        Code.OBJECT_MISSING, Code.NOT_CONFIGURED, Code.SUCCESS,
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="go together"):
        REGISTRY.target(world.agent(passwords={**TABLE, "identity": "person"}), SECRET)


@BOTH
@pytest.mark.parametrize("anchor", ["9", "7 of 9", "seven", "7'--", "99999999999999999999"])
def test_a_key_that_fits_no_row_is_missing(world: World, anchor: str) -> None:
    _accounts(world)
    assert _set(world, anchor, "new-one", TABLE)[0] is Code.OBJECT_MISSING
    assert {kept for _, kept in world.run("SELECT id, hash FROM accounts")} == {None}


@BOTH
def test_a_key_that_fits_several_rows_changes_none(world: World) -> None:
    world.run("CREATE TABLE accounts (id INTEGER, hash VARCHAR(300))")
    world.run("INSERT INTO accounts (id) VALUES (7), (7)")
    _grant(world, "accounts")
    code, detail = _set(world, "7", "new-one", TABLE)
    assert code is Code.FAILED
    assert "2 rows" in detail
    assert {kept for _, kept in world.run("SELECT id, hash FROM accounts")} == {None}


@BOTH
def test_names_are_looked_up_and_quoted(world: World) -> None:
    quote = '"' if world.kind == "postgresql" else "`"
    strange = "we;ird %s 'na\"me`"
    name = quote + strange.replace(quote, 2 * quote) + quote
    world.run(f"CREATE TABLE {name.replace('%', '%')} (id INTEGER, {name} VARCHAR(300))")
    world.run(f"INSERT INTO {name} (id) VALUES (7)")
    _grant(world, name)
    named = {"kind": "table", "table": strange, "key": "id", "column": strange}
    assert _set(world, "7", "new-one", named) == (Code.SUCCESS, "")
    for wrong in ({**named, "table": "nowhere"}, {**named, "column": "hash; DROP TABLE x"}):
        with pytest.raises(NotConfigured, match="shows our account no column"):
            _set(world, "7", "new-one", wrong)
    ((kept,),) = world.run(f"SELECT {name} FROM {name}")
    assert kept.startswith("$argon2id$")


@BOTH
def test_a_column_that_is_too_narrow_is_an_error_without_the_hash(world: World) -> None:
    _accounts(world, "hash VARCHAR(20)")
    code, detail = _set(world, "7", "new-one", TABLE)
    assert code is Code.FAILED
    assert "argon2" not in detail


@BOTH
def test_a_table_takes_no_change_and_proves_nothing(world: World) -> None:
    _accounts(world)
    with REGISTRY.target(world.agent(passwords=TABLE), SECRET) as target:
        assert target.change(_object("7"), "a", "b").code is Code.SET_UNSUPPORTED
        assert target.verify(_object("7"), "a") is Proof.NOT_TRIED


# -------------------------------------------------------------------------------------------------------------- import

READ = {
    "table": "people", "anchor": "id", "dn": "login", "attributes": ["login", "name", "mail"], "multi_valued": ["mail"],
}  # fmt: skip
#: security-tests.md, row 23.
HOSTILE_NAME = "<script>alert(1)</script>\"'; -- \u202eevil\r\n=cmd|' /C calc'!A0"


def _people(world: World, rows: int = 0) -> None:
    world.run(
        "CREATE TABLE people (id INTEGER PRIMARY KEY, login VARCHAR(50), name VARCHAR(200), mail VARCHAR(200), "
        "changed INTEGER, moved TIMESTAMP NULL, gone BOOLEAN)"
    )
    for number in range(1, rows + 1):
        world.run(
            "INSERT INTO people VALUES (%s, %s, %s, %s, %s, '2026-01-01 00:00:00', %s)",
            number, f"user{number}", f"Ünï {number}", "a@x;b@x", 100 + number, False,
        )  # fmt: skip
    _grant(world, "people")


@BOTH
def test_every_row_is_an_object(world: World) -> None:
    _people(world, 2)
    world.run("INSERT INTO people (id, login, name) VALUES (3, 'eve', %s)", HOSTILE_NAME)
    first, _, last = sorted(_everything(world, read=READ), key=lambda one: one.anchor)
    assert first == Imported(
        "1", "user1", "user", {"login": ("user1",), "name": ("Ünï 1",), "mail": ("a@x", "b@x")}
    )
    assert last.attributes == {"login": ("eve",), "name": (HOSTILE_NAME,)}


@BOTH
def test_many_rows_come_in_pages(world: World) -> None:
    _people(world)
    generate = "generate_series(1, 1201)" if world.kind == "postgresql" else "seq_1_to_1201"
    column = "generate_series" if world.kind == "postgresql" else "seq"
    world.run(f"INSERT INTO people (id, login, changed) SELECT {column}, 'u', {column} FROM {generate}")
    pages = list(REGISTRY.connector(world.agent(read={**READ, "change": "changed"}), SECRET).read(b""))
    assert [len(page.objects) for page in pages] == [500, 500, 201]
    assert [page.cookie for page in pages] == [b"", b"", b'["number", "1201"]']
    with pytest.raises(BadSource, match="more than 1000 rows"):
        _everything(world, read={**READ, "row_limit": 1000})


@BOTH
@pytest.mark.parametrize("column", ["changed", "moved"])
def test_a_delta_has_what_changed_since(world: World, column: str) -> None:
    _people(world, 3)
    reading = {**READ, "change": column, "deleted": "gone", "overlap": 0}
    connector = REGISTRY.connector(world.agent(read=reading), SECRET)
    *_, last = connector.read(b"")
    later = "999" if column == "changed" else "'2026-02-02 10:00:00'"
    world.run(f"UPDATE people SET {column} = {later}, name = 'Neu' WHERE id = 2")
    world.run(f"UPDATE people SET {column} = {later}, gone = TRUE WHERE id = 3")
    *_, second = connector.read(last.cookie)
    found = {one.anchor: one for one in second.objects if one.anchor != "1"}
    assert found["2"].attributes["name"] == ("Neu",)
    assert found["3"] == Imported("3", "user3", "user", {}, deleted=True)
    *_, third = connector.read(second.cookie)
    assert {one.anchor for one in third.objects} == {
        "2",
        "3",
    }  # not below the mark: repeated, which does no harm
    assert third.cookie == second.cookie


@BOTH
def test_a_delta_reads_again_what_may_have_been_committed_late(world: World) -> None:
    _people(world, 3)
    connector = REGISTRY.connector(world.agent(read={**READ, "change": "changed", "overlap": 1}), SECRET)
    *_, last = connector.read(b"")
    assert {one.anchor for page in connector.read(last.cookie) for one in page.objects} == {"2", "3"}


@BOTH
def test_an_import_refuses_what_it_cannot_do(world: World) -> None:
    _people(world, 1)
    connector = REGISTRY.connector(world.agent(read=READ), SECRET)
    with pytest.raises(CapabilityMissing):
        list(connector.read(b'["number", "1"]'))
    connector = REGISTRY.connector(world.agent(read={**READ, "change": "changed"}), SECRET)
    for cookie in (b"x", b"[1]", b'["number", "x"]', b'["time", "x"]'):
        with pytest.raises(BadSource, match="not ours"):
            list(connector.read(cookie))
    with pytest.raises(NotConfigured, match="no column nothing"):
        _everything(world, read={**READ, "anchor": "nothing"})
    with pytest.raises(NotConfigured, match="nothing to read"):
        _everything(world)
    world.run("UPDATE people SET name = %s", "x" * 200)
    with pytest.raises(BadSource, match="row 1 has more than 100 characters"):
        _everything(world, read={**READ, "size_limit": 100})
    world.run("DELETE FROM people")
    assert _everything(world, read=READ) == []


@BOTH
def test_settings_are_checked(world: World) -> None:
    for field_, more in (
        ("settings.ca", {"ca": ""}),
        ("settings.zz", {"zz": 1}),
        ("settings.host", {"host": "a b"}),
        ("settings.passwords.column", {"passwords": {"kind": "table", "table": "a", "key": "b"}}),
        (
            "settings.read.attributes",
            {"passwords": TABLE, "read": {**READ, "attributes": ["HASH"], "multi_valued": []}},
        ),
        ("settings.read.attributes", {"read": {**READ, "dn": "passwd"}}),
        ("settings.read.multi_valued", {"read": {**READ, "multi_valued": ["phone"]}}),
    ):
        with pytest.raises(InvalidInput) as refused:
            REGISTRY.check(world.kind, {**world.settings, **more})
        assert refused.value.field == field_
    with pytest.raises(NotConfigured, match="no way to set passwords"):
        REGISTRY.target(world.agent(), SECRET)


def test_hashes_are_as_the_servers_make_them() -> None:
    from bastide.targets.sql_mariadb import hashed

    assert hashed("secret", "mysql_native_password") == "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"
    assert (
        hashed("secret", "ed25519") == "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY"
    )  # MariaDB's documentation
