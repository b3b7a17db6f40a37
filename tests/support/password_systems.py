"""The connected systems of the password scene: the people in them, the agents over them in TOML, and who is let in with which password."""

import hashlib
import hmac
import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import ldap
import psycopg
import pymysql
from psycopg import sql

from bastide.store.md4 import Md4NtHasher
from bastide_lab import plan
from bastide_lab.lab import Lab
from bastide_lab.targets import Endpoint, slapd
from tests.support.target_systems import Samba, Slapd

LDAP, POSTGRES, MARIADB, PRIV, RECORDER = "people-ldap", "crm-postgres", "shop-mariadb", "priv", "recorder"
EVERYWHERE = (LDAP, POSTGRES, MARIADB, PRIV, RECORDER)
_PASSWORDS = """
[passwords]
retry_limit = 1000
retry_interval = "10s"
"""


class System(Protocol):
    """One connected system as an administrator of it sees it."""

    name: str
    secret: str

    def document(self) -> str:
        """Its management agent in TOML."""

    def add(self, name: str, number: str) -> None:
        """An account for a person."""

    def accepts(self, name: str, password: str) -> bool:
        """Whether the account opens with it, without harm to the account if not."""


def _document(name: str, kind: str, settings: Mapping[str, Any], number: str, more: str = _PASSWORDS) -> str:
    lines = [f"name = {json.dumps(name)}", f"connector = {json.dumps(kind)}"]
    lines.append(f'joins = ["{number} = employeeNumber"]')
    tables = {key: value for key, value in settings.items() if isinstance(value, dict)}
    lines.append("[settings]")
    lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items() if key not in tables]
    for table, values in tables.items():
        lines.append(f"[settings.{table}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n" + more


class LdapSystem:
    name = LDAP

    def __init__(self, lab: Lab) -> None:
        self.slapd = Slapd(lab, lab.start_target("slapd"))
        self.secret = self.slapd.endpoint.password

    def document(self) -> str:
        endpoint = self.slapd.endpoint
        settings = {
            "host": endpoint.host, "port": endpoint.tls_port, "base": slapd.PEOPLE,
            "bind_name": slapd.SERVICE, "ca": str(self.slapd.lab.ca),
        }  # fmt: skip
        return _document(self.name, "ldap", settings, "employeeNumber")

    def add(self, name: str, number: str) -> None:
        raw = self.slapd.admin()
        values = {
            "objectClass": "inetOrgPerson",
            "cn": name,
            "sn": name,
            "uid": name,
            "employeeNumber": number,
        }
        raw.add_s(_dn(name), [(key, [value.encode()]) for key, value in values.items()])
        raw.unbind_s()

    def accepts(self, name: str, password: str) -> bool:
        """By the hash first: failed sign-ins are counted and lock the account. Then with a real bind."""
        if not self._hash_fits(name, password):
            return False
        self.slapd.bare(_dn(name), password).unbind_s()
        return True

    def _hash_fits(self, name: str, password: str) -> bool:
        try:
            return self.slapd.signs_in(_dn(name), password)
        except KeyError:  # it never had a password
            return False


def _dn(name: str) -> str:
    return f"uid={name},{slapd.PEOPLE}"


class _Database:
    """What both servers have in common: a view of the people, and accounts of the server by their names."""

    name: str
    kind: str

    def __init__(self, lab: Lab, endpoint: Endpoint) -> None:
        self.lab = lab
        self.endpoint = endpoint
        self.secret = secrets.token_urlsafe(18)
        self.arrange()

    def arrange(self) -> None: ...

    def document(self) -> str:
        settings = {
            "host": self.endpoint.host, "port": self.endpoint.port, "database": self.endpoint.base, "user": "bastide",
            "ca": str(self.lab.ca),
            "read": {"table": "staff", "anchor": "id", "dn": "login", "attributes": ["login", "number"]},
            "passwords": {"kind": "role", "name": "login"},
        }  # fmt: skip
        return _document(self.name, self.kind, settings, "number")


class PostgresSystem(_Database):
    name, kind = POSTGRES, "postgresql"

    def arrange(self) -> None:
        self.run(
            sql.SQL("CREATE ROLE bastide LOGIN CREATEROLE PASSWORD {}").format(self.secret),
            sql.SQL("CREATE TABLE staff (id text PRIMARY KEY, login text, number text)"),
            sql.SQL("GRANT SELECT (id, login, number) ON staff TO bastide"),
        )

    def connect(self, user: str, password: str) -> psycopg.Connection:
        return psycopg.connect(
            host=self.endpoint.host, port=self.endpoint.port, dbname=self.endpoint.base, user=user, password=password,
            sslmode="verify-full", sslrootcert=str(self.lab.ca), autocommit=True, connect_timeout=10,
        )  # fmt: skip

    def run(self, *statements: sql.SQL | sql.Composed) -> None:
        with self.connect(self.endpoint.admin, self.endpoint.password) as connection:
            for statement in statements:
                connection.execute(statement)

    def add(self, name: str, number: str) -> None:
        self.run(
            sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)),
            sql.SQL("INSERT INTO staff VALUES ({}, {}, {})").format(number, name, number),
        )

    def accepts(self, name: str, password: str) -> bool:
        try:
            self.connect(name, password).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                return False
            raise
        return True


