"""A database server with a database, a service account and roles of the test's own: `world`, on PostgreSQL and on MariaDB."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from bastide.domain.management_agents import CsId, CsObject, MaId, ManagementAgent, PasswordManagement
from bastide.domain.passwords import Code
from bastide.services.passwords.ports import Imported, NewPassword
from bastide.targets.registry import Registry

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


def cs_object(anchor: str, **attributes: str) -> CsObject:
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


def make_role(world: World, name: str = "", how: str = "") -> str:
    name = name or f"anna-{secrets.token_hex(4)}"
    if world.kind == "postgresql":
        world.run('CREATE ROLE "{}" {}'.format(name.replace('"', '""'), how or "LOGIN PASSWORD 'old-one'"))
    else:
        world.run(f"CREATE USER %s@'%%' {how or 'IDENTIFIED BY ' + chr(39) + 'old-one' + chr(39)}", name)
    world.objects.append(name.replace('"', '""') if world.kind == "postgresql" else name)
    return name


def set_password(
    world: World, anchor: str, password: str, settings: dict[str, Any] = ROLE, **more: bool
) -> tuple[Code, str]:
    with REGISTRY.target(world.agent(passwords=settings), SECRET) as target:
        (result,) = target.set([NewPassword(cs_object(anchor), password, **more)])
    return result.code, result.detail


def everything(world: World, **settings: Any) -> list[Imported]:
    return [
        one for page in REGISTRY.connector(world.agent(**settings), SECRET).read(b"") for one in page.objects
    ]
