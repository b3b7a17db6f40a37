"""Accounts of database servers as targets, on real servers: PostgreSQL and MariaDB with TLS, and with every statement logged."""

import base64
import gc
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql
import pytest

from bastide.domain.errors import (
    TargetDenied,
    TargetUnavailable,
)
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Attended, Look, NewPassword, Security
from bastide.targets.conformance import CHECKS, Subject
from bastide_lab import tls
from tests.support.sql_world import (
    BOTH,
    HOSTILE,
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


@BOTH
@pytest.mark.parametrize("password", HOSTILE.values(), ids=HOSTILE)
def test_an_account_signs_in_with_the_password_it_was_given(world: World, password: str) -> None:
    name = make_role(world)
    assert set_password(world, name, password) == (Code.SUCCESS, "")
    assert world.opens(name, password)
    assert not world.opens(name, "old-one")


@BOTH
@pytest.mark.parametrize("password", ["with\0nul", "", "half \ud83d"], ids=["nul", "empty", "surrogate"])
def test_what_a_server_would_keep_as_something_else_is_refused(world: World, password: str) -> None:
    name = make_role(world)
    assert set_password(world, name, password)[0] is Code.POLICY
    assert world.opens(name, "old-one")


@BOTH
@pytest.mark.parametrize(
    "name", ["o'hara", 'quo"te', "back`tick", "per%cent %s", "semi;colon --", "ünï", "a b"]
)
def test_an_account_has_any_name(world: World, name: str) -> None:
    anchor = make_role(world, f"{name}-{secrets.token_hex(3)}")
    assert set_password(world, anchor, "new-one") == (Code.SUCCESS, "")
    assert world.opens(anchor, "new-one")


@BOTH
def test_one_that_is_missing_does_not_keep_the_others_from_theirs(world: World) -> None:
    first, last = make_role(world), make_role(world)
    with REGISTRY.target(world.agent(passwords=ROLE), SECRET) as target:
        results = target.set([NewPassword(cs_object(name), "new-one") for name in (first, "nobody", last)])
    assert [one.code for one in results] == [Code.SUCCESS, Code.OBJECT_MISSING, Code.SUCCESS]
    assert world.opens(first, "new-one")
    assert world.opens(last, "new-one")


@BOTH
def test_no_log_of_the_server_has_the_clear_text(world: World) -> None:
    canary = f"canary-{secrets.token_hex(8)}-é'x"
    name = make_role(world)
    assert set_password(world, name, canary)[0] is Code.SUCCESS
    assert set_password(world, "nobody", canary)[0] is Code.OBJECT_MISSING
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
    name, weak = make_role(world), make_role(world)
    agent = replace(world.agent(passwords=ROLE, user=weak))
    with REGISTRY.target(agent, "old-one") as target:
        (result,) = target.set([NewPassword(cs_object(name), "new-one")])
    assert result.code is Code.DENIED
    assert world.opens(name, "old-one")


@BOTH
def test_a_broken_connection_is_no_answer_about_an_account(world: World) -> None:
    name, user = make_role(world), world.settings["user"]
    with _opened(world) as target:
        if world.kind == "postgresql":
            world.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", user)
        else:
            for (number,) in world.run("SELECT id FROM information_schema.processlist WHERE user = %s", user):
                world.run("KILL %s", number)
        with pytest.raises(TargetUnavailable):
            target.set([NewPassword(cs_object(name), "new-one")])


@BOTH
def test_verify_proves_the_right_password_and_not_a_wrong_one(world: World) -> None:
    name = make_role(world)
    with _opened(world) as target:
        assert target.verify(cs_object(name), "old-one") is Proof.PROVED
        assert target.verify(cs_object(name), "wrong") is Proof.NOT_PROVED
        assert target.verify(cs_object(name), "nul\0") is Proof.NOT_TRIED


@BOTH
def test_a_change_needs_the_old_password(world: World) -> None:
    name = make_role(world)
    with _opened(world) as target:
        refused = target.change(cs_object(name), "wrong", "new-one")
        assert refused.code is Code.DENIED
        assert world.opens(name, "old-one")
        assert target.change(cs_object(name), "old-one", "new-one").code is Code.SUCCESS
    assert world.opens(name, "new-one")


@ON_POSTGRES
def test_postgres_proves_nothing_by_an_account_that_may_not_sign_in(world: World) -> None:
    closed = make_role(world, how="PASSWORD 'x' NOLOGIN")
    over = make_role(world, how="LOGIN PASSWORD 'x' VALID UNTIL '2001-01-01'")
    with _opened(world) as target:
        assert target.verify(cs_object(closed), "x") is Proof.NOT_TRIED
        assert target.verify(cs_object(over), "x") is Proof.NOT_TRIED
        assert target.verify(cs_object("nobody"), "x") is Proof.NOT_TRIED


@ON_POSTGRES
def test_postgres_has_no_must_change_and_says_so(world: World) -> None:
    name = make_role(world)
    assert set_password(world, name, "new-one", must_change=True)[0] is Code.SET_UNSUPPORTED
    assert world.opens(name, "old-one")


@ON_POSTGRES
def test_postgres_keeps_a_scram_verifier(world: World) -> None:
    name = make_role(world)
    set_password(world, name, "new-one", unlock=True)
    ((kept,),) = world.run("SELECT rolpassword FROM pg_authid WHERE rolname = %s", name)
    assert kept.startswith("SCRAM-SHA-256$4096:")


@ON_MARIADB
def test_mariadb_ed25519(world: World) -> None:
    name = make_role(world, how="IDENTIFIED VIA ed25519 USING PASSWORD('old-one')")
    code, detail = set_password(world, name, "né'w")
    assert code is Code.SET_UNSUPPORTED
    assert "format" in detail
    assert set_password(world, name, "né'w", {"kind": "role", "format": "ed25519"}) == (Code.SUCCESS, "")
    assert world.opens(name, "né'w")


@ON_MARIADB
def test_mariadb_takes_no_other_way_in_away_and_gives_no_password_to_whom_had_none(world: World) -> None:
    both = make_role(
        world, how="IDENTIFIED VIA mysql_native_password USING PASSWORD('old-one') OR unix_socket"
    )
    none = make_role(world, how="IDENTIFIED VIA unix_socket")
    assert set_password(world, both, "new-one")[0] is Code.SUCCESS
    assert set_password(world, none, "new-one")[0] is Code.SET_UNSUPPORTED
    ((shown,),) = world.run("SHOW CREATE USER %s@'%%'", both)
    assert "OR unix_socket" in shown


@ON_MARIADB
def test_mariadb_expires_what_must_be_changed_and_ends_a_lock_out(world: World) -> None:
    name = make_role(world)
    world.run("SET GLOBAL max_password_errors = 2")
    try:
        for _ in range(2):
            assert not world.opens(name, "wrong")
        with pytest.raises(pymysql.OperationalError, match=r"4150|4151"):
            world.opens(name, "old-one")
        with _opened(world) as target:
            assert target.verify(cs_object(name), "old-one") is Proof.NOT_TRIED
        assert set_password(world, name, "new-one", unlock=True)[0] is Code.SUCCESS
        assert world.opens(name, "new-one")
    finally:
        world.run("SET GLOBAL max_password_errors = DEFAULT")
    assert set_password(world, name, "next-one", must_change=True)[0] is Code.SUCCESS
    ((expired,),) = world.run("SELECT password_expired FROM mysql.user WHERE User = %s", name)
    assert expired == "Y"
    with _opened(world) as target:
        assert target.verify(cs_object(name), "next-one") is Proof.PROVED
        assert target.verify(cs_object(name), "another") is Proof.NOT_PROVED


@ON_MARIADB
def test_mariadb_forgets_failed_sign_ins_without_a_password(world: World) -> None:
    name = make_role(world)
    closed = make_role(world, how="IDENTIFIED BY 'old-one' ACCOUNT LOCK")
    world.run("SET GLOBAL max_password_errors = 2")
    try:
        for _ in range(2):
            assert not world.opens(name, "wrong")
        with pytest.raises(pymysql.OperationalError, match=r"4150|4151"):
            world.opens(name, "old-one")
        with _opened(world) as target:
            assert isinstance(target, Attended)
            done = target.unlock([cs_object(one) for one in (name, "nobody", closed)])
            assert target.look([cs_object(name)]) == [Look()], "a count that nobody can read is not guessed"
        assert [one.code for one in done] == [Code.SUCCESS, Code.OBJECT_MISSING, Code.SUCCESS]
        assert world.opens(name, "old-one")
        with pytest.raises(pymysql.OperationalError, match="4151"):
            world.opens(closed, "old-one")  # an administrator did that
    finally:
        world.run("SET GLOBAL max_password_errors = DEFAULT")


@BOTH
def test_accounts_that_are_never_set_are_not_unlocked_either(world: World) -> None:
    with _opened(world) as target:
        assert isinstance(target, Attended)
        (own,) = target.unlock([cs_object(world.settings["user"])])
    assert own.code is Code.SET_UNSUPPORTED
    assert "the agent's own account" in own.detail


@ON_POSTGRES
def test_postgres_has_no_lock_and_says_so(world: World) -> None:
    name = make_role(world)
    with _opened(world) as target:
        assert isinstance(target, Attended)
        (done,) = target.unlock([cs_object(name)])
        assert target.look([cs_object(name)]) == [Look()]
    assert (done.code, done.detail) == (
        Code.SET_UNSUPPORTED,
        "PostgreSQL has no lock: it counts no failed sign-ins",
    )
    assert world.opens(name, "old-one")


@ON_MARIADB
def test_mariadb_host_part(world: World) -> None:
    name = make_role(world)
    world.run("CREATE USER %s@localhost IDENTIFIED BY 'old-one'", name)
    try:
        settings = {"kind": "role", "name": "user", "host": "host"}
        with REGISTRY.target(world.agent(passwords=settings), SECRET) as target:
            there = cs_object("1", user=name, host="localhost")
            assert target.set([NewPassword(there, "new-one")])[0].code is Code.SUCCESS
            assert target.verify(there, "new-one") is Proof.NOT_TRIED  # we do not come from there
            assert target.set([NewPassword(cs_object("1"), "x")])[0].code is Code.NOT_CONFIGURED
        with REGISTRY.target(world.agent(passwords=settings, host=world.socket, ca=""), SECRET) as target:
            assert target.verify(there, "new-one") is Proof.PROVED
        assert world.opens(name, "old-one")
    finally:
        world.run("DROP USER %s@localhost", name)


@BOTH
@pytest.mark.parametrize("check", CHECKS)
def test_contract_of_accounts(world: World, check: str) -> None:
    name = make_role(world)
    subject = Subject(
        make=lambda: REGISTRY.target(world.agent(passwords=ROLE), SECRET),
        account=cs_object(name),
        absent=cs_object("nobody"),
        signs_in=lambda password: "\0" not in password and world.opens(name, password),
    )
    gc.collect()  # what other tests have left to be closed would be counted
    CHECKS[check](subject)