class MariaDbSystem(_Database):
    name, kind = MARIADB, "mariadb"

    def arrange(self) -> None:
        self.run(
            ("CREATE USER bastide@'%%' IDENTIFIED BY %s REQUIRE SSL", self.secret),
            ("GRANT SELECT, UPDATE ON mysql.* TO bastide@'%%'",),
            ("CREATE TABLE staff (id varchar(64) PRIMARY KEY, login varchar(64), number varchar(64))",),
            ("GRANT SELECT (id, login, number) ON staff TO bastide@'%%'",),
        )

    def connect(self, user: str, password: str) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        return pymysql.connect(
            host=self.endpoint.host, port=self.endpoint.port, user=user, password=password.encode(),
            ssl_ca=str(self.lab.ca), ssl_verify_identity=True, autocommit=True, connect_timeout=10,
        )  # fmt: skip

    def run(self, *statements: tuple[str, *tuple[str, ...]]) -> None:
        with closing(self.connect(self.endpoint.admin, self.endpoint.password)) as connection:
            connection.select_db(self.endpoint.base)
            with connection.cursor() as cursor:
                for statement, *values in statements:
                    cursor.execute(statement, values)

    def add(self, name: str, number: str) -> None:
        self.run(
            ("CREATE USER %s@'%%' IDENTIFIED BY %s REQUIRE SSL", name, secrets.token_urlsafe(18)),
            ("INSERT INTO staff VALUES (%s, %s, %s)", number, name, number),
        )

    def accepts(self, name: str, password: str) -> bool:
        try:
            self.connect(name, password).close()
        except pymysql.OperationalError as error:
            if error.args[0] == 1045:  # ER_ACCESS_DENIED_ERROR
                return False
            raise
        return True


class PrivSystem:
    """The other domain: a target of CORP, and itself a source."""

    name = PRIV
    secret = ""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.samba = Samba(lab, folder)

    def document(self) -> str:
        settings = {
            "domain": self.samba.domain, "controllers": [self.samba.lab.fqdn("privdc")], "base": self.samba.unit,
            "principal": f"{self.samba.service}@{self.samba.lab.realm('priv')}", "keytab": str(self.samba.keytab),
            "ca": str(self.samba.lab.ca),
        }  # fmt: skip
        rules = 'project = "person"\nflows = ["employeeID -> employeeNumber 200"]\n'
        return rules + _document(self.name, "active-directory", settings, "employeeID")

    def add(self, name: str, number: str) -> None:
        self.samba.add_user(name, employeeID=number.encode())

    def accepts(self, name: str, password: str) -> bool:
        """By the hash first: for an hour AD lets people in with the password before, too."""
        dn = f"CN={name},{self.samba.unit}"
        return self._hash(dn) == Md4NtHasher().nt_hash(password) and self.samba.signs_in(dn, password)

    def _hash(self, dn: str) -> bytes:
        """As root of the controller sees it: LDAP over the privileged socket, where nobody signs in."""
        private = self.samba.lab.site.data(plan.PRIVDC) / "private"
        raw = ldap.initialize(f"ldapi://{quote(str(private / 'ldap_priv' / 'ldapi'), safe='')}")
        ((_, found),) = raw.search_s(dn, ldap.SCOPE_BASE, "(objectClass=*)", ["unicodePwd"])
        raw.unbind_s()
        return bytes(found.get("unicodePwd", [b""])[0])


class RecorderSystem:
    """Remembers every write in its order, so that a test can tell whether an old password ever came after a new one."""

    name = RECORDER
    secret = ""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o755)
        self.program = folder / "recorder"
        shutil.copy(Path(__file__).with_name("recording_program.py"), self.program)
        self.program.chmod(0o755)
        self.people = folder / "people.json"
        self.people.write_text("{}")
        self.log = folder / "writes.jsonl"
        self.key = secrets.token_hex(32)

    def document(self) -> str:
        inner = {"people": str(self.people), "writes": str(self.log), "key": self.key}
        return _document(self.name, "process", {"program": str(self.program), "settings": inner}, "number")

    def add(self, name: str, number: str) -> None:
        known = json.loads(self.people.read_text())
        self.people.write_text(json.dumps({**known, name: {"number": [number]}}))

    def writes(self, name: str) -> list[str]:
        """Digests, in the order of the sets."""
        if not self.log.exists():
            return []
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [one["digest"] for one in found if one["account"] == name]

    def digest(self, password: str) -> str:
        return hmac.digest(bytes.fromhex(self.key), password.encode(), hashlib.sha256).hex()

    def accepts(self, name: str, password: str) -> bool:
        return self.writes(name)[-1:] == [self.digest(password)]


def make_systems(lab: Lab, folder: Path) -> dict[str, Any]:
    """Those that are no domain, by the names of their agents."""
    made: list[Callable[[], System]] = [
        lambda: LdapSystem(lab),
        lambda: PostgresSystem(lab, lab.start_target("postgres")),
        lambda: MariaDbSystem(lab, lab.start_target("mariadb")),
        lambda: RecorderSystem(folder / "recorder"),
    ]
    return {system.name: system for system in (make() for make in made)}
