"""Tables of databases as targets, and as sources of imports."""

import gc
from functools import partial

import argon2
import pytest

from bastide.domain.errors import (
    BadSource,
    CapabilityMissing,
    InvalidInput,
    NotConfigured,
)
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Attended, Imported, Look, NewPassword
from bastide.targets.conformance import CHECKS, Subject
from tests.support.sql_world import (
    BOTH,
    HOSTILE,
    ON_POSTGRES,
    REGISTRY,
    SECRET,
    World,
    cs_object,
    everything,
    set_password,
)
from tests.support.target_files import ssha512_fits

pytest_plugins = ["tests.support.sql_world"]

# -------------------------------------------------------------------------------------------------------------- tables

TABLE = {"kind": "table", "table": "accounts", "key": "id", "column": "hash"}


@pytest.fixture(autouse=True)
def _quick_argon2(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it costs is said in the hash, so that whoever reads it checks alike. The real cost: tests/unit/test_targets_files_export.py."""
    quick = partial(argon2.PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(argon2, "PasswordHasher", quick)


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
    assert set_password(world, "7", password, TABLE) == (Code.SUCCESS, "")
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
        account=cs_object("7"),
        absent=cs_object("9"),
        signs_in=fits,
    )
    gc.collect()
    CHECKS[check](subject)


@BOTH
def test_flags_are_set_where_the_agent_asks_and_columns_exist(world: World) -> None:
    _accounts(world, "hash VARCHAR(300), must BOOLEAN, locked SMALLINT DEFAULT 1")
    code, detail = set_password(world, "7", "new-one", TABLE, must_change=True)
    assert code is Code.SET_UNSUPPORTED
    assert "must_change" in detail
    flagged = {**TABLE, "must_change": "must", "locked": "locked", "scheme": "bcrypt"}
    assert set_password(world, "7", "new-one", flagged, must_change=True, unlock=True) == (Code.SUCCESS, "")
    ((kept, must, locked),) = world.run("SELECT hash, must, locked FROM accounts WHERE id = 7")
    assert (kept[:4], bool(must), locked) == ("$2b$", True, 0)


@BOTH
def test_a_lock_is_a_column_and_without_one_there_is_none(world: World) -> None:
    _accounts(world, "hash VARCHAR(300), must BOOLEAN, locked SMALLINT DEFAULT 1")
    flagged = {**TABLE, "must_change": "must", "locked": "locked"}
    world.run("UPDATE accounts SET hash = 'kept', must = TRUE")
    seven, nobody = cs_object("7"), cs_object("9")
    with REGISTRY.target(world.agent(passwords=TABLE), SECRET) as target:
        assert isinstance(target, Attended)
        (none,) = target.unlock([seven])
        assert target.look([seven]) == [Look()]
    assert none.code is Code.SET_UNSUPPORTED
    assert "no column `locked`" in none.detail
    with REGISTRY.target(world.agent(passwords=flagged), SECRET) as target:
        assert isinstance(target, Attended)
        assert target.look([seven, nobody]) == [Look(locked=True, must_change=True), Look()]
        done = target.unlock([seven, nobody])
        assert [one.code for one in done] == [Code.SUCCESS, Code.OBJECT_MISSING]
        assert target.look([seven]) == [Look(locked=False, must_change=True)]
    ((kept, locked),) = world.run("SELECT hash, locked FROM accounts WHERE id = 7")
    assert (kept, locked) == ("kept", 0)


@ON_POSTGRES
def test_a_lock_that_may_be_written_and_not_read_is_not_known(world: World) -> None:
    _accounts(world, "hash VARCHAR(300), locked SMALLINT DEFAULT 1")
    world.run(f"REVOKE SELECT ON accounts FROM {world.settings['user']}")
    world.run(f"GRANT SELECT (id) ON accounts TO {world.settings['user']}")
    with REGISTRY.target(world.agent(passwords={**TABLE, "locked": "locked"}), SECRET) as target:
        assert isinstance(target, Attended)
        assert target.look([cs_object("7")]) == [Look()]
        assert [one.code for one in target.unlock([cs_object("7")])] == [Code.SUCCESS]
        assert target.look([cs_object("7")]) == [Look()]


@BOTH
def test_a_key_that_was_given_to_somebody_else_opens_nothing(world: World) -> None:
    _accounts(world, "hash VARCHAR(300), person VARCHAR(40)")
    world.run("UPDATE accounts SET person = 'the-new-one' WHERE id = 7")
    rules = {**TABLE, "identity": "person", "identity_value": "guid"}
    with REGISTRY.target(world.agent(passwords=rules), SECRET) as target:
        (gone,) = target.set([NewPassword(cs_object("7", guid="the-old-one"), "new-one")])
        (unknown,) = target.set([NewPassword(cs_object("7"), "new-one")])
        assert {kept for _, kept in world.run("SELECT id, hash FROM accounts")} == {None}
        (found,) = target.set([NewPassword(cs_object("7", guid="the-new-one"), "new-one")])
    assert [one.code for one in (gone, unknown, found)] == [
        Code.OBJECT_MISSING, Code.NOT_CONFIGURED, Code.SUCCESS,
    ]  # fmt: skip
    with pytest.raises(InvalidInput, match="go together"):
        REGISTRY.target(world.agent(passwords={**TABLE, "identity": "person"}), SECRET)


@BOTH
@pytest.mark.parametrize("anchor", ["9", "7 of 9", "seven", "7'--", "99999999999999999999"])
def test_a_key_that_fits_no_row_is_missing(world: World, anchor: str) -> None:
    _accounts(world)
    assert set_password(world, anchor, "new-one", TABLE)[0] is Code.OBJECT_MISSING
    assert {kept for _, kept in world.run("SELECT id, hash FROM accounts")} == {None}


@BOTH
def test_a_key_that_fits_several_rows_changes_none(world: World) -> None:
    world.run("CREATE TABLE accounts (id INTEGER, hash VARCHAR(300))")
    world.run("INSERT INTO accounts (id) VALUES (7), (7)")
    _grant(world, "accounts")
    code, detail = set_password(world, "7", "new-one", TABLE)
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
    assert set_password(world, "7", "new-one", named) == (Code.SUCCESS, "")
    for wrong in ({**named, "table": "nowhere"}, {**named, "column": "hash; DROP TABLE x"}):
        with pytest.raises(NotConfigured, match="shows our account no column"):
            set_password(world, "7", "new-one", wrong)
    ((kept,),) = world.run(f"SELECT {name} FROM {name}")
    assert kept.startswith("$argon2id$")


@BOTH
def test_a_column_that_is_too_narrow_is_an_error_without_the_hash(world: World) -> None:
    _accounts(world, "hash VARCHAR(20)")
    code, detail = set_password(world, "7", "new-one", TABLE)
    assert code is Code.FAILED
    assert "argon2" not in detail


@BOTH
def test_a_table_takes_no_change_and_proves_nothing(world: World) -> None:
    _accounts(world)
    with REGISTRY.target(world.agent(passwords=TABLE), SECRET) as target:
        assert target.change(cs_object("7"), "a", "b").code is Code.SET_UNSUPPORTED
        assert target.verify(cs_object("7"), "a") is Proof.NOT_TRIED


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
    first, _, last = sorted(everything(world, read=READ), key=lambda one: one.anchor)
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
        everything(world, read={**READ, "row_limit": 1000})


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
        everything(world, read={**READ, "anchor": "nothing"})
    with pytest.raises(NotConfigured, match="nothing to read"):
        everything(world)
    world.run("UPDATE people SET name = %s", "x" * 200)
    with pytest.raises(BadSource, match="row 1 has more than 100 characters"):
        everything(world, read={**READ, "size_limit": 100})
    world.run("DELETE FROM people")
    assert everything(world, read=READ) == []


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
